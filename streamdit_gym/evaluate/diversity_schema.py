"""What is measured of many futures of one start: whether the world draws as often as chance does.

"Real" futures are those of the reference simulator under the same actions from the same start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isnan, nan

from jaxtyping import UInt8
from numpy import ndarray

from streamdit_gym.evaluate.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class OddsMetrics:
    """How often each named outcome comes, over the futures of all starts.

    Attributes:
        real: share of each outcome, real futures.
        generated: the same, generated ones.
        distance: total variation distance of the two: half the sum of all differences of shares.
        noise_floor: distance that two real samples of this size stay below in 95 of 100 cases.
        unclear: share of generated futures of which no outcome can be told, as in mixtures.
        real_unclear: the same, real ones.
    """

    real: dict[str, Estimate]
    generated: dict[str, Estimate]
    distance: Estimate
    noise_floor: Estimate
    unclear: Estimate
    real_unclear: Estimate

    @property
    def excess(self) -> float:
        """By how much the distance is surely larger than that of two real samples.

        Futures of which no outcome can be told are left out: mixtures have a name of their own.
        """
        return self.distance.low - self.noise_floor.value - self.unclear.value


@dataclass(frozen=True, kw_only=True)
class DiversityMetrics:
    """Whether the futures of one start differ as much and in the way that real ones do.

    A distance of two futures is the root mean square of the difference of their latents, as the
    world's own encoder gives them, averaged over frames and pairs.

    Attributes:
        starts: how many.
        futures: of each start.
        frames: of each future.
        spread: mean distance of generated futures of one start, over that of real ones; None: the
            world is determined.
        unwanted_variation: of a determined world: mean distance of generated futures over how far
            real frames move from the start; None: the world has chance.
        sharpness: contrast between neighbouring pixels where futures differ, generated over real;
            None: the world is determined.
        object_integrity: for each object, the share of generated frames that show exactly one,
            undamaged; empty for a determined world.
        real_object_integrity: the same, real ones.
        odds: of the named outcomes, if the world names some and has chance.
        film_strip: of one start, futures of which each is a row: first real, then generated ones.
    """

    starts: int
    futures: int
    frames: int
    spread: Estimate | None = None
    unwanted_variation: Estimate | None = None
    sharpness: Estimate | None = None
    object_integrity: dict[str, Estimate] = field(default_factory=dict)
    real_object_integrity: dict[str, Estimate] = field(default_factory=dict)
    odds: OddsMetrics | None = None
    film_strip: UInt8[ndarray, "e f h w 3"] | None = field(default=None, repr=False, compare=False)

    @property
    def blur(self) -> float:
        """How much single frames show of several futures, at least: 0 nothing, 1 all.

        It is what sharpness lacks, or the share of futures whose outcome cannot be told.
        """
        lacking = nan if self.sharpness is None else 1 - self.sharpness.high
        unclear = 0.0 if self.odds is None else self.odds.unclear.low
        return unclear if isnan(lacking) else max(lacking, unclear)
