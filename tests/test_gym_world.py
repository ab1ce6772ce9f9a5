"""Worlds whose reference simulator is any Gymnasium environment."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.definition_files import forgotten_worlds as forgotten_worlds
from support.gym_envs import needs_box2d, needs_mujoco, registered_envs, simulator_of, slider

from streamdit_gym.actions import Menu, SpokenBox
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.data.trial_episodes import check_first_episodes
from streamdit_gym.definition import (
    EnvironmentTask,
    Explores,
    HasOutcome,
    HasScores,
    HasState,
    SavesState,
    WorldDefinition,
)
from streamdit_gym.envs import gym_making, gym_world
from streamdit_gym.errors import (
    ArgumentError,
    DefinitionError,
    MissingExtraError,
    NotReadyError,
)
from streamdit_gym.registry import load_definition


@pytest.fixture(autouse=True)
def _environments(forgotten_worlds: None) -> Iterator[None]:
    with registered_envs():
        yield


def actions_of(definition: WorldDefinition, count: int, seed: int = 0) -> list[Any]:
    """Return random actions."""
    rng = np.random.default_rng(seed)
    if isinstance(definition.actions, Menu):
        return rng.integers(len(definition.actions), size=count).tolist()
    low, high = definition.actions.low, definition.actions.high
    return list(rng.uniform(low, high, (count, len(low))).astype(np.float32))


def state_of_slider(env: Any) -> dict[str, float]:
    return {"x_px": env.x}


def push_right(env: Any, rng: np.random.Generator) -> np.ndarray:
    return np.ones(1, np.float32)


def test_everything_has_a_default() -> None:
    world = slider()
    assert world.actions == SpokenBox(
        {"control 0": ("hard negative", "negative", "zero", "positive", "hard positive")}
    )
    assert world.fps == 20
    assert world.tasks["environment"] == EnvironmentTask(
        horizon=60, about="the reward of Test/Slider-v0"
    )
    check_first_episodes(world, world.starts)


def test_a_skipped_frame_is_a_longer_step() -> None:
    world = slider(frame_skip=4)
    assert world.fps == 5
    assert world.tasks["environment"].horizon == 15
    simulator = simulator_of(world)
    before = simulator._env.unwrapped.x
    simulator.step(np.array([0.5]))
    assert simulator._env.unwrapped.x == pytest.approx(before + 2, abs=1)
    assert simulator.outcome().reward == pytest.approx(4 * before / 100, abs=0.1)


def test_the_environment_ends_an_episode() -> None:
    simulator = simulator_of(slider(frame_skip=3))
    assert simulator.outcome() == (0, False)
    for _ in range(20):
        simulator.step(np.ones(1))
    assert simulator.outcome().terminated


def test_a_simulator_has_the_abilities_that_it_was_given() -> None:
    plain = simulator_of(slider())
    assert isinstance(plain, HasOutcome)
    assert isinstance(plain, SavesState)
    assert not isinstance(plain, (HasState, Explores, HasScores))
    able = simulator_of(slider(state=state_of_slider, explore=push_right))
    assert isinstance(able, HasState)
    assert isinstance(able, Explores)
    assert able.state() == pytest.approx([able._env.unwrapped.x])


def test_a_state_function_names_the_state() -> None:
    assert slider(state=state_of_slider).state_names == ("x_px",)


def test_an_angle_is_told_by_its_cosine_and_sine() -> None:
    definition = slider(state=lambda env: {"turn_rad": np.pi / 2, "x_px": env.x})
    assert definition.state_names == ("turn_cos", "turn_sin", "x_px")
    assert simulator_of(definition).state()[:2] == pytest.approx([0.0, 1.0], abs=1e-6)


def test_a_menu_can_stand_for_continuous_actions() -> None:
    menu = Menu("stay", "left", "right")
    world = slider(actions=menu, action_vectors=((0.0,), (-1.0,), (1.0,)))
    simulator = simulator_of(world)
    before = simulator._env.unwrapped.x
    simulator.step(2)
    assert simulator._env.unwrapped.x == pytest.approx(before + 1, abs=0.5)


def test_actions_are_named_as_the_environment_names_them() -> None:
    world = slider("Named")
    assert world.actions == Menu("noop", "move left", "move right")
    simulator = simulator_of(world)
    before = simulator._env.unwrapped.x
    simulator.step(1)
    assert simulator._env.unwrapped.x < before


def test_a_dimension_that_never_varies_may_be_left_out() -> None:
    box = SpokenBox(push=("left", "still", "right"))
    simulator = simulator_of(slider("HalfStill", actions=box))
    before = simulator._env.unwrapped.x
    simulator.step(np.ones(1))
    assert simulator._env.unwrapped.x == pytest.approx(before + 1.5, abs=0.5)


@pytest.mark.parametrize(
    ("env", "settings", "complaint"),
    [
        ("Unseen", {}, "cannot be drawn"),
        ("DictActions", {}, "no action language"),
        ("Unbounded", {}, "without bounds"),
        ("HalfStill", {}, "dimension 1 of the actions never varies"),
        ("Slider", {"frame_skip": 0}, "frame_skip"),
        ("Slider", {"horizon": 0}, "horizon"),
        ("Slider", {"frame_size": 64}, "frame_size"),
        ("Slider", {"name": "a b"}, "name"),
        ("Slider", {"actions": SpokenBox(push=("left", "right"), low=-2)}, r"from \[-1.0\]"),
        ("Slider", {"actions": Menu("left", "right")}, "action_vectors"),
        ("Named", {"actions": Menu("left", "right")}, "3 actions"),
        ("Named", {"actions": SpokenBox(push=("left", "right"))}, "a Menu"),
        ("Slider", {"make_kwargs": {"colour": "red"}}, "colour"),
        ("Slider", {"state": lambda slider: slider.y}, "state function"),
        ("Missing", {}, "knows no such environment"),
    ],
)
def test_what_cannot_be_a_world_is_named(
    env: str, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        slider(env, **settings)


def test_a_module_that_is_not_installed_is_named() -> None:
    with pytest.raises(DefinitionError, match="no_such_module"):
        gym_world("no_such_module:Robot-v0", name="Robot")


def test_an_environment_that_draws_nothing_is_named_before_anything_is_recorded(
    tmp_path: Path,
) -> None:
    with pytest.raises(DefinitionError, match="returns no picture"):
        record(slider("NothingDrawn"), tmp_path / "data", RecordConfig(shards=1))
    assert not (tmp_path / "data").exists()


def test_the_same_seed_gives_the_same_frames() -> None:
    world = slider()
    first, again = simulator_of(world), simulator_of(world)
    again.reset(np.random.default_rng(9), "any")  # an episode before changes nothing
    frames = [each.reset(np.random.default_rng(1), "any") for each in (first, again)]
    assert (frames[0] == frames[1]).all()
    for action in actions_of(world, 10):
        assert (first.step(action) == again.step(action)).all()


def assert_goes_on_alike(world: WorldDefinition, steps: int = 8) -> None:
    """Check that a restored simulator goes on as the saved one did, bit for bit."""
    simulator = simulator_of(world)
    for action in actions_of(world, 6, seed=1):
        simulator.step(action)
    file = io.BytesIO()
    torch.save(simulator.save(), file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)  # numbers, texts, lists and dictionaries alone
    outcome = simulator.outcome()
    actions = actions_of(world, steps, seed=2)
    expected = [(simulator.step(action), simulator.outcome()) for action in actions]
    assert world.make_simulator is not None
    fresh = world.make_simulator()
    for other in (simulator, fresh):
        other.restore(saved)
        assert other.outcome() == outcome
        for action, (frame, earned) in zip(actions, expected, strict=True):
            assert (other.step(action) == frame).all()
            assert other.outcome() == earned
        other.close()


def test_a_saved_environment_goes_on_alike() -> None:
    assert_goes_on_alike(slider())


@needs_mujoco
@pytest.mark.parametrize("env_id", ["Reacher-v5", "Ant-v5", "Humanoid-v5"])
def test_a_saved_mujoco_environment_goes_on_alike(env_id: str) -> None:
    assert_goes_on_alike(gym_world(env_id, name="Robot", frame_skip=2))


@pytest.mark.parametrize("env_id", ["Test/Slider-v0", pytest.param("Ant-v5", marks=needs_mujoco)])
def test_a_reseeded_environment_goes_on_alike_after_it_is_saved(env_id: str) -> None:
    world = gym_world(env_id, name="Reseeded", frame_size=(32, 64))
    simulator = simulator_of(world)
    simulator.step(actions_of(world, 1)[0])
    simulator.reseed(np.random.default_rng(3))
    actions = actions_of(world, 4, seed=2)
    simulator.step(actions[0])
    saved = simulator.save()
    expected = [simulator.step(action) for action in actions]
    simulator.restore(saved)
    for action, frame in zip(actions, expected, strict=True):
        assert (simulator.step(action) == frame).all()


def test_another_generator_decides_what_an_environment_draws() -> None:
    """`Slider` adds noise to every step."""
    world = slider()
    simulator = simulator_of(world)
    saved = simulator.save()
    action = actions_of(world, 1)[0]
    rewards = []
    for seed in (1, 1, 2):
        simulator.restore(saved)
        simulator.reseed(np.random.default_rng(seed))
        simulator.step(action)
        rewards.append(simulator.outcome().reward)
    assert rewards[0] == rewards[1] != rewards[2]


def test_a_simulator_is_reseeded_after_a_reset() -> None:
    world = slider()
    assert world.make_simulator is not None
    with pytest.raises(NotReadyError, match="reseed before reset"):
        world.make_simulator().reseed(np.random.default_rng(0))  # type: ignore[attr-defined]


@needs_box2d
def test_a_saved_environment_whose_sparks_fade_when_drawn_goes_on_alike() -> None:
    assert_goes_on_alike(gym_world("LunarLander-v3", name="Robot"))


@needs_mujoco
def test_an_episode_does_not_depend_on_the_one_before() -> None:
    """MuJoCo's free camera looks at where things were when it drew first."""
    world = gym_world("Reacher-v5", name="Robot")
    first, again = simulator_of(world), simulator_of(world)
    for seed in (7, 8):
        again.reset(np.random.default_rng(seed), "any")
    frames = [each.reset(np.random.default_rng(1), "any") for each in (first, again)]
    assert (frames[0] == frames[1]).all()


@needs_mujoco
def test_reacher_has_the_names_of_its_documentation() -> None:
    world = gym_world("Reacher-v5", name="Robot")
    assert isinstance(world.actions, SpokenBox)
    assert world.actions.names == ("shoulder", "elbow")
    assert world.tasks["environment"].horizon == 50


@needs_mujoco
def test_dimensions_without_known_names_are_called_as_their_joints() -> None:
    world = gym_world("HalfCheetah-v5", name="Robot")
    assert isinstance(world.actions, SpokenBox)
    assert world.actions.names[:2] == ("bthigh", "bshin")


@pytest.mark.parametrize("saved", [None, 3, {"seed": 1}])
def test_what_is_no_saved_state_is_refused(saved: Any) -> None:
    with pytest.raises(ArgumentError, match="cannot go back"):
        simulator_of(slider()).restore(saved)


def test_a_simulator_is_saved_after_a_reset() -> None:
    world = slider()
    assert world.make_simulator is not None
    with pytest.raises(NotReadyError, match="before reset"):
        world.make_simulator().save()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_definition_file_with_functions_of_its_own_is_recorded_in_processes(
    tmp_path: Path,
) -> None:
    file = tmp_path / "my_cart.py"
    file.write_text(
        "from streamdit_gym import register_world\n"
        "from streamdit_gym.envs import gym_world\n"
        "def state(env):\n"
        "    return {'x': env.state[0], 'angle': env.state[2]}\n"
        "register_world(gym_world('CartPole-v1', name='MyCart', state=state))\n"
    )
    config = RecordConfig(shards=2, episodes=2, steps=12, workers=2)
    record(load_definition(file), tmp_path / "data", config)
    shard = Dataset(tmp_path / "data").shard(1)
    assert shard.states.shape == (2, 13, 2)
    assert (shard.rewards[0, : shard.lengths[0]] == 1).all()


@pytest.mark.parametrize(
    ("module", "extra"), [("vizdoom", "doom"), ("gymnasium_robotics", "fetch")]
)
def test_a_missing_simulator_names_its_extra(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gym_making, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=rf"\[{extra}\]"):
        gym_making.make_env(f"{module}.no_such_part:Id-v0", {})
