"""Quality metrics of a generated episode, and a filter of episodes by them."""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.errors import StreamDiTError

EDGE_SHARE = 0.15  # of an episode: its first and last frames, whose sharpness is compared
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
METRICS = (
    "self_consistency_error",
    "self_consistency_error_max",
    "drift",
    "return",
    "success",
    "menu",
)
# as data sets of earlier versions have them
FORMER_NAMES = {
    "disagreement": "self_consistency_error",
    "disagreement_max": "self_consistency_error_max",
}
CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|==|<|>)\s*(-?\d+\.?\d*(?:e-?\d+)?)\s*")


@dataclass(frozen=True, kw_only=True)
class EpisodeQuality:
    """What was measured of an episode.

    Attributes:
        frames: its frames.
        self_consistency_errors: of some of its frames.
        rewards: of the task.
        success: whether the task was done at any time.
        menu: share of its prompts that are menu entries.
    """

    frames: UInt8[np.ndarray, "f h w 3"]
    self_consistency_errors: Float[np.ndarray, " n"]
    rewards: Float[np.ndarray, " s"]
    success: bool
    menu: float = 1.0

    def metrics(self) -> dict[str, float]:
        """Return the quality metrics by name, see `METRICS`.

        ``self_consistency_error`` is a mean, beside its maximum; ``drift`` is how much the
        sharpness of the last frames differs from that of the first ones, as a share; ``return`` is
        the sum of the rewards; ``success`` is 0 or 1.
        """
        return {
            "self_consistency_error": float(self.self_consistency_errors.mean()),
            "self_consistency_error_max": float(self.self_consistency_errors.max()),
            "drift": _drift(self.frames),
            "return": float(self.rewards.sum()),
            "success": float(self.success),
            "menu": self.menu,
        }


def _drift(frames: UInt8[np.ndarray, "f h w 3"]) -> float:
    grey = frames.astype(np.float32).mean(-1)
    horizontal = (np.diff(grey, axis=2) ** 2).mean((1, 2))
    vertical = (np.diff(grey, axis=1) ** 2).mean((1, 2))
    sharpness = np.sqrt(horizontal + vertical)
    count = max(1, round(EDGE_SHARE * len(sharpness)))
    first = max(sharpness[:count].mean(), 1e-6)
    last = sharpness[-count:].mean()
    return float(abs(last / first - 1))


def current_metrics(metrics: dict[str, float]) -> dict[str, float]:
    """Return metrics with today's names; those of earlier versions are renamed."""
    return {FORMER_NAMES.get(name, name): value for name, value in metrics.items()}


class EpisodeFilter:
    """A rule such as ``self_consistency_error<0.1 and drift<0.2``.

    Args:
        rule: comparisons of quality metrics with numbers, joined by ``and``; empty keeps all.

    Raises:
        StreamDiTError: if the rule cannot be read.
    """

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self._conditions: list[tuple[str, Callable[[float, float], bool], float]] = []
        for text in re.split(r"\band\b", rule):
            if not text.strip():
                continue
            match = CONDITION.fullmatch(text)
            name = _current_name(match[1]) if match else ""
            if match is None or name not in METRICS:
                comparisons = ", ".join(COMPARISONS)
                raise StreamDiTError(
                    "cannot read which episodes to keep",
                    given=repr(text.strip()),
                    allowed=f"METRIC < NUMBER with one of {comparisons}; "
                    f"metrics: {', '.join(METRICS)}",
                    remedy='for example --keep-if "self_consistency_error<0.1 and drift<0.2"',
                )
            self._conditions.append((name, COMPARISONS[match[2]], float(match[3])))

    def __call__(self, metrics: dict[str, float]) -> bool:
        """Return whether an episode with such metrics is kept."""
        return all(compare(metrics[name], number) for name, compare, number in self._conditions)


def _current_name(name: str) -> str:
    if name not in FORMER_NAMES:
        return name
    text = f"the quality metric {name} is now {FORMER_NAMES[name]}"
    warnings.warn(text, DeprecationWarning, stacklevel=4)
    return FORMER_NAMES[name]
