"""A state probe: reads where things are in a frame.

It looks at pixels alone and is trained on real frames alone, so no world can learn to please it.
Positions are read by a spatial soft-argmax (Levine et al., arXiv 1504.00702), which finds sub-pixel
positions from few examples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional
from tqdm import trange

from streamdit_gym.definition import WorldSpec
from streamdit_gym.evaluate.inverse_dynamics import TRIPLE, InverseDynamics
from streamdit_gym.evaluate.state_errors import MIN_SPREAD, state_layout

FRAMES_PER_FORWARD = 512
LEARNING_RATE = 3e-3
PIXEL_NOISE = 0.05  # so that small flaws of generated frames do not matter
HUBER_BETA = 0.02


class StateProbe(nn.Module):
    """Reads the true state off a frame.

    Args:
        spec: names the state's numbers; those that end in ``_px`` are positions.
        num_key_points: key points to look for.

    Attributes:
        scale: of every number of a state, what its predictions are multiplied by.
        offset: what is added then.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, spec: WorldSpec, num_key_points: int = 32) -> None:
        super().__init__()
        self.num_key_points = num_key_points
        half_frame = max(spec.frame_size) / 2
        is_position = torch.tensor([name.endswith("_px") for name in spec.state_names]).bool()
        self.register_buffer("scale", torch.where(is_position, half_frame, 1.0))
        self.register_buffer("offset", torch.where(is_position, half_frame, 0.0))
        self.trunk = nn.Sequential(
            *_convolution(3, 32, kernel=5, stride=2),
            *_convolution(32, 32, kernel=3, stride=1),
            *_convolution(32, 64, kernel=3, stride=2),
            *_convolution(64, 64, kernel=3, stride=1),
            nn.Conv2d(64, num_key_points, 1),
        )
        self.sharpness = nn.Parameter(torch.tensor(3.0))
        self.head: nn.Sequential | None = None
        if spec.state_names:
            self.head = nn.Sequential(
                nn.Linear(2 * num_key_points, 256), nn.ReLU(), nn.Linear(256, len(spec.state_names))
            )
        # twice as fast on a CPU
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def key_points(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Return the positions of the key points, from -1 to 1; all x come before all y."""
        features = self.trunk(pixels.contiguous(memory_format=torch.channels_last))
        heat_maps = self.sharpness * features
        height, width = heat_maps.shape[-2:]
        weights = rearrange(heat_maps, "n p h w -> n p (h w)").softmax(-1)
        x = torch.linspace(-1, 1, width).repeat(height)
        y = torch.linspace(-1, 1, height).repeat_interleave(width)
        return torch.cat([weights @ x, weights @ y], -1)

    def forward(
        self, pixels: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n k"]]:
        """Return states, in units of `scale` around `offset`, and the key points."""
        key_points = self.key_points(pixels)
        if self.head is None:
            return key_points[:, :0], key_points
        return self.head(key_points), key_points

    @torch.no_grad()
    def read(
        self, frames: UInt8[np.ndarray, "*n h w 3"]
    ) -> tuple[Float[np.ndarray, "*n s"], Float[np.ndarray, "*n k"]]:
        """Return the states (in the world's units) and the key points of frames."""
        leading_shape = frames.shape[:-3]
        flat = torch.from_numpy(np.ascontiguousarray(frames)).reshape(-1, *frames.shape[-3:])
        state_parts = []
        key_point_parts = []
        for part in flat.split(FRAMES_PER_FORWARD):
            scaled_states, key_points = self(_to_pixels(part))
            state_parts.append(scaled_states * self.scale + self.offset)
            key_point_parts.append(key_points)
        all_states = torch.cat(state_parts).numpy()
        all_key_points = torch.cat(key_point_parts).numpy()
        return (
            all_states.reshape(*leading_shape, -1),
            all_key_points.reshape(*leading_shape, -1),
        )

    def features(self, frames: UInt8[np.ndarray, "e f h w 3"]) -> Float[np.ndarray, "e f k"]:
        """Return what the inverse-dynamics model sees of frames: scaled states and key points."""
        offset = self.offset.numpy()
        scale = self.scale.numpy()
        states, key_points = self.read(frames)
        scaled_states = (states - offset) / scale
        features = np.concatenate([scaled_states, key_points], -1)
        return features.astype(np.float32)

    def standardise(self, spec: WorldSpec, states: Float[np.ndarray, "n s"]) -> None:
        """Set scale and offset of all numbers whose names do not tell their range."""
        layout = state_layout(spec.state_names)
        unknown = [
            column for name, column in layout.numbers.items() if not name.endswith("_px")
        ] + [columns[0] for columns in layout.angles.values() if len(columns) == 1]
        spread = states[:, unknown].std(0)
        varies = spread > MIN_SPREAD
        self.scale[unknown] = torch.from_numpy(np.where(varies, spread, 1.0)).float()
        self.offset[unknown] = torch.from_numpy(states[:, unknown].mean(0)).float()

    @property
    def num_features(self) -> int:
        """How many numbers `features` returns for a frame."""
        return len(self.scale) + 2 * self.num_key_points


def train_state_probe(
    spec: WorldSpec,
    frames: UInt8[np.ndarray, "n h w 3"],
    states: Float[np.ndarray, "n s"],
    is_real: Bool[np.ndarray, " n"],
    steps: int,
    batch: int = 64,
    seed: int = 0,
) -> StateProbe:
    """Train a probe on real frames with a little noise on their pixels.

    Args:
        spec: the world.
        frames: real frames.
        states: the true state in each.
        is_real: which frames are no padding.
        steps: of the training.
        batch: frames at once.
        seed: of everything random.
    """
    torch.manual_seed(seed)
    probe = StateProbe(spec)
    real = np.flatnonzero(is_real)
    probe.standardise(spec, states[real])
    rng = np.random.default_rng(seed)
    targets = (torch.from_numpy(states) - probe.offset) / probe.scale

    def loss() -> Tensor:
        rows = real[rng.integers(len(real), size=batch)]
        predictions, _ = probe(_noisy_pixels(frames[rows]))
        return functional.smooth_l1_loss(predictions, targets[rows], beta=HUBER_BETA)

    _descend(probe, loss, steps)
    return probe.eval()


def train_probe_on_actions(
    spec: WorldSpec,
    frames: UInt8[np.ndarray, "e f h w 3"],
    actions: np.ndarray,
    triples: Int[np.ndarray, "n 2"],
    steps: int,
    batch: int = 24,
    seed: int = 0,
) -> StateProbe:
    """Train the probe of a world without states to find key points that tell its actions.

    Args:
        spec: the world.
        frames: real frames.
        actions: the action after each.
        triples: episode and first frame of all triples of frames.
        steps: of the training.
        batch: triples at once.
        seed: of everything random.
    """
    torch.manual_seed(seed)
    probe = StateProbe(spec)
    inverse = InverseDynamics(probe.num_features, spec.actions)
    rng = np.random.default_rng(seed)

    def loss() -> Tensor:
        episodes, first = triples[rng.integers(len(triples), size=batch)].T
        windows = frames[episodes[:, None], first[:, None] + TRIPLE]
        _, key_points = probe(_noisy_pixels(windows.reshape(-1, *windows.shape[2:])))
        return inverse.loss(key_points.unflatten(0, (batch, 3)), actions[episodes, first + 1])

    _descend(nn.ModuleList([probe, inverse]), loss, steps)
    return probe.eval()


def _descend(model: nn.Module, loss: Callable[[], Tensor], steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in trange(steps, desc="state probe", unit="step", leave=False, mininterval=1.0):
        error = loss()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        schedule.step()


def _noisy_pixels(frames: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    pixels = _to_pixels(torch.from_numpy(frames))
    noise_level = PIXEL_NOISE * torch.rand(len(frames), 1, 1, 1)
    noise = noise_level * torch.randn_like(pixels)
    return pixels + noise


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(
        inputs,
        outputs,
        kernel,
        stride=stride,
        padding=kernel // 2,
        padding_mode="replicate",
        bias=False,
    )
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def _to_pixels(frames: UInt8[Tensor, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    return frames.permute(0, 3, 1, 2).float() / 127.5 - 1
