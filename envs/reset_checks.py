"""Checks of what callers hand to `reset`; they change nothing."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from streamdit_gym.checks import check_int, shown
from streamdit_gym.envs.arrays import as_array, describe
from streamdit_gym.envs.backend import Init
from streamdit_gym.envs.drawn_starts import DRAWN
from streamdit_gym.errors import ArgumentError, ShapeError, UnknownNameError

log = logging.getLogger("streamdit_gym")

MAX_SEED = 2**128 - 1  # what Gymnasium draws itself when none is given
OPTIONS = ("init", "reset_mask")
NEAR = 0.7  # similarity (difflib) from which another name is taken for a misspelled option


@dataclass(frozen=True)
class ResetRequest:
    """What a reset is asked for, checked.

    Attributes:
        mask: which rows to reset.
        seeds: of all rows; None keeps a row's generator.
        init: what the rows to reset start from; None: real frames of the world.
    """

    mask: Bool[np.ndarray, " n"]
    seeds: list[int | None]
    init: Init | None

    @property
    def rows(self) -> Int[np.ndarray, " r"]:
        """The rows to reset."""
        return np.flatnonzero(self.mask)


def check_options(options: Any) -> dict[str, Any]:
    """Return the reset options that are ours; other programs' options are ignored.

    Raises:
        ArgumentError: if they are no mapping.
        UnknownNameError: for a name that is almost one of ours.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ArgumentError(
            "reset options cannot be used",
            given=f"{type(options).__name__} {shown(options)}",
            allowed=f"a dictionary with {', '.join(OPTIONS)}",
            remedy="reset(options={'reset_mask': mask})",
        )
    ours = {}
    for name, value in options.items():
        if name in OPTIONS:
            ours[name] = value
        elif _is_misspelled(name):
            raise UnknownNameError("reset option", name, OPTIONS)
        else:
            log.debug("reset option %s is not ours and ignored", shown(name))
    return ours


def _is_misspelled(name: Any) -> bool:
    if not isinstance(name, str):
        return False
    return bool(difflib.get_close_matches(name.lower(), OPTIONS, n=1, cutoff=NEAR))


def check_mask(mask: Any, num_envs: int) -> Bool[np.ndarray, " n"]:
    """Return which rows to reset.

    Raises:
        ShapeError: if it is no mask of all rows, or of none.
    """
    if mask is None:
        return np.ones(num_envs, dtype=bool)
    array = as_array(mask) if isinstance(mask, (np.ndarray, Tensor)) else None
    if array is None or array.dtype != np.bool_ or array.shape != (num_envs,) or not array.any():
        given = type(mask).__name__ if array is None else f"{array.dtype} {array.shape}"
        raise ShapeError(
            "not a reset mask",
            given=given,
            allowed=f"numpy bool ({num_envs},), at least one True",
            remedy="mask = terminated | truncated",
        )
    return array


def check_seed(seed: Any) -> int | None:
    """Return a seed, or None."""
    return None if seed is None else check_int("seed", seed, least=0, most=MAX_SEED)


def check_seeds(seed: Any, num_envs: int) -> list[int | None]:
    """Return one seed (or None) per environment.

    Raises:
        ArgumentError: if one is no number, or out of range.
        ShapeError: if there are more or fewer than environments.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, (list, tuple)) or (isinstance(seed, np.ndarray) and seed.ndim == 1):
        seeds = [check_seed(one) for one in seed]
    else:
        first = check_int("seed", seed, least=0, most=MAX_SEED)
        seeds = [first + row for row in range(num_envs)]
    if len(seeds) != num_envs:
        raise ShapeError(
            "one seed per environment",
            given=len(seeds),
            allowed=num_envs,
            remedy="give an int or a list of that length",
        )
    return seeds


def check_init(
    init: Any, mask: Bool[np.ndarray, " n"], frame_size: tuple[int, int], takes_init: bool
) -> Init | None:
    """Return what the rows to reset start from.

    Args:
        init: frames of one row, or of all; or "drawn".
        mask: which rows to reset.
        frame_size: height and width of a frame.
        takes_init: whether the environment can start from frames.

    Raises:
        ArgumentError: if the environment starts from states of its own alone.
        ShapeError: if they do not fit.
    """
    if init is None:
        return None
    if not takes_init:
        raise ArgumentError(
            "a real simulator cannot start from pictures or drawn clips",
            given="options['init']",
            allowed="no init",
            remedy="use the generated environment, or start both from the simulator's first frame",
        )
    if isinstance(init, str) and init == DRAWN:
        return DRAWN
    num_envs = len(mask)
    frames = _check_frames(init, num_envs, frame_size)
    while frames.ndim < 5:
        frames = frames[None]
    if len(frames) == 1:
        frames = frames.expand(num_envs, *frames.shape[1:])
    if len(frames) != num_envs or frames.shape[1] == 0:
        raise ShapeError(
            "start frames of another number of environments",
            given=len(frames),
            allowed=f"1 or {num_envs}",
            remedy="one clip per environment",
        )
    return frames[torch.from_numpy(np.flatnonzero(mask))]


def _check_frames(
    init: Any, num_envs: int, frame_size: tuple[int, int]
) -> UInt8[Tensor, "*n h w 3"]:
    """Return a copy of frames, of one, of a clip or of a clip for each environment."""
    frames = _copy_of_frames(init)
    if frames is not None and frames.ndim >= 3 and frames.shape[-1] == 4:
        raise ShapeError(
            "start frames with an alpha channel",
            given=tuple(frames.shape),
            allowed="RGB, three channels",
            remedy="compose them on a background, or show what alpha hides: frame[..., :3]",
        )
    height, width = frame_size
    frame = f"{height}, {width}, 3"
    if frames is None or not _fits(frames, frame_size):
        raise ShapeError(
            "start frames do not fit the world",
            given=describe(init),
            allowed=f"uint8 ({frame}), (frames, {frame}) or ({num_envs}, frames, {frame}), "
            f"or {DRAWN!r}",
            remedy=f"cv2.resize(frame, ({width}, {height})), RGB",
        )
    if frames.ndim == 4 and len(frames) == num_envs > 1:
        raise ShapeError(
            "these start frames can be read in two ways",
            given=tuple(frames.shape),
            allowed=(
                f"one frame for each environment as ({num_envs}, 1, ...), "
                f"or one clip for all as (1, {num_envs}, ...)"
            ),
            remedy="frames[:, None] or frames[None]",
        )
    return frames


def _fits(frames: Tensor, frame_size: tuple[int, int]) -> bool:
    return 3 <= frames.ndim <= 5 and tuple(frames.shape[-3:]) == (*frame_size, 3)


def _copy_of_frames(init: Any) -> UInt8[Tensor, "*n c"] | None:
    """Return a copy of frames; None if they are no array of bytes with numbers in it."""
    if isinstance(init, np.ndarray) and init.dtype == np.uint8:
        # torch takes no mirrored array, and warns of a read-only one
        return torch.from_numpy(np.array(init))
    if not isinstance(init, Tensor) or init.is_meta:
        return None
    if init.dtype != torch.uint8 or init.layout != torch.strided:
        return None
    return init.clone()


def check_reset(
    options: Any, seed: Any, num_envs: int, frame_size: tuple[int, int], takes_init: bool
) -> ResetRequest:
    """Return what a reset is asked for.

    Args:
        options: the reset options.
        seed: one number, or one (or None) per environment.
        num_envs: number of environments.
        frame_size: height and width of a frame.
        takes_init: whether the environments can start from the caller's frames.

    Raises:
        ArgumentError: if a seed or the options are of the wrong type or out of range.
        ShapeError: if an option does not fit.
        UnknownNameError: for an option that is almost one of ours.
    """
    ours = check_options(options)
    mask = check_mask(ours.get("reset_mask"), num_envs)
    init = check_init(ours.get("init"), mask, frame_size, takes_init)
    return ResetRequest(mask=mask, seeds=check_seeds(seed, num_envs), init=init)
