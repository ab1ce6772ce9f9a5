"""A world's scripted policy; it reads the state off latents or frames, so it acts anywhere."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool

from streamdit_gym.actions import ActionLanguage
from streamdit_gym.agents.features import encode
from streamdit_gym.agents.policies.policy import Actions, Observation
from streamdit_gym.agents.policies.random_policy import random_actions
from streamdit_gym.envs.worlds import definition_with_simulator
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.world import World


class ScriptedPolicy:
    """Follows the world's script, with a share of random actions.

    Args:
        world: reads the state off latents.
        task: name of the task.
        noise: share of the actions that are random instead, 0 to 1.
        on_latents: `act` is shown latents; else frames, which it encodes first.

    Raises:
        UnknownNameError: if the world has no script.
    """

    def __init__(
        self,
        world: World,
        task: str,
        noise: float = 0.0,
        *,
        on_latents: bool = False,
    ) -> None:
        self.world = world
        self.task = task
        self.noise = noise
        self.observation: Observation = "latent" if on_latents else "frame"
        definition = definition_with_simulator(world.spec.name)
        if definition.scripted_policy is None:
            raise StreamDiTError(
                "this world has no scripted policy",
                given=world.spec.name,
                allowed="a definition with scripted_policy",
                remedy="use random, a trained agent, or write one",
            )
        self._script = definition.scripted_policy

    def reset(self, num_rows: int, actions: ActionLanguage, rng: np.random.Generator) -> None:
        """Begin to act in so many rows."""
        self._actions = actions
        self._rng = rng

    @torch.no_grad()
    def act(self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]) -> Actions:
        """Return the script's action for every row, or a random one."""
        if self.observation == "frame":
            latents = encode(self.world, observation)
        else:
            latents = torch.from_numpy(observation)[:, None]
            latents = latents.to(self.world.device)
        states, _ = self.world.readout(latents)
        newest_states = states[:, 0].cpu().numpy()
        scripted = self._script(newest_states, self.task)
        num_rows = len(scripted)
        is_random = self._rng.random(num_rows) < self.noise
        random = random_actions(self._rng, self._actions, num_rows)
        if random.ndim > 1:
            is_random = is_random[:, None]
        return np.where(is_random, random, scripted)
