"""A dot that is pushed by a menu or by a box: small worlds without adapter, and candidates."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from streamdit_gym.actions import Menu, SpokenBox
from streamdit_gym.definition import EnvironmentTask, StepOutcome, WorldDefinition, WorldSpec
from streamdit_gym.evaluate.candidate import Actions, Frames, Outcomes, Prompts, Rollout

HEIGHT, WIDTH = 32, 48
MARGIN = 4
SPEED = 2.0  # px a step
COST = 5.0  # of an action of length 1, in `CostlyDot`
MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
MENU = Menu("wait", "go left", "go right", "go up", "go down")
WORDS = ("much less", "less", "none", "more", "much more")
BOX = SpokenBox({"across.pos": WORDS, "down.pos": WORDS})
STATE_NAMES = ("x_px", "y_px")
TASKS = {"right": EnvironmentTask(horizon=32, about="go to the right")}


def menu_spec(**changes: Any) -> WorldSpec:
    settings = {"state_names": STATE_NAMES, "tasks": TASKS, "actions": MENU, **changes}
    return WorldSpec(name="Dot", frame_size=(HEIGHT, WIDTH), fps=10, **settings)


def box_spec() -> WorldSpec:
    return menu_spec(actions=BOX)


class DotSimulator:
    """Draws a dot; every frame is remembered with the place it shows.

    The reward is how far to the right the dot stands; an episode ends at the right border.
    """

    memory: ClassVar[dict[bytes, tuple[float, float]]] = {}

    def __init__(self) -> None:
        self.place = np.zeros(2)

    def reset(self, rng: np.random.Generator, start: str) -> np.ndarray:
        self.place = rng.uniform(MARGIN, [WIDTH - 2 * MARGIN, HEIGHT - MARGIN])
        return self._frame()

    def step(self, action: Any) -> np.ndarray:
        move = np.asarray(action if np.ndim(action) else MOVES[int(action)], dtype=float)
        limits = [WIDTH - MARGIN, HEIGHT - MARGIN]
        self.place = np.clip(self.place + SPEED * move, MARGIN, limits)
        return self._frame()

    def close(self) -> None:
        pass

    def state(self) -> np.ndarray:
        return self.place.astype(np.float32)

    def outcome(self) -> StepOutcome:
        return StepOutcome(float(self.place[0] / WIDTH), bool(self.place[0] >= WIDTH - MARGIN))

    def _frame(self) -> np.ndarray:
        x = np.arange(WIDTH) + 0.5 - self.place[0]
        y = np.arange(HEIGHT) + 0.5 - self.place[1]
        spot = np.exp(-(x[None] ** 2 + y[:, None] ** 2) / 6)
        frame = np.stack([230 - 200 * spot, 230 - 60 * spot, 200 + 0 * spot], -1)
        frame = frame.round().astype(np.uint8)
        self.memory.setdefault(frame.tobytes(), (self.place[0], self.place[1]))
        return frame


class MovableDot(DotSimulator):
    """The same, able to start anywhere."""

    def start_from(self, rng: Any, before: np.ndarray, action: Any, state: np.ndarray) -> None:
        self.place = np.asarray(state, dtype=float)


class CostlyDot(DotSimulator):
    """The same with a cost of the action, which varies far more than the rest of the reward."""

    def step(self, action: Any) -> np.ndarray:
        self.cost = float(cost_of(np.asarray(action)))
        return super().step(action)

    def outcome(self) -> StepOutcome:
        free = super().outcome()
        return StepOutcome(free.reward - self.cost, free.terminated)


def cost_of(actions: np.ndarray) -> np.ndarray:
    """Return the cost of values of the box."""
    return COST * np.square(actions).sum(-1)


def menu_world() -> WorldDefinition:
    return WorldDefinition.of(menu_spec(), make_simulator=MovableDot)


def box_world() -> WorldDefinition:
    return WorldDefinition.of(box_spec(), make_simulator=DotSimulator)


def costly_world() -> WorldDefinition:
    return WorldDefinition.of(box_spec(), make_simulator=CostlyDot)


class PerfectDots:
    """The simulator as a candidate. Its subclasses fail in one way each."""

    make_simulator: type[DotSimulator] = DotSimulator
    partition_name = "replayed"
    latency_frames = 0

    def __init__(self, spec: WorldSpec) -> None:
        self.spec = spec

    def action(self, row: int, step: int, prompt: Any) -> Any:
        return MENU.phrases.index((prompt,)) if isinstance(prompt, str) else prompt

    def rewards(self, rewards: np.ndarray) -> np.ndarray:
        return rewards

    def roll_out(
        self, context: Frames, prompts: Prompts, seed: int = 0, actions: Actions | None = None
    ) -> Rollout:
        simulator = self.make_simulator()
        frames, outcomes = [], []
        for row, episode in enumerate(prompts):
            simulator.place = np.array(DotSimulator.memory[context[row, -1].tobytes()])
            new = list(episode)[context.shape[1] - 1 :]
            for step, prompt in enumerate(new):
                frames.append(simulator.step(self.action(row, step, prompt)))
                outcomes.append(simulator.outcome())
        shape = (len(context), len(new))
        shown = np.stack(frames).reshape(*shape, HEIGHT, WIDTH, 3)
        return Rollout(
            frames=shown,
            scores=np.zeros((*shape, 0), np.float32),
            outcomes=self._outcomes(outcomes, shape) if actions is not None else None,
        )

    def reconstruct(self, frames: Frames) -> Frames:
        return frames

    def latents(self, frames: Frames) -> np.ndarray:
        return frames / np.float32(255)

    def read(self, frames: Frames) -> np.ndarray:
        return np.zeros((*frames.shape[:2], 0), np.float32)

    def read_outcomes(self, frames: Frames, actions: Actions) -> Outcomes:
        places = [DotSimulator.memory[f.tobytes()] for episode in frames for f in episode[1:]]
        outcomes = [StepOutcome(x / WIDTH, x >= WIDTH - MARGIN) for x, _ in places]
        return self._outcomes(outcomes, actions.shape[:2])

    def _outcomes(self, outcomes: list[StepOutcome], shape: tuple[int, ...]) -> Outcomes:
        rewards = np.array([outcome.reward for outcome in outcomes]).reshape(shape)
        ends = np.array([float(outcome.terminated) for outcome in outcomes]).reshape(shape)
        return Outcomes(rewards=self.rewards(rewards), ends=ends)


class DeafDots(PerfectDots):
    """Does what it likes."""

    def action(self, row: int, step: int, prompt: Any) -> Any:
        rng = np.random.default_rng([row, step // 4])
        return int(rng.integers(5)) if isinstance(prompt, str) else rng.uniform(-1, 1, 2)


class FrozenDots(PerfectDots):
    """Copies the first frame."""

    def roll_out(
        self, context: Frames, prompts: Prompts, seed: int = 0, actions: Actions | None = None
    ) -> Rollout:
        rollout = super().roll_out(context, prompts, seed, actions)
        copies = context[:, -1:].repeat(rollout.frames.shape[1], 1)
        return Rollout(frames=copies, scores=rollout.scores, outcomes=rollout.outcomes)


class ShuffledRewards(PerfectDots):
    """Reads rewards that belong to other steps."""

    def rewards(self, rewards: np.ndarray) -> np.ndarray:
        shuffled = np.random.default_rng(0).permutation(rewards.ravel())
        return shuffled.reshape(rewards.shape)


class EndlessEnds(PerfectDots):
    """Ends every tenth step."""

    def _outcomes(self, outcomes: list[StepOutcome], shape: tuple[int, ...]) -> Outcomes:
        right = super()._outcomes(outcomes, shape)
        every_tenth = np.arange(right.ends.size).reshape(shape) % 10 == 0
        return Outcomes(rewards=right.rewards, ends=np.maximum(right.ends, every_tenth))


class CoarseControl(PerfectDots):
    """Knows only the ends of a box, and the middle."""

    def action(self, row: int, step: int, prompt: Any) -> Any:
        return np.rint(prompt)


class CostlyDots(PerfectDots):
    """The simulator with a cost of the action."""

    make_simulator = CostlyDot

    def read_outcomes(self, frames: Frames, actions: Actions) -> Outcomes:
        free = super().read_outcomes(frames, actions)
        return Outcomes(rewards=free.rewards - cost_of(actions), ends=free.ends)


class ActionRewards(CostlyDots):
    """Reads rewards off actions alone."""

    def roll_out(
        self, context: Frames, prompts: Prompts, seed: int = 0, actions: Actions | None = None
    ) -> Rollout:
        rollout = super().roll_out(context, prompts, seed, actions)
        if rollout.outcomes is None or actions is None:
            return rollout
        outcomes = Outcomes(rewards=-cost_of(actions), ends=rollout.outcomes.ends)
        return Rollout(frames=rollout.frames, scores=rollout.scores, outcomes=outcomes)

    def read_outcomes(self, frames: Frames, actions: Actions) -> Outcomes:
        right = super().read_outcomes(frames, actions)
        return Outcomes(rewards=-cost_of(actions), ends=right.ends)
