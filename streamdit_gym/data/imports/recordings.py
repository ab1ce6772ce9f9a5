"""What every kind of recordings can do: say what is in them, and read one episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.actions import ActionLanguage
from streamdit_gym.checks import check_choice, check_int, check_real
from streamdit_gym.data.definition_checks import MAX_FPS, MAX_SIZE_PX, MIN_SIZE_PX
from streamdit_gym.errors import ArgumentError, UnknownNameError

MAX_STEPS = 100_000
MAX_CAMERAS = 2
MAX_STATES, MAX_STATE_CHARS = 256, 64  # bundles hold no more names, and no longer ones
PROMPT_KINDS = ("auto", "actions", "captions")
SUCCESS_SCORE = "success_data"


class UnreadableEpisodeError(Exception):
    """An episode that cannot be read, and is left out; the text says why. Internal to imports."""


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """How recordings become a data set.

    Attributes:
        frame_size: height and width of a frame in pixels.
        fps: frames a second; None: ten, or a little more where that divides the recordings' rate.
        cameras: one, or two that are put side by side; empty: the first.
        prompts: ``actions``: action vectors are words of a box; ``captions``: captions are actions
            of a menu; ``auto``: actions where there are any.
        steps: most steps of an episode; longer ones are cut into pieces.
    """

    frame_size: tuple[int, int] = (64, 64)
    fps: float | None = None
    cameras: tuple[str, ...] = ()
    prompts: str = "auto"
    steps: int = 96

    def __post_init__(self) -> None:
        if len(self.frame_size) != 2:
            raise ArgumentError(
                "frame_size is no height and width",
                given=self.frame_size,
                allowed="two whole numbers",
                remedy="frame_size=64,64",
            )
        for number in self.frame_size:
            check_int("frame_size", number, least=MIN_SIZE_PX, most=MAX_SIZE_PX)
        if self.fps is not None:
            check_real("fps", self.fps, above=0.0, most=MAX_FPS)
        check_choice("prompts", self.prompts, PROMPT_KINDS)
        check_int("steps", self.steps, least=2, most=MAX_STEPS)
        if len(self.cameras) > MAX_CAMERAS:
            raise ArgumentError(
                "too many cameras",
                given=", ".join(self.cameras),
                allowed="one, or two that are put side by side",
                remedy="choose among them",
            )

    def stored(self) -> dict[str, Any]:
        """Return the settings as a JSON file holds them."""
        return asdict(self) | {
            "frame_size": list(self.frame_size),
            "cameras": list(self.cameras),
        }


@dataclass(frozen=True, kw_only=True)
class Description:
    """What recordings hold, apart from their episodes.

    Attributes:
        format: ``lerobot``, ``minari`` or ``videos``.
        fps: frames a second of the data set that they become.
        actions: which actions there are.
        episodes: a name for each, for messages.
        state_names: names of the numbers of a state vector.
        has_rewards: whether steps have rewards.
        has_success: whether steps have a success.
        notes: what was left out or assumed, for people.
        captions: what the episodes are about, as far as the recordings say so.
    """

    format: str
    fps: float
    actions: ActionLanguage
    episodes: Sequence[str]
    state_names: tuple[str, ...] = ()
    has_rewards: bool = False
    has_success: bool = False
    notes: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RecordedEpisode:
    """One episode of recordings, in the data set's frame size and rate.

    Attributes:
        frames: one more than there are steps.
        actions: numbers of a menu (s,), or values of a box (s, d).
        rewards: of every step; zeros where there are none.
        states: state vector at each frame.
        success: whether the task was done at each frame, 0 or 1.
        terminated: whether the last step ended the episode.
    """

    frames: UInt8[np.ndarray, "g h w 3"]
    actions: np.ndarray
    rewards: Float[np.ndarray, " s"]
    states: Float[np.ndarray, "g n"]
    success: Float[np.ndarray, " g"] = field(default_factory=lambda: np.zeros(0))
    terminated: bool = False


class Recordings(ABC):
    """Recordings in a folder, of one format; opening them refuses what is wrong as a whole."""

    description: Description

    @abstractmethod
    def read(self, number: int) -> RecordedEpisode:
        """Return an episode.

        Args:
            number: its place in `Description.episodes`.

        Raises:
            UnreadableEpisodeError: if it is left out; the text says why.
        """


def choose_cameras(available: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the cameras to take.

    Args:
        available: their names; those with dots, such as ``observation.images.top``, are also known
            by the last part.
        wanted: names; empty: the first.

    Raises:
        UnknownNameError: if there is no such camera.
    """
    if not wanted:
        return (available[0],)
    return tuple(_camera(available, name) for name in wanted)


def _camera(available: Sequence[str], name: str) -> str:
    for camera in available:
        if name in (camera, camera.split(".")[-1]):
            return camera
    raise UnknownNameError("camera", name, available)


def other_cameras_note(available: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...]:
    """Return a note about the cameras that are left out, if there are any."""
    others = [camera for camera in available if camera not in chosen]
    if not others:
        return ()
    return (f"cameras: {', '.join(chosen)}; not taken: {', '.join(others)}",)


def usable_states(vectors: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the state vectors that a world can have, each with the names of its numbers.

    Vectors with too many numbers, or with names that no bundle can hold, are left out. Where there
    are several vectors, their own names stand before those of the numbers.

    Args:
        vectors: names of the numbers by the name of the vector.
    """
    usable: dict[str, list[str]] = {}
    total = 0
    for vector, numbers in vectors.items():
        names = [f"{vector}.{name}" for name in numbers] if len(vectors) > 1 else list(numbers)
        can_be_held = all(name.isprintable() and len(name) <= MAX_STATE_CHARS for name in names)
        if can_be_held and total + len(names) <= MAX_STATES:
            usable[vector] = names
            total += len(names)
    return usable


def left_out_states_note(vectors: Collection[str], usable: Collection[str]) -> tuple[str, ...]:
    """Return a note about the state vectors that are left out, if there are any."""
    others = [vector for vector in vectors if vector not in usable]
    return (f"state vectors left out: {', '.join(others)}",) if others else ()
