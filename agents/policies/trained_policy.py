"""A trained agent as a policy."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool

from streamdit_gym.actions import ActionLanguage
from streamdit_gym.agents.policies.policy import Actions, Observation
from streamdit_gym.agents.policies.policy_file import TrainedAgent


class TrainedPolicy:
    """Does what a trained agent predicts.

    Args:
        trained: the agent, and how it was trained.
        deterministic: take the likeliest action instead of drawing one.
        seed_every_step: seed all generators that a stochastic agent draws from before every
            prediction, so that its actions depend on the numbers given to `reset` alone.
    """

    def __init__(
        self, trained: TrainedAgent, *, deterministic: bool = False, seed_every_step: bool = False
    ) -> None:
        self.trained = trained
        self.deterministic = deterministic
        self.seed_every_step = seed_every_step
        self._seed = 0
        self._history: list[np.ndarray] = []  # the newest observations

    @property
    def observation(self) -> Observation:
        """What the agent was trained on."""
        return self.trained.config.observation

    def reset(self, num_rows: int, actions: ActionLanguage, rng: np.random.Generator) -> None:
        """Begin to act in so many rows."""
        self._history = []
        if self.seed_every_step:
            self._seed = int(rng.integers(2**31))

    def act(self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]) -> Actions:
        """Return the agent's action for every row; of scores for all actions the largest one."""
        agent = self.trained.agent
        if self.seed_every_step:
            self._seed += 1
            torch.manual_seed(self._seed)  # policies of actor-critic algorithms draw from torch,
            np.random.seed(self._seed)  # DQN from NumPy,
            agent.action_space.seed(self._seed)  # and from its action space
        stacked = self._stacked(observation, episode_starts)
        actions, _ = agent.predict(stacked, deterministic=self.deterministic)
        is_scored = actions.ndim > 1 and not self.trained.acts_in_box
        return actions.argmax(-1) if is_scored else actions

    def _stacked(
        self, observation: np.ndarray, episode_starts: Bool[np.ndarray, " n"]
    ) -> np.ndarray:
        """Return the newest observations as `VecFrameStack` does: zeros before an episode."""
        config = self.trained.config
        if config.frame_stack == 1:
            return observation
        if not self._history:
            self._history = [np.zeros_like(observation)] * config.frame_stack
        for older in self._history:
            older[episode_starts] = 0
        self._history = [*self._history[1:], observation.copy()]
        return np.concatenate(self._history, axis=1 if config.observation == "latent" else -1)
