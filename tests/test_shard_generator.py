"""What goes into generated episodes: policies, prompts, start frames and clips."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from streamdit_gym import World
from streamdit_gym.agents.agent_config import AgentTraining
from streamdit_gym.agents.policies.policy_file import load_agent
from streamdit_gym.agents.train_agent import train_agent
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.errors import (
    DatasetError,
    StreamDiTError,
)
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.generate.episode_outcomes import until_success
from streamdit_gym.generate.generate_config import GenerateConfig
from streamdit_gym.generate.prompt_file import read_prompts
from streamdit_gym.generate.start_frames import start_images
from streamdit_gym.presets import partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise


def test_prompts_from_a_file_get_the_actions_that_they_name(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompts": ["move up", "move left"]}\n\n{"prompts": ["stay"]}\n')
    assert read_prompts(prompts) == [["move up", "move left"], ["stay"]]
    generate(GenerateConfig(episodes=3, steps=4, batch=2, policy=str(prompts)), tmp_path / "out")
    shards = [Dataset(tmp_path / "out").shard(i) for i in range(2)]
    assert shards[0].actions.tolist() == [[1, 7, 1, 7], [0, 0, 0, 0]]
    assert shards[1].actions.tolist() == [[1, 7, 1, 7]]


def check_generation_repeats(policy: str, folder: Path) -> None:
    """Check that other random numbers outside do not change what a policy does."""
    config = GenerateConfig(episodes=2, steps=6, batch=2, policy=policy, task="reach")
    first = generate(config, folder / "a")
    torch.manual_seed(99)
    again = generate(config, folder / "b")
    assert dataclasses.replace(again, location=first.location) == first
    assert (Dataset(folder / "a").shard(0).frames == Dataset(folder / "b").shard(0).frames).all()


def test_scripts_act_reproducibly(tmp_path: Path) -> None:
    check_generation_repeats("scripted:0.2", tmp_path)


@pytest.mark.parametrize("observation", ["state", "latent", "frame"])
def test_agents_act_reproducibly(observation: str, tmp_path: Path) -> None:
    env = "StreamDiT/PushT-Reach-v0"
    less = {"n_steps": 8, "batch_size": 8, "n_epochs": 1}
    kind: Any = observation
    config = AgentTraining(env=env, steps=16, num_envs=2, observation=kind, overrides=less)
    train_agent(config, tmp_path / "agent", progress=False)
    assert load_agent(tmp_path / "agent").config == config
    check_generation_repeats(str(tmp_path / "agent"), tmp_path)


def test_streams_start_from_the_users_pictures(tmp_path: Path) -> None:
    frame = PushTSimulator().reset(np.random.default_rng(3))
    wide = np.pad(frame.repeat(3, 0).repeat(3, 1), ((0, 0), (60, 60), (0, 0)))
    cv2.imwrite(str(tmp_path / "a.png"), wide[..., ::-1])
    images = start_images(tmp_path, (64, 64))
    assert (images == frame).all(), "its middle square"
    generate(GenerateConfig(episodes=1, steps=2, batch=1, images=str(tmp_path)), tmp_path / "out")
    first = Dataset(tmp_path / "out").shard(0).frames[0, 0].astype(int)
    assert np.abs(first - frame).mean() < 2


def test_no_reward_follows_a_success() -> None:
    rewards = np.ones((2, 4, 2), np.float32)
    successes = np.zeros((2, 4, 2), bool)
    successes[0, 1:3, 0] = True
    paid = until_success(rewards, successes)
    assert paid[0, :, 0].tolist() == [1, 1, 0, 0]
    assert (paid[0, :, 1] == 1).all()
    assert (paid[1] == 1).all()


def test_a_frame_of_a_longer_buffer_stands_beside_the_prompt_it_is_conditioned_on(
    world: World, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    lines = [["move up", "move left", "move down", "stay", "move right"], ["move right", "move up"]]
    prompts.write_text("".join(json.dumps({"prompts": line}) + "\n" for line in lines))
    generate(
        GenerateConfig(episodes=2, steps=5, batch=2, policy=str(prompts), partition="pipelined"),
        tmp_path / "out",
    )
    rng = np.random.default_rng([0, 0])
    start = world.starts.latents[torch.from_numpy(rng.integers(len(world.starts.latents), size=2))]
    cut = partition("pipelined")
    engine = Engine(world.model_for(cut), world.table, cut)
    noise = Noise.seeded(rng.integers(2**63, size=2).tolist())
    session = engine.start(start[:, None], torch.zeros(2, 1, dtype=torch.long), noise)
    late = engine.partition.chunks - 1
    ticks = []
    for step in range(5 + late):
        prompts = ["stay"] * 2 if step >= 5 else [line[step % len(line)] for line in lines]
        ticks.append(engine.tick(session, world.table.rows(prompts)))
    with torch.no_grad():
        slow = world.codec.decode(torch.cat(ticks[late:], 1)).numpy()
    made = Dataset(tmp_path / "out").shard(0)
    assert late > 0
    assert np.abs(made.frames[:, 1:].astype(int) - slow).max() <= 1
    assert made.actions.tolist() == [[1, 7, 5, 0, 3], [3, 1, 3, 1, 3]]


def test_new_phrases_depend_on_their_shard_alone(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    prompts = tmp_path / "prompts.jsonl"
    texts = [
        "drift over to the left edge, please",
        "away",
        "kindly proceed in the direction of the top, and do not stop there",
        "east",
    ]
    prompts.write_text("".join(json.dumps({"prompts": [text]}) + "\n" for text in texts))
    config = GenerateConfig(episodes=4, steps=4, batch=2, policy=str(prompts))
    generate(config, tmp_path / "out")
    truth = Dataset(tmp_path / "out").shard(1).frames
    (tmp_path / "out" / "shard-00001.json").unlink()
    generate(config, tmp_path / "out")
    assert (Dataset(tmp_path / "out").shard(1).frames == truth).all()
    prompts.write_text(prompts.read_text() + '{"prompts": ["away"]}\n')
    with pytest.raises(DatasetError, match="differing in inputs"):
        generate(config, tmp_path / "out")


def test_clips_are_drawn_over_and_the_less_noise_the_more_they_stay(
    lossless: Path, tmp_path: Path
) -> None:
    truth = np.concatenate([Dataset(lossless).shard(i).frames for i in range(3)]).astype(int)
    far = []
    for strength in (0.05, 0.3, 1.0):
        config = GenerateConfig(
            episodes=5, steps=8, batch=2, seed=7, over=str(lossless), strength=strength
        )
        generate(config, tmp_path / str(strength))
        made = np.concatenate([Dataset(tmp_path / str(strength)).shard(i).frames for i in range(3)])
        assert np.abs(made[:, 0] - truth[:, 0]).mean() < 1
        far.append(np.abs(made[:, -1] - truth[:, -1]).mean())
    assert far[0] < 0.5 * far[2]
    assert far[0] < far[1] < far[2]
    with pytest.raises(StreamDiTError, match="too short"):
        generate(
            GenerateConfig(episodes=1, steps=9, batch=1, over=str(lossless)), tmp_path / "long"
        )
    made = generate(
        GenerateConfig(episodes=7, steps=3, batch=3, over=str(lossless), strength=0.05),
        tmp_path / "uneven",
    )
    again = np.concatenate(
        [Dataset(tmp_path / "uneven").shard(i).frames[:, 0] for i in range(3)]
    ).astype(int)
    assert made.num_kept == 7
    assert np.abs(again - truth[[0, 1, 2, 3, 4, 0, 1], 0]).mean() < 1, "shards of two, two and one"
    with pytest.raises(StreamDiTError, match="strength"):
        generate(
            GenerateConfig(episodes=1, steps=2, batch=1, over=str(lossless), strength=0.0),
            tmp_path / "zero",
        )
    with pytest.raises(StreamDiTError, match="N = 1"):
        generate(
            GenerateConfig(episodes=1, steps=2, batch=1, over=str(lossless), partition="pipelined"),
            tmp_path / "many",
        )
