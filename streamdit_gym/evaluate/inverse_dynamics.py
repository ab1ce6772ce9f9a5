"""An inverse-dynamics model: reads the action between frames, from what a state probe reads.

Of a menu it names the action; of a box it reads the values.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from tqdm import trange

from streamdit_gym.actions import ActionLanguage, SpokenBox, action_numbers

LEARNING_RATE = 2e-3
FEATURE_NOISE = 0.003
MOTION_GAIN = 8  # changes from frame to frame are small beside positions
TRIPLE = np.arange(3)


class InverseDynamics(nn.Module):
    """Reads the action that led to the last of three frames.

    Args:
        num_features: features of a frame; see `StateProbe.features`.
        actions: the world's.
    """

    def __init__(self, num_features: int, actions: ActionLanguage) -> None:
        super().__init__()
        self.actions = actions
        self.net = nn.Sequential(
            nn.Linear(3 * num_features, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, len(actions)),
        )

    def forward(self, triples: Float[Tensor, "n 3 k"]) -> Float[Tensor, "n a"]:
        """Return logits over the menu, or the values of the box from -1 to 1."""
        before, now, after = triples.unbind(1)
        next_motion = MOTION_GAIN * (after - now)
        last_motion = MOTION_GAIN * (now - before)
        inputs = torch.cat([now, next_motion, last_motion], -1)
        return self.net(inputs)

    def loss(self, triples: Float[Tensor, "n 3 k"], actions: np.ndarray) -> Tensor:
        """Return the error of the actions that are read off triples."""
        outputs = self(triples)
        if isinstance(self.actions, SpokenBox):
            values = torch.from_numpy(action_numbers(self.actions, actions))
            return functional.mse_loss(outputs, values)
        return functional.cross_entropy(outputs, torch.from_numpy(actions.astype(np.int64)))

    @torch.no_grad()
    def predict(
        self, features: Float[np.ndarray, "e f k"]
    ) -> Int[np.ndarray, "e f-2"] | Float[np.ndarray, "e f-2 d"]:
        """Return the actions that led to every frame but the first two.

        Values of a box are given from -1 to 1.
        """
        windows = torch.from_numpy(features).unfold(1, 3, 1)
        triples = windows.movedim(-1, 2)
        outputs = self(triples.flatten(0, 1))
        if not isinstance(self.actions, SpokenBox):
            outputs = outputs.argmax(-1)
        actions: np.ndarray = outputs.numpy()
        return actions.reshape(len(features), windows.shape[1], *self.actions.shape)


def windows_of(lengths: Int[np.ndarray, " e"], steps: int, frames: int) -> Int[np.ndarray, "n 2"]:
    """Return where frames of an episode stand in a row: the episode, and the first frame.

    Args:
        lengths: steps of each episode; what lies behind is padding.
        steps: of the arrays.
        frames: in a row.
    """
    first = np.arange(steps + 2 - frames)
    is_inside: Bool[np.ndarray, "e s"] = first + frames - 1 <= lengths[:, None]
    return np.argwhere(is_inside)


def train_inverse_dynamics(
    features: Float[np.ndarray, "e f k"],
    actions: np.ndarray,
    lengths: Int[np.ndarray, " e"],
    language: ActionLanguage,
    steps: int,
    batch: int = 512,
    seed: int = 0,
) -> InverseDynamics:
    """Train on real frames; action f leads from frame f to frame f + 1.

    Args:
        features: of every frame.
        actions: of every step.
        lengths: steps of each episode.
        language: which actions there are.
        steps: of the training.
        batch: triples of frames at once.
        seed: of everything random.
    """
    torch.manual_seed(seed)
    model = InverseDynamics(features.shape[-1], language)
    triples = windows_of(lengths, actions.shape[1], len(TRIPLE))
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in trange(steps, desc="inverse dynamics", unit="step", leave=False, mininterval=1.0):
        episodes, frames = triples[rng.integers(len(triples), size=batch)].T
        windows = torch.from_numpy(features[episodes[:, None], frames[:, None] + TRIPLE])
        noise = FEATURE_NOISE * torch.randn_like(windows)
        loss = model.loss(windows + noise, actions[episodes, frames + 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()
