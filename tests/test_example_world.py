"""A package outside this one registers a world by an entry point, and its ids keep the contract."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import test_envs
from support.definition_files import forgotten_worlds as forgotten_worlds
from support.gym_envs import needs_box2d, needs_mujoco
from support.pushed_dot import registered_with_bundle

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.envs import gym_world
from streamdit_gym.registry import find_definition, load_entry_points, register_world

ROOT = Path(__file__).resolve().parent.parent
IDS = ["StreamDiT/Puck-v0", "StreamDiT/Puck-Real-v0"]
# of the tests of all ids; the others say what a shipped world's actions are
CONTRACT = [
    "test_gymnasium_and_sb3_find_nothing_to_complain_about",
    "test_an_id_survives_json_and_the_module_prefix",
    "test_the_same_seed_gives_the_same_frames_bit_for_bit",
    "test_the_single_env_is_a_row_of_the_batch",
    "test_autoreset_modes_end_and_begin_episodes_as_gymnasium_says",
    "test_reset_by_mask_leaves_the_other_rows_alone",
    "test_a_saved_state_is_gone_on_from_bit_equal",
    "test_render_gives_the_frames",
    "test_torch_output_is_the_same_numbers",
    "test_calls_out_of_order_are_refused",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example as a user installs it, in a folder of its own."""
    source = tmp_path_factory.mktemp("source") / "own_world"
    shutil.copytree(ROOT / "examples" / "own_world", source)  # building leaves files behind
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", folder, source]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def puck(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldDefinition]:
    """The world, found by its entry point, with a bundle of random weights."""
    sys.path.insert(0, str(site))
    load_entry_points()
    definition = find_definition("Puck")
    assert definition is not None
    with registered_with_bundle(tmp_path_factory.mktemp("puck"), definition) as trained:
        yield trained
    sys.path.remove(str(site))


def test_an_installed_package_is_found_by_its_entry_point(site: Path) -> None:
    code = "import streamdit_gym, gymnasium; print([n for n in gymnasium.registry if 'Puck' in n])"
    paths = os.pathsep.join([str(ROOT), str(site)])
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == str(IDS)


def assert_contract(check: str, name: str, folder: Path) -> None:
    """Run a test of all ids for another id."""
    function = getattr(test_envs, check)
    taken = inspect.signature(function).parameters
    for mode in ["SAME_STEP", "NEXT_STEP", "DISABLED"] if "mode" in taken else [""]:
        given = {"name": name, "tmp_path": folder, "mode": mode}
        function(**{parameter: given[parameter] for parameter in taken})


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("check", CONTRACT)
def test_its_ids_keep_the_contract(
    check: str, name: str, puck: WorldDefinition, tmp_path: Path
) -> None:
    assert_contract(check, name, tmp_path)


@needs_mujoco
@needs_box2d
@pytest.mark.parametrize("env_id", ["Reacher-v5", "LunarLander-v3"])
@pytest.mark.parametrize("check", CONTRACT)
def test_gymnasium_environments_keep_the_contract_as_well(
    check: str, env_id: str, forgotten_worlds: None, tmp_path: Path
) -> None:
    register_world(gym_world(env_id, name="Robot"))
    assert_contract(check, "StreamDiT/Robot-Real-v0", tmp_path)


def test_it_is_recorded(puck: WorldDefinition, tmp_path: Path) -> None:
    record(puck, tmp_path, RecordConfig(shards=1, episodes=4, steps=40))
    shard = Dataset(tmp_path).shard(0)
    assert shard.actions.shape == (4, 40, 2)
    puck_xy, ring_xy = shard.states[..., :2], shard.states[..., 2:]
    distances = np.linalg.norm(puck_xy - ring_xy, axis=-1)
    gains = (distances[:, :-1] - distances[:, 1:]) / 10
    assert shard.rewards[..., 0] == pytest.approx(gains, abs=1e-4)
