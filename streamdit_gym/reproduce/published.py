"""Numbers as the documentation writes them: ``2.47 ± 0.16``, ``94.6 %``, ``0.99 [0.98, 1.01]``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

NUMBER = r"-?\d[\d,]*(?:\.\d+)?"
INTERVAL = rf"(?:± (?P<half>{NUMBER}))?(?:\[(?P<low>{NUMBER}), (?P<high>{NUMBER})\])?"
WRITTEN = re.compile(rf"(?P<value>{NUMBER})[^\d\[±-]*{INTERVAL}")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number with its 95 % interval, or without one.

    Attributes:
        value: the number.
        low: lower end; the number itself where it has no interval.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether it is known how sure the number is."""
        return self.low < self.high

    def agrees_with(self, other: Measured) -> bool:
        """Return whether the intervals overlap."""
        return self.low <= other.high and other.low <= self.high

    def __format__(self, spec: str) -> str:
        """Return ``value [low, high]``, every number by `spec`."""
        if not self.has_interval:
            return format(self.value, spec)
        return f"{format(self.value, spec)} [{format(self.low, spec)}, {format(self.high, spec)}]"


def parse_number(text: str) -> Measured:
    """Return a number as the documentation writes it.

    Raises:
        ValueError: if the text does not begin with one.
    """
    match = WRITTEN.match(text)
    if match is None:
        raise ValueError(f"no number: {text!r}")
    value = _number(match["value"])
    if match["half"]:
        half = _number(match["half"])
        return Measured(value=value, low=value - half, high=value + half)
    if match["low"]:
        return Measured(value=value, low=_number(match["low"]), high=_number(match["high"]))
    return Measured(value=value, low=value, high=value)


def decimals_of(text: str) -> int:
    """Return how many decimals a number is written with."""
    match = WRITTEN.match(text)
    assert match is not None
    return len(match["value"].partition(".")[2])


def ratio(measured: Measured, published: Measured) -> float:
    """Return a measured number over a published one."""
    return measured.value / published.value if published.value else math.nan


def _number(text: str) -> float:
    return float(text.replace(",", ""))
