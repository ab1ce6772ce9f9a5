"""PPO in plain PyTorch: latents, rewards and endings stay tensors, and nothing leaves the device
that the world runs on.

Usage: python examples/torch_ppo.py [--steps 24000] [--device cuda]
"""

from __future__ import annotations

import argparse

import gymnasium
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import streamdit_gym


class ActorCritic(nn.Module):
    """A small network on the world's latents of the newest frame."""

    def __init__(self, channels: int, grid: int, actions: int) -> None:
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
        self.policy, self.value = nn.Linear(256, actions), nn.Linear(256, 1)
        nn.init.zeros_(self.policy.weight)  # begin as a random player

    def forward(self, latents: Tensor) -> tuple[Categorical, Tensor]:
        seen = self.body(latents)
        return Categorical(logits=self.policy(seen)), self.value(seen)[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=24_000, help="environment steps in all")
    parser.add_argument("--envs", type=int, default=16, help="environments in one batch")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    rollout, epochs, batch, gamma, trace, clip, rate = 64, 6, 128, 0.97, 0.95, 0.2, 7e-4
    streamdit_gym.register()
    envs = gymnasium.make_vec(
        "StreamDiT/PushT-Reach-v0",
        num_envs=given.envs,
        observation="latent",
        device=given.device,
        backend={"output": "torch"},
        autoreset_mode="SAME_STEP",
    )
    torch.manual_seed(0)
    channels, grid, _ = envs.single_observation_space.shape
    agent = ActorCritic(channels, grid, int(envs.single_action_space.n)).to(given.device)
    optimizer = torch.optim.Adam(agent.parameters(), rate, eps=1e-5)
    seen, _ = envs.reset(seed=0)
    running, finished = torch.zeros(given.envs, device=given.device), []
    updates = max(1, given.steps // (rollout * given.envs))
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = rate * (1 - update / updates)
        kept: list[tuple[Tensor, ...]] = []
        for _ in range(rollout):
            with torch.no_grad():
                policy, value = agent(seen)
            action = policy.sample()
            new, reward, terminated, truncated, _ = envs.step(action)
            ended = terminated | truncated
            kept.append(
                (seen, action, policy.log_prob(action), value, reward.float(), ended.float())
            )
            running += reward
            finished += running[ended].tolist()
            running[ended] = 0
            seen = new
        observations, actions, chances, values, rewards, ends = (
            torch.stack(part) for part in zip(*kept, strict=True)
        )
        with torch.no_grad():
            following = agent(seen)[1]
        advantages, later = torch.zeros_like(rewards), torch.zeros_like(following)
        for step in reversed(
            range(rollout)
        ):  # an episode cut by the horizon counts as ended: simple, and mild at gamma 0.97
            goes_on = 1 - ends[step]
            later = (
                rewards[step]
                + gamma * following * goes_on
                - values[step]
                + gamma * trace * goes_on * later
            )
            advantages[step], following = later, values[step]
        data = [
            part.flatten(0, 1)
            for part in (observations, actions, chances, advantages, advantages + values)
        ]
        for _ in range(epochs):
            for rows in torch.randperm(len(data[0]), device=given.device).split(batch):
                observation, action, chance, advantage, target = (part[rows] for part in data)
                policy, value = agent(observation)
                ratio = (policy.log_prob(action) - chance).exp()
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                gain = torch.min(
                    ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage
                ).mean()
                loss = (
                    -gain + 0.5 * (value - target).square().mean() - 0.01 * policy.entropy().mean()
                )
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        recent = finished[-100:]
        mean = sum(recent) / max(1, len(recent))
        print(
            f"{(update + 1) * rollout * given.envs:7d} steps, return of the last {len(recent)} episodes {mean:.2f}"
        )
    envs.close()


if __name__ == "__main__":
    main()
