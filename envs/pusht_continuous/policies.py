"""How PushT with continuous actions is explored, and its scripted policy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from streamdit_gym.data.random_actions import HeldExploration, draw_box_values
from streamdit_gym.definition import Action
from streamdit_gym.envs.pusht.exploration import ExplorationPolicy
from streamdit_gym.envs.pusht.geometry import Point
from streamdit_gym.envs.pusht.scripted_policy import STEP_UNITS, scripted_offsets
from streamdit_gym.envs.pusht_continuous.definition import ACTIONS

MIN_SPEED = 0.3  # of an episode that heads for waypoints, in steps of PushT's moves
AIM_NOISE = 0.1  # standard deviation of an action that heads for a waypoint


class ContinuousExploration(ExplorationPolicy):
    """PushT's exploration policy at any speed, in any direction."""

    def start_episode(self, rng: np.random.Generator, *, outwards: bool) -> None:
        """Draw the mode of an episode, and its speed."""
        super().start_episode(rng, outwards=outwards)
        self._held = HeldExploration(ACTIONS)
        self._speed = rng.uniform(MIN_SPEED, 1.0)

    def _next_held_action(self, rng: np.random.Generator) -> Action:
        return self._held.next(rng)

    def _random_action(self, rng: np.random.Generator) -> Action:
        return draw_box_values(rng, ACTIONS)

    def _action_towards(self, rng: np.random.Generator, offset: Point) -> Action:
        noise = rng.normal(0, AIM_NOISE, 2)
        aim = self._speed * heading(offset[None])[0] + noise
        return np.clip(aim, ACTIONS.low, ACTIONS.high).astype(ACTIONS.dtype)


def heading(offsets: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Return the actions that head for offsets (in units): at once if they are near enough."""
    greatest = np.abs(offsets).max(-1, keepdims=True)
    actions = offsets / np.maximum(greatest, STEP_UNITS)
    return actions.astype(ACTIONS.dtype)


def scripted_actions(states: Float[np.ndarray, "n 6"], task: str) -> Float[np.ndarray, "n 2"]:
    """Return the scripted policy's action in each state.

    Args:
        states: as `PushTSimulator.state` returns them.
        task: name of the task.
    """
    return heading(scripted_offsets(states, task))
