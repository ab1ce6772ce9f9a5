"""What a simulator does, in seconds: before anybody records it for an hour."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.actions import Menu, action_names
from streamdit_gym.data.definition_checks import check_definition
from streamdit_gym.data.episode import Episode, add_frame, explore
from streamdit_gym.data.motion import MIN_DIFFERENCE, MIN_DISPLACEMENT_PX
from streamdit_gym.data.simulator_checks import check_frame
from streamdit_gym.data.trial_episodes import check_first_episodes, simulator_of
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.envs.gym_motion import motion_px

Frames = UInt8[np.ndarray, "n h w 3"]

SEED = 0
NUM_STARTS = 8  # start frames to look at
HELD_STEPS = 4  # of an action whose motion is measured
TIMED_STEPS = 64
MAX_SECONDS = 2.0  # of the timed steps
MAX_NAMED = 9
MAX_ACTIONS = 12  # measured; more would take long


@dataclass(frozen=True, kw_only=True)
class ActionMotion:
    """How far an action moves the picture.

    Attributes:
        name: the action's prompt.
        changed_share: share of the picture that differs from what the idle action leads to.
        motion_px: how far things move in a frame.
    """

    name: str
    changed_share: float
    motion_px: float


@dataclass(frozen=True, kw_only=True)
class SimulatorReport:
    """What was found; a definition with a mistake has none.

    Attributes:
        definition: the world.
        is_repeatable: whether the same seed and actions gave the same frames.
        motions: of the world's actions.
        starts: first frames of episodes.
        rewards: least and largest reward of a step, of the simulator's own.
        ended: share of the trial episodes that the simulator ended.
        seconds_per_step: of one simulator.
    """

    definition: WorldDefinition
    is_repeatable: bool
    motions: list[ActionMotion]
    starts: Frames
    rewards: tuple[float, float]
    ended: float
    seconds_per_step: float

    def lines(self) -> list[str]:
        """Return the report, line by line."""
        spec = self.definition
        height, width = spec.frame_size
        low, high = self.rewards
        lines = [
            f"world {spec.name}: frames {height} x {width}, {spec.fps:g} frames a second",
            f"actions: {_described(spec)}",
            f"tasks: {', '.join(spec.tasks) or 'none'}; rewards {low:.3g} to {high:.3g}, "
            f"{self.ended:.0%} of the trial episodes ended",
            "same seed, same frames: " + ("yes" if self.is_repeatable else "NO"),
            "an action, held, against the idle one:",
        ]
        for motion in self.motions:
            lines.append(
                f"  {motion.name}: {motion.changed_share:.1%} of the picture,"
                f" {motion.motion_px:.1f} px a frame"
            )
        return lines + [f"look at this: {text}" for text in self.warnings()]

    def warnings(self) -> list[str]:
        """Return what a person should look at."""
        warnings = []
        if not self.is_repeatable:
            warnings.append("draw all chance from the generator that `reset` is given")
        if not any(motion.changed_share for motion in self.motions):
            warnings.append("no action changes the picture")
        elif max(motion.motion_px for motion in self.motions) < MIN_DISPLACEMENT_PX:
            warnings.append("actions move things by less than a pixel: take more steps a frame")
        if len(np.unique(self.starts, axis=0)) == 1:
            warnings.append("all episodes start with the same frame")
        return warnings


def report_simulator(definition: WorldDefinition) -> SimulatorReport:
    """Check a definition and its simulator, and measure what its actions do.

    Raises:
        DefinitionError: at the first mistake of the definition or of what the simulator returns.
    """
    check_definition(definition, definition.starts)
    check_first_episodes(definition, definition.starts)
    first, second = (_explored(definition) for _ in range(2))
    rewards = [reward for episode in (first, second) for reward in episode.rewards]
    return SimulatorReport(
        definition=definition,
        is_repeatable=_are_equal(first, second),
        motions=[_motion(definition, action) for action in _probed_actions(definition)],
        starts=_start_frames(definition),
        rewards=(min(rewards), max(rewards)),
        ended=float(np.mean([first.terminated, second.terminated])),
        seconds_per_step=_seconds_per_step(definition),
    )


def _described(spec: WorldDefinition) -> str:
    if isinstance(spec.actions, Menu):
        names = action_names(spec.actions)
        return f"{len(names)}: {', '.join(names[:MAX_NAMED])}"
    bounds = zip(spec.actions.names, spec.actions.low, spec.actions.high, strict=True)
    return ", ".join(f"{name} {low:g} to {high:g}" for name, low, high in bounds)


def _explored(definition: WorldDefinition) -> Episode:
    rng = np.random.default_rng(SEED)
    simulator = simulator_of(definition)
    episode = Episode()
    add_frame(definition, episode, simulator, simulator.reset(rng, _first_start(definition)))
    explore(definition, simulator, rng, episode, TIMED_STEPS)
    simulator.close()
    return episode


def _are_equal(first: Episode, second: Episode) -> bool:
    same_actions = np.array_equal(np.array(first.actions), np.array(second.actions))
    return same_actions and np.array_equal(np.stack(first.frames), np.stack(second.frames))


def _first_start(definition: WorldDefinition) -> str:
    return next(iter(definition.starts))


def _probed_actions(definition: WorldDefinition) -> Iterator[Any]:
    """Yield a menu's actions but the idle one; of a box both ends of every dimension."""
    language = definition.actions
    if isinstance(language, Menu):
        yield from range(1, min(len(language), MAX_ACTIONS + 1))
        return
    ends = itertools.product(range(len(language)), (language.low, language.high))
    for dimension, bounds in itertools.islice(ends, MAX_ACTIONS):
        action = language.idle
        action[dimension] = bounds[dimension]
        yield action


def _motion(definition: WorldDefinition, action: Any) -> ActionMotion:
    """Return what an action does that is held for some frames, from the first start."""
    moved = _held_frames(definition, action)
    idle = _held_frames(definition, definition.actions.idle)
    difference = np.abs(moved[-1].astype(int) - idle[-1])
    changed = difference.max(-1) >= MIN_DIFFERENCE
    return ActionMotion(
        name=definition.actions.prompt(action),
        changed_share=float(changed.mean()),
        motion_px=float(np.median(motion_px(moved))),
    )


def _held_frames(definition: WorldDefinition, action: Any) -> Frames:
    simulator = simulator_of(definition)
    first = simulator.reset(np.random.default_rng(SEED), _first_start(definition))
    if isinstance(definition.actions, Menu):
        action = int(action)
    frames = [first.copy()]
    for _ in range(HELD_STEPS):
        frames.append(check_frame(definition, simulator.step(action)).copy())
    simulator.close()
    return np.stack(frames)


def _start_frames(definition: WorldDefinition) -> Frames:
    rng = np.random.default_rng(SEED)
    simulator = simulator_of(definition)
    kinds = list(definition.starts)
    shares = list(definition.starts.values())
    frames = []
    for _ in range(NUM_STARTS):
        frames.append(simulator.reset(rng, str(rng.choice(kinds, p=shares))).copy())
    simulator.close()
    return np.stack(frames)


def _seconds_per_step(definition: WorldDefinition) -> float:
    """Return how long a step takes, its share of the resets included."""
    start = time.perf_counter()
    num_steps = 0
    while num_steps == 0 or (num_steps < TIMED_STEPS and time.perf_counter() - start < MAX_SECONDS):
        num_steps += len(_explored(definition).actions)
    return (time.perf_counter() - start) / num_steps
