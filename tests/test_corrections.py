"""Corrections: a world's own frames, then what its simulator says must follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.training import RandomEncoder
from torch import Tensor

from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.envs.pusht.definition import HARD_START, MOVES, SPEC, STARTS
from streamdit_gym.envs.pusht.geometry import BLOCK_CENTRE_UNITS, DENT_UNITS, PUSHER_RADIUS_UNITS
from streamdit_gym.envs.pusht.object_integrity import object_integrity
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.errors import (
    DatasetError,
    StreamDiTError,
)
from streamdit_gym.generate.dagger import CorrectionsConfig, choose, record_corrections, without
from streamdit_gym.recipes import Recipe
from streamdit_gym.recipes.stage_settings import AutoencoderTraining, ReadoutTraining
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.session import Session
from streamdit_gym.train.pipeline import train_world
from streamdit_gym.train.stage_context import RunOptions, TrainingInputs
from streamdit_gym.train.stages.dynamics_stage import DynamicsData
from streamdit_gym.world import World

CONFIG = CorrectionsConfig(shards=2, episodes=3, steps=12, every=6, astray=5, forsaken=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corrections")
    record_corrections("PushT", path, CONFIG)
    return path


def test_a_simulator_put_at_a_state_goes_on_as_the_one_that_was_there() -> None:
    there, put, rng = PushTSimulator(), PushTSimulator(), np.random.default_rng(3)
    off, off_at_rest = [], []
    for start in (*STARTS, HARD_START):
        there.reset(rng, start)
        before = there.state()
        for number in range(36):
            action = there.explore(rng)
            there.step(action)
            state = there.state()
            if number % 6 == 5:
                saved, then = there.save(), int(rng.integers(len(MOVES)))
                there.step(then)
                put.put(rng, before, action, state)
                put.step(then)
                off.append(np.abs(there.state() - put.state()).max())
                put.put(rng, state, 0, state)
                put.step(then)
                off_at_rest.append(np.abs(there.state() - put.state()).max())
                there.restore(saved)
            before = state
    assert np.median(off) < 0.02
    assert np.quantile(off, 0.8) < 0.3, "what touches is found out anew"
    assert np.median(off_at_rest) > 0.3, "its speed counts"


def test_an_impossible_state_is_moved_to_the_nearest_place() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(0)
    beyond = np.array([-9.0, 80.0, 70.0, -20.0, 0.0, 0.0], dtype=np.float32)
    inside = np.array(
        [40.0, 35.0, 40.0, 32.0, 1.0, 0.0], dtype=np.float32
    )  # the pusher in the middle of the T
    for state in (beyond, inside):
        simulator.put(rng, state, 0, state)
        first = simulator.state()
        simulator.step(0)
        assert np.abs(simulator.state() - first).max() < 0.3, "nothing is thrown"
        assert (first[:2] > 0).all()
        assert (first[:2] < 64).all()
        gap = min(
            shape.point_query(tuple(simulator._pusher)).distance
            for shape in simulator._env.block.shapes
        )
        assert gap > PUSHER_RADIUS_UNITS - DENT_UNITS - 0.1


def test_an_episode_begins_with_the_worlds_frames_and_goes_on_with_the_simulators(
    folder: Path,
) -> None:
    dataset = Dataset(folder)
    assert dataset.meta["astray"] == CONFIG.astray
    simulator, rng = PushTSimulator(), np.random.default_rng(0)
    for shard in (dataset.shard(0), dataset.shard(1)):
        assert shard.frames.shape == (3, 13, 64, 64, 3)
        for e in range(3):
            last = CONFIG.astray - 1
            simulator.put(
                rng,
                shard.states[e, last - 1],
                int(shard.actions[e, last - 1]),
                shard.states[e, last],
            )
            for f in range(last, 12):
                assert (simulator.step(int(shard.actions[e, f])) == shard.frames[e, f + 1]).all(), (
                    "the simulator's"
                )
            jump = np.abs(shard.frames[e, last + 1].astype(int) - shard.frames[e, last]).mean()
            assert 0 < jump < 6, "no cut: the story goes on"
    said = {dataset.phrases[p] for p in dataset.shard(0).prompts[:, : CONFIG.astray - 1].ravel()}
    assert said <= {ways[0] for ways in SPEC.menu}


def test_recording_resumes_with_the_same_streams(folder: Path, tmp_path: Path) -> None:
    record_corrections("PushT", tmp_path, replace(CONFIG, shards=1))
    record_corrections("PushT", tmp_path, CONFIG)
    assert (tmp_path / "meta.json").read_bytes() == (folder / "meta.json").read_bytes()
    for position in range(2):
        again, first = (
            vars(Dataset(tmp_path).shard(position)),
            vars(Dataset(folder).shard(position)),
        )
        assert all(np.array_equal(again[name], first[name]) for name in first)
    with pytest.raises(DatasetError, match="another data set"):
        record_corrections("PushT", tmp_path, replace(CONFIG, seed=5))


def test_of_a_bent_t_the_arm_nearest_to_where_the_stem_was_is_the_stem() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(1)
    simulator.reset(rng, next(iter(STARTS)))
    state = simulator.state()

    def turned(numbers: np.ndarray, by: float) -> np.ndarray:
        angle = np.arctan2(numbers[5], numbers[4]) + by
        return np.concatenate([numbers[:4], [np.cos(angle), np.sin(angle)]]).astype(np.float32)

    def middle(numbers: np.ndarray) -> np.ndarray:
        return numbers[2:4] + BLOCK_CENTRE_UNITS[1] / 8 * np.array([-numbers[5], numbers[4]])

    for arm in range(3):
        for less in (-0.9, 0.9):  # it may have turned by up to a sixth since
            simulator.put(rng, state, 0, state, {"T": turned(state, arm * 2 * np.pi / 3 + less)})
            put = simulator.state()
            assert put[4:] == pytest.approx(turned(state, arm * 2 * np.pi / 3)[4:], abs=1e-3)
            assert middle(put) == pytest.approx(middle(state), abs=0.01), "the middle stays"
    simulator.put(rng, state, 0, state, {"pusher": turned(state, 2)})
    assert simulator.state() == pytest.approx(state, abs=0.01), "nobody knows better"


def test_a_pusher_read_where_it_cannot_be_stays_where_it_was() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(1)
    simulator.reset(rng, next(iter(STARTS)))
    state = np.array([12, 12, 40, 40, 1, 0], np.float32)
    for far, place in ((8, 20), (20, 12)):
        read = state + np.array([far, 0, 0, 0, 0, 0], np.float32)
        simulator.put(rng, read, 0, read, {"pusher": state})
        assert simulator.state()[:2] == pytest.approx([place, 12], abs=0.5)
    simulator.put(rng, state, 0, state, {"T": state})
    assert simulator.state()[:2] == pytest.approx([2.5, 2.5], abs=0.01), (
        "nobody has seen it: the corner that the T is not in"
    )


def test_streams_that_are_forsaken_begin_without_the_thing_that_obeys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, start = [], Engine.start

    def watched(engine: Engine, latents: Tensor, *rest: Any) -> Session:
        begun.append(latents)
        return start(engine, latents, *rest)

    monkeypatch.setattr(Engine, "start", watched)
    record_corrections("PushT", tmp_path, replace(CONFIG, shards=1, forsaken=2 / 3))
    shown = World.from_pretrained("PushT").codec.decode(begun[0])[:, 0].numpy()
    assert object_integrity(shown)["pusher"].tolist() == [0, 0, 1]
    with pytest.raises(StreamDiTError, match="forsaken"):
        replace(CONFIG, forsaken=1.5)


def test_frames_without_the_thing_that_obeys() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(1)
    frames = simulator.reset(rng, next(iter(STARTS)))[None]
    emptied = without(frames, simulator.state()[None, :2])
    assert [found[0] for found in object_integrity(frames).values()] == [1, 1]
    assert [found[0] for found in object_integrity(emptied).values()] == [0, 1]
    assert ((emptied != frames).any(-1).sum((1, 2)) < 50).all()


def test_of_every_broken_spell_an_early_and_a_late_place_are_chosen() -> None:
    rng = np.random.default_rng(0)
    whole = np.ones((5, 20), bool)
    whole[0, 1], whole[1, 2:5], whole[2, :6], whole[3, 7:9], whole[3, 10:20] = (
        False,
        False,
        False,
        False,
        False,
    )
    early = [{(1, 3)}, {(3, 7), (3, 8)}, {(3, 10), (3, 11)}]
    late = [{(1, 4)}, {(2, 3), (2, 4), (2, 5)}, {(3, frame) for frame in range(12, 20)}]
    for _ in range(20):
        places = choose(whole, 4, 8, rng)
        assert len(places) == len({*places}) == 8
        assert min(frame for _, frame in places) >= 3, "the frames before it are needed, too"
        assert all(len(part & {*places[:6]}) == 1 for part in early + late)
    assert (
        sum(any(place in part for part in early + late) for place in choose(whole, 4, 2, rng)) == 2
    ), "their share of two, rounded"
    assert len(choose(np.ones((5, 20), bool), 4, 8, rng)) == 8


def test_a_world_is_trained_with_corrections(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(
        SPEC,
        PushTSimulator,
        STARTS,
        tmp_path / "data",
        RecordConfig(shards=2, episodes=2, steps=12),
    )
    recipe = Recipe(
        preset="tiny",
        max_start_frames=4,
        autoencoder=AutoencoderTraining(steps=1, batch=6),
        readout=ReadoutTraining(steps=1),
    )
    learned: list[DynamicsData] = []
    monkeypatch.setattr(
        "streamdit_gym.train.stages.dynamics_stage.run",
        lambda context, model, data: learned.append(data),
    )

    def train(data: Path, *relabelled: Dataset) -> World | None:
        inputs = TrainingInputs(
            spec=SPEC, dataset=Dataset(data), make_encoder=RandomEncoder, relabelled=relabelled
        )
        return train_world(inputs, recipe, RunOptions(folder=tmp_path / "run"))

    world = train(tmp_path / "data", Dataset(folder))
    assert world is not None
    assert learned[0].episodes.num_generated.tolist() == [0, 0] + [CONFIG.astray] * 6, (
        "one of two shards is held out, no relabelled one is"
    )
    assert world.facts["corrected_episodes"] == 6
    other = Dataset(folder)
    other.meta = other.meta | {"steps": 11}
    with pytest.raises(DatasetError, match="another steps"):
        train(tmp_path / "data", other)
    with pytest.raises(DatasetError, match="no relabelled frames"):
        train(tmp_path / "data", Dataset(tmp_path / "data"))
    with pytest.raises(DatasetError, match="all that is learned"):
        train(folder)


def test_the_command_is_refused_clearly_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"relabel PushT --out {tmp_path} --shards 1 --episodes 2 --steps 10 --workers 1 --device cpu".split()
    assert main(command) == 0
    written = (tmp_path / "shard-00000.npz").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "shard-00000.npz").stat().st_mtime_ns == written
    assert main([*command, "--seed", "4"]) == 2
    assert "differing in seed" in capsys.readouterr().err
    assert main(["relabel", "Pusht"]) == 2
    assert "PushT" in capsys.readouterr().err
