"""Checks of what callers ask a world's clips for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from streamdit_gym.checks import check_int, check_prompt, shown
from streamdit_gym.errors import ArgumentError, ShapeError
from streamdit_gym.stream.clip import CLIP_FRAMES

MAX_CLIPS = 4096
MAX_FRAMES = 4096  # of one clip; hundreds of times what any model has learned


def frame_prompts(prompts: Any, frames: int | None) -> list[list[str]]:
    """Return a prompt for every frame of every clip.

    Args:
        prompts: a text for each clip, or a text for each of its frames.
        frames: of each clip; None: as many as it has prompts, or those of the clips that recipes
            train on.

    Raises:
        ArgumentError: if something is no prompt, or there are too many or too few.
    """
    if isinstance(prompts, str) or not isinstance(prompts, Sequence):
        raise ArgumentError(
            "prompts of clips cannot be used",
            given=f"{type(prompts).__name__} {shown(prompts)}",
            allowed="a list with a prompt, or a list of prompts, for each clip",
            remedy='draw_clip(["move left"])',
        )
    check_int("number of clips", len(prompts), least=1, most=MAX_CLIPS)
    if frames is not None:
        check_int("frames", frames, least=1, most=MAX_FRAMES)
    clips = [_prompts_of_clip(of_clip, frames) for of_clip in prompts]
    counts = {len(of_clip) for of_clip in clips}
    if len(counts) > 1:
        raise ArgumentError(
            "clips of several lengths",
            given=f"{sorted(counts)} prompts",
            allowed="as many prompts in each clip",
            remedy="draw clips of each length apart",
        )
    return clips


def _prompts_of_clip(prompts: Any, frames: int | None) -> list[str]:
    """Return a prompt for every frame of one clip."""
    if isinstance(prompts, str):
        return [check_prompt(prompts)] * (CLIP_FRAMES if frames is None else frames)
    if not isinstance(prompts, Sequence) or len(prompts) != (frames or len(prompts)):
        raise ArgumentError(
            "prompts of a clip do not fit its frames",
            given=shown(prompts),
            allowed=f"a text, or {frames or 'any number of'} texts",
            remedy="give one prompt for each frame",
        )
    check_int("frames", len(prompts), least=1, most=MAX_FRAMES)
    return [check_prompt(prompt) for prompt in prompts]


def first_frames(
    init: Any, num_clips: int, frame_size: tuple[int, int]
) -> UInt8[Tensor, "b k h w 3"]:
    """Return the frames that clips go on from.

    Args:
        init: uint8, of every clip.
        num_clips: how many clips there are.
        frame_size: height and width (px).

    Raises:
        ShapeError: if they do not fit the world, or the clips.
    """
    frames = torch.from_numpy(np.array(init)) if isinstance(init, np.ndarray) else init
    height, width = frame_size
    is_bytes = isinstance(frames, Tensor) and frames.dtype == torch.uint8
    has_size = is_bytes and frames.ndim == 5 and tuple(frames.shape[2:]) == (height, width, 3)
    if not has_size or len(frames) != num_clips or frames.shape[1] == 0:
        raise ShapeError(
            "first frames do not fit the clips",
            given=tuple(frames.shape) if is_bytes else type(init).__name__,
            allowed=f"uint8 ({num_clips}, frames >= 1, {height}, {width}, 3)",
            remedy="frame[None, None] is one frame of one clip",
        )
    return frames
