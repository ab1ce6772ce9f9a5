"""What windows save: the paper's token grid at a reduced width, with windows and without."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from streamdit_gym.bench.preset_speed import paper_view, random_prompts
from streamdit_gym.bench.timing import call_seconds
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.presets import preset as named_preset

REDUCED_WIDTH = 256  # of 2,560
REDUCED_HEADS = 2  # as wide as the preset's
REDUCED_DEPTH = 2  # one block with shifted windows, one without
WINDOWED_PRESET = "paper-4b"


@dataclass(frozen=True, kw_only=True)
class WindowCost:
    """Seconds of an evaluation, the shortest of several, in one run.

    Attributes:
        tokens: of the whole buffer.
        width: of a token.
        windows_s: in windows.
        full_s: every token sees every token.
        half_windows_s: in windows, frames of half the area.
        half_full_s: without windows, frames of half the area.
    """

    tokens: int
    width: int
    windows_s: float
    full_s: float
    half_windows_s: float
    half_full_s: float

    @property
    def share(self) -> float:
        """Time in windows, as a share of the time without."""
        return self.windows_s / self.full_s

    def line(self) -> str:
        """Return the figures for people."""
        return (
            f"windows, {self.tokens:,} tokens of width {self.width}: {self.windows_s:.2f} s,"
            f" without {self.full_s:.2f} s ({self.share:.0%}); twice the area takes"
            f" {self.windows_s / self.half_windows_s:.2f} times as long,"
            f" without windows {self.full_s / self.half_full_s:.2f}"
        )


@torch.no_grad()
def measure_windows(device: str, *, times: int = 3) -> WindowCost:
    """Time two blocks of `paper-4b` at a reduced width, with windows and without.

    Args:
        device: where.
        times: that each is evaluated; the shortest counts.
    """
    config = replace(
        named_preset(WINDOWED_PRESET).model,
        width=REDUCED_WIDTH,
        heads=REDUCED_HEADS,
        depth=REDUCED_DEPTH,
        text_width=REDUCED_WIDTH,
    )
    rows, columns = config.grid
    half = replace(config, grid=(rows, columns // 2))
    seconds = [_seconds(each, device, times) for each in (config, _full(config), half, _full(half))]
    view, _ = paper_view(StreamDiT(config), device, torch.float32)
    return WindowCost(
        tokens=view.latents.shape[1] * config.num_tokens,
        width=config.width,
        windows_s=seconds[0],
        full_s=seconds[1],
        half_windows_s=seconds[2],
        half_full_s=seconds[3],
    )


def _full(config: StreamDiTConfig) -> StreamDiTConfig:
    """Return the same sizes with one window for everything."""
    return replace(config, window=(0, *config.token_grid))


def _seconds(config: StreamDiTConfig, device: str, times: int) -> float:
    model = StreamDiT(config).to(device).eval()
    view, _ = paper_view(model, device, torch.float32)
    prompts = random_prompts(model, device, torch.float32)
    measured = call_seconds(lambda: model(view, prompts), times=times, warm_up=1, device=device)
    return float(measured.min())
