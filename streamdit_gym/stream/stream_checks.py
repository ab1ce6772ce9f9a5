"""Checks of the frames that streams and clips begin with; they change nothing."""

from __future__ import annotations

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor

from streamdit_gym.errors import ShapeError
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.text.prompt_protocol import Prompts, PromptSource


def check_frames(
    latents: Float[Tensor, "b f c h w"],
    prompts: Prompts,
    config: StreamDiTConfig,
    source: PromptSource,
) -> None:
    """Refuse first frames that a model cannot go on from.

    Args:
        latents: clean latents, one frame or more.
        prompts: the prompts that led to them.
        config: of the model.
        source: embeds the prompts.

    Raises:
        ShapeError: if the latents do not fit the model, or the prompts do not fit them.
    """
    rows, columns = config.grid
    frame = (config.channels, rows, columns)
    has_frames = latents.ndim == 5 and latents.shape[1] > 0
    if not has_frames or tuple(latents.shape[2:]) != frame:
        raise ShapeError(
            "start latents do not fit the model",
            given=tuple(latents.shape),
            allowed=f"(b, f >= 1, {config.channels}, {rows}, {columns})",
            remedy="encode frames with the world's codec",
        )
    shape = (*latents.shape[:2], *source.prompt_shape)
    check_shape("prompts of the frames", prompts.shape, shape)


def check_shape(name: str, given: Iterable[int], allowed: Iterable[int]) -> None:
    """Refuse what would be broadcast, or fail in the middle of a tick.

    Args:
        name: what the error calls it.
        given: its shape.
        allowed: the shape that fits.

    Raises:
        ShapeError: if the two differ.
    """
    if tuple(given) != tuple(allowed):
        raise ShapeError(
            f"{name} do not fit the streams",
            given=tuple(given),
            allowed=tuple(allowed),
            remedy="give one for each stream",
        )
