"""What a world is, apart from its weights: actions, tasks, simulator, and how it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

from streamdit_gym.actions import ActionLanguage, Menu
from streamdit_gym.errors import StreamDiTError

Frame = UInt8[np.ndarray, "h w 3"]
# An action: a number of a menu, or the values of a box.
Action = Any
# states and a task's name to actions: numbers of a menu, or values of a box
ScriptedPolicy = Callable[
    [Float[np.ndarray, "n s"], str], Int[np.ndarray, " n"] | Float[np.ndarray, "n d"]
]
ANY_START = "any"
UNCLEAR = "unclear"  # the outcome of a future in which nothing can be told


class Simulator(Protocol):
    """What every simulator can do; one instance is one environment.

    What only some can do are protocols of their own: `HasState`, `HasScores`, `HasOutcome`,
    `Explores`, `SavesState`, `Reseeds`, `StartsAnywhere`, `NamesActions`, `HearsDescriptions`,
    `HasBaseFrame`.
    """

    def reset(self, rng: np.random.Generator, start: str) -> Frame:
        """Start an episode of the given kind and return the first frame."""

    def step(self, action: Action) -> Frame:
        """Take one action and return the next frame."""

    def close(self) -> None:
        """Free what the simulator holds."""


@runtime_checkable
class HasState(Protocol):
    """A simulator that tells its true state, which makes the evaluation sharper."""

    def state(self) -> Float[np.ndarray, " n"]:
        """Return the true state, in the order of `WorldSpec.state_names`."""


@runtime_checkable
class HasScores(Protocol):
    """A simulator that scores its newest frame, for tasks with a potential."""

    def scores(self) -> Float[np.ndarray, " m"]:
        """Return the true task scores, in the order of `WorldSpec.score_names`."""


class StepOutcome(NamedTuple):
    """What the last step has earned, and whether it ended the episode."""

    reward: float
    terminated: bool


@runtime_checkable
class HasOutcome(Protocol):
    """A simulator with a reward and an end of its own, for `EnvironmentTask`."""

    def outcome(self) -> StepOutcome:
        """Return the reward and the end of the last step; zero and False after a reset."""


@runtime_checkable
class Explores(Protocol):
    """A simulator with an exploration policy, which training data come from.

    Others are explored by random actions that are held for some frames.
    """

    def explore(self, rng: np.random.Generator) -> Action:
        """Return the next action of the exploration policy."""


@runtime_checkable
class SavesState(Protocol):
    """A simulator that can go back to a state."""

    def save(self) -> Any:
        """Return what `restore` needs to come back to this very state."""

    def restore(self, saved: Any) -> None:
        """Go back to a saved state."""


@runtime_checkable
class Reseeds(Protocol):
    """A simulator whose future is decided by chance.

    With `SavesState` it shows many futures of one start. One that does not reseed is taken as
    determined: of the same start and actions it has one future.
    """

    def reseed(self, rng: np.random.Generator) -> None:
        """Let another generator decide everything that no frame has shown yet."""


@runtime_checkable
class StartsAnywhere(Protocol):
    """A simulator that can start from a state as `HasState` tells it."""

    def start_from(
        self,
        rng: np.random.Generator,
        before: Float[np.ndarray, " n"],
        action: Action,
        state: Float[np.ndarray, " n"],
    ) -> None:
        """Start an episode at a state that an action has led to; called after `reset`.

        A simulator may take one more argument named ``sure``: DAgger relabelling then passes the
        newest states in which each object was intact, by its name, as its own states are read from
        generated frames, which may be deformed.

        Args:
            rng: source of randomness.
            before: the state before the action, as `state` returns it.
            action: the action.
            state: the state after it.
        """


@runtime_checkable
class NamesActions(Protocol):
    """A simulator whose recordings have other prompts than a menu's phrases."""

    def prompt_for(self, action: int, phrase: str) -> str:
        """Return the prompt recorded with an exploration action.

        It is the menu's phrase, or one of `WorldSpec.also`.
        """


@runtime_checkable
class HearsDescriptions(Protocol):
    """A simulator whose scene prompts can change."""

    def parse_prompt(self, text: str) -> str:
        """Carry out what a prompt asks for beside the move, and return the rest of it."""


@runtime_checkable
class HasBaseFrame(Protocol):
    """A simulator of a world that continues a base world which draws differently."""

    def base_frame(self) -> Frame:
        """Return the newest frame as the base world draws it."""


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
class EnvironmentTask:
    """The environment's own reward and end, which the readout learns from recordings.

    Attributes:
        horizon: steps after which an episode is truncated (the trust horizon).
        about: one line for people.
        threshold: probability of the end from which an episode is terminated.
        draws_ends: whether an end is a matter of chance that the frames before it show, as where a
            hit may or may not kill. Then the readout learns it from those frames, the recordings'
            last ones are left out, and in generated worlds it is drawn with its probability.
    """

    horizon: int
    about: str
    threshold: float = 0.5
    draws_ends: bool = False


AnyTask = Task | EnvironmentTask


def stored_size(frame_size: tuple[int, int]) -> int | list[int]:
    """Return a frame size as files hold it: one number for a square, else height and width."""
    height, width = frame_size
    return height if height == width else [height, width]


def loaded_size(stored: int | list[int]) -> tuple[int, int]:
    """Return the frame size that a file holds."""
    if isinstance(stored, int):
        return (stored, stored)
    height, width = stored
    return (height, width)


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """What `record`, `train` and the environments of a world must agree on; bundles hold it.

    Attributes:
        name: name of the world, as in ``World.from_pretrained(name)``.
        frame_size: height and width of a frame in pixels.
        fps: frames (= actions) per simulated second.
        actions: which actions there are, and how prompts name them.
        state_names: names of the true state's numbers, for the probe.
        score_names: names of the per-frame scores; names that start with ``success_`` are
            probabilities.
        tasks: the rewards on offer, by name; the first one is the default.
        also: other prompts of the training data.
        simulator_version: recordings of two versions of the simulator do not mix.
    """

    name: str
    frame_size: tuple[int, int]
    fps: float
    actions: ActionLanguage
    state_names: tuple[str, ...] = ()
    score_names: tuple[str, ...] = ()
    tasks: Mapping[str, AnyTask] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    simulator_version: int = 1

    @property
    def menu(self) -> tuple[tuple[str, ...], ...]:
        """For every action of a menu its phrases; none where actions are a box."""
        return self.actions.phrases if isinstance(self.actions, Menu) else ()

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape of a frame: height, width, 3."""
        return (*self.frame_size, 3)

    def potential_task(self, name: str) -> Task:
        """Return a task with a potential.

        Raises:
            StreamDiTError: if its reward is the environment's own.
        """
        task = self.tasks[name]
        if isinstance(task, Task):
            return task
        raise StreamDiTError(
            "this task has no potential",
            given=f"{name} of {self.name}: the environment's own reward",
            allowed="a Task with potential and success",
            remedy="define such a task, with scores of the simulator",
        )

    @property
    def default_task(self) -> str:
        """Name of the first task; empty if there is none."""
        return next(iter(self.tasks), "")


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
class EvaluationAdapter:
    """What the evaluation of one world may know beyond its frames and actions.

    Attributes:
        actor: names of the state's numbers with the place (px) of what obeys the prompts.
        body: names of the state's numbers with the place (px) and the angle (cosine, sine) of what
            is moved.
        unseen: for every action of a menu, phrases that are not in the training data.
        objects: which objects are intact in frames (n, h, w, 3): one array per object, 1 intact, 0
            not, nan: cannot be told.
        outcome: names what chance has decided in the consecutive frames (f, h, w, 3) of one future,
            real or generated; `UNCLEAR` where that cannot be told, as in a mixture of two.
        reached: whether a state counts as that of a goal, both as `HasState.state` tells them.
        appearance: the appearances that prompts can ask for.
        starts: shares of the kinds of starts; None: the definition's.
        evaluator_version: number of the evaluator models that read real frames; raise it whenever
            real frames look or move otherwise.
    """

    actor: tuple[str, str] | None = None
    body: tuple[str, str, str, str] | None = None
    unseen: tuple[tuple[str, ...], ...] = ()
    objects: Callable[[UInt8[np.ndarray, "n h w 3"]], dict[str, Float[np.ndarray, " n"]]] | None = (
        None
    )
    outcome: Callable[[UInt8[np.ndarray, "f h w 3"]], str] | None = None
    reached: Callable[[Float[np.ndarray, " n"], Float[np.ndarray, " n"]], bool] | None = None
    appearance: AppearanceEvaluation | None = None
    starts: Mapping[str, float] | None = None
    evaluator_version: int = 1


def whole_prompt(text: str) -> str:
    """Return a prompt as it is: all of it asks for a move."""
    return text


@dataclass(frozen=True, kw_only=True)
class WorldDefinition(WorldSpec):
    """A world that can be registered: its spec, and what it is made and measured with.

    Attributes:
        make_simulator: makes a reference simulator; None: the world is learned from recordings.
        starts: how the training data's and the environments' episodes start, with their shares.
        hard_start: how some more episodes of the training data start; no environment starts there.
        hard_start_share: share of these episodes in the training data.
        scripted_policy: states and a task's name to actions.
        evaluation: what the evaluation may know.
        action_names: names of the numbers of an action vector, for a menu whose actions have some.
        action_vectors: each action of a menu as numbers.
        move_prompt: takes from a prompt the part that asks for a move.
        recipe: name of the recipe that trains it, unless `train` is told another.
        weights: folder or Hub id of the trained world, ``user/repository@revision`` for one
            revision; None: the shipped one of this name, or what ``train`` wrote for it.
        weights_digest: SHA-256 that the bundle at `weights` must have, as `World.digest` tells it;
            it is checked before any weights are read. None: any.
    """

    make_simulator: Callable[[], Simulator] | None = None
    starts: Mapping[str, float] = field(default_factory=lambda: {ANY_START: 1.0})
    hard_start: str = ""
    hard_start_share: float = 0.0
    scripted_policy: ScriptedPolicy | None = None
    evaluation: EvaluationAdapter = field(default_factory=EvaluationAdapter)
    action_names: tuple[str, ...] = ()
    action_vectors: tuple[tuple[float, ...], ...] = ()
    move_prompt: Callable[[str], str] = whole_prompt
    recipe: str = "own_world"
    weights: str | None = None
    weights_digest: str | None = None

    @classmethod
    def of(cls, spec: WorldSpec, **more: Any) -> WorldDefinition:
        """Return the definition of a spec.

        Args:
            spec: the part that bundles hold.
            more: this class's own attributes.
        """
        return cls(**{item.name: getattr(spec, item.name) for item in fields(WorldSpec)}, **more)

    def for_evaluation(self) -> WorldDefinition:
        """Return the definition with the starts that the evaluation begins with."""
        return replace(self, starts=self.evaluation.starts or self.starts)

    @property
    def spec(self) -> WorldSpec:
        """The part that bundles hold."""
        return WorldSpec(**{item.name: getattr(self, item.name) for item in fields(WorldSpec)})
