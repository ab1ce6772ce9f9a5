"""What is measured of a world's control: whether frames show what was prompted, and how soon."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan

from streamdit_gym.evaluate.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class ActionMetrics:
    """Whether frames show the actions that were prompted.

    A menu's actions are named by the inverse-dynamics model; of a box it reads every dimension.

    Attributes:
        inverse_dynamics_accuracy: share of a menu's actions that the inverse-dynamics model reads
            off generated frames.
        real_inverse_dynamics_accuracy: the same on real frames.
        action_fidelity: the first over the second.
        chance: accuracy of a guess; NaN for a box.
        dimension_r: for each dimension of a box, the correlation of the values that are read off
            generated frames with those that were prompted.
        real_dimension_r: the same on real frames.
        dimension_fidelity: the first over the second, of dimensions that can be read.
        next_frame_error: squared error of the next frame at the actor, in squared grey levels.
        other_actions_error_ratio: that error under other actions over the one under the true ones.
        idle_error_ratio: the same for idling.
    """

    inverse_dynamics_accuracy: Estimate | None = None
    real_inverse_dynamics_accuracy: Estimate | None = None
    action_fidelity: Estimate | None = None
    chance: float = nan
    dimension_r: dict[str, Estimate] = field(default_factory=dict)
    real_dimension_r: dict[str, Estimate] = field(default_factory=dict)
    dimension_fidelity: dict[str, Estimate] = field(default_factory=dict)
    next_frame_error: Estimate | None = None
    other_actions_error_ratio: Estimate | None = None
    idle_error_ratio: Estimate | None = None

    @property
    def twice_chance(self) -> float:
        """Accuracy below which actions count as unreadable."""
        return 2 * self.chance

    @property
    def real_skill(self) -> float:
        """How well actions can be read off real frames: 0 as by chance, 1 without mistakes.

        Of a menu it is the accuracy above chance; of a box the best dimension's correlation.
        """
        if self.real_inverse_dynamics_accuracy is not None:
            accuracy = self.real_inverse_dynamics_accuracy.value
            return (accuracy - self.chance) / (1 - self.chance)
        measured = [r.value for r in self.real_dimension_r.values() if r.is_measured]
        return max(measured, default=nan)


@dataclass(frozen=True, kw_only=True)
class AblationMetrics:
    """What right actions are worth: rollouts under the true actions and under another episode's.

    Attributes:
        horizon: frames of the rollouts.
        error_removed: the part of the squared error under another episode's actions that the true
            ones remove: 0 for a world that ignores its prompts, 1 for a perfect one.
    """

    horizon: int
    error_removed: Estimate


@dataclass(frozen=True, kw_only=True)
class SweepCurve:
    """What one dimension of a box moves, from its low to its high end, from the same starts.

    Displacements are read off frames, in shares of the range that the dimension spans in the
    reference simulator; 0 is its low end.

    Attributes:
        values: of the dimension.
        real: mean displacement in the reference simulator.
        generated: in the world.
        error: largest distance between the two curves.
        backward: how far the world's curve falls back below its highest point so far.
    """

    values: tuple[float, ...]
    real: tuple[float, ...]
    generated: tuple[float, ...]
    error: Estimate
    backward: Estimate


@dataclass(frozen=True, kw_only=True)
class SweepMetrics:
    """Whether control is continuous.

    Attributes:
        frames: frames under one value.
        dimensions: of the box, those that move anything in the reference simulator.
    """

    frames: int
    dimensions: dict[str, SweepCurve]


@dataclass(frozen=True, kw_only=True)
class TextMetrics:
    """How phrases are followed that no training has seen.

    Attributes:
        menu_accuracy: inverse-dynamics accuracy under the menu's phrases.
        unseen_accuracy: the same under unseen phrases.
        unseen_ratio: the second over the first.
    """

    menu_accuracy: Estimate
    unseen_accuracy: Estimate
    unseen_ratio: Estimate


@dataclass(frozen=True, kw_only=True)
class ReactionCurve:
    """How soon a new prompt shows.

    Attributes:
        effect: for each frame after the change of prompts, the median share of its final effect on
            the actor's speed.
        prompt_shows: share of episodes in which the new prompt has an effect at all.
        frames_to_50: frames until half of the effect; None if it never comes.
        frames_to_90: frames until nine tenths of it.
    """

    effect: tuple[float, ...]
    prompt_shows: Estimate
    frames_to_50: int | None
    frames_to_90: int | None


@dataclass(frozen=True, kw_only=True)
class ReactionMetrics:
    """How soon a new prompt shows, in the world and in the reference simulator.

    Attributes:
        change_after: frames under the first prompt.
        generated: in the world; frames in flight at the change count.
        real: in the reference simulator.
    """

    change_after: int
    generated: ReactionCurve
    real: ReactionCurve
