"""Tianshou trains DQN on single environments: observation="state", its own collectors and trainer.

It runs where Tianshou is installed, see docs/interop.md.
"""

from __future__ import annotations

from importlib.metadata import version

import gymnasium
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net

HORIZON = 8
ENVS = 2
EPOCHS = 2
STEPS = 64


def make_env() -> gymnasium.Env:
    """Return one environment whose observations are plain vectors."""
    return gymnasium.make(
        "streamdit_gym:StreamDiT/PushT-Reach-v0",
        observation="state",
        horizon=HORIZON,
    )


def main() -> None:
    """Train for two epochs."""
    env = make_env()
    net = Net(
        state_shape=env.observation_space.shape,
        action_shape=int(env.action_space.n),
        hidden_sizes=[32],
    )
    policy = DiscreteQLearningPolicy(model=net, action_space=env.action_space, eps_training=0.2)
    algorithm = DQN(policy=policy, optim=AdamOptimizerFactory())
    training = DummyVectorEnv([make_env] * ENVS)
    test = DummyVectorEnv([make_env] * ENVS)
    result = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=Collector(algorithm, training, VectorReplayBuffer(1000, ENVS)),
            test_collector=Collector(algorithm, test),
            max_epochs=EPOCHS,
            epoch_num_steps=STEPS,
            collection_step_num_env_steps=16,
            test_step_num_episodes=4,
            batch_size=16,
            update_step_num_gradient_steps_per_sample=0.1,
            show_progress=False,
            verbose=False,
        )
    )
    assert result.train_step == EPOCHS * STEPS, result
    assert result.train_episode >= EPOCHS * STEPS // HORIZON - ENVS, result
    assert result.update_step > 0, result
    done = f"{result.train_step} steps, {result.train_episode} episodes"
    print(f"Tianshou {version('tianshou')} | make, observation='state'; DQN, {done}")


if __name__ == "__main__":
    main()
