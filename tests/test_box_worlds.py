"""Commands in a world with continuous actions, or without tasks: data sets, agents, streams."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.definition_files import forgotten_worlds as forgotten_worlds
from support.pushed_dot import DEFINITION, make_dot_world, registered_dot, write_dot_file

from streamdit_gym.actions import Menu
from streamdit_gym.agents.agent_config import AgentTraining
from streamdit_gym.agents.agent_envs import default_env, make_venv
from streamdit_gym.agents.planner import Planner
from streamdit_gym.agents.policies.policy_file import load_policy_file
from streamdit_gym.agents.policies.random_policy import HeldRandomPolicy
from streamdit_gym.agents.policies.trained_policy import TrainedPolicy
from streamdit_gym.agents.scores import play_episodes
from streamdit_gym.agents.train_agent import train_agent
from streamdit_gym.cli.main import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.random_actions import HeldExploration
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.errors import ArgumentError, StreamDiTError
from streamdit_gym.generate.dagger import RelabelConfig, relabel_world
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.generate.generate_config import GenerateConfig
from streamdit_gym.live.live_stream import LiveStream
from streamdit_gym.live.stream_prompts import BoxPrompts, direction_prompts, sliders_of
from streamdit_gym.world import World

LOW = torch.tensor(DEFINITION.actions.low)  # type: ignore[union-attr]
HIGH = torch.tensor(DEFINITION.actions.high)  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def dot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldDefinition]:
    """The world of a pushed dot, with a bundle of random weights."""
    with registered_dot(tmp_path_factory.mktemp("dot")) as definition:
        yield definition


def generated(folder: Path, **settings: object) -> Dataset:
    plan: dict[str, Any] = {"episodes": 2, "steps": 8, "batch": 2, **settings}
    config = GenerateConfig(world="PushedDot", **plan)
    generate(config, folder)
    return Dataset(folder)


def test_generated_actions_are_vectors_of_the_box(dot: WorldDefinition, tmp_path: Path) -> None:
    dataset = generated(tmp_path)
    actions = torch.from_numpy(dataset.shard(0).actions)
    assert actions.shape == (2, 8, 2)
    assert actions.dtype == torch.float32
    assert bool(((actions >= LOW) & (actions <= HIGH)).all())
    assert dataset.meta["action_names"] == ["x", "y"]
    row = json.loads((tmp_path / "manifest.jsonl").read_text().splitlines()[0])
    assert row["prompts"][0].startswith("x ")
    assert row["task"] == "middle"  # the world's first


def test_the_environments_own_reward_is_read_off_transitions(
    dot: WorldDefinition, tmp_path: Path
) -> None:
    shard = generated(tmp_path, task="own").shard(0)
    assert np.abs(shard.rewards[:, :, 1]).sum() > 0


def test_a_world_without_tasks_makes_data(tmp_path: Path) -> None:
    world = make_dot_world()
    plain = replace(world, spec=replace(world.spec, name="Plain", tasks={}), transitions=None)
    plain.save_pretrained(tmp_path / "world")
    config = GenerateConfig(world=str(tmp_path / "world"), episodes=1, steps=4, batch=1)
    generate(config, tmp_path / "out")
    assert Dataset(tmp_path / "out").shard(0).rewards.shape == (1, 4, 0)


def test_texts_of_a_file_become_values(dot: WorldDefinition, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompts": ["x far right", "x left; y up"]}\n')
    actions = generated(tmp_path / "out", policy=str(prompts)).shard(0).actions
    assert actions[0, 0].tolist() == [1.0, 0.0]
    assert actions[0, 1].tolist() == [-0.5, -0.5]


@pytest.mark.parametrize("kind", ["lerobot", "minari"])
def test_other_programs_get_float_actions(dot: WorldDefinition, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("minari" if kind == "minari" else "pyarrow")
    config = GenerateConfig(world="PushedDot", episodes=2, steps=8, batch=2)
    generate(config, tmp_path, kind=kind)
    if kind == "lerobot":
        info = json.loads(next(tmp_path.rglob("info.json")).read_text())
        assert info["features"]["action"]["names"] == ["x", "y"]
        assert "menu_index" not in info["features"]


@pytest.mark.parametrize("kind", ["mp4", "webdataset"])
def test_films_come_back_with_their_actions_and_prompts(
    dot: WorldDefinition, tmp_path: Path, kind: str
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompts": ["x far right", "x left; y up"]}\n')
    truth = generated(tmp_path / "lossless", policy=str(prompts)).shard(0)
    config = GenerateConfig(world="PushedDot", episodes=2, steps=8, batch=2, policy=str(prompts))
    folder = tmp_path / "films"
    dataset = generate(config, folder, kind=kind)
    shard = Dataset(folder).shard(0)
    assert shard.actions.dtype == np.float32
    assert (shard.actions == truth.actions).all()
    records = exported_records(Path(dataset.location).parent if kind == "webdataset" else folder)
    for row, record in enumerate(records):
        assert np.allclose(record["actions"], truth.actions[row])
        assert record["prompts"][:2] == ["x far right", "x left; y up"]


def exported_records(folder: Path) -> list[dict[str, Any]]:
    """Return the episodes' records that other programs get beside films."""
    tars = sorted(folder.glob("*.tar"))
    if not tars:
        return [json.loads(path.read_text()) for path in sorted((folder / "mp4").glob("*.json"))]
    with tarfile.open(tars[0]) as tar:
        members = [name for name in sorted(tar.getnames()) if name.endswith(".json")]
        files = [tar.extractfile(name) for name in members]
        return [json.loads(file.read()) for file in files if file is not None]


def test_the_planner_moves_in_a_box(dot: WorldDefinition) -> None:
    planner = Planner(World.from_pretrained("PushedDot"), "middle")
    actions, _ = planner.predict(np.zeros((2, *dot.frame_shape), np.uint8))
    assert actions.shape == (2, *dot.actions.shape)
    assert actions.dtype == np.float32


def test_relabelling_needs_a_menu(dot: WorldDefinition, tmp_path: Path) -> None:
    with pytest.raises(StreamDiTError, match="relabelling needs a menu"):
        relabel_world("PushedDot", tmp_path / "out", RelabelConfig(shards=1))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("forgotten_worlds")
def test_rays_actors_know_the_world_of_a_definition_file(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    file = write_dot_file(tmp_path)
    command = ["generate", str(file), "--episodes", "2", "--steps", "4", "--format", "mkv"]
    out = tmp_path / "out"
    assert main([*command, "--out", str(out), "--set", "ray=local"]) == 0
    assert Dataset(out).shard(0).actions.shape == (2, 4, 2)


def test_held_actions_of_a_box_last_some_frames() -> None:
    policy = HeldRandomPolicy()
    policy.reset(3, DEFINITION.actions, np.random.default_rng(0))
    nothing = np.zeros(0)
    actions = np.stack([policy.act(nothing, np.zeros(3, bool)) for _ in range(16)])
    assert actions.shape == (16, 3, 2)
    is_held = (actions[1:] == actions[:-1]).all(-1)
    assert 0.2 < is_held.mean() < 1


def test_explored_episodes_differ_in_vigour() -> None:
    """Some take full actions; the largest of the others is nearer to idle by one factor."""
    largest = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        exploration = HeldExploration(DEFINITION.actions)
        actions = np.stack([exploration.next(rng) for _ in range(200)])
        largest.append(np.abs(actions).max())
    is_full = np.array(largest) == np.max(DEFINITION.actions.high)
    assert 0.1 < is_full.mean() < 0.6
    assert np.quantile(largest, 0.2) < 0.5 * np.max(DEFINITION.actions.high)


@pytest.mark.parametrize("algo", ["ppo", "sac", "td3"])
def test_agents_act_in_the_box_and_their_files_keep_it(
    dot: WorldDefinition, tmp_path: Path, algo: str
) -> None:
    small = {"net_arch": [8]}
    steps = {"n_steps": 8, "batch_size": 8} if algo == "ppo" else {"learning_starts": 4}
    config = AgentTraining(
        env=default_env("PushedDot"),
        algo=algo,
        steps=16,
        num_envs=2,
        overrides={"policy_kwargs": small, **steps},
    )
    trained, _ = train_agent(config, tmp_path, progress=False)
    assert trained.acts_in_box
    loaded = load_policy_file(tmp_path / "policy.safetensors")
    venv = make_venv(config.env, 2)
    observation = venv.reset()
    expected, _ = trained.agent.predict(observation, deterministic=True)  # type: ignore[arg-type]
    actions, _ = loaded.agent.predict(observation, deterministic=True)  # type: ignore[arg-type]
    assert np.allclose(actions, expected, atol=1e-6)
    score = play_episodes(venv, TrainedPolicy(loaded), 2, seed=0)
    venv.close()
    assert len(score.returns) == 2


def test_algorithms_of_menus_say_so(dot: WorldDefinition, tmp_path: Path) -> None:
    config = AgentTraining(env=default_env("PushedDot"), algo="dqn", steps=16, num_envs=2)
    with pytest.raises(ArgumentError, match="dqn"):
        train_agent(config, tmp_path, progress=False)


def test_an_id_of_another_world_is_refused(dot: WorldDefinition) -> None:
    with pytest.raises(ArgumentError, match="leave --env out"):
        make_venv("StreamDiT/PushT-Reach-v0", 1, world="PushedDot")


def test_a_stream_hears_clauses_beside_its_simulator(dot: WorldDefinition) -> None:
    live = LiveStream(World.from_pretrained("PushedDot"), reference_simulator=True)
    live.set_prompt("x left; y up")
    (frame,) = live.step()
    assert frame.prompt == frame.simulator_action == "x left; y up"
    state = live.save_state()
    live.configure(transition=1)
    live.set_prompt("x right")
    prompts = [live.step()[0].prompt for _ in range(3)]
    assert prompts[-1] == "x right; y still"
    live.restore_state(state)
    assert live.prompt == "x left; y up"
    branch = live.branch()
    assert branch.step()[0].prompt == "x left; y up"
    assert live.menu[:2] == ["x still; y still", "x far left"]
    branch.close()
    live.close()


def test_sliders_have_the_words_and_ends_of_their_dimensions() -> None:
    assert sliders_of(Menu("stay", "go")) == []
    x, y = sliders_of(DEFINITION.actions)
    assert (x["name"], x["low"], x["high"], x["idle"]) == ("x", -1.0, 1.0, 0.0)
    assert y["words"] == list(DEFINITION.actions.words[1])  # type: ignore[union-attr]
    json.dumps([x, y])


def test_texts_with_numbers_steer_continuously(dot: WorldDefinition) -> None:
    live = LiveStream(World.from_pretrained("PushedDot"), reference_simulator=True)
    live.set_prompt("x 0.3; y -0.4")
    (frame,) = live.step()
    prompts = live._prompts
    assert isinstance(prompts, BoxPrompts)
    assert prompts.values_of(prompts.prompt_of(live.prompt)) == pytest.approx([0.3, -0.4])
    assert frame.simulator_action == live.world.spec.actions.prompt(np.array([0.3, -0.4]))
    live.close()


def test_arrow_keys_are_the_ends_whose_words_name_them() -> None:
    prompts = direction_prompts(DEFINITION.actions)
    assert prompts["left"] == "x far left; y still"
    assert prompts["up right"] == "x far right; y up"  # the low end
    assert prompts[""] == "x still; y still"
    assert direction_prompts(Menu("stay", "go left")) == {}
