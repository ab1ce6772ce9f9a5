"""PPO in plain PyTorch: latents, rewards and endings stay tensors on the device of the world.

Usage: python examples/torch_ppo.py [--steps 24000] [--device cuda]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import gymnasium
import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

import streamdit_gym

ROLLOUT_STEPS = 64
EPOCHS = 6
BATCH = 128
GAMMA = 0.97
GAE_LAMBDA = 0.95
CLIP = 0.2
LEARNING_RATE = 7e-4
VALUE_WEIGHT = 0.5
ENTROPY_WEIGHT = 0.01
MAX_GRADIENT_NORM = 0.5


class ActorCritic(nn.Module):
    """A small network on the world's latents of the newest frame."""

    def __init__(self, latent_shape: tuple[int, int, int], num_actions: int) -> None:
        super().__init__()
        channels, rows, columns = latent_shape
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(32 * rows * columns, 256),
            nn.SiLU(),
        )
        self.policy = nn.Linear(256, num_actions)
        self.value = nn.Linear(256, 1)
        nn.init.zeros_(self.policy.weight)  # start as a random policy

    def forward(self, latents: Tensor) -> tuple[Categorical, Tensor]:
        features = self.body(latents)
        logits = self.policy(features)
        values = self.value(features)
        return Categorical(logits=logits), values[:, 0]


class Rollout:
    """What was seen and done in so many steps of all environments; time first."""

    def __init__(self, num_envs: int, latent_shape: Sequence[int], device: str) -> None:
        steps = (ROLLOUT_STEPS, num_envs)
        zeros = torch.zeros(steps, device=device)
        self.observations = torch.zeros(*steps, *latent_shape, device=device)
        self.actions = torch.zeros_like(zeros, dtype=torch.int64)
        self.log_probs = zeros.clone()
        self.values = zeros.clone()
        self.rewards = zeros.clone()
        self.ends = zeros.clone()
        self.next_value = zeros[0]

    def advantages(self) -> Tensor:
        """Return generalized advantage estimates.

        An episode that the horizon truncates counts as ended: simple, and harmless at this gamma.
        """
        advantages = torch.zeros_like(self.rewards)
        next_advantage = torch.zeros_like(self.next_value)
        next_value = self.next_value
        for step in reversed(range(ROLLOUT_STEPS)):
            goes_on = 1 - self.ends[step]
            discount = GAMMA * goes_on
            value = self.values[step]
            target = self.rewards[step] + discount * next_value
            error = target - value
            next_advantage = error + GAE_LAMBDA * discount * next_advantage
            advantages[step] = next_advantage
            next_value = value
        return advantages

    def samples(self) -> Samples:
        """Return all steps of all environments in one row."""
        advantages = self.advantages()
        targets = advantages + self.values
        return Samples(
            observations=self.observations.flatten(0, 1),
            actions=self.actions.flatten(),
            log_probs=self.log_probs.flatten(),
            advantages=advantages.flatten(),
            targets=targets.flatten(),
        )


@dataclass(frozen=True)
class Samples:
    """What the agent learns from; a row is a step of one environment."""

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    advantages: Tensor
    targets: Tensor

    def at(self, rows: Tensor) -> Samples:
        """Return some of them."""
        return Samples(
            observations=self.observations[rows],
            actions=self.actions[rows],
            log_probs=self.log_probs[rows],
            advantages=self.advantages[rows],
            targets=self.targets[rows],
        )


class Collector:
    """Steps the environments and keeps the returns of ended episodes."""

    def __init__(self, envs: gymnasium.vector.VectorEnv, device: str) -> None:
        self.envs = envs
        self.device = device
        self.observation, _ = envs.reset(seed=0)
        self.returns: list[float] = []
        self._running = torch.zeros(envs.num_envs, device=device)

    @torch.no_grad()
    def collect(self, agent: ActorCritic) -> Rollout:
        """Return one rollout of the agent."""
        num_envs, *latent_shape = self.observation.shape
        rollout = Rollout(num_envs, latent_shape, self.device)
        for step in range(ROLLOUT_STEPS):
            policy, value = agent(self.observation)
            action = policy.sample()
            following, reward, terminated, truncated, _ = self.envs.step(action)
            ended = terminated | truncated
            rollout.observations[step] = self.observation
            rollout.actions[step] = action
            rollout.log_probs[step] = policy.log_prob(action)
            rollout.values[step] = value
            rollout.rewards[step] = reward
            rollout.ends[step] = ended
            self._count_returns(reward, ended)
            self.observation = following
        _, rollout.next_value = agent(self.observation)
        return rollout

    def _count_returns(self, reward: Tensor, ended: Tensor) -> None:
        self._running += reward
        returns = self._running[ended]
        self.returns += returns.tolist()
        self._running[ended] = 0


def update(agent: ActorCritic, optimizer: torch.optim.Optimizer, rollout: Rollout) -> None:
    """Improve the agent on a rollout with the clipped objective."""
    samples = rollout.samples()
    num_samples = len(samples.actions)
    for _ in range(EPOCHS):
        order = torch.randperm(num_samples, device=samples.actions.device)
        for rows in order.split(BATCH):
            loss = ppo_loss(agent, samples.at(rows))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRADIENT_NORM)
            optimizer.step()


def ppo_loss(agent: ActorCritic, samples: Samples) -> Tensor:
    """Return the clipped objective with value and entropy terms."""
    policy, values = agent(samples.observations)
    log_probs = policy.log_prob(samples.actions)
    ratios = torch.exp(log_probs - samples.log_probs)
    gain = clipped_gain(ratios, samples.advantages)
    value_loss = functional.mse_loss(values, samples.targets)
    entropies = policy.entropy()
    return -gain + VALUE_WEIGHT * value_loss - ENTROPY_WEIGHT * entropies.mean()


def clipped_gain(ratios: Tensor, advantages: Tensor) -> Tensor:
    """Return what the new policy gains over the old one, where it stays close to it."""
    mean = advantages.mean()
    deviation = advantages.std()
    normalized = (advantages - mean) / (deviation + 1e-8)
    clipped_ratios = ratios.clamp(1 - CLIP, 1 + CLIP)
    gain = ratios * normalized
    clipped_gain = clipped_ratios * normalized
    return torch.min(gain, clipped_gain).mean()


def print_progress(num_steps: int, returns: list[float]) -> None:
    """Print the mean return of the last episodes."""
    recent = returns[-100:]
    num_recent = len(recent)
    mean = sum(recent) / max(1, num_recent)
    print(f"{num_steps:7d} steps, return of the last {num_recent} episodes {mean:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=24_000, help="environment steps in all")
    parser.add_argument("--envs", type=int, default=16, help="environments in one batch")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    streamdit_gym.register()
    envs = gymnasium.make_vec(
        "StreamDiT/PushT-Reach-v0",
        num_envs=arguments.envs,
        observation="latent",
        backend={"output": "torch"},
        device=arguments.device,
        autoreset_mode="SAME_STEP",
    )
    torch.manual_seed(0)
    latent_shape = envs.single_observation_space.shape
    num_actions = int(envs.single_action_space.n)
    agent = ActorCritic(latent_shape, num_actions).to(arguments.device)
    optimizer = torch.optim.Adam(agent.parameters(), LEARNING_RATE, eps=1e-5)
    collector = Collector(envs, arguments.device)
    steps_per_update = ROLLOUT_STEPS * arguments.envs
    num_updates = max(1, arguments.steps // steps_per_update)
    schedule = LambdaLR(optimizer, lambda i: 1 - i / num_updates)
    for i in range(num_updates):
        rollout = collector.collect(agent)
        update(agent, optimizer, rollout)
        schedule.step()
        num_steps = (i + 1) * steps_per_update
        print_progress(num_steps, collector.returns)
    envs.close()


if __name__ == "__main__":
    main()
