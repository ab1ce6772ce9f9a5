"""Minari's DataCollector records episodes with their infos (it needs jax) and reads them back.

It runs where Minari and jax are installed, see docs/interop.md.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from tempfile import TemporaryDirectory

import gymnasium
import minari
import numpy as np

HORIZON = 4
EPISODES = 3


def record(folder: str) -> minari.MinariDataset:
    """Record random episodes."""
    env = gymnasium.make("streamdit_gym:StreamDiT/PushT-Reach-v0", horizon=HORIZON)
    collector = minari.DataCollector(env, record_infos=True, jpeg_encoding=False)
    for episode in range(EPISODES):
        collector.reset(seed=episode)
        ended = False
        while not ended:
            *_, terminated, truncated, _ = collector.step(collector.action_space.sample())
            ended = terminated or truncated
    return collector.create_dataset(dataset_id="streamdit/check-v0")


def main() -> None:
    """Record, then read."""
    with TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = folder
        record(folder)
        dataset = minari.load_dataset("streamdit/check-v0")
        assert dataset.total_episodes == EPISODES
        for episode in dataset.iterate_episodes():
            steps = len(episode.actions)
            assert steps == HORIZON or episode.terminations[-1]
            assert episode.observations.shape == (steps + 1, 64, 64, 3)
            assert episode.observations.dtype == np.uint8
            assert len(episode.infos["potential"]) == steps + 1
            assert len(episode.infos["is_success"]) == steps + 1
        dataset.recover_environment().reset(seed=0)
    print(
        f"Minari {version('minari')} | make; DataCollector(record_infos=True), {EPISODES} episodes"
    )


if __name__ == "__main__":
    main()
