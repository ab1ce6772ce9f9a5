"""The judge's own eyes: what is where in a frame, and which action lay between frames.

Takes: real frames with true states and actions.  Gives: a state probe and an inverse-dynamics
    model.
Knows nothing of: the world that is judged.

Both look at pixels alone and are trained on real frames alone, so no world can learn to please
them. Where things are is read by spatial soft-argmax (Levine et al., arXiv 1504.00702), which finds
sub-pixel places from few examples.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional
from tqdm import trange

from streamdit_gym.definition import WorldSpec


class Probe(nn.Module):
    """Reads the true state off a frame.

    Args:
        spec: names the state's numbers; those that end in ``_px`` are places.
        points: key points looked for.
    """

    def __init__(self, spec: WorldSpec, points: int = 32) -> None:
        super().__init__()
        self.points = points
        self.scale = torch.tensor(
            [spec.size / 2 if name.endswith("_px") else 1.0 for name in spec.state_names]
        )
        self.offset = torch.tensor(
            [spec.size / 2 if name.endswith("_px") else 0.0 for name in spec.state_names]
        )
        self.trunk = nn.Sequential(
            *_layer(3, 32, 5, 2),
            *_layer(32, 32, 3, 1),
            *_layer(32, 64, 3, 2),
            *_layer(64, 64, 3, 1),
            nn.Conv2d(64, points, 1),
        )
        self.sharpness = nn.Parameter(torch.tensor(3.0))
        self.head = nn.Sequential(
            nn.Linear(2 * points, 256), nn.ReLU(), nn.Linear(256, len(spec.state_names))
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU

    def key_points(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Return the places of the key points, -1 to 1, x before y."""
        maps = self.sharpness * self.trunk(pixels.contiguous(memory_format=torch.channels_last))
        weight = rearrange(maps, "n p h w -> n p (h w)").softmax(-1)
        line = torch.linspace(-1, 1, maps.shape[-1])
        x, y = line.repeat(maps.shape[-2]), line.repeat_interleave(maps.shape[-1])
        return torch.cat([weight @ x, weight @ y], -1)

    def forward(
        self, pixels: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n k"]]:
        """Return states in units of half a frame around its middle, and the key points."""
        points = self.key_points(pixels)
        return self.head(points), points

    @torch.no_grad()
    def read(
        self, frames: UInt8[np.ndarray, "*n h w 3"]
    ) -> tuple[Float[np.ndarray, "*n s"], Float[np.ndarray, "*n k"]]:
        """Return the states (in the world's units) and the key points of frames."""
        flat = torch.from_numpy(np.ascontiguousarray(frames)).reshape(-1, *frames.shape[-3:])
        parts = [self(_pixels(part)) for part in flat.split(512)]
        states = torch.cat([part[0] for part in parts]) * self.scale + self.offset
        points = torch.cat([part[1] for part in parts])
        return states.numpy().reshape(*frames.shape[:-3], -1), points.numpy().reshape(
            *frames.shape[:-3], -1
        )


def _layer(inputs: int, outputs: int, size: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(
        inputs,
        outputs,
        size,
        stride=stride,
        padding=size // 2,
        padding_mode="replicate",
        bias=False,
    )
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def _pixels(frames: UInt8[Tensor, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    return frames.permute(0, 3, 1, 2).float() / 127.5 - 1


def train_probe(
    spec: WorldSpec,
    frames: UInt8[np.ndarray, "n h w 3"],
    states: Float[np.ndarray, "n s"],
    steps: int,
    batch: int = 64,
    seed: int = 0,
) -> Probe:
    """Train a probe on real frames, under a little noise,
    so that small flaws of generated frames do not matter.
    """
    torch.manual_seed(seed)
    probe, rng = Probe(spec), np.random.default_rng(seed)
    truth = (torch.from_numpy(states) - probe.offset) / probe.scale
    optimizer = torch.optim.AdamW(probe.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in trange(steps, desc="state probe", unit="step", leave=False, mininterval=1.0):
        rows = rng.integers(len(frames), size=batch)
        pixels = _pixels(torch.from_numpy(frames[rows]))
        pixels = pixels + 0.05 * torch.rand(batch, 1, 1, 1) * torch.randn_like(pixels)
        loss = functional.smooth_l1_loss(probe(pixels)[0], truth[rows], beta=0.02)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return probe.eval()


class InverseDynamics(nn.Module):
    """Names the action that led to the last of three frames, from the probe's states and key points
    in them.

    Args:
        features: numbers per frame.
        actions: size of the menu.
    """

    def __init__(self, features: int, actions: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(3 * features, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, actions),
        )

    def forward(self, triples: Float[Tensor, "n 3 k"]) -> Float[Tensor, "n a"]:
        """Return logits over the menu."""
        now = triples[:, 1]
        return self.net(torch.cat([now, 8 * (triples[:, 2] - now), 8 * (now - triples[:, 0])], -1))

    @torch.no_grad()
    def names(self, features: Float[np.ndarray, "e f k"]) -> Int[np.ndarray, "e f-2"]:
        """Return the actions that led to every frame but the first two."""
        triples = torch.from_numpy(features).unfold(1, 3, 1).movedim(-1, 2)
        return self(triples.flatten(0, 1)).argmax(-1).numpy().reshape(len(features), -1)


def features_of(probe: Probe, frames: UInt8[np.ndarray, "e f h w 3"]) -> Float[np.ndarray, "e f k"]:
    """Return what the inverse-dynamics model sees of frames."""
    states, points = probe.read(frames)
    scaled = (states - probe.offset.numpy()) / probe.scale.numpy()
    return np.concatenate([scaled, points], -1).astype(np.float32)


def train_inverse(
    features: Float[np.ndarray, "e f k"],
    actions: Int[np.ndarray, "e s"],
    count: int,
    steps: int,
    batch: int = 512,
    seed: int = 0,
) -> InverseDynamics:
    """Train on real frames; action f leads from frame f to frame f + 1."""
    torch.manual_seed(seed)
    model, rng = InverseDynamics(features.shape[-1], count), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in trange(steps, desc="inverse dynamics", unit="step", leave=False, mininterval=1.0):
        episode, frame = (
            rng.integers(len(features), size=batch),
            rng.integers(actions.shape[1] - 1, size=batch),
        )
        triples = torch.from_numpy(features[episode[:, None], frame[:, None] + np.arange(3)])
        triples = triples + 0.003 * torch.randn_like(triples)
        loss = functional.cross_entropy(
            model(triples), torch.from_numpy(actions[episode, frame + 1].astype(np.int64))
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()
