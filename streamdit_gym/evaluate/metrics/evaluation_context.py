"""What every metric needs: a candidate, real episodes, and models that read frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import Simulator, StartsAnywhere, WorldDefinition, WorldSpec
from streamdit_gym.evaluate.candidate import Candidate, Frames
from streamdit_gym.evaluate.evaluator_models import EvaluatorModels, StateErrors
from streamdit_gym.evaluate.schema import StateErrorMetrics
from streamdit_gym.evaluate.statistics import Estimate, estimate, median


@dataclass(frozen=True, kw_only=True)
class EvaluationContext:
    """A candidate and what it is measured against.

    Attributes:
        candidate: the world that is evaluated.
        reference: the real simulator.
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

    @property
    def commonest_start(self) -> str:
        """The kind of start with the largest share."""
        starts = self.reference.starts
        return max(starts, key=lambda kind: starts[kind])

    @property
    def actor_columns(self) -> list[int]:
        """Where the actor's position stands in a state."""
        state_names = self.spec.state_names
        actor = self.reference.evaluation.actor
        assert actor is not None
        return [state_names.index(name) for name in actor]

    def state_errors(self, frames: Frames, states: Float[np.ndarray, "e f s"]) -> StateErrors:
        """Return how far the states that are read off frames are from the true ones."""
        return self.models.state_errors(frames, states, self.reference, self.spec)

    def object_integrity(self, frames: Frames) -> dict[str, Estimate]:
        """Return, for each object, the share of frames that show exactly one, undamaged."""
        episodes = len(frames)
        flat = frames.reshape(-1, *frames.shape[2:])
        objects = self.reference.evaluation.objects
        assert objects is not None
        integrity = {}
        for name, rates in objects(flat).items():
            integrity[name] = estimate(rates.reshape(episodes, -1))
        return integrity


def begin_at(
    simulator: Simulator, start: str, state: Float[np.ndarray, " s"], seed: int = 0
) -> None:
    """Put a simulator at rest into a state, such as that of a held-out episode's first frame.

    Args:
        simulator: the reference simulator.
        start: kind of start, for everything that states do not tell.
        state: where to begin.
        seed: of the simulator.
    """
    simulator.reset(np.random.default_rng(seed), start)
    assert isinstance(simulator, StartsAnywhere)
    simulator.start_from(np.random.default_rng(seed), state, 0, state)


def median_errors(errors: StateErrors) -> StateErrorMetrics:
    """Return the medians of state errors."""
    return StateErrorMetrics(
        actor_px=estimate(errors.actor_px, median),
        body_px=estimate(errors.body_px, median),
        body_degrees=estimate(errors.body_degrees, median),
    )
