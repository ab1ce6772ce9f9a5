"""What every metric needs: a candidate, real episodes, and models that read frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from streamdit_gym.actions import SpokenBox, action_numbers
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import (
    Action,
    EvaluationAdapter,
    HasState,
    Simulator,
    StartsAnywhere,
    WorldDefinition,
    WorldSpec,
)
from streamdit_gym.evaluate.candidate import Candidate, Frames
from streamdit_gym.evaluate.evaluator_models import EvaluatorModels
from streamdit_gym.evaluate.frame_schema import StateErrorMetrics
from streamdit_gym.evaluate.state_errors import StateErrors, state_errors
from streamdit_gym.evaluate.statistics import Estimate, estimate, median

# median errors on real frames beyond which a number counts as unreadable
MAX_NUMBER_ERROR = 0.25  # of its standard deviation
MAX_ANGLE_DEGREES = 5.0


@dataclass(frozen=True, kw_only=True)
class EvaluationContext:
    """A candidate and what it is measured against.

    Attributes:
        candidate: the world that is evaluated.
        reference: the world's definition, with its simulator if it has one.
        held_out: real episodes that no training has seen.
        models: read states and actions off frames.
    """

    candidate: Candidate
    reference: WorldDefinition
    held_out: Shard
    models: EvaluatorModels

    @property
    def spec(self) -> WorldSpec:
        """The world's spec."""
        return self.candidate.spec

    @property
    def first_frames(self) -> Frames:
        """The first frame of every held-out episode, from which rollouts go on."""
        return self.held_out.frames[:, :1]

    @property
    def first_states(self) -> Float[np.ndarray, "e s"]:
        """The true state at every first frame."""
        return self.held_out.states[:, 0]

    @cached_property
    def starts_anywhere(self) -> bool:
        """Whether there is a simulator that can be put into the held-out episodes' states."""
        if self.reference.make_simulator is None:
            return False
        simulator = self.reference.make_simulator()
        able = isinstance(simulator, StartsAnywhere) and isinstance(simulator, HasState)
        simulator.close()
        return able

    @property
    def commonest_start(self) -> str:
        """The kind of start with the largest share."""
        starts = self.reference.starts
        return max(starts, key=lambda kind: starts[kind])

    @property
    def actor_columns(self) -> list[int]:
        """Where the actor's position stands in a state."""
        state_names = self.spec.state_names
        actor = self.adapter.actor
        assert actor is not None
        return [state_names.index(name) for name in actor]

    @property
    def adapter(self) -> EvaluationAdapter:
        """What the evaluation may know of the world."""
        return self.reference.evaluation

    @cached_property
    def is_frame(self) -> Bool[np.ndarray, "e g"]:
        """Which of the held-out frames are no padding."""
        num_frames = self.held_out.frames.shape[1]
        return np.arange(num_frames) <= self.held_out.lengths[:, None]

    @cached_property
    def is_step(self) -> Bool[np.ndarray, "e s"]:
        """Which of the held-out steps are no padding."""
        return self.is_frame[:, 1:]

    @cached_property
    def spread(self) -> Float[np.ndarray, " s"]:
        """Standard deviation of every number of the state over the held-out frames."""
        spread: Float[np.ndarray, " s"] = self.held_out.states[self.is_frame].std(0)
        return spread

    @cached_property
    def real_errors(self) -> StateErrors:
        """Errors of the states that are read off the real frames."""
        errors = self.state_errors(self.held_out.frames, self.held_out.states)
        return errors.where(self.is_frame)

    @cached_property
    def readable(self) -> set[str]:
        """Which numbers and angles of the state the probe reads well off real frames."""
        errors = self.real_errors
        numbers = {n for n, e in errors.numbers.items() if median(e) <= MAX_NUMBER_ERROR}
        angles = {n for n, e in errors.angles.items() if median(e) <= MAX_ANGLE_DEGREES}
        return numbers | angles

    def state_errors(self, frames: Frames, states: Float[np.ndarray, "e f s"]) -> StateErrors:
        """Return how far the states that are read off frames are from the true ones."""
        if not self.spec.state_names:
            return StateErrors()
        predicted, _ = self.models.probe.read(frames)
        return state_errors(predicted, states, self.spec, self.adapter, self.spread)

    def action_matches(self, frames: Frames, steps: int) -> Float[np.ndarray, "e s-1"]:
        """Return where the action read off frames is the held-out one: 1 or 0; NaN: no such step.

        Args:
            frames: under the held-out episodes' actions, from the first real frame on.
            steps: how many actions.
        """
        matches = self.models.actions_match(
            frames[:, : steps + 1], self.held_out.actions[:, :steps]
        )
        return np.where(self.is_step[:, 1:steps], matches, np.nan)

    def dimension_pairs(
        self, frames: Frames, steps: int
    ) -> dict[str, Float[np.ndarray, "e s-1 2"]]:
        """Return, for each dimension of a box, the values read off frames beside the true ones.

        Args:
            frames: under the held-out episodes' actions, from the first real frame on.
            steps: how many actions.
        """
        box = self.spec.actions
        assert isinstance(box, SpokenBox)
        read = self.models.read_actions(frames[:, : steps + 1])
        true = action_numbers(box, self.held_out.actions[:, 1:steps])
        pairs = np.stack([read, true], -1)
        measured = np.where(self.is_step[:, 1:steps, None, None], pairs, np.nan)
        return {name: measured[:, :, i] for i, name in enumerate(box.names)}

    def object_integrity(self, frames: Frames) -> dict[str, Float[np.ndarray, "e f"]]:
        """Return, for each object, which frames show exactly one, undamaged: 1 or 0."""
        objects = self.adapter.objects
        if objects is None:
            return {}
        flat = frames.reshape(-1, *frames.shape[2:])
        return {name: rates.reshape(frames.shape[:2]) for name, rates in objects(flat).items()}


def begin_at(
    simulator: Simulator, start: str, state: Float[np.ndarray, " s"], idle: Action, seed: int = 0
) -> None:
    """Put a simulator at rest into a state, such as that of a held-out episode's first frame.

    Args:
        simulator: the reference simulator.
        start: kind of start, for everything that states do not tell.
        state: where to begin.
        idle: the world's idle action.
        seed: of the simulator.
    """
    simulator.reset(np.random.default_rng(seed), start)
    assert isinstance(simulator, StartsAnywhere)
    simulator.start_from(np.random.default_rng(seed), state, idle, state)


def median_errors(errors: StateErrors) -> StateErrorMetrics | None:
    """Return the medians of the errors of actor and body; None if the world names neither."""
    if errors.actor_px is None and errors.body_px is None:
        return None
    return StateErrorMetrics(
        actor_px=_median(errors.actor_px),
        body_px=_median(errors.body_px),
        body_degrees=_median(errors.body_degrees),
    )


def medians(errors: dict[str, np.ndarray]) -> dict[str, Estimate]:
    """Return the medians of the errors of named numbers."""
    return {name: estimate(values, median) for name, values in errors.items()}


def rates(values: dict[str, np.ndarray]) -> dict[str, Estimate]:
    """Return the means of named shares."""
    return {name: estimate(shares) for name, shares in values.items()}


def _median(errors: np.ndarray | None) -> Estimate | None:
    return None if errors is None else estimate(errors, median)


def share_within_1px(actor_px: np.ndarray | None) -> Estimate | None:
    """Return the share of frames in which the actor is found within a pixel."""
    if actor_px is None:
        return None
    return estimate(np.where(np.isnan(actor_px), np.nan, actor_px < 1))


def means_over_steps(values: Float[np.ndarray, "e s"]) -> Float[np.ndarray, " e"]:
    """Return each episode's mean over its steps, NaN apart; NaN for one without any."""
    steps = np.isfinite(values).sum(1)
    total = np.nansum(values, axis=1)
    return np.where(steps > 0, total / steps.clip(1), np.nan)
