"""A state probe: reads where things are in a frame.

It looks at pixels alone and is trained on real frames alone, so no world can learn to please it.
Positions are read by a spatial soft-argmax (Levine et al., arXiv 1504.00702), which finds sub-pixel
positions from few examples.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional
from tqdm import trange

from streamdit_gym.definition import WorldSpec
from streamdit_gym.evaluate.inverse_dynamics import InverseDynamics, windows_of
from streamdit_gym.evaluate.state_errors import MIN_SPREAD, state_layout
from streamdit_gym.model.precision import training_precision

FRAMES_PER_FORWARD = 32  # twice as fast on a CPU as 512, whose features leave the caches
LEARNING_RATE = 3e-3
PIXEL_NOISE = 0.05  # so that small flaws of generated frames do not matter
NOISE_TABLE_FRAMES = 4  # times a batch
# frames in a row: 4 triples from 6 frames, where single triples take 12 frames
WINDOW_FRAMES = 6
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
        with self._trunk_precision():
            features = self.trunk(pixels.contiguous(memory_format=torch.channels_last))
        heat_maps = self.sharpness * features.float()
        height, width = heat_maps.shape[-2:]
        weights = rearrange(heat_maps, "n p h w -> n p (h w)").softmax(-1)
        x = torch.linspace(-1, 1, width).repeat(height)
        y = torch.linspace(-1, 1, height).repeat_interleave(width)
        return torch.cat([weights @ x, weights @ y], -1)

    def _trunk_precision(self) -> AbstractContextManager[object]:
        """Return a context for the convolutions: while training, what is fastest here."""
        return training_precision("cpu") if self.training else nullcontext()

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
    noisy_pixels = _NoisyPixels(batch, spec.frame_size, rng)

    def loss() -> Tensor:
        rows = real[rng.integers(len(real), size=batch)]
        predictions, _ = probe(noisy_pixels(frames[rows]))
        return functional.smooth_l1_loss(predictions, targets[rows], beta=HUBER_BETA)

    _descend(probe, loss, steps)
    return probe.eval()


def train_probe_on_actions(
    spec: WorldSpec,
    frames: UInt8[np.ndarray, "e f h w 3"],
    actions: np.ndarray,
    lengths: Int[np.ndarray, " e"],
    steps: int,
    batch: int = 6,
    seed: int = 0,
) -> StateProbe:
    """Train the probe of a world without states to find key points that tell its actions.

    Args:
        spec: the world.
        frames: real frames.
        actions: the action after each.
        lengths: steps of each episode; what lies behind is padding.
        steps: of the training.
        batch: windows of frames at once, with several triples each.
        seed: of everything random.
    """
    torch.manual_seed(seed)
    probe = StateProbe(spec)
    inverse = InverseDynamics(probe.num_features, spec.actions)
    rng = np.random.default_rng(seed)
    width = min(WINDOW_FRAMES, int(lengths.max()) + 1)
    windows = windows_of(lengths, actions.shape[1], width)
    noisy_pixels = _NoisyPixels(batch * width, spec.frame_size, rng)

    def loss() -> Tensor:
        episodes, first = windows[rng.integers(len(windows), size=batch)].T
        rows = episodes[:, None]
        columns = first[:, None] + np.arange(width)
        pixels = noisy_pixels(frames[rows, columns].reshape(-1, *frames.shape[2:]))
        key_points = probe.key_points(pixels).unflatten(0, (batch, width))
        triples = key_points.unfold(1, 3, 1).movedim(-1, 2).flatten(0, 1)
        middle_actions = actions[rows, columns[:, 1:-1]]
        return inverse.loss(triples, middle_actions.reshape(-1, *actions.shape[2:]))

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


class _NoisyPixels:
    """Adds noise to frames, cut out of a table at random places: drawing it anew takes long.

    Args:
        batch: frames at once.
        frame_size: height and width of a frame.
        rng: draws the places.
    """

    def __init__(self, batch: int, frame_size: tuple[int, int], rng: np.random.Generator) -> None:
        height, width = frame_size
        self.batch = batch
        self.rng = rng
        self.shape = (batch, height, width, 3)
        self.table = torch.randn(NOISE_TABLE_FRAMES * batch * height * width * 3)

    def __call__(self, frames: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
        """Return the pixels of a batch of frames, each with noise of a strength of its own."""
        pixels = _to_pixels(torch.from_numpy(frames))
        start = int(self.rng.integers(len(self.table) - pixels.numel()))
        noise = self.table[start : start + pixels.numel()].view(self.shape).permute(0, 3, 1, 2)
        strength = PIXEL_NOISE * torch.rand(self.batch, 1, 1, 1)
        return pixels + strength * noise


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
