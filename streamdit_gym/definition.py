"""What a world is, apart from its weights: its tasks, its spec and its reference simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, UInt8


class Simulator(Protocol):
    """The real simulator of a world; one instance is one environment."""

    def reset(self, rng: np.random.Generator, start: str) -> UInt8[np.ndarray, "h w 3"]:
        """Start an episode of the given kind and return the first frame."""

    def step(self, action: int) -> UInt8[np.ndarray, "h w 3"]:
        """Take one menu action and return the next frame."""

    def plain_frame(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """Return the newest frame in the appearance of the world that this one builds on.

        It is None if there is no such world.
        """

    def explore(self, rng: np.random.Generator) -> int:
        """Return the next action of the exploration policy, which training data come from."""

    def prompt_for(self, action: int, phrase: str) -> str:
        """Return the prompt recorded with an exploration action.

        It is the menu's phrase, or one of `WorldSpec.also`.
        """

    def parse_prompt(self, text: str) -> str:
        """Carry out what a prompt asks for beside the move, and return the rest of it.

        A simulator that can do nothing else returns the whole text.
        """

    def state(self) -> Float[np.ndarray, " n"]:
        """Return the true state, in the order of `WorldSpec.state_names`."""

    def scores(self) -> Float[np.ndarray, " m"]:
        """Return the true task scores, in the order of `WorldSpec.score_names`."""

    def save(self) -> Any:
        """Return what `restore` needs to come back to this very state."""

    def restore(self, saved: Any) -> None:
        """Go back to a saved state."""

    def start_from(
        self,
        rng: np.random.Generator,
        before: Float[np.ndarray, " n"],
        action: int,
        state: Float[np.ndarray, " n"],
    ) -> None:
        """Start an episode for `explore` at a state that an action has led to.

        It is called after `reset`. A simulator may take one more argument named ``sure``: DAgger
        relabelling then passes the newest states in which each object was intact, by its name, as
        its own states are read from generated frames, which may be deformed.

        Args:
            rng: source of randomness.
            before: the state before the action, as `state` returns it.
            action: the action.
            state: the state after it.
        """

    def close(self) -> None:
        """Free what the simulator holds."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: reward = `scale` x (gain of a potential) + `bonus` on success, which ends an episode.

    The potential and the success probability are scores of the current frame, read by the world's
    readout (generated world) or by the reference simulator; see `WorldSpec.score_names`.

    Attributes:
        potential: name of the potential score (larger is better).
        success: name of the success score, in [0, 1].
        scale: reward per unit of potential gained.
        bonus: reward added at success.
        threshold: success probability from which the task counts as done.
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
        """Return the reward of steps (NumPy or torch).

        Args:
            gained: how much the potential grew.
            success: the success probability after the steps.
        """
        return self.scale * gained + self.bonus * (success > self.threshold)


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """What `record`, `train` and the environments of a world must agree on.

    Attributes:
        name: name of the world, as in ``World.from_pretrained(name)``.
        size: height and width of a frame in pixels.
        fps: frames (= actions) per simulated second.
        menu: for every action, its phrases; the first one is the environment's prompt.
        state_names: names of the true state's numbers, for the probe.
        score_names: names of the per-frame scores; names that start with ``success_`` are
            probabilities.
        tasks: the rewards on offer, by name.
        also: other prompts of the training data.
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
    """The appearances that prompts can ask a world for, and how to recognise them.

    Attributes:
        unseen: appearances that no training has shown: each object's colour.
        describe: puts an appearance into words.
        shows: whether frames (n, h, w, 3) show each object as an appearance has it: 1 or 0, nan:
            cannot be told.
    """

    unseen: tuple[dict[str, str], ...]
    describe: Callable[[dict[str, str]], str]
    shows: Callable[
        [UInt8[np.ndarray, "n h w 3"], dict[str, str]], dict[str, Float[np.ndarray, " n"]]
    ]


@dataclass(frozen=True, kw_only=True)
class ReferenceSimulator:
    """The real simulator of a world, and what evaluation needs to know about it.

    Attributes:
        make: builds the simulator.
        starts: shares of the kinds of starts.
        actor: names of the state's numbers with the place (px) of what obeys the prompts.
        body: names of the state's numbers with the place (px) and the angle (cosine, sine) of what
            is moved.
        unseen: for every action, phrases that are not in the training data.
        objects: which objects are intact in frames (n, h, w, 3): one array per object, 1 intact, 0
            not, nan: cannot be told.
        appearance: the appearances that prompts can ask for; None: none.
        evaluator_version: number of the evaluator models that read real frames; raise it whenever
            real frames look or move otherwise.
    """

    make: Callable[[], Simulator]
    starts: dict[str, float]
    actor: tuple[str, str]
    body: tuple[str, str, str, str]
    unseen: tuple[tuple[str, ...], ...]
    objects: Callable[[UInt8[np.ndarray, "n h w 3"]], dict[str, Float[np.ndarray, " n"]]]
    appearance: AppearanceEvaluation | None = None
    evaluator_version: int = 1
