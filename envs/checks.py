"""Checks of what callers hand to the environments; they change nothing.

Takes: options, actions, frames.  Gives: the same in one shape, or a clear error.  Knows nothing of: worlds, models.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from streamdit_gym.errors import ActionError, ShapeError, UnknownNameError


def check_options(options: dict[str, Any], allowed: set[str]) -> None:
    """Refuse options that do not exist."""
    for name in options:
        if name not in allowed:
            raise UnknownNameError("reset option", name, allowed)


def check_mask(mask: Any, num_envs: int) -> Bool[np.ndarray, " n"]:
    """Return which rows to reset."""
    if mask is None:
        return np.ones(num_envs, dtype=bool)
    if isinstance(mask, Tensor):
        mask = mask.cpu().numpy()
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        given = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise ShapeError(
            "not a reset mask", given=given, allowed=f"numpy bool ({num_envs},), at least one True", remedy="mask = terminated | truncated"
        )
    return mask


def check_seeds(seed: Any, num_envs: int) -> list[int | None]:
    """Return one seed (or None) per environment."""
    if seed is None:
        return [None] * num_envs
    given = [int(seed) + i for i in range(num_envs)] if isinstance(seed, Integral) else seed
    seeds = [None if s is None else int(s) for s in given]
    if len(seeds) != num_envs:
        raise ShapeError("one seed per environment", given=len(seeds), allowed=num_envs, remedy="give an int or a list of that length")
    if any(s is not None and s < 0 for s in seeds):
        raise ShapeError("a negative seed", given=seed, allowed=">= 0", remedy="seed=0")
    return seeds


def check_init(init: Any, rows: np.ndarray, num_envs: int, size: int, taken: bool) -> UInt8[Tensor, "n f h w 3"] | None:
    """Return the first frames of the rows to reset."""
    if init is None:
        return None
    if not taken:
        raise ShapeError(
            "a real simulator cannot start from pictures", given="options['init']", allowed="no init",
            remedy="use the generated environment, or start both from the simulator's first frame",
        )  # fmt: skip
    if isinstance(init, np.ndarray):
        init = np.ascontiguousarray(init)  # torch takes no mirrored one, such as cv2.imread(...)[..., ::-1]
    frames = torch.as_tensor(init) if isinstance(init, (np.ndarray, Tensor)) else None
    if frames is None or frames.dtype != torch.uint8 or not 3 <= frames.ndim <= 5 or tuple(frames.shape[-3:]) != (size, size, 3):
        given = type(init).__name__ if frames is None else f"{frames.dtype} {tuple(frames.shape)}"
        raise ShapeError(
            "start frames do not fit the world", given=given, remedy="cv2.resize(frame, (size, size)), RGB",
            allowed=f"uint8 ({size}, {size}, 3), (frames, {size}, {size}, 3) or ({num_envs}, frames, {size}, {size}, 3)",
        )  # fmt: skip
    if frames.ndim == 4 and len(frames) == num_envs > 1:
        raise ShapeError(
            "these start frames can be read in two ways", given=tuple(frames.shape), remedy="frames[:, None] or frames[None]",
            allowed=f"one frame for each environment as ({num_envs}, 1, ...), or one clip for all as (1, {num_envs}, ...)",
        )  # fmt: skip
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
    """Return one action per row: ints for a menu, strings for text."""
    if kind == "text":
        texts = [actions] if isinstance(actions, str) else list(actions)
        if len(texts) != num_envs or not all(isinstance(text, str) and text.strip() for text in texts):
            raise ActionError(
                "not one text per environment",
                given=repr(actions)[:80],
                allowed=f"{num_envs} non-empty strings",
                remedy="say what should happen",
            )
        return texts
    array = actions.cpu().numpy() if isinstance(actions, Tensor) else np.asarray(actions)
    if array.shape != (num_envs,) or array.dtype.kind not in "iu":
        raise ActionError(
            "actions of the wrong shape or type",
            given=f"{array.dtype} {array.shape}",
            allowed=f"integers ({num_envs},)",
            remedy="env.action_space.sample()",
        )
    if (array < 0).any() or (array >= count).any():
        raise ActionError("no such action", given=array.tolist(), allowed=f"0..{count - 1}", remedy="see env.unwrapped.world_spec.menu")
    return array.tolist()
