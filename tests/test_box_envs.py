"""Environments with continuous actions: what the contract of all ids does not say."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from support.chancy_worlds import chancy_world
from support.envs import frames_of, random_actions
from support.pushed_dot import BOX, DEFINITION, make_dot_world, registered_dot

from streamdit_gym.actions import action_numbers
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.transition_reader import TransitionReader
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.wrappers import PendingActions, VectorPendingActions
from streamdit_gym.errors import ActionError, ArgumentError, ShapeError, UnknownNameError
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.sampler import MAX_ABS_LATENT
from streamdit_gym.stream.views import cached_view
from streamdit_gym.text.spoken_table import SpokenTable
from streamdit_gym.world import World

MY_WORLD = """
from support.pushed_dot import DEFINITION
from streamdit_gym import register_world
register_world(DEFINITION)
"""


@pytest.fixture(scope="module")
def dot(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundle of the dot's world, whose definition nobody has registered."""
    folder = tmp_path_factory.mktemp("dot") / "world"
    make_dot_world().save_pretrained(folder)
    return str(folder)


def test_the_space_is_the_worlds_box(dot: str) -> None:
    env = StreamDiTVectorEnv(3, world=dot)
    box = spaces.Box(np.float32([-1, -0.5]), np.float32([1, 0.5]))
    assert env.single_action_space == box
    assert env.action_space.shape == (3, 2)


def test_a_bundle_keeps_its_box_and_its_words(dot: str) -> None:
    world = World.from_pretrained(dot)
    assert world.spec == DEFINITION.spec
    assert isinstance(world.prompts, SpokenTable)
    words = make_dot_world().prompts.words
    torch.testing.assert_close(world.prompts.words, words, atol=5e-3, rtol=5e-3)


def test_values_between_two_words_give_frames_of_their_own(dot: str) -> None:
    """Every value counts, not only the nearest words."""
    env = StreamDiTVectorEnv(2, world=dot, backend={"common_noise": True})
    world = World.from_pretrained(dot)
    start = world.decode(world.starts.latents[:1, None])[0].numpy()
    env.reset(options={"init": start[None]})
    _, _, _, _, info = env.step(np.float32([[0.30, 0], [0.35, 0]]))
    assert info["prompt"].tolist() == ["x right; y still"] * 2
    references = env._backend._session.references
    assert not torch.equal(references[0], references[1])


def test_a_stream_is_what_one_evaluation_of_all_its_frames_gives(dot: str) -> None:
    """The slow way: all clean frames so far in one call, with every frame's prompt embedded."""
    world = World.from_pretrained(dot)
    engine = Engine(world.model, world.prompts, Partition.parse("K4N1c1s1"))
    noise = Noise.seeded([0, 1])
    session = engine.start(world.starts.latents[:2, None], engine.idle_prompts(2, 1), noise)
    history, positions = session.references.clone(), session.reference_prompts.clone()
    noise = session.noise.to("cpu")
    for step in random_actions(StreamDiTVectorEnv(2, world=dot), 4):
        prompts = world.action_prompts(step)
        frames = engine.tick(session, prompts)
        positions = torch.cat([positions, prompts[:, None]], 1)
        clean = history[:, 1:]
        view = cached_view(
            clean,
            torch.ones(clean.shape[:2]),
            noise.draw((1, *clean.shape[2:])),
            torch.zeros(2, 1),
            history[:, :1],
            torch.ones(2, 1),
            cached=0,
            chunk_frames=1,
            limit=4,
        )
        with torch.no_grad():
            velocity, _ = world.model(view, world.prompts.conditioning(positions[:, 1:]))
        slow = (view.latents[:, -1:] + velocity[:, -1:]).clamp(-MAX_ABS_LATENT, MAX_ABS_LATENT)
        torch.testing.assert_close(frames, slow, atol=1e-4, rtol=1e-3)
        history = torch.cat([history, frames], 1)


def test_free_text_is_what_its_clauses_ask_for(dot: str) -> None:
    spoken = StreamDiTVectorEnv(2, world=dot, actions="text")
    valued = StreamDiTVectorEnv(2, world=dot)
    for env in (spoken, valued):
        env.reset(seed=0)
    frames, _, _, _, info = spoken.step(["x far left; y up", "Y down"])
    assert info["prompt"].tolist() == ["x far left; y up", "Y down"]
    assert (frames == valued.step(np.float32([[-1, -0.5], [0, 0.5]]))[0]).all()


@pytest.mark.parametrize("partition", ["reactive", "pipelined"])
def test_row_by_row_gives_each_row_its_own_values(dot: str, partition: str) -> None:
    settings: dict[str, Any] = {"world": dot, "partition": partition}
    batch = StreamDiTVectorEnv(2, **settings, backend={"deterministic": True})
    plan = random_actions(batch, 6)
    together = frames_of(batch, 6, plan=plan)
    alone = frames_of(StreamDiTVectorEnv(1, **settings), 6, seed=4, plan=plan[:, 1:])
    assert (together[:, 1] == alone[:, 0]).all()


def test_pending_values_are_observed_and_move_on(dot: str) -> None:
    env = VectorPendingActions(
        StreamDiTVectorEnv(
            2, world=dot, partition="pipelined", horizon=4, autoreset_mode="SAME_STEP"
        )
    )
    pending_space = env.single_observation_space["pending"]
    assert pending_space == spaces.Box(np.float32([[-1, -0.5]] * 3), np.float32([[1, 0.5]] * 3))
    observation, _ = env.reset(seed=0)
    assert observation["pending"].shape == (2, 3, 2)
    assert (observation["pending"] == 0).all()
    plan = random_actions(env, 4)
    for step in plan[:3]:
        observation, *_ = env.step(step)
        assert env.observation_space.contains(observation)
    assert (observation["pending"] == plan[:3].swapaxes(0, 1)).all()
    observation, _, _, truncated, info = env.step(plan[3].astype(np.float64))
    assert truncated.all()
    assert (observation["pending"] == 0).all(), "a new episode"
    final = info["final_obs"][1]["pending"]
    assert final.dtype == np.float32
    assert (final == plan[1:, 1]).all()


def test_a_single_env_observes_its_pending_values(dot: str) -> None:
    env = PendingActions(StreamDiTEnv(world=dot, partition="pipelined"))
    env.reset(seed=0)
    observation, *_ = env.step(np.float32([0.25, -0.5]))
    assert env.observation_space.contains(observation)
    assert observation["pending"][-1].tolist() == [0.25, -0.5]


@pytest.mark.parametrize("bad", [0.5, [0.5], [[0.5, 0.5]], "left", None], ids=str)
def test_a_single_env_takes_one_row_of_values(dot: str, bad: Any) -> None:
    env = StreamDiTEnv(world=dot)
    env.reset(seed=0)
    with pytest.raises(ActionError, match="allowed: 2 numbers"):
        env.step(bad)


@pytest.mark.parametrize("partition", ["reactive", "pipelined"])
def test_a_state_goes_to_another_process_and_back(dot: str, partition: str, tmp_path: Path) -> None:
    envs = [StreamDiTVectorEnv(2, world=dot, partition=partition) for _ in range(2)]
    for env in envs:
        env.reset(seed=0)
    plan = random_actions(envs[0], 8)
    for step in plan[:4]:
        envs[0].step(step)
    torch.save(envs[0].save_state(), tmp_path / "state.pt")
    envs[1].restore_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (envs[0].pending_actions == envs[1].pending_actions).all()
    for step in plan[4:]:
        assert (envs[0].step(step)[0] == envs[1].step(step)[0]).all()


def test_a_state_with_other_numbers_is_refused(dot: str) -> None:
    env = StreamDiTVectorEnv(2, world=dot, partition="pipelined")
    env.reset(seed=0)
    state = env.save_state()
    pending = state["pending"].clone()
    pending[0, 0, 0] = torch.nan
    with pytest.raises(ArgumentError, match="pending"):
        env.restore_state({**state, "pending": pending})
    backend = {**state["backend"], "buffer_prompts": state["backend"]["buffer_prompts"].long()}
    with pytest.raises(ShapeError, match="buffer_prompts"):
        env.restore_state({**state, "backend": backend})


def test_frames_without_a_prompt_may_be_in_a_saved_stream(dot: str) -> None:
    world = World.from_pretrained(dot)
    engine = Engine(world.model, world.prompts, Partition.parse("K4N1c1s1"))
    no_prompts = world.prompts.no_prompt.expand(2, 1, -1)
    session = engine.start(world.starts.latents[:2, None], no_prompts, Noise.seeded([0, 1]))
    state = session.state_dict()
    assert state["reference_prompts"].isnan().all()
    session.load_state_dict(state)
    state["reference_prompts"][0, -1] = torch.inf
    with pytest.raises(ArgumentError, match="reference_prompts"):
        session.check_state_dict(state)


def test_a_copy_goes_on_alike(dot: str) -> None:
    env = StreamDiTVectorEnv(2, world=dot, partition="pipelined")
    env.reset(seed=0)
    plan = random_actions(env, 4)
    env.step(plan[0])
    duplicate = copy.deepcopy(env)
    for step in plan[1:]:
        assert (env.step(step)[0] == duplicate.step(step)[0]).all()


def test_rewards_and_ends_are_those_of_the_transition_readout(dot: str) -> None:
    """The slow way: from the latents before and after, and the values themselves."""
    world = World.from_pretrained(dot)
    env = StreamDiTVectorEnv(2, world=dot, task="own", observation="latent")
    before, _ = env.reset(seed=0)
    for step in random_actions(env, 3):
        after, rewards, terminated, _, _ = env.step(step)
        numbers = torch.from_numpy(action_numbers(BOX, step))
        expected, end_logits = world.transitions(
            torch.from_numpy(before), torch.from_numpy(after), numbers
        )
        np.testing.assert_allclose(rewards, expected.numpy(), rtol=1e-4, atol=1e-5)
        assert (terminated == (end_logits > 0).numpy()).all()
        before = after


def test_in_a_pipelined_world_the_action_of_a_transition_is_the_one_that_shows(dot: str) -> None:
    env = StreamDiTVectorEnv(1, world=dot, task="own", partition="pipelined", observation="latent")
    world = World.from_pretrained(dot)
    before, _ = env.reset(seed=0)
    plan = random_actions(env, 6)
    shown_actions = [np.zeros((1, 2), dtype=np.float32)] * 3 + list(plan)
    for step, shown in zip(plan, shown_actions, strict=False):
        after, rewards, *_ = env.step(step)
        numbers = torch.from_numpy(action_numbers(BOX, shown))
        expected, _ = world.transitions(torch.from_numpy(before), torch.from_numpy(after), numbers)
        np.testing.assert_allclose(rewards, expected.numpy(), rtol=1e-4, atol=1e-5)
        before = after


@pytest.fixture(scope="module")
def chancy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle whose steps end an episode with a probability of 0.3, by chance."""
    folder = tmp_path_factory.mktemp("chancy") / "world"
    chancy_world(0.3).save_pretrained(folder)
    return str(folder)


def ends_of(bundle: str, num_envs: int, steps: int, **settings: Any) -> np.ndarray:
    env = StreamDiTVectorEnv(num_envs, world=bundle, autoreset_mode="SAME_STEP", **settings)
    env.reset(seed=4)
    still = np.zeros((num_envs, 2), np.float32)
    return np.stack([env.step(still)[2] for _ in range(steps)])


def test_ends_by_chance_come_with_their_probability(chancy: str) -> None:
    ends = ends_of(chancy, 32, 40)
    assert ends.mean() == pytest.approx(0.3, abs=0.04)  # 1,280 steps: a deviation of 0.013
    assert np.array_equal(ends, ends_of(chancy, 32, 40)), "equal seeds, equal ends"
    row_by_row = ends_of(chancy, 4, 10, backend={"deterministic": True})
    assert np.array_equal(row_by_row, ends_of(chancy, 4, 10))
    assert World.from_pretrained(chancy).spec.tasks["own"].draws_ends  # type: ignore[union-attr]


def test_a_saved_stream_has_the_same_ends(chancy: str) -> None:
    env = StreamDiTVectorEnv(8, world=chancy, autoreset_mode="DISABLED")
    env.reset(seed=4)
    still = np.zeros((8, 2), np.float32)
    state = env.save_state()
    first = env.step(still)[2]
    env.restore_state(state)
    assert np.array_equal(env.step(still)[2], first)
    assert first.any()


def test_a_world_without_the_readout_says_so(dot: str) -> None:
    world = make_dot_world()
    object.__setattr__(world, "transitions", None)
    with pytest.raises(ArgumentError, match="own reward"):
        TransitionReader(world)


def test_the_simulator_gets_the_values_themselves(tmp_path: Path) -> None:
    with registered_dot(tmp_path):
        env = StreamDiTVectorEnv(2, world="PushedDot", real=True, task="own")
        env.reset(seed=0)
        simulators = env._backend.simulators
        before = [simulator.state() for simulator in simulators]
        _, rewards, _, _, _ = env.step(np.float32([[0.5, 0.25], [-0.125, -0.5]]))
        moved = [each.state() - place for each, place in zip(simulators, before, strict=True)]
        np.testing.assert_allclose(moved, [[1.5, 0.75], [-0.375, -1.5]], atol=1e-4)
        np.testing.assert_allclose(rewards, [s.outcome().reward for s in simulators], rtol=1e-5)


@pytest.fixture
def untasked(tmp_path: Path) -> Iterator[WorldDefinition]:
    """The dot's world without tasks."""
    with registered_dot(tmp_path, tasks={}) as definition:
        yield definition


@pytest.mark.parametrize("real", [True, False])
def test_a_world_without_tasks_has_no_reward_and_ends_at_the_horizon(
    untasked: WorldDefinition, real: bool
) -> None:
    name = "StreamDiT/PushedDot-Real-v0" if real else "StreamDiT/PushedDot-v0"
    env = gymnasium.make_vec(name, num_envs=2).unwrapped
    assert env.task is None
    assert env.horizon == 128
    env.reset(seed=0)
    _, rewards, terminated, truncated, info = env.step(np.ones((2, 2)) * 0.5)
    assert (rewards == 0).all()
    assert not (terminated | truncated).any()
    assert "potential" not in info
    with pytest.raises(UnknownNameError):
        gymnasium.make(name, task="push")


def test_any_bundle_is_an_environment(dot: str, tmp_path: Path) -> None:
    file = tmp_path / "my_world.py"
    file.write_text(MY_WORLD)
    env = gymnasium.make("StreamDiT/World-v0", world=dot)
    assert env.unwrapped.task == DEFINITION.tasks["middle"], "the world's first task"
    try:
        for settings in ({"world": dot}, {}):
            real = gymnasium.make("StreamDiT/World-v0", real=str(file), **settings)
            assert real.action_space == env.action_space
            frame, _ = real.reset(seed=0)
            assert frame.shape == (64, 64, 3)
        real = gymnasium.make("StreamDiT/World-v0", world=dot, real=True)
        assert real.unwrapped.world_spec.name == "PushedDot", "registered by the file"
    finally:
        _forget_dot()


def _forget_dot() -> None:
    from streamdit_gym import registry

    registry._WORLDS.pop("PushedDot", None)


def test_a_reference_simulator_of_another_world_is_refused(dot: str) -> None:
    with pytest.raises(ArgumentError, match="another world"):
        StreamDiTVectorEnv(1, world=dot, real="PushT")


def test_any_world_needs_its_bundle() -> None:
    with pytest.raises(ArgumentError, match="no world is given"):
        gymnasium.make("StreamDiT/World-v0")
    with pytest.raises(ArgumentError, match="no world is given"):
        gymnasium.make("StreamDiT/World-v0", real="PushT", observation="latent")
