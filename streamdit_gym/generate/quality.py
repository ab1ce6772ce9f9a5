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
Condition = tuple[str, Callable[[float, float], bool], float]  # metric, comparison, number
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
        errors = self.self_consistency_errors
        return {
            "self_consistency_error": float(errors.mean()),
            "self_consistency_error_max": float(errors.max()),
            "drift": _drift(self.frames),
            "return": float(self.rewards.sum()),
            "success": float(self.success),
            "menu": self.menu,
        }


def _drift(frames: UInt8[np.ndarray, "f h w 3"]) -> float:
    pixels = frames.astype(np.float32)
    grey = pixels.mean(-1)
    horizontal = np.diff(grey, axis=2) ** 2
    vertical = np.diff(grey, axis=1) ** 2
    squared_sharpness = horizontal.mean((1, 2)) + vertical.mean((1, 2))
    sharpness = np.sqrt(squared_sharpness)
    count = round(EDGE_SHARE * len(sharpness))
    count = max(1, count)
    first = sharpness[:count].mean()
    last = sharpness[-count:].mean()
    change = last / max(first, 1e-6) - 1
    return float(abs(change))


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
        self._conditions: list[Condition] = []
        for text in re.split(r"\band\b", rule):
            if not text.strip():
                continue
            self._conditions.append(_condition(text))

    def __call__(self, metrics: dict[str, float]) -> bool:
        """Return whether an episode with such metrics is kept."""
        return all(compare(metrics[name], number) for name, compare, number in self._conditions)


def _condition(text: str) -> Condition:
    """Return a comparison such as ``drift<0.2``.

    Raises:
        StreamDiTError: if it cannot be read.
    """
    match = CONDITION.fullmatch(text)
    if match is not None:
        name, comparison, number = match.groups()
        name = _current_name(name)
        if name in METRICS:
            return name, COMPARISONS[comparison], float(number)
    comparisons = ", ".join(COMPARISONS)
    metrics = ", ".join(METRICS)
    raise StreamDiTError(
        "cannot read which episodes to keep",
        given=repr(text.strip()),
        allowed=f"METRIC < NUMBER with one of {comparisons}; metrics: {metrics}",
        remedy='for example --keep-if "self_consistency_error<0.1 and drift<0.2"',
    )


def _current_name(name: str) -> str:
    if name not in FORMER_NAMES:
        return name
    current = FORMER_NAMES[name]
    text = f"the quality metric {name} is now {current}"
    warnings.warn(text, DeprecationWarning, stacklevel=5)
    return current
