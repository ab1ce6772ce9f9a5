"""DAgger relabelling: a world's own frames, then what its simulator says must follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.disks import fill, small_disk
from torch import Tensor

from streamdit_gym import registry
from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.envs.pusht.definition import HARD_START, MOVES, SPEC, STARTS
from streamdit_gym.envs.pusht.geometry import BLOCK_CENTRE_UNITS, DENT_UNITS, PUSHER_RADIUS_UNITS
from streamdit_gym.envs.pusht.object_integrity import object_integrity
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.envs.pusht.world import WORLD
from streamdit_gym.errors import (
    ArgumentError,
    BusyError,
    DatasetError,
    StorageError,
    StreamDiTError,
)
from streamdit_gym.evaluate.metrics.drift import ReplayJob, replay_image_statistics
from streamdit_gym.files import folder_lock
from streamdit_gym.generate.dagger import RelabelConfig, relabel_world
from streamdit_gym.generate.frame_choice import choose_frames
from streamdit_gym.generate.generated_streams import without_actor
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.session import Session
from streamdit_gym.train.dataset_checks import check_dataset, check_relabelled
from streamdit_gym.train.stages.latents_stage import ShardEncoder, encode_dataset
from streamdit_gym.world import World

CONFIG = RelabelConfig(
    shards=2,
    episodes=3,
    steps=12,
    shard_frames=6,
    generated_frames=5,
    actor_removed_share=0.0,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corrections")
    relabel_world("PushT", path, CONFIG)
    return path


def test_a_simulator_put_at_a_state_goes_on_as_the_one_that_was_there() -> None:
    there = PushTSimulator()
    put = PushTSimulator()
    rng = np.random.default_rng(3)
    errors = []
    errors_at_rest = []
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
                put.start_from(rng, before, action, state)
                put.step(then)
                errors.append(np.abs(there.state() - put.state()).max())
                put.start_from(rng, state, 0, state)
                put.step(then)
                errors_at_rest.append(np.abs(there.state() - put.state()).max())
                there.restore(saved)
            before = state
    assert np.median(errors) < 0.02
    assert np.quantile(errors, 0.8) < 0.3, "what touches is found out anew"
    assert np.median(errors_at_rest) > 0.3, "its speed counts"


def test_an_impossible_state_is_moved_to_the_nearest_place() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(0)
    beyond = np.array([-9.0, 80.0, 70.0, -20.0, 0.0, 0.0], dtype=np.float32)
    inside = np.array(
        [40.0, 35.0, 40.0, 32.0, 1.0, 0.0], dtype=np.float32
    )  # the pusher in the middle of the T
    for state in (beyond, inside):
        simulator.start_from(rng, state, 0, state)
        first = simulator.state()
        simulator.step(0)
        assert np.abs(simulator.state() - first).max() < 0.3, "nothing is thrown out"
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
    assert dataset.meta["astray"] == CONFIG.generated_frames
    simulator, rng = PushTSimulator(), np.random.default_rng(0)
    for shard in (dataset.shard(0), dataset.shard(1)):
        assert shard.frames.shape == (3, 13, 64, 64, 3)
        for e in range(3):
            last = CONFIG.generated_frames - 1
            simulator.start_from(
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
            assert 0 < jump < 6, "no cut: the episode goes on"
    generated_prompts = dataset.shard(0).prompts[:, : CONFIG.generated_frames - 1]
    phrases = {dataset.phrases[number] for number in generated_prompts.ravel()}
    assert phrases <= {menu_phrases[0] for menu_phrases in SPEC.menu}


def test_recording_resumes_with_the_same_streams(folder: Path, tmp_path: Path) -> None:
    relabel_world("PushT", tmp_path, replace(CONFIG, shards=1))
    relabel_world("PushT", tmp_path, CONFIG)
    assert (tmp_path / "meta.json").read_bytes() == (folder / "meta.json").read_bytes()
    for position in range(2):
        again, first = (
            vars(Dataset(tmp_path).shard(position)),
            vars(Dataset(folder).shard(position)),
        )
        assert all(np.array_equal(again[name], first[name]) for name in first)
    with pytest.raises(DatasetError, match="another data set"):
        relabel_world("PushT", tmp_path, replace(CONFIG, seed=5))


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
            simulator.start_from(
                rng, state, 0, state, {"T": turned(state, arm * 2 * np.pi / 3 + less)}
            )
            put = simulator.state()
            assert put[4:] == pytest.approx(turned(state, arm * 2 * np.pi / 3)[4:], abs=1e-3)
            assert middle(put) == pytest.approx(middle(state), abs=0.01), "the middle stays"
    simulator.start_from(rng, state, 0, state, {"pusher": turned(state, 2)})
    assert simulator.state() == pytest.approx(state, abs=0.01), "nobody knows better"


def test_a_pusher_read_where_it_cannot_be_stays_where_it_was() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(1)
    simulator.reset(rng, next(iter(STARTS)))
    state = np.array([12, 12, 40, 40, 1, 0], np.float32)
    for far, place in ((8, 20), (20, 12)):
        read = state + np.array([far, 0, 0, 0, 0, 0], np.float32)
        simulator.start_from(rng, read, 0, read, {"pusher": state})
        assert simulator.state()[:2] == pytest.approx([place, 12], abs=0.5)
    simulator.start_from(rng, state, 0, state, {"T": state})
    assert simulator.state()[:2] == pytest.approx([2.5, 2.5], abs=0.01), (
        "nobody has seen it: the corner that the T is not in"
    )


def test_some_streams_begin_without_the_actor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []
    start = Engine.start

    def watched(engine: Engine, latents: Tensor, *rest: Any) -> Session:
        starts.append(latents)
        return start(engine, latents, *rest)

    monkeypatch.setattr(Engine, "start", watched)
    relabel_world("PushT", tmp_path, replace(CONFIG, shards=1, actor_removed_share=2 / 3))
    shown = World.from_pretrained("PushT").codec.decode(starts[0])[:, 0].numpy()
    assert object_integrity(shown)["pusher"].tolist() == [0, 0, 1]
    with pytest.raises(StreamDiTError, match="actor_removed_share"):
        replace(CONFIG, actor_removed_share=1.5)


def test_the_actor_is_painted_over() -> None:
    simulator, rng = PushTSimulator(), np.random.default_rng(1)
    frames = simulator.reset(rng, next(iter(STARTS)))[None]
    emptied = without_actor(frames, simulator.state()[None, :2])
    assert [found[0] for found in object_integrity(frames).values()] == [1, 1]
    assert [found[0] for found in object_integrity(emptied).values()] == [0, 1]
    assert ((emptied != frames).any(-1).sum((1, 2)) < 50).all()


def test_of_every_broken_spell_an_early_and_a_late_frame_are_chosen() -> None:
    rng = np.random.default_rng(0)
    is_intact = np.ones((5, 20), bool)
    is_intact[0, 1] = False
    is_intact[1, 2:5] = False
    is_intact[2, :6] = False
    is_intact[3, 7:9] = False
    is_intact[3, 10:20] = False
    early = [{(1, 3)}, {(3, 7), (3, 8)}, {(3, 10), (3, 11)}]
    late = [{(1, 4)}, {(2, 3), (2, 4), (2, 5)}, {(3, frame) for frame in range(12, 20)}]
    for _ in range(20):
        places = choose_frames(is_intact, 4, 8, rng)
        assert len(places) == len({*places}) == 8
        assert min(frame for _, frame in places) >= 3, "the frames before it are needed, too"
        assert all(len(part & {*places[:6]}) == 1 for part in early + late)
    assert (
        sum(
            any(place in part for part in early + late)
            for place in choose_frames(is_intact, 4, 2, rng)
        )
        == 2
    ), "their share of two, rounded"
    assert len(choose_frames(np.ones((5, 20), bool), 4, 8, rng)) == 8


def test_training_knows_which_frames_are_generated(folder: Path, tmp_path: Path) -> None:
    codec = World.from_pretrained("PushT").codec
    encoder = ShardEncoder(codec, "cpu")
    episodes = encode_dataset(Dataset(folder), encoder, tmp_path / "latents")
    assert episodes.num_generated.tolist() == [CONFIG.generated_frames] * 6


def test_training_takes_relabelled_data_beside_recorded_data_alone(
    folder: Path, tmp_path: Path
) -> None:
    config = RecordConfig(shards=2, episodes=2, steps=12)
    record(WORLD, tmp_path / "data", config)
    recorded = Dataset(tmp_path / "data")
    relabelled = Dataset(folder)
    check_relabelled(relabelled, recorded)
    with pytest.raises(DatasetError, match="no relabelled frames"):
        check_relabelled(recorded, recorded)
    with pytest.raises(DatasetError, match="all that is learned"):
        check_dataset(relabelled, SPEC)
    relabelled.meta = relabelled.meta | {"steps": 11}
    with pytest.raises(DatasetError, match="another steps"):
        check_relabelled(relabelled, recorded)


def test_the_command_is_refused_clearly_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--shards 1 --device cpu --set episodes=2 steps=10 workers=1"
    command = f"relabel PushT --out {tmp_path} {options}".split()
    assert main(command) == 0
    written = (tmp_path / "shard-00000.npz").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "shard-00000.npz").stat().st_mtime_ns == written
    assert main([*command, "seed=4"]) == 2
    assert "differing in seed" in capsys.readouterr().err
    assert main(["relabel", "Pusht"]) == 2
    assert "PushT" in capsys.readouterr().err


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(StreamDiTError, match="shards"):
        RelabelConfig(shards=0)
    with pytest.raises(StreamDiTError, match="too short"):
        RelabelConfig(steps=4)


class Plainest(PushTSimulator):
    """A simulator that follows the protocol and does no more: `start_from` takes four arguments,
    and only after `reset`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ready = False

    def reset(self, rng: np.random.Generator, start: str = "uniform") -> np.ndarray:
        self.ready = True
        return super().reset(rng, start)

    def start_from(
        self, rng: np.random.Generator, before: np.ndarray, action: int, state: np.ndarray
    ) -> None:  # type: ignore[override]
        assert self.ready, "never reset"
        super().start_from(rng, before, action, state)


def test_any_simulator_that_follows_the_protocol_can_correct_and_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plainest = replace(WORLD, make_simulator=Plainest)
    monkeypatch.setitem(registry._WORLDS, "PushT", plainest)
    relabel_world("PushT", tmp_path, replace(CONFIG, shards=1))
    assert len(Dataset(tmp_path)) == 1
    state = PushTSimulator()
    state.reset(np.random.default_rng(0))
    start = state.state()
    job = ReplayJob(definition=plainest, start="uniform", state=start, actions=[1, 2, 3])
    shipped = replay_image_statistics(replace(job, definition=WORLD))
    np.testing.assert_array_equal(replay_image_statistics(job), shipped)


def test_two_processes_do_not_correct_into_one_folder(tmp_path: Path) -> None:
    with folder_lock(tmp_path), pytest.raises(BusyError, match="another process works here"):
        relabel_world("PushT", tmp_path, CONFIG)
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_is_a_clear_error(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        with pytest.raises(StorageError, match="whole shards are kept"):
            relabel_world("PushT", disk / "data", CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"shards": 10**24},
        {"shard_frames": 0},
        {"actor_removed_share": float("nan")},
        {"episodes": 10**6},
        {"seed": 0.5},
    ],
    ids=str,
)
def test_numbers_that_cannot_be_recorded_are_refused_at_once(change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="allowed"):
        RelabelConfig(**change)
