"""What a metric is, and how its numbers are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamdit_gym.evaluate.statistics import Estimate

Better = Literal["higher", "lower", "nearer to 1"]


@dataclass(frozen=True)
class Unit:
    """How numbers are written.

    Attributes:
        number_format: of Python's format language.
        suffix: what follows the number.
    """

    number_format: str
    suffix: str = ""

    def format_number(self, number: float) -> str:
        """Return a number as text."""
        return f"{number:{self.number_format}}{self.suffix}"

    def format_estimate(self, estimate: Estimate) -> str:
        """Return ``value [low, high]`` with the unit."""
        if not estimate.is_measured:
            return "not measured"
        return f"{estimate:{self.number_format}}{self.suffix}"


PIXELS = Unit(".2f", " px")
DEGREES = Unit(".1f", "°")
DECIBELS = Unit(".1f", " dB")
SHARE = Unit(".1%")
RATIO = Unit(".2f")
THREE_DECIMALS = Unit(".3f")
SQUARED_LEVELS = Unit(".0f")
PER_THOUSAND_STEPS = Unit(".1f", " per 1,000 steps")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One kind of metric.

    Attributes:
        path: where it stands in `Scores`.
        label: what it says, for people.
        unit: how it is written.
        better: which values are better, if it depends on the transformer; such metrics are compared
            between a student and its teacher.
        baseline: path of a metric to read it against.
        baseline_label: what that is.
    """

    path: str
    label: str
    unit: Unit
    better: Better | None = None
    baseline: str | None = None
    baseline_label: str = ""
