"""What can be said about the quality of a generated episode, and which to keep.

Takes: an episode's frames and what the world said of them.  Gives: named numbers, and a yes or no.
    Knows nothing of: files, models.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.errors import StreamDiTError

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
NAMES = ("self_consistency_error", "disagreement_max", "drift", "return", "success", "menu")


def flags(
    frames: UInt8[np.ndarray, "f h w 3"],
    doubts: Float[np.ndarray, " n"],
    rewards: Float[np.ndarray, " s"],
    success: bool,
    menu: float = 1.0,
) -> dict[str, float]:
    """Return an episode's flags, see `NAMES`.

    Args:
        frames: its frames.
        doubts: how far the world's second looks lay from its first.
        rewards: of the task that is played.
        success: whether the task was done at any time.
        menu: share of its prompts that are menu entries.

    Returns:
        ``self_consistency_error``, mean and ``_max``; ``drift``, how much the sharpness of the last
        15 % of the frames differs from the first's, as a share; ``return``, the sum of the rewards;
        ``success``, 0 or 1; ``menu``, as given.
    """
    grey = frames.astype(np.float32).mean(-1)
    sharp = np.sqrt(
        (np.diff(grey, axis=2) ** 2).mean((1, 2)) + (np.diff(grey, axis=1) ** 2).mean((1, 2))
    )
    part = max(1, round(0.15 * len(sharp)))
    return {
        "self_consistency_error": float(doubts.mean()),
        "disagreement_max": float(doubts.max()),
        "drift": float(abs(sharp[-part:].mean() / max(sharp[:part].mean(), 1e-6) - 1)),
        "return": float(rewards.sum()),
        "success": float(success),
        "menu": menu,
    }


class Keep:
    """A rule such as ``self_consistency_error<0.1 and drift<0.2``.

    Args:
        rule: comparisons of flags with numbers, joined by ``and``; empty keeps everything.

    Raises:
        StreamDiTError: if the rule cannot be read.
    """

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self._parts: list[tuple[str, Callable[[float, float], bool], float]] = []
        for part in filter(str.strip, re.split(r"\band\b", rule)):
            found = re.fullmatch(r"\s*(\w+)\s*(<=|>=|==|<|>)\s*(-?\d+\.?\d*(?:e-?\d+)?)\s*", part)
            if found is None or found[1] not in NAMES:
                raise StreamDiTError(
                    "cannot read which episodes to keep",
                    given=repr(part.strip()),
                    allowed=f"FLAG < NUMBER with one of {', '.join(COMPARISONS)}; flags: {', '.join(NAMES)}",
                    remedy='for example --keep-if "self_consistency_error<0.1 and drift<0.2"',
                )
            self._parts.append((found[1], COMPARISONS[found[2]], float(found[3])))

    def __call__(self, of: dict[str, float]) -> bool:
        """Return whether an episode with such flags is kept."""
        return all(compare(of[name], number) for name, compare, number in self._parts)
