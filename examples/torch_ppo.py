"""PPO in plain PyTorch: latents, rewards and endings stay tensors on the device of the world.

Usage: python examples/torch_ppo.py [--steps 24000] [--device cuda]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import gymnasium
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

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

    def __init__(self, channels: int, grid: int, num_actions: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(32 * grid**2, 256),
            nn.SiLU(),
        )
        self.policy = nn.Linear(256, num_actions)
        self.value = nn.Linear(256, 1)
        nn.init.zeros_(self.policy.weight)  # start as a random policy

    def forward(self, latents: Tensor) -> tuple[Categorical, Tensor]:
        features = self.body(latents)
        return Categorical(logits=self.policy(features)), self.value(features)[:, 0]


@dataclass
class Rollout:
    """Steps of all environments, time first; `next_value` is the value after the last one."""

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    rewards: Tensor
    ends: Tensor
    next_value: Tensor

    def advantages(self) -> Tensor:
        """Return generalized advantage estimates.

        An episode that the horizon truncates counts as ended: simple, and harmless at this gamma.
        """
        advantages = torch.zeros_like(self.rewards)
        next_advantage = torch.zeros_like(self.next_value)
        next_value = self.next_value
        for step in reversed(range(len(self.rewards))):
            goes_on = 1 - self.ends[step]
            target = self.rewards[step] + GAMMA * next_value * goes_on
            error = target - self.values[step]
            next_advantage = error + GAMMA * GAE_LAMBDA * goes_on * next_advantage
            advantages[step] = next_advantage
            next_value = self.values[step]
        return advantages


class Collector:
    """Steps the environments and keeps the returns of ended episodes."""

    def __init__(self, envs: gymnasium.vector.VectorEnv, device: str) -> None:
        self.envs = envs
        self.observation, _ = envs.reset(seed=0)
        self.returns: list[float] = []
        self._running = torch.zeros(envs.num_envs, device=device)

    @torch.no_grad()
    def collect(self, agent: ActorCritic) -> Rollout:
        """Return one rollout of the agent."""
        steps = []
        for _ in range(ROLLOUT_STEPS):
            policy, value = agent(self.observation)
            action = policy.sample()
            following, reward, terminated, truncated, _ = self.envs.step(action)
            ended = terminated | truncated
            log_prob = policy.log_prob(action)
            step = (self.observation, action, log_prob, value, reward.float(), ended.float())
            steps.append(step)
            self._running += reward
            self.returns += self._running[ended].tolist()
            self._running[ended] = 0
            self.observation = following
        parts = [torch.stack(part) for part in zip(*steps, strict=True)]
        _, next_value = agent(self.observation)
        return Rollout(*parts, next_value)


def update(agent: ActorCritic, optimizer: torch.optim.Optimizer, rollout: Rollout) -> None:
    """Improve the agent on a rollout with the clipped objective."""
    advantages = rollout.advantages()
    targets = advantages + rollout.values
    parts = (rollout.observations, rollout.actions, rollout.log_probs, advantages, targets)
    data = [part.flatten(0, 1) for part in parts]
    for _ in range(EPOCHS):
        order = torch.randperm(len(data[0]), device=data[0].device)
        for rows in order.split(BATCH):
            loss = ppo_loss(agent, *(part[rows] for part in data))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRADIENT_NORM)
            optimizer.step()


def ppo_loss(
    agent: ActorCritic,
    observations: Tensor,
    actions: Tensor,
    log_probs: Tensor,
    advantages: Tensor,
    targets: Tensor,
) -> Tensor:
    """Return the clipped objective with value and entropy terms."""
    policy, values = agent(observations)
    ratios = (policy.log_prob(actions) - log_probs).exp()
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    clipped = ratios.clamp(1 - CLIP, 1 + CLIP) * advantages
    gain = torch.min(ratios * advantages, clipped).mean()
    value_loss = (values - targets).square().mean()
    return -gain + VALUE_WEIGHT * value_loss - ENTROPY_WEIGHT * policy.entropy().mean()


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
    channels, grid, _ = envs.single_observation_space.shape
    agent = ActorCritic(channels, grid, int(envs.single_action_space.n)).to(arguments.device)
    optimizer = torch.optim.Adam(agent.parameters(), LEARNING_RATE, eps=1e-5)
    collector = Collector(envs, arguments.device)
    steps_per_update = ROLLOUT_STEPS * arguments.envs
    num_updates = max(1, arguments.steps // steps_per_update)
    for i in range(num_updates):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - i / num_updates)
        update(agent, optimizer, collector.collect(agent))
        recent = collector.returns[-100:]
        mean = sum(recent) / max(1, len(recent))
        num_steps = (i + 1) * steps_per_update
        print(f"{num_steps:7d} steps, return of the last {len(recent)} episodes {mean:.2f}")
    envs.close()


if __name__ == "__main__":
    main()
