"""An inverse-dynamics model: names the action between frames, from what a state probe reads."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from tqdm import trange

LEARNING_RATE = 2e-3
FEATURE_NOISE = 0.003
MOTION_GAIN = 8  # changes from frame to frame are small beside positions


class InverseDynamics(nn.Module):
    """Names the action that led to the last of three frames.

    Args:
        num_features: features of a frame; see `StateProbe.features`.
        num_actions: size of the action menu.
    """

    def __init__(self, num_features: int, num_actions: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(3 * num_features, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, num_actions),
        )

    def forward(self, triples: Float[Tensor, "n 3 k"]) -> Float[Tensor, "n a"]:
        """Return logits over the menu."""
        before, now, after = triples.unbind(1)
        next_motion = MOTION_GAIN * (after - now)
        last_motion = MOTION_GAIN * (now - before)
        inputs = torch.cat([now, next_motion, last_motion], -1)
        return self.net(inputs)

    @torch.no_grad()
    def predict(self, features: Float[np.ndarray, "e f k"]) -> Int[np.ndarray, "e f-2"]:
        """Return the actions that led to every frame but the first two."""
        windows = torch.from_numpy(features).unfold(1, 3, 1)
        triples = windows.movedim(-1, 2)
        logits = self(triples.flatten(0, 1))
        actions = logits.argmax(-1).numpy()
        return actions.reshape(len(features), -1)


def train_inverse_dynamics(
    features: Float[np.ndarray, "e f k"],
    actions: Int[np.ndarray, "e s"],
    num_actions: int,
    steps: int,
    batch: int = 512,
    seed: int = 0,
) -> InverseDynamics:
    """Train on real frames; action f leads from frame f to frame f + 1."""
    torch.manual_seed(seed)
    num_features = features.shape[-1]
    last_start = actions.shape[1] - 1
    model = InverseDynamics(num_features, num_actions)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in trange(steps, desc="inverse dynamics", unit="step", leave=False, mininterval=1.0):
        episodes = rng.integers(len(features), size=batch)
        frames = rng.integers(last_start, size=batch)
        windows = frames[:, None] + np.arange(3)
        triples = torch.from_numpy(features[episodes[:, None], windows])
        noise = FEATURE_NOISE * torch.randn_like(triples)
        targets = actions[episodes, frames + 1].astype(np.int64)
        logits = model(triples + noise)
        loss = functional.cross_entropy(logits, torch.from_numpy(targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()
