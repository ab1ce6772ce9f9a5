"""How far states that are read off frames are from the true ones, for every number of a state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from streamdit_gym.definition import EvaluationAdapter, WorldSpec

States = Float[np.ndarray, "*b s"]
Errors = Float[np.ndarray, "*b"]
RADIANS_SUFFIX = "_rad"
MIN_SPREAD = 1e-6  # of a number that varies, in its own unit


@dataclass(frozen=True, kw_only=True)
class StateLayout:
    """What the numbers of a state are, by their names.

    Attributes:
        numbers: column of each number that is no angle.
        angles: columns of each angle: cosine and sine, or the angle itself in radians.
    """

    numbers: dict[str, int]
    angles: dict[str, tuple[int, ...]]


def state_layout(names: Sequence[str]) -> StateLayout:
    """Return what a state's numbers are.

    ``elbow_cos`` and ``elbow_sin`` are the angle ``elbow``, and so is ``elbow_rad``.
    """
    angles: dict[str, tuple[int, ...]] = {}
    for column, name in enumerate(names):
        sine = name.replace("cos", "sin")
        if sine != name and sine in names:
            angle = name.replace("cos", "").strip("_ ().") or "angle"
            angles[angle] = (column, list(names).index(sine))
        elif name.endswith(RADIANS_SUFFIX):
            angles[name.removesuffix(RADIANS_SUFFIX)] = (column,)
    angle_columns = {column for columns in angles.values() for column in columns}
    numbers = {name: i for i, name in enumerate(names) if i not in angle_columns}
    return StateLayout(numbers=numbers, angles=angles)


@dataclass(frozen=True, kw_only=True)
class StateErrors:
    """Errors of states that were read off frames, one for each frame.

    Attributes:
        actor_px: distance between the read and the true position of the actor; None: the world
            names none.
        body_px: the same of the body.
        body_degrees: angle between the read and the true orientation of the body.
        numbers: of each number that is no angle, as a share of its standard deviation.
        angles: of each angle, in degrees.
    """

    actor_px: Errors | None = None
    body_px: Errors | None = None
    body_degrees: Errors | None = None
    numbers: dict[str, Errors] = field(default_factory=dict)
    angles: dict[str, Errors] = field(default_factory=dict)

    def where(self, is_measured: np.ndarray) -> StateErrors:
        """Return the errors, NaN where something was not measured."""

        def masked(errors: Errors | None) -> Errors | None:
            return None if errors is None else np.where(is_measured, errors, np.nan)

        return self._changed(masked)

    def only(self, names: set[str]) -> StateErrors:
        """Return the errors of some of the named numbers and angles."""
        return StateErrors(
            actor_px=self.actor_px,
            body_px=self.body_px,
            body_degrees=self.body_degrees,
            numbers={name: self.numbers[name] for name in self.numbers if name in names},
            angles={name: self.angles[name] for name in self.angles if name in names},
        )

    def _changed(self, change: Callable[[Errors | None], Errors | None]) -> StateErrors:
        numbers = {name: change(errors) for name, errors in self.numbers.items()}
        angles = {name: change(errors) for name, errors in self.angles.items()}
        return StateErrors(
            actor_px=change(self.actor_px),
            body_px=change(self.body_px),
            body_degrees=change(self.body_degrees),
            numbers={name: errors for name, errors in numbers.items() if errors is not None},
            angles={name: errors for name, errors in angles.items() if errors is not None},
        )


def state_errors(
    predicted: States,
    true: States,
    spec: WorldSpec,
    adapter: EvaluationAdapter,
    spread: Float[np.ndarray, " s"],
) -> StateErrors:
    """Return how far predicted states are from true ones.

    Args:
        predicted: read off frames.
        true: the simulator's.
        spec: names the states' numbers.
        adapter: names actor and body, if the world has them.
        spread: standard deviation of every number over real frames; numbers without any are left
            out.
    """
    names = list(spec.state_names)
    layout = state_layout(names)
    deviations = np.abs(predicted - true)
    numbers = {
        name: deviations[..., column] / spread[column]
        for name, column in layout.numbers.items()
        if spread[column] > MIN_SPREAD
    }
    angles = {
        name: degrees_between(_angle(predicted, columns), _angle(true, columns))
        for name, columns in layout.angles.items()
    }
    actor_px = None
    if adapter.actor is not None:
        actor_px = _distance(predicted, true, [names.index(name) for name in adapter.actor])
    body_px = None
    body_degrees = None
    if adapter.body is not None:
        x, y, cosine, sine = (names.index(name) for name in adapter.body)
        body_px = _distance(predicted, true, [x, y])
        direction = (cosine, sine)
        body_degrees = degrees_between(_angle(predicted, direction), _angle(true, direction))
    return StateErrors(
        actor_px=actor_px,
        body_px=body_px,
        body_degrees=body_degrees,
        numbers=numbers,
        angles=angles,
    )


def degrees_between(angle: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how many degrees lie between angles in radians, from 0 to 180."""
    turn = angle - other
    wrapped_turn = np.arctan2(np.sin(turn), np.cos(turn))
    return np.degrees(np.abs(wrapped_turn))


def _angle(states: States, columns: tuple[int, ...]) -> Errors:
    """Return an angle of states, in radians."""
    if len(columns) == 1:
        angle: Errors = states[..., columns[0]]
        return angle
    cosine, sine = columns
    return np.arctan2(states[..., sine], states[..., cosine])


def _distance(points: States, others: States, columns: list[int]) -> Errors:
    return np.linalg.norm(points[..., columns] - others[..., columns], axis=-1)
