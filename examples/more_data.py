"""Does generated data help? A behaviour clone and a reward model, with and without it.

Usage: python examples/more_data.py [--episodes 2 4 8 16] [--seeds 5]

Both learn from n real episodes, and from n real and 10 n generated ones. Demonstrations are a noisy
scripted policy's, in the real simulator or in the generated world. Both are tested in the real
simulator: the clone by its return over 64 episodes, the reward model by its correlation with the
true potential on 64 others.
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

GENERATED = "StreamDiT/PushT-Reach-v0"
REAL = "StreamDiT/PushT-Reach-Real-v0"
NOISE = 0.3  # share of random actions in demonstrations
GENERATED_PER_REAL = 10
ROWS = 16
NUM_ACTIONS = 9
TEST_EPISODES = 64
BATCH = 128
LEARNING_RATE = 1e-3
POTENTIAL_SCALE = 10  # pixels; makes potentials of about unit size


@dataclass(frozen=True)
class Batch:
    """Frames of some episodes: latents, the actions taken in them, and their potentials."""

    latents: Tensor
    actions: Tensor
    potentials: Tensor

    def __add__(self, other: Batch) -> Batch:
        return Batch(
            torch.cat([self.latents, other.latents]),
            torch.cat([self.actions, other.actions]),
            torch.cat([self.potentials, other.potentials]),
        )


@dataclass
class Episode:
    """One recorded episode, step by step."""

    frames: list[np.ndarray]
    actions: list[int]
    potentials: list[float]

    @classmethod
    def empty(cls) -> Episode:
        """Return an episode without steps."""
        return cls([], [], [])


def join_episodes(episodes: list[Episode]) -> Batch:
    """Return all frames of some episodes, encoded."""
    world = shared_world("PushT", "cpu")
    latents = [encode(world, np.stack(episode.frames))[:, 0] for episode in episodes]
    actions = [torch.tensor(episode.actions) for episode in episodes]
    potentials = [torch.tensor(episode.potentials) for episode in episodes]
    return Batch(torch.cat(latents), torch.cat(actions), torch.cat(potentials))


def demonstrate(env: str, num_episodes: int, seed: int) -> list[Episode]:
    """Return episodes of the scripted policy, the same number of every row.

    The first episodes to end are the shortest; taking them would favour short ones.
    """
    world = shared_world("PushT", "cpu")
    venv = make_venv(env, ROWS, observation="frame")
    policy = ScriptedPolicy(world, "reach", NOISE)
    policy.reset(ROWS, NUM_ACTIONS, np.random.default_rng(seed))
    venv.seed(seed)
    frames = venv.reset()
    infos = list(venv.unwrapped.reset_infos)  # the wrappers' own are empty
    running = [Episode.empty() for _ in range(ROWS)]
    ended: list[list[Episode]] = [[] for _ in range(ROWS)]
    episodes_per_row = -(-num_episodes // ROWS)
    while min(len(episodes) for episodes in ended) < episodes_per_row:
        actions = policy.act(frames, np.zeros(ROWS, dtype=bool))
        for row, episode in enumerate(running):
            episode.frames.append(frames[row])
            episode.actions.append(int(actions[row]))
            episode.potentials.append(infos[row]["potential"])
        frames, _, ends, infos = venv.step(actions)
        for row in np.flatnonzero(ends):
            ended[row].append(running[row])
            running[row] = Episode.empty()
            infos[row] = venv.unwrapped.reset_infos[row]
    venv.close()
    return [ended[i % ROWS][i // ROWS] for i in range(num_episodes)]


def train(data: Batch, seed: int, num_steps: int = 600) -> nn.Module:
    """Train one small network for both: the scores of nine actions, and the potential."""
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
        nn.Linear(128, NUM_ACTIONS + 1),
    )
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=1e-2)
    for step in range(num_steps):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / num_steps)
        rows = torch.randint(len(data.latents), (BATCH,))
        output = net(data.latents[rows])
        action_loss = functional.cross_entropy(output[:, :NUM_ACTIONS], data.actions[rows])
        targets = data.potentials[rows] / POTENTIAL_SCALE
        potential_loss = functional.mse_loss(output[:, NUM_ACTIONS], targets)
        optimizer.zero_grad()
        (action_loss + potential_loss).backward()
        optimizer.step()
    return net.eval()


class ClonePolicy:
    """Takes the action that a trained network scores highest."""

    observation = "latent"

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def reset(self, num_rows: int, num_actions: int, rng: np.random.Generator) -> None:
        """Start episodes; there is nothing to remember."""

    def act(self, observation: np.ndarray, episode_starts: np.ndarray) -> np.ndarray:
        """Return the best actions."""
        scores = self.net(torch.from_numpy(observation))[:, :NUM_ACTIONS]
        return scores.argmax(1).numpy()


@torch.no_grad()
def test(net: nn.Module, held_out: Batch) -> tuple[float, float]:
    """Return the clone's mean return and the reward model's correlation with the truth."""
    venv = make_venv(REAL, ROWS, observation="latent")
    score = play_episodes(venv, ClonePolicy(net), TEST_EPISODES, seed=1000)
    venv.close()
    predicted = net(held_out.latents)[:, NUM_ACTIONS].numpy()
    correlation = np.corrcoef(predicted, held_out.potentials.numpy())[0, 1]
    return score.mean, float(correlation)


def format_result(results: list[tuple[float, float]]) -> str:
    """Return the means over repetitions with their 95 % intervals."""
    means = np.mean(results, 0)
    intervals = np.full(2, np.nan)
    if len(results) > 1:
        intervals = 1.96 * np.std(results, 0, ddof=1) / np.sqrt(len(results))
    clone_return = f"{means[0]:6.2f} ± {intervals[0]:.2f}"
    correlation = f"{means[1]:6.3f} ± {intervals[1]:.3f}"
    return f"{clone_return:26s} {correlation}"


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
    arguments = parser.parse_args()
    streamdit_gym.register()
    num_real = max(arguments.episodes)
    held_out = join_episodes(demonstrate(REAL, TEST_EPISODES, seed=900_000))
    results: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for seed in range(arguments.seeds):
        first_seed = 10_000 * (seed + 1)
        real = demonstrate(REAL, num_real, first_seed)
        generated = demonstrate(GENERATED, GENERATED_PER_REAL * num_real, first_seed + 5000)
        for n in arguments.episodes:
            real_batch = join_episodes(real[:n])
            mixed = real_batch + join_episodes(generated[: GENERATED_PER_REAL * n])
            for name, data in (("real", real_batch), ("real and generated", mixed)):
                result = test(train(data, seed), held_out)
                results.setdefault((n, name), []).append(result)
    print(f"mean over {arguments.seeds} repetitions with its 95 % interval")
    print(f"{'n':>4s} {'trained on':20s} {'return in the simulator':26s} reward model's r")
    for (n, name), pairs in results.items():
        print(f"{n:4d} {name:20s} {format_result(pairs)}")


if __name__ == "__main__":
    main()
