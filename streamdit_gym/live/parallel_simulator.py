"""The reference simulator that runs beside a stream and executes the same prompts."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamdit_gym.data.trial_episodes import simulator_of
from streamdit_gym.definition import Action, HearsDescriptions, SavesState
from streamdit_gym.envs.worlds import definition_with_simulator, has_simulator
from streamdit_gym.live.stream_frame import Image
from streamdit_gym.world import World


class ParallelSimulator:
    """Steps a world's reference simulator in time with a stream.

    Args:
        world_name: which world's simulator.

    Raises:
        UnknownNameError: if the world has none.
    """

    def __init__(self, world_name: str) -> None:
        definition = definition_with_simulator(world_name)
        self._simulator = simulator_of(definition)
        self._start_mode = next(iter(definition.starts))
        self.in_sync = True  # whether it shows the same episode as the stream

    def reset(self, rng: np.random.Generator) -> Image:
        """Start an episode and return its first frame."""
        self.in_sync = True
        return np.array(self._simulator.reset(rng, self._start_mode))

    def action_prompt(self, prompt: str) -> str:
        """Return the part of a prompt that names an action, after what it says about appearance."""
        if isinstance(self._simulator, HearsDescriptions):
            return self._simulator.parse_prompt(prompt)
        return prompt

    def step(self, action: Action) -> Image:
        """Execute an action and return the frame after it."""
        return self._simulator.step(action)

    def save_state(self) -> Any:
        """Return the simulator's state; None if it does not show the stream's episode."""
        if self.in_sync and isinstance(self._simulator, SavesState):
            return self._simulator.save()
        return None

    def restore_state(self, state: Any) -> None:
        """Return to a saved state; None takes the simulator out of step."""
        self.in_sync = state is not None
        if self.in_sync and isinstance(self._simulator, SavesState):
            self._simulator.restore(state)

    def close(self) -> None:
        """Release the simulator."""
        self._simulator.close()


def has_reference_simulator(world: World) -> bool:
    """Return whether a world has a reference simulator and its packages are installed."""
    if not has_simulator(world.spec.name):
        return False
    try:
        ParallelSimulator(world.spec.name).close()
    except ImportError:
        return False
    return True
