"""Does generated data help? A behaviour clone and a reward model, with and without it.

Usage: python examples/more_data.py [--episodes 2 4 8 16] [--seeds 5]

Both learn from n real episodes, and from n real and 10 n generated ones. Demonstrations are a noisy
scripted policy's, in the real simulator or in the generated world. Both are tested in the real
simulator: the clone by its return over 64 episodes, the reward model by its correlation with the
true potential on 64 others.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

import streamdit_gym
from streamdit_gym.actions import ActionLanguage
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
WEIGHT_DECAY = 1e-2
POTENTIAL_SCALE = 10  # pixels; makes potentials of about unit size


@dataclass
class Episode:
    """One recorded episode, step by step."""

    frames: list[np.ndarray] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    potentials: list[float] = field(default_factory=list)


class EpisodeRecorder:
    """Collects the steps of all rows into episodes."""

    def __init__(self) -> None:
        self.running = [Episode() for _ in range(ROWS)]
        self.ended: list[list[Episode]] = [[] for _ in range(ROWS)]

    @property
    def least_ended(self) -> int:
        """How many episodes every row has ended."""
        return min(len(episodes) for episodes in self.ended)

    def add_step(self, frames: np.ndarray, actions: np.ndarray, infos: list[Any]) -> None:
        """Add a step of every row."""
        rows = zip(self.running, frames, actions, infos, strict=True)
        for episode, frame, action, info in rows:
            episode.frames.append(frame)
            episode.actions.append(int(action))
            episode.potentials.append(info["potential"])

    def end_episode(self, row: int) -> None:
        """End a row's episode, and begin its next."""
        episode = self.running[row]
        self.ended[row].append(episode)
        self.running[row] = Episode()

    def episodes(self) -> list[Episode]:
        """Return the same number of ended episodes of every row, the rows in turn."""
        rounds = zip(*self.ended, strict=False)
        return [episode for one_of_each_row in rounds for episode in one_of_each_row]


def demonstrate(env: str, num_episodes: int, seed: int) -> list[Episode]:
    """Return episodes of the scripted policy, the same number of every row.

    The first episodes to end are the shortest; taking them would favour short ones.
    """
    world = shared_world("PushT", "cpu")
    venv = make_venv(env, ROWS, observation="frame")
    policy = ScriptedPolicy(world, "reach", NOISE)
    rng = np.random.default_rng(seed)
    policy.reset(ROWS, NUM_ACTIONS, rng)
    recorder = EpisodeRecorder()
    episodes_per_row = math.ceil(num_episodes / ROWS)
    nothing_started = np.zeros(ROWS, dtype=bool)
    venv.seed(seed)
    frames = venv.reset()
    infos = list(venv.unwrapped.reset_infos)  # the wrappers' own are empty
    while recorder.least_ended < episodes_per_row:
        actions = policy.act(frames, nothing_started)
        recorder.add_step(frames, actions, infos)
        frames, _, ends, infos = venv.step(actions)
        for row in np.flatnonzero(ends):
            recorder.end_episode(row)
            infos[row] = venv.unwrapped.reset_infos[row]
    venv.close()
    return recorder.episodes()[:num_episodes]


@dataclass(frozen=True)
class Batch:
    """Frames of some episodes: latents, the actions taken in them, and their potentials."""

    latents: Tensor
    actions: Tensor
    potentials: Tensor

    def at(self, rows: Tensor) -> Batch:
        """Return some of the frames."""
        latents = self.latents[rows]
        actions = self.actions[rows]
        potentials = self.potentials[rows]
        return Batch(latents, actions, potentials)


def encode_episodes(episodes: list[Episode]) -> Batch:
    """Return all frames of some episodes, encoded."""
    world = shared_world("PushT", "cpu")
    latents = []
    actions: list[int] = []
    potentials: list[float] = []
    for episode in episodes:
        frames = np.stack(episode.frames)
        encoded = encode(world, frames)
        latents.append(encoded[:, 0])
        actions += episode.actions
        potentials += episode.potentials
    all_latents = torch.cat(latents)
    return Batch(all_latents, torch.tensor(actions), torch.tensor(potentials))


class CloneAndRewardModel(nn.Module):
    """One small network for both: the scores of nine actions, and the potential."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
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

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        output = self.layers(latents)
        action_scores = output[:, :NUM_ACTIONS]
        potentials = output[:, NUM_ACTIONS]
        return action_scores, potentials


def train(data: Batch, seed: int, num_steps: int = 600) -> CloneAndRewardModel:
    """Train a network on all frames at once."""
    torch.manual_seed(seed)
    net = CloneAndRewardModel()
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = LambdaLR(optimizer, lambda step: 1 - step / num_steps)
    num_frames = len(data.latents)
    for _ in range(num_steps):
        rows = torch.randint(num_frames, (BATCH,))
        loss = training_loss(net, data.at(rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def training_loss(net: CloneAndRewardModel, batch: Batch) -> Tensor:
    """Return the sum of the clone's and the reward model's losses."""
    action_scores, potentials = net(batch.latents)
    targets = batch.potentials / POTENTIAL_SCALE
    action_loss = functional.cross_entropy(action_scores, batch.actions)
    potential_loss = functional.mse_loss(potentials, targets)
    return action_loss + potential_loss


class ClonePolicy:
    """Takes the action that a trained network scores highest."""

    observation = "latent"

    def __init__(self, net: CloneAndRewardModel) -> None:
        self.net = net

    def reset(self, num_rows: int, actions: ActionLanguage, rng: np.random.Generator) -> None:
        """Start episodes; there is nothing to remember."""

    def act(self, observation: np.ndarray, episode_starts: np.ndarray) -> np.ndarray:
        """Return the best actions."""
        latents = torch.from_numpy(observation)
        action_scores, _ = self.net(latents)
        return action_scores.argmax(1).numpy()


@dataclass(frozen=True)
class Quality:
    """How good a network is: its clone's mean return, and its reward model's correlation."""

    mean_return: float
    correlation: float


@torch.no_grad()
def evaluate(net: CloneAndRewardModel, held_out: Batch) -> Quality:
    """Play the clone in the simulator, and compare the reward model with the truth."""
    venv = make_venv(REAL, ROWS, observation="latent")
    clone = ClonePolicy(net)
    score = play_episodes(venv, clone, TEST_EPISODES, seed=1000)
    venv.close()
    _, predicted = net(held_out.latents)
    truth = held_out.potentials.numpy()
    correlations = np.corrcoef(predicted.numpy(), truth)
    return Quality(score.mean, float(correlations[0, 1]))


def compare(sizes: list[int], seed: int, held_out: Batch) -> Iterator[tuple[int, str, Quality]]:
    """Yield how good networks with and without generated data are, for every n."""
    largest = max(sizes)
    first_seed = 10_000 * (seed + 1)
    real = demonstrate(REAL, largest, first_seed)
    generated = demonstrate(GENERATED, GENERATED_PER_REAL * largest, first_seed + 5000)
    for n in sizes:
        real_only = real[:n]
        mixed = real_only + generated[: GENERATED_PER_REAL * n]
        for name, episodes in (("real", real_only), ("real and generated", mixed)):
            data = encode_episodes(episodes)
            net = train(data, seed)
            yield n, name, evaluate(net, held_out)


def with_interval(values: list[float], digits: int) -> str:
    """Return the mean over repetitions with its 95 % interval."""
    interval = math.nan
    if len(values) > 1:
        deviation = np.std(values, ddof=1)
        standard_error = deviation / math.sqrt(len(values))
        interval = 1.96 * standard_error
    mean = np.mean(values)
    return f"{mean:6.{digits}f} ± {interval:.{digits}f}"


def print_table(results: dict[tuple[int, str], list[Quality]]) -> None:
    """Print a line for every n, with and without generated data."""
    print(f"{'n':>4s} {'trained on':20s} {'return in the simulator':26s} reward model's r")
    for (n, name), qualities in results.items():
        clone_return = with_interval([quality.mean_return for quality in qualities], 2)
        correlation = with_interval([quality.correlation for quality in qualities], 3)
        print(f"{n:4d} {name:20s} {clone_return:26s} {correlation}")


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
    held_out = encode_episodes(demonstrate(REAL, TEST_EPISODES, seed=900_000))
    results: dict[tuple[int, str], list[Quality]] = {}
    for seed in range(arguments.seeds):
        for n, name, quality in compare(arguments.episodes, seed, held_out):
            qualities = results.setdefault((n, name), [])
            qualities.append(quality)
    print(f"mean over {arguments.seeds} repetitions with its 95 % interval")
    print_table(results)


if __name__ == "__main__":
    main()
