"""Does generated data help? Behaviour cloning and a reward model from n real episodes, and from n
real and 10 n generated ones.

Usage: python examples/more_data.py [--episodes 2 4 8 16] [--seeds 5]

Demonstrations are a noisy script's, in the real simulator or in the generated world. Everything is
tested in the real simulator: the clone by its return over 64 episodes, the reward model by its
correlation with the true potential on 64 others.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import streamdit_gym
from streamdit_gym.agents.agent_envs import make_venv
from streamdit_gym.agents.features import encode
from streamdit_gym.agents.policies.scripted_policy import ScriptedPolicy
from streamdit_gym.agents.scores import play_episodes
from streamdit_gym.envs.worlds import shared_world

GENERATED, REAL = "StreamDiT/PushT-Reach-v0", "StreamDiT/PushT-Reach-Real-v0"
NOISE, TIMES, ROWS = 0.3, 10, 16


@dataclass
class Demonstrations:
    """Frames as latents, what was done then, and the potential; one entry per episode."""

    latents: list[Tensor]
    actions: list[Tensor]
    potentials: list[Tensor]

    def first(self, episodes: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the frames of the first episodes."""
        parts = (self.latents, self.actions, self.potentials)
        latents, actions, potentials = (torch.cat(part[:episodes]) for part in parts)
        return latents, actions, potentials


def demonstrate(env: str, episodes: int, seed: int) -> Demonstrations:
    """Let the script play so many whole episodes; of every row the same number,
    since the first to end are the shortest.
    """
    world = shared_world("PushT", "cpu")
    venv = make_venv(env, ROWS, observation="frame")
    script = ScriptedPolicy(world, "reach", NOISE)
    script.reset(ROWS, len(world.spec.menu), np.random.default_rng(seed))
    venv.seed(seed)
    frames, infos = (
        venv.reset(),
        list(venv.unwrapped.reset_infos),
    )  # wrappers have empty ones of their own
    running: list[list[tuple[np.ndarray, int, float]]] = [[] for _ in range(ROWS)]
    ended: list[list[list[tuple[np.ndarray, int, float]]]] = [[] for _ in range(ROWS)]
    share = -(-episodes // ROWS)
    while min(map(len, ended)) < share:
        actions = script.act(frames, np.zeros(ROWS, dtype=bool))
        for row in range(ROWS):
            running[row].append((frames[row], int(actions[row]), infos[row]["potential"]))
        frames, _, ends, infos = venv.step(actions)
        for row in np.flatnonzero(ends):
            ended[row].append(running[row])
            running[row] = []
            infos[row] = venv.unwrapped.reset_infos[row]
    venv.close()
    done = [ended[i % ROWS][i // ROWS] for i in range(episodes)]
    return Demonstrations(
        latents=[
            encode(world, np.stack([frame for frame, _, _ in episode]))[:, 0] for episode in done
        ],
        actions=[torch.tensor([action for _, action, _ in episode]) for episode in done],
        potentials=[torch.tensor([potential for _, _, potential in episode]) for episode in done],
    )


def train(data: tuple[Tensor, Tensor, Tensor], seed: int, steps: int = 600) -> nn.Module:
    """Train one small network for both: nine scores of actions, and the potential."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(8, 32, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(32 * 64, 128),
        nn.SiLU(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-2)
    latents, actions, potentials = data
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / steps)
        rows = torch.randint(len(latents), (128,))
        out = net(latents[rows])
        loss = functional.cross_entropy(out[:, :9], actions[rows]) + functional.mse_loss(
            out[:, 9], potentials[rows] / 10
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


class Clone:
    """The policy that a network has learned from demonstrations."""

    observation = "latent"

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def reset(self, num_rows: int, num_actions: int, rng: np.random.Generator) -> None:
        """Begin episodes; there is nothing to remember."""

    def act(self, observation: np.ndarray, episode_starts: np.ndarray) -> np.ndarray:
        """Return the likeliest actions."""
        return self.net(torch.from_numpy(observation))[:, :9].argmax(1).numpy()


@torch.no_grad()
def test(net: nn.Module, held_out: tuple[Tensor, Tensor, Tensor]) -> tuple[float, float]:
    """Return the clone's mean return in the real simulator,
    and the reward model's correlation with the truth.
    """
    venv = make_venv(REAL, ROWS, observation="latent")
    score = play_episodes(venv, Clone(net), 64, seed=1000)
    venv.close()
    latents, _, potentials = held_out
    return score.mean, float(np.corrcoef(net(latents)[:, 9].numpy(), potentials.numpy())[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--episodes", type=int, nargs="+", default=[2, 4, 8, 16], help="n: real episodes"
    )
    parser.add_argument(
        "--seeds", type=int, default=5, help="repetitions, each with its own data and network"
    )
    given = parser.parse_args()
    streamdit_gym.register()
    most = max(given.episodes)
    held_out = demonstrate(REAL, 64, seed=900_000).first(64)
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for seed in range(given.seeds):
        begin = 10_000 * (seed + 1)
        real, made = (
            demonstrate(REAL, most, begin),
            demonstrate(GENERATED, TIMES * most, begin + 5000),
        )
        for n in given.episodes:
            alone, more = real.first(n), made.first(TIMES * n)
            mixed = tuple(torch.cat(pair) for pair in zip(alone, more, strict=True))
            for name, data in (("real", alone), ("real and generated", mixed)):
                found.setdefault((n, name), []).append(test(train(data, seed), held_out))  # type: ignore[arg-type]
    print(f"mean over {given.seeds} repetitions with its 95 % interval")
    print(f"{'n':>4s} {'trained on':20s} {'return in the simulator':26s} reward model's r")
    for (n, name), pairs in found.items():
        means, spreads = (
            np.mean(pairs, 0),
            1.96 * np.std(pairs, 0, ddof=1) / np.sqrt(len(pairs))
            if len(pairs) > 1
            else np.full(2, np.nan),
        )
        print(
            f"{n:4d} {name:20s} {means[0]:6.2f} ± {spreads[0]:.2f}              {means[1]:6.3f} ± {spreads[1]:.3f}"
        )


if __name__ == "__main__":
    main()
