"""Corrections: a world's own frames, then what its simulator says must follow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.envs.corrections import CorrectionsConfig, choose, record_corrections
from streamdit_gym.envs.pusht import MOVES, SPEC, STARTS, PushTSimulator
from streamdit_gym.envs.pusht_looks import PushTLooksSimulator
from streamdit_gym.errors import DatasetError, StreamDiTError
from streamdit_gym.text.prompt_encoder import MiniLMEncoder
from streamdit_gym.train.train_world import WorldTraining, check_dataset, train_world

CONFIG = CorrectionsConfig(shards=2, episodes=3, steps=12, every=6, astray=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corrections")
    record_corrections("PushT", path, CONFIG)
    return path


def test_a_simulator_put_at_a_state_goes_on_as_the_one_that_was_there() -> None:
    there, put, rng = PushTSimulator(), PushTSimulator(), np.random.default_rng(3)
    for start in STARTS:
        there.reset(rng, start)
        before = there.state()
        for number in range(24):
            action = there.explore(rng)
            there.step(action)
            state = there.state()
            if number % 6 == 5:
                put.put(rng, before, action, state)
                saved, then = there.save(), int(rng.integers(len(MOVES)))
                there.step(then)
                put.step(then)
                assert np.abs(there.state() - put.state()).max() < 0.75, "what touches is found out anew; else they are equal"
                there.restore(saved)
            before = state


def test_an_impossible_state_is_shifted_onto_the_table() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(0)
    beyond = np.array([-9.0, 80.0, 70.0, -20.0, 0.0, 0.0], dtype=np.float32)
    simulator.put(rng, beyond, 0, beyond)
    frame = simulator.step(0)
    assert frame.shape == (64, 64, 3)
    assert (simulator.state()[:2] > 0).all()
    assert (simulator.state()[:2] < 64).all()


def test_an_episode_begins_with_the_worlds_frames_and_goes_on_with_the_simulators(folder: Path) -> None:
    dataset = Dataset(folder)
    assert dataset.meta["astray"] == CONFIG.astray
    simulator, rng = PushTSimulator(), np.random.default_rng(0)
    for shard in (dataset.shard(0), dataset.shard(1)):
        assert shard.frames.shape == (3, 13, 64, 64, 3)
        for e in range(3):
            last = CONFIG.astray - 1
            simulator.put(rng, shard.states[e, last - 1], int(shard.actions[e, last - 1]), shard.states[e, last])
            for f in range(last, 12):
                assert (simulator.step(int(shard.actions[e, f])) == shard.frames[e, f + 1]).all(), "the simulator's"
            jump = np.abs(shard.frames[e, last + 1].astype(int) - shard.frames[e, last]).mean()
            assert 0 < jump < 6, "no cut: the story goes on"
    said = {dataset.phrases[p] for p in dataset.shard(0).prompts[:, : CONFIG.astray - 1].ravel()}
    assert said <= {ways[0] for ways in SPEC.menu}


def test_recording_resumes_with_the_same_streams(folder: Path, tmp_path: Path) -> None:
    record_corrections("PushT", tmp_path, replace(CONFIG, shards=1))
    record_corrections("PushT", tmp_path, CONFIG)
    for name in ("meta.json", "shard-00000.mkv", "shard-00001.mkv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    with pytest.raises(DatasetError, match="another data set"):
        record_corrections("PushT", tmp_path, replace(CONFIG, seed=5))


def test_broken_frames_are_chosen_more_often() -> None:
    rng = np.random.default_rng(0)
    whole = np.ones(20, bool)
    whole[[1, 12]] = False
    chosen = [choose(whole, 4, rng) for _ in range(400)]
    assert min(chosen) == 3, "the frames before it are needed, too"
    assert 0.7 < np.mean(np.array(chosen) == 12) < 0.85
    assert len({choose(np.ones(20, bool), 4, rng) for _ in range(400)}) == 17


def test_a_world_is_trained_with_corrections(folder: Path, tmp_path: Path) -> None:
    record(SPEC, PushTSimulator, STARTS, tmp_path / "data", RecordConfig(shards=2, episodes=2, steps=12))
    config = WorldTraining(preset="tiny", starts=4)
    config = replace(
        config, codec=replace(config.codec, steps=1), heads=replace(config.heads, steps=1),
        streamdit=replace(config.streamdit, steps=2, clips=2),
    )  # fmt: skip

    def train(corrections: Dataset) -> object:
        return train_world(
            SPEC, Dataset(tmp_path / "data"), lambda: MiniLMEncoder(None), tmp_path / "run", config, "cpu", corrections=corrections
        )

    assert train(Dataset(folder)) is not None
    assert len(list((tmp_path / "run" / "corrections").glob("latents-*.npz"))) == 2
    other = Dataset(folder)
    other.meta = json.loads(json.dumps(other.meta)) | {"steps": 11}
    with pytest.raises(DatasetError, match="another steps"):
        train(other)
    with pytest.raises(DatasetError, match="no corrections"):
        train(Dataset(tmp_path / "data"))
    with pytest.raises(DatasetError, match="beside --data"):
        check_dataset(Dataset(folder), SPEC)


def test_what_cannot_be_counted_or_put_is_refused() -> None:
    with pytest.raises(StreamDiTError, match="impossible shards"):
        CorrectionsConfig(shards=0)
    with pytest.raises(StreamDiTError, match="too short"):
        CorrectionsConfig(steps=4)
    nowhere = np.zeros(6, np.float32)
    with pytest.raises(StreamDiTError, match="without colours"):
        PushTLooksSimulator().put(np.random.default_rng(0), nowhere, 0, nowhere)
