"""What a world is, apart from its weights: its definition, its tasks and its reference simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, UInt8


class Simulator(Protocol):
    """A real simulator (a world's twin) as `record` and `evaluate` see it.
    One instance is one environment.
    """

    def reset(self, rng: np.random.Generator, start: str) -> UInt8[np.ndarray, "h w 3"]:
        """Start an episode of the given kind and return the first frame."""

    def step(self, action: int) -> UInt8[np.ndarray, "h w 3"]:
        """Take one menu action and return the next frame."""

    def plain(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """Return the newest frame in the looks of the world that this one goes on from;
        None if it looks like no other.
        """

    def explore(self, rng: np.random.Generator) -> int:
        """Return the next action of the mixed player that makes training data."""

    def said(self, action: int, phrase: str) -> str:
        """Return what is said with an action of `explore`'s: the menu's phrase,
        or one of `WorldSpec.also`.
        """

    def hear(self, text: str) -> str:
        """Do at once what a text says beside the next move, if the simulator can do such a thing,
        and return the rest of the text.
        """

    def state(self) -> Float[np.ndarray, " n"]:
        """Return the true state, in the order of `WorldSpec.state_names`."""

    def scores(self) -> Float[np.ndarray, " m"]:
        """Return the true task scores, in the order of `WorldSpec.score_names`."""

    def save(self) -> Any:
        """Return what `restore` needs to come back to this very state."""

    def restore(self, saved: Any) -> None:
        """Go back to a saved state."""

    def put(
        self,
        rng: np.random.Generator,
        before: Float[np.ndarray, " n"],
        action: int,
        state: Float[np.ndarray, " n"],
    ) -> None:
        """Start an episode for `explore` at a state, as `state` gives it, to which an action has
        led from the one before.

        It is called after `reset`. A simulator may take one more argument named ``sure``: `correct`
        then hands it the newest states in which each thing was whole, by the thing's name, as its
        own states are read from frames that may be bent.
        """

    def close(self) -> None:
        """Free what the simulator holds."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: reward = `scale` x (gain of a potential) + `bonus` on success; success ends the
    episode.

    The potential and the success probability are scores of the current frame, read by the world's
    heads (generated world) or by the simulator (twin); see `WorldSpec.score_names`.

    Attributes:
        potential: name of the potential score (larger is better).
        success: name of the success score, in [0, 1].
        scale: reward per unit of potential gained.
        bonus: reward added at success.
        threshold: success probability from which the world says that the task is done.
        horizon: steps after which an episode is truncated (the trust horizon).
        about: one line for people.
    """

    potential: str
    success: str
    scale: float
    bonus: float
    threshold: float
    horizon: int
    about: str

    def reward(self, gained: Any, success: Any) -> Any:
        """Return the reward of steps, from the potential gained and the success after them (NumPy
        or torch).
        """
        return self.scale * gained + self.bonus * (success > self.threshold)


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """What a world is, apart from its weights: everything `record`, `train` and the environments
    must agree on.

    Attributes:
        name: name of the world, as in ``World.from_pretrained(name)``.
        size: height and width of a frame in pixels.
        fps: frames (= actions) per simulated second.
        menu: for every action, its phrases; the first one is what the environment says.
        state_names: names of the true state's numbers, for the probe.
        score_names: names of the per-frame scores; names that start with ``success_`` are
            probabilities.
        tasks: the rewards on offer, by name.
        also: what else the training data say.
        simulator: version of the simulator: recordings of two versions do not mix.
    """

    name: str
    size: int
    fps: float
    menu: tuple[tuple[str, ...], ...]
    state_names: tuple[str, ...]
    score_names: tuple[str, ...]
    tasks: dict[str, Task]
    also: tuple[str, ...] = ()
    simulator: int = 1


@dataclass(frozen=True, kw_only=True)
class AppearanceEvaluation:
    """What a world can be told to look like.

    Attributes:
        unseen: looks that no training has shown: each thing's colour.
        saying: says a look in words.
        wears: whether frames (n, h, w, 3) show each thing as a look says: 1 or 0, nan: cannot be
            told.
    """

    unseen: tuple[dict[str, str], ...]
    saying: Callable[[dict[str, str]], str]
    wears: Callable[
        [UInt8[np.ndarray, "n h w 3"], dict[str, str]], dict[str, Float[np.ndarray, " n"]]
    ]


@dataclass(frozen=True, kw_only=True)
class ReferenceSimulator:
    """The real simulator, and what only the world's author knows.

    Attributes:
        make: makes the simulator.
        starts: shares of the kinds of starts.
        actor: state numbers with the place (px) of the thing that obeys the prompts.
        body: state numbers with the place (px) and the angle (cosine, sine) of the thing that is
            moved.
        unseen: for every action, phrases that no training has heard.
        objects: which things are whole in frames (n, h, w, 3): one array per thing, 1 whole, 0 not,
            nan: cannot be told.
        looks: what the world can be told to look like; None: nothing.
        evaluator_version: number of the evaluator models that read real frames; raise it whenever
            real frames look or move otherwise.
    """

    make: Callable[[], Simulator]
    starts: dict[str, float]
    actor: tuple[str, str]
    body: tuple[str, str, str, str]
    unseen: tuple[tuple[str, ...], ...]
    objects: Callable[[UInt8[np.ndarray, "n h w 3"]], dict[str, Float[np.ndarray, " n"]]]
    looks: AppearanceEvaluation | None = None
    evaluator_version: int = 1
