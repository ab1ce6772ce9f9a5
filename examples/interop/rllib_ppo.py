"""RLlib trains PPO on one batch of worlds; every truncated episode has as many steps as the
horizon.

With VECTOR_ENTRY_POINT it takes Gymnasium's default autoreset mode, NEXT_STEP, for granted. Its
networks take pictures of floats only. It runs where RLlib is installed, see docs/interop.md.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import ray
from gymnasium.wrappers.vector import DtypeObservation
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.tune.registry import register_env

HORIZON = 6
ENVS = 3
LENGTHS: list[int] = []


class EpisodeLengths(RLlibCallback):
    """Records the length of every episode that the horizon truncates."""

    def on_episode_end(self, *, episode: Any, **kwargs: Any) -> None:
        """Record it."""
        if episode.is_truncated and not episode.is_terminated:
            LENGTHS.append(episode.t)  # of all its pieces: sampling cuts episodes


def make_batch(settings: dict[str, Any]) -> gymnasium.vector.VectorEnv:
    """Return the environments that RLlib asks for by their number."""
    envs = gymnasium.make_vec("streamdit_gym:StreamDiT/PushT-v0", **settings)
    return DtypeObservation(envs, np.float32)


def make_config() -> PPOConfig:
    """Return PPO with everything in this process."""
    register_env("pusht", make_batch)
    return (
        PPOConfig()
        .environment("pusht", env_config={"horizon": HORIZON})
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=ENVS,
            gym_env_vectorize_mode=gymnasium.VectorizeMode.VECTOR_ENTRY_POINT,
        )
        .training(train_batch_size_per_learner=90, minibatch_size=30, num_epochs=1)
        .callbacks(EpisodeLengths)
    )


def main() -> None:
    """Train for two iterations and check the episodes."""
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    algorithm = make_config().build_algo()
    for _ in range(2):
        algorithm.train()
    algorithm.stop()
    assert len(LENGTHS) >= 2 * ENVS, LENGTHS
    assert set(LENGTHS) == {HORIZON}, LENGTHS
    lengths = f"{len(LENGTHS)} episodes of {HORIZON} steps"
    print(f"RLlib {ray.__version__} | make_vec with VECTOR_ENTRY_POINT; PPO, {lengths}")


if __name__ == "__main__":
    main()
