"""Checks of what callers hand to the environments; they change nothing.

Takes: options, actions, frames.  Gives: the same in one shape, or a clear error.  Knows nothing of:
    worlds, models.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from jaxtyping import Bool, UInt8
from torch import Tensor

from streamdit_gym.checks import check_choice, check_int, check_prompt, check_str, shown
from streamdit_gym.errors import ActionError, ArgumentError, ShapeError, UnknownNameError

log = logging.getLogger("streamdit_gym")

MAX_SEED = 2**128 - 1  # what Gymnasium draws itself when none is given
OPTIONS = ("init", "reset_mask")
NEAR = 0.7  # similarity (difflib) from which another name is taken for a misspelled option


def check_dtype(dtype: Any) -> str:
    """Return the name of a precision, given as a name or as torch's own object."""
    name = str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else dtype
    return check_choice("dtype", name, ("float32", "bfloat16"))


def check_autoreset_mode(mode: Any) -> AutoresetMode:
    """Return an autoreset mode, given as such, by its name (``"NEXT_STEP"``) or by its value
    (``"NextStep"``).
    """
    if isinstance(mode, AutoresetMode):
        return mode
    modes = {mode.name: mode for mode in AutoresetMode}
    values = {mode.value: mode for mode in AutoresetMode}
    if isinstance(mode, str) and mode in values:
        return values[mode]
    return modes[check_choice("autoreset_mode", mode, modes)]


def check_world(name: str, world: Any) -> str:
    """Return a world's name or path.

    Raises:
        ArgumentError: if it is no text, empty, or could not be a path.
    """
    text = check_str(name, world)
    if (
        not text.strip()
        or not text.isprintable()
        or any(len(part.encode()) > 255 for part in text.split("/"))
    ):
        raise ArgumentError(
            f"{name} cannot be used",
            given=shown(text),
            allowed="a shipped name, a folder or a Hub id user/repository",
            remedy=f"change {name}",
        )
    return text


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
    for name in options:
        if name in OPTIONS:
            continue
        if isinstance(name, str) and difflib.get_close_matches(
            name.lower(), OPTIONS, n=1, cutoff=NEAR
        ):
            raise UnknownNameError("reset option", name, OPTIONS)
        log.debug("reset option %s is not ours and ignored", shown(name))
    return {name: options[name] for name in OPTIONS if name in options}


def check_mask(mask: Any, num_envs: int) -> Bool[np.ndarray, " n"]:
    """Return which rows to reset."""
    if mask is None:
        return np.ones(num_envs, dtype=bool)
    array = _array(mask) if isinstance(mask, (np.ndarray, Tensor)) else None
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
    """Return one seed (or None) per environment."""
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
    init: Any, rows: np.ndarray, num_envs: int, size: int, taken: bool
) -> UInt8[Tensor, "n f h w 3"] | None:
    """Return the first frames of the rows to reset."""
    if init is None:
        return None
    if not taken:
        raise ShapeError(
            "a real simulator cannot start from pictures",
            given="options['init']",
            allowed="no init",
            remedy="use the generated environment, or start both from the simulator's first frame",
        )
    frames = _frames(init)
    if frames is not None and frames.ndim >= 3 and frames.shape[-1] == 4:
        raise ShapeError(
            "start frames with an alpha channel",
            given=tuple(frames.shape),
            allowed="RGB, three channels",
            remedy="compose them on a background, or show what alpha hides: frame[..., :3]",
        )
    fits = (
        frames is not None and 3 <= frames.ndim <= 5 and tuple(frames.shape[-3:]) == (size, size, 3)
    )
    if frames is None or not fits:
        raise ShapeError(
            "start frames do not fit the world",
            given=_about(init),
            allowed=f"uint8 ({size}, {size}, 3), (frames, {size}, {size}, 3) or ({num_envs}, frames, {size}, {size}, 3)",
            remedy="cv2.resize(frame, (size, size)), RGB",
        )
    if frames.ndim == 4 and len(frames) == num_envs > 1:
        raise ShapeError(
            "these start frames can be read in two ways",
            given=tuple(frames.shape),
            remedy="frames[:, None] or frames[None]",
            allowed=f"one frame for each environment as ({num_envs}, 1, ...), or one clip for all as (1, {num_envs}, ...)",
        )
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
    return frames[torch.from_numpy(rows)]


def check_actions(actions: Any, num_envs: int, count: int, kind: str) -> list[Any]:
    """Return one action per row: ints for a menu, prompts for text."""
    if kind == "text":
        return _prompts(actions, num_envs)
    array = _array(actions)
    if array is None or array.shape != (num_envs,) or array.dtype.kind not in "iu":
        given = _about(actions) if array is None else f"{array.dtype} {array.shape}"
        raise ActionError(
            "actions of the wrong shape or type",
            given=given,
            allowed=f"integers ({num_envs},)",
            remedy="env.action_space.sample()",
        )
    if (array < 0).any() or (array >= count).any():
        raise ActionError(
            "no such action",
            given=shown(array.tolist()),
            allowed=f"0..{count - 1}",
            remedy="see env.unwrapped.world_spec.menu",
        )
    return array.tolist()


def single_action(action: Any, kind: str) -> Sequence[Any]:
    """Return a single environment's action as those of a batch with one row."""
    if kind == "text":
        return [action]
    array = _array(action)
    if array is None or array.size != 1:
        raise ActionError(
            "one action at a time",
            given=_about(action) if array is None else f"shape {array.shape}",
            allowed="one integer",
            remedy="use make_vec for batches",
        )
    return array.reshape(-1)  # type: ignore[return-value]


def _prompts(actions: Any, num_envs: int) -> list[str]:
    is_list = isinstance(actions, (list, tuple)) or (
        isinstance(actions, np.ndarray) and actions.ndim == 1
    )
    if not is_list or len(actions) != num_envs:
        raise ActionError(
            "not one text per environment",
            given=_about(actions),
            allowed=f"{num_envs} strings, in a list or tuple",
            remedy="say what should happen",
        )
    try:
        return [check_prompt(text) for text in actions]
    except ArgumentError as error:
        raise ActionError(
            "not one text per environment",
            given=error.given,
            allowed=f"{num_envs} strings, each of {error.allowed}",
            remedy="say what should happen",
        ) from error


def _array(value: Any) -> np.ndarray | None:
    """Return numbers as an array of the host; None if they are none."""
    try:
        return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    except (
        Exception
    ):  # ragged lists, tensors without numbers, objects that fail when they are asked
        return None


def _frames(init: Any) -> UInt8[Tensor, "*n c"] | None:
    """Return a copy of frames; None if they are no array of bytes with numbers in it."""
    if isinstance(init, np.ndarray) and init.dtype == np.uint8:
        return torch.from_numpy(
            np.array(init)
        )  # torch takes no mirrored one, and warns of a read-only one
    if (
        isinstance(init, Tensor)
        and init.dtype == torch.uint8
        and init.layout == torch.strided
        and not init.is_meta
    ):
        return init.clone()
    return None


def _about(value: Any) -> str:
    """Say what an array is, or else show the value."""
    if isinstance(value, (np.ndarray, Tensor)):
        return f"{value.dtype} {tuple(value.shape)}"
    return f"{type(value).__name__} {shown(value)}"
