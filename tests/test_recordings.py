"""Recordings become data sets: LeRobot, Minari, and videos with captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.recordings import (
    actions_of,
    moving_square,
    write_captions,
    write_lerobot,
    write_minari,
    write_videos,
)

from streamdit_gym.actions import Menu, SpokenBox
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.imports import importer
from streamdit_gym.data.imports.episode_pieces import cut_episodes, episodes_per_shard
from streamdit_gym.data.imports.importer import import_recordings
from streamdit_gym.data.imports.lerobot_recordings import LeRobotRecordings
from streamdit_gym.data.imports.pictures import resized
from streamdit_gym.data.imports.recorded_world import recorded_definition
from streamdit_gym.data.imports.recordings import ImportSettings
from streamdit_gym.data.imports.resampling import Resampling, default_fps, summed_rewards
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import EnvironmentTask, WorldDefinition
from streamdit_gym.errors import DatasetError, DefinitionError, StreamDiTError

CODEC_ERROR = 3.0  # mean difference of grey levels that a video's compression makes
WHOLE_SIZE = ImportSettings(frame_size=(48, 64))


def imported(source: Path, settings: ImportSettings = WHOLE_SIZE) -> Dataset:
    target = source.parent / "recorded"
    import_recordings(source, "robot", target, settings)
    return Dataset(target)


def definition_of(dataset: Dataset) -> WorldDefinition:
    definition = recorded_definition(dataset)
    assert definition is not None
    return definition


def shards_of(dataset: Dataset) -> list[Shard]:
    for position in range(len(dataset)):
        dataset.check_shard(position)
    return [dataset.shard(position) for position in range(len(dataset))]


def episode_of(dataset: Dataset, steps: int) -> tuple[Shard, int]:
    """Return the only episode of so many steps: its shard and row."""
    for shard in shards_of(dataset):
        rows = np.flatnonzero(shard.lengths == steps)
        if len(rows):
            return shard, int(rows[0])
    raise AssertionError(f"no episode of {steps} steps")


def refusal(source: Path, settings: ImportSettings = WHOLE_SIZE) -> str:
    """Return the error of an import, and check that it leaves nothing."""
    target = source.parent / "recorded"
    with pytest.raises(StreamDiTError) as caught:
        import_recordings(source, "robot", target, settings)
    assert not target.exists()
    text = str(caught.value)
    for part in ("given:", "allowed:", "remedy:"):
        assert part in text, text
    return text


class TestLeRobot:
    def test_frames_actions_states_and_rewards_come_through(self, tmp_path: Path) -> None:
        source = write_lerobot(tmp_path / "robot", (12, 15, 9))
        dataset = imported(source, ImportSettings(frame_size=(48, 64), fps=20))
        shard, row = episode_of(dataset, 14)
        film = moving_square(1, 15)
        assert np.abs(shard.frames[row, :15].astype(int) - film).mean() < CODEC_ERROR
        np.testing.assert_allclose(shard.actions[row, :14], actions_of(1, 15)[:14], atol=1e-6)
        np.testing.assert_array_equal(shard.states[row, :15, 0], np.arange(15))
        np.testing.assert_array_equal(shard.rewards[row, :14, 0], np.arange(14))
        assert not shard.terminated[row]

    def test_a_success_ends_the_episode_and_brings_the_last_reward(self, tmp_path: Path) -> None:
        dataset = imported(
            write_lerobot(tmp_path / "robot", (12, 15)), ImportSettings(frame_size=(48, 64), fps=20)
        )
        shard, row = episode_of(dataset, 11)
        assert shard.terminated[row]
        assert shard.rewards[row, 10, 0] == 10 + 11
        assert shard.scores[row, :, 0].tolist()[:12] == [0.0] * 11 + [1.0]

    def test_the_world_has_the_names_and_ranges_of_the_data_set(self, tmp_path: Path) -> None:
        definition = definition_of(imported(write_lerobot(tmp_path / "robot", (12, 15))))
        assert isinstance(definition.actions, SpokenBox)
        assert definition.actions.names == ("shoulder pan pos", "gripper pos")
        assert definition.actions.clauses[:5] == [
            "shoulder pan pos lowest",
            "shoulder pan pos low",
            "shoulder pan pos middle",
            "shoulder pan pos high",
            "shoulder pan pos highest",
        ]
        recorded = np.concatenate([actions_of(0, 12), actions_of(1, 15)])
        np.testing.assert_allclose(definition.actions.low, recorded.min(0), rtol=1e-6)
        np.testing.assert_allclose(definition.actions.high, recorded.max(0), rtol=1e-6)
        assert definition.state_names == ("x", "y")
        assert definition.fps == 10
        assert definition.make_simulator is None
        assert definition.frame_size == (48, 64)
        assert isinstance(definition.tasks["data"], EnvironmentTask)

    def test_ranges_come_from_the_rows_where_there_are_no_statistics(self, tmp_path: Path) -> None:
        with_file = definition_of(imported(write_lerobot(tmp_path / "a/robot", (12, 15))))
        without = definition_of(
            imported(write_lerobot(tmp_path / "b/robot", (12, 15), statistics=False))
        )
        assert without.actions == with_file.actions

    def test_another_rate_takes_every_second_frame_and_the_mean_action(
        self, tmp_path: Path
    ) -> None:
        dataset = imported(write_lerobot(tmp_path / "robot", (13, 16)))
        shard, row = episode_of(dataset, 6)
        film = moving_square(0, 13)[::2]
        assert np.abs(shard.frames[row, :7].astype(int) - film).mean() < CODEC_ERROR
        means = actions_of(0, 13)[:12].reshape(6, 2, 2).mean(1)
        np.testing.assert_allclose(shard.actions[row, :6], means, atol=1e-6)

    def test_long_episodes_are_cut_and_only_the_last_piece_ends(self, tmp_path: Path) -> None:
        settings = ImportSettings(frame_size=(48, 64), fps=20, steps=10)
        shards = shards_of(imported(write_lerobot(tmp_path / "robot", (31, 31)), settings))
        lengths = np.concatenate([shard.lengths for shard in shards])
        assert lengths.tolist() == [10] * 6
        assert sum(int(shard.terminated.sum()) for shard in shards) == 1
        assert (shards[0].frames[0, -1] == shards[1].frames[0, 0]).all()

    def test_one_camera_is_chosen_or_two_stand_side_by_side(self, tmp_path: Path) -> None:
        source = write_lerobot(tmp_path / "robot", (12, 15))
        wide = ImportSettings(frame_size=(64, 128), cameras=("wrist", "front"), fps=20)
        shard, row = episode_of(imported(source, wide), 11)
        films = [moving_square(1, 12), moving_square(0, 12)]
        squares = [np.stack([resized(frame, (64, 64)) for frame in film]) for film in films]
        both = np.concatenate(squares, axis=2)
        assert np.abs(shard.frames[row, :12].astype(int) - both).mean() < CODEC_ERROR

    def test_tasks_can_be_the_prompts(self, tmp_path: Path) -> None:
        settings = ImportSettings(frame_size=(48, 64), prompts="captions")
        dataset = imported(write_lerobot(tmp_path / "robot", (12, 16, 20)), settings)
        assert definition_of(dataset).actions == Menu("push the square 0", "push the square 1")
        shard, row = episode_of(dataset, 7)
        assert shard.actions[row].tolist()[:7] == [1] * 7
        assert dataset.phrases[shard.prompts[row, 0]] == "push the square 1"

    def test_a_constant_dimension_is_left_out_with_a_note(self, tmp_path: Path) -> None:
        def still(columns: dict[str, Any]) -> dict[str, Any]:
            columns["action"][:, 0] = 0.3
            return columns

        source = write_lerobot(tmp_path / "robot", (12, 15), columns=still)
        report = import_recordings(source, "robot", tmp_path / "recorded", WHOLE_SIZE)
        assert any("shoulder_pan.pos" in line for line in report.lines())
        dataset = Dataset(tmp_path / "recorded")
        assert definition_of(dataset).actions.names == ("gripper pos",)
        assert dataset.shard(0).actions.shape[-1] == 1

    def test_pictures_may_lie_in_the_table(self, tmp_path: Path) -> None:
        import cv2

        def with_pictures(columns: dict[str, Any]) -> dict[str, Any]:
            film = np.concatenate([moving_square(0, 12), moving_square(1, 15)])
            pictures = [cv2.imencode(".png", frame[..., ::-1])[1].tobytes() for frame in film]
            entries = [{"bytes": picture, "path": None} for picture in pictures]
            return columns | {"observation.images.table": entries}

        source = write_lerobot(tmp_path / "robot", (12, 15), columns=with_pictures)
        info = json.loads((source / "meta/info.json").read_text())
        info["features"]["observation.images.table"] = {"dtype": "image", "shape": [48, 64, 3]}
        (source / "meta/info.json").write_text(json.dumps(info))
        settings = ImportSettings(frame_size=(48, 64), cameras=("table",), fps=20)
        shard, row = episode_of(imported(source, settings), 11)
        assert (shard.frames[row, :12] == moving_square(0, 12)).all()

    def test_a_state_too_wide_for_a_bundle_is_left_out(self, tmp_path: Path) -> None:
        def with_rays(columns: dict[str, Any]) -> dict[str, Any]:
            rays = np.zeros((len(columns["action"]), 300), np.float32)
            return columns | {"observation.rays": rays}

        source = write_lerobot(tmp_path / "robot", (12, 15), columns=with_rays)
        info = json.loads((source / "meta/info.json").read_text())
        info["features"]["observation.rays"] = {"dtype": "float32", "shape": [300], "names": None}
        (source / "meta/info.json").write_text(json.dumps(info))
        report = import_recordings(source, "robot", tmp_path / "recorded", WHOLE_SIZE)
        assert "state vectors left out: rays" in report.notes
        definition = definition_of(Dataset(tmp_path / "recorded"))
        assert definition.state_names == ("state.x", "state.y")

    def test_what_is_wrong_as_a_whole_is_refused(self, tmp_path: Path) -> None:
        old = write_lerobot(tmp_path / "a/robot", (12, 15), info={"codebase_version": "v2.1"})
        assert "another version" in refusal(old)
        features = {"action": {"dtype": "float32", "shape": [2]}}
        blind = write_lerobot(tmp_path / "b/robot", (12, 15), info={"features": features})
        assert "without pictures" in refusal(blind)

        def without_action(columns: dict[str, Any]) -> dict[str, Any]:
            return {name: values for name, values in columns.items() if name != "action"}

        source = write_lerobot(tmp_path / "c/robot", (12, 15), statistics=False)
        lacking = write_lerobot(
            tmp_path / "d/robot", (12, 15), columns=without_action, statistics=False
        )
        assert "lacks a column" in refusal(lacking)
        info = json.loads((source / "meta/info.json").read_text())
        info["features"]["action"]["shape"] = [2, 3]
        (source / "meta/info.json").write_text(json.dumps(info))
        assert "no vector" in refusal(source)
        assert "unknown camera" in refusal(
            write_lerobot(tmp_path / "e/robot", (12, 15)), ImportSettings(cameras=("side",))
        )

    def test_actions_that_never_vary_are_refused(self, tmp_path: Path) -> None:
        def still(columns: dict[str, Any]) -> dict[str, Any]:
            return columns | {"action": np.full_like(columns["action"], 0.3)}

        source = write_lerobot(tmp_path / "robot", (12, 15), columns=still)
        assert "ever varies" in refusal(source)

    def test_a_broken_video_is_named(self, tmp_path: Path) -> None:
        source = write_lerobot(tmp_path / "robot", (12, 15))
        video = source / "videos/observation.images.front/chunk-000/file-000.mp4"
        video.write_bytes(b"nothing that FFmpeg knows")
        assert "file-000.mp4" in refusal(source)

    def test_rows_of_another_shape_are_named(self, tmp_path: Path) -> None:
        source = write_lerobot(tmp_path / "robot", (12, 15))
        info = json.loads((source / "meta/info.json").read_text())
        info["features"]["observation.state"] |= {"shape": [3], "names": ["x", "y", "z"]}
        (source / "meta/info.json").write_text(json.dumps(info))
        assert "observation.state has 2 numbers a row, and not 3" in refusal(source)


class TestMinari:
    @pytest.fixture(autouse=True)
    def _needs_minari(self) -> None:
        pytest.importorskip("minari")

    def test_numbered_actions_are_a_menu(self, tmp_path: Path) -> None:
        import gymnasium

        space = gymnasium.spaces.Discrete(3, start=1)
        source = write_minari(
            tmp_path, 4, space, lambda number, steps: np.arange(steps) % 3 + space.start
        )
        target = tmp_path / "recorded"
        import_recordings(source, "robot", target, ImportSettings(frame_size=(32, 32)))
        dataset = Dataset(target)
        shard, row = episode_of(dataset, 8)
        assert (shard.frames[row, :9] == moving_square(2, 9, (32, 32))).all()
        assert shard.actions[row, :8].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
        assert shard.terminated[row]
        assert shard.rewards[row, :8, 0].tolist() == [0.5] * 8
        assert definition_of(dataset).actions == Menu("action 0", "action 1", "action 2")

    def test_a_box_keeps_its_bounds(self, tmp_path: Path) -> None:
        import gymnasium

        space = gymnasium.spaces.Box(-2.0, 2.0, (3,), np.float32)

        def actions(number: int, steps: int) -> np.ndarray:
            moves = np.random.default_rng(number).uniform(-1, 1, (steps, 3)).astype(np.float32)
            moves[:, 1] = 0.5
            return moves

        pictures = gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8)
        vector = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        source = write_minari(
            tmp_path,
            4,
            space,
            actions,
            observation_space=gymnasium.spaces.Dict({"eye": pictures, "joints": vector}),
            observations=lambda film: {
                "eye": film,
                "joints": np.arange(2 * len(film), dtype=np.float32).reshape(-1, 2),
            },
        )
        target = tmp_path / "recorded"
        import_recordings(source, "robot", target, ImportSettings(frame_size=(32, 32)))
        dataset = Dataset(target)
        box = definition_of(dataset).actions
        assert (box.names, box.low, box.high) == (("action 1", "action 3"), (-2, -2), (2, 2))
        shard, row = episode_of(dataset, 7)
        np.testing.assert_allclose(shard.actions[row, :7], actions(1, 7)[:, [0, 2]])
        assert definition_of(dataset).state_names == ("joints 1", "joints 2")
        assert shard.states[row, 7].tolist() == [14, 15]

    def test_observations_without_pictures_are_refused(self, tmp_path: Path) -> None:
        import gymnasium

        source = write_minari(
            tmp_path,
            3,
            gymnasium.spaces.Discrete(2),
            lambda number, steps: np.arange(steps) % 2,
            observation_space=gymnasium.spaces.Box(-1, 1, (4,), np.float32),
            observations=lambda film: np.zeros((len(film), 4), np.float32),
        )
        assert "without pictures" in refusal(source)


class TestVideos:
    def test_captions_are_a_menu(self, tmp_path: Path) -> None:
        lines = [
            {"file": "a.mp4", "caption": "it goes right"},
            {"file": "b.mp4", "caption": "It goes  right", "start": 0.2, "end": 0.9},
            {"file": "b.mp4", "caption": "it waits", "start": 0.9},
        ]
        source = write_videos(tmp_path / "videos", lines)
        dataset = imported(source, ImportSettings(frame_size=(48, 64), fps=20))
        assert definition_of(dataset).actions == Menu("it goes right", "it waits")
        assert not definition_of(dataset).tasks
        shard, row = episode_of(dataset, 24)
        assert np.abs(shard.frames[row].astype(int) - moving_square(0, 25)).mean() < CODEC_ERROR
        clip, place = episode_of(dataset, 13)
        film = moving_square(1, 25)[4:18]
        assert np.abs(clip.frames[place, :14].astype(int) - film).mean() < CODEC_ERROR
        rest, place = episode_of(dataset, 6)
        assert rest.actions[place, :6].tolist() == [1] * 6

    def test_action_vectors_are_a_box(self, tmp_path: Path) -> None:
        moves = actions_of(0, 24).tolist()
        lines = [
            {"file": "a.mp4", "action": {"turn": -1.0, "lift": 0.5}},
            {
                "file": "b.mp4",
                "action": [dict(zip(("turn", "lift"), m, strict=True)) for m in moves],
            },
            {"file": "c.mp4", "caption": "nobody knows"},
        ]
        source = write_videos(tmp_path / "videos", lines)
        target = tmp_path / "recorded"
        settings = ImportSettings(frame_size=(48, 64), fps=20)
        report = import_recordings(source, "robot", target, settings)
        assert report.skipped == {"captions.jsonl, line 3 (c.mp4)": "it has no action"}
        dataset = Dataset(target)
        assert definition_of(dataset).actions.names == ("turn", "lift")
        actions = np.concatenate([shard.actions for shard in shards_of(dataset)])
        for expected in (np.full((24, 2), [-1.0, 0.5]), np.array(moves)):
            assert min(np.abs(episode - expected).max() for episode in actions) < 1e-6

    def test_a_broken_video_is_skipped_and_counted(self, tmp_path: Path) -> None:
        lines = [{"file": f"{name}.mp4", "caption": "go"} for name in "abc"]
        source = write_videos(tmp_path / "videos", lines)
        (source / "b.mp4").write_bytes((source / "b.mp4").read_bytes()[:500])
        report = import_recordings(source, "robot", tmp_path / "recorded", WHOLE_SIZE)
        assert (report.num_found, report.num_read) == (3, 2)
        assert list(report.skipped) == ["captions.jsonl, line 2 (b.mp4)"]
        assert any("skipped" in line and "b.mp4" in line for line in report.lines())

    def test_an_end_behind_the_video_is_skipped(self, tmp_path: Path) -> None:
        lines = [{"file": f"{name}.mp4", "caption": "go"} for name in "abc"]
        lines[2] |= {"end": 9}
        source = write_videos(tmp_path / "videos", lines)
        report = import_recordings(source, "robot", tmp_path / "recorded", WHOLE_SIZE)
        assert "before the clip does" in report.skipped["captions.jsonl, line 3 (c.mp4)"]

    def test_only_broken_videos_are_refused(self, tmp_path: Path) -> None:
        source = write_videos(tmp_path / "videos", [{"file": "a.mp4", "caption": "go"}])
        (source / "a.mp4").write_bytes(b"")
        assert "no video can be read" in refusal(source)

    def test_episodes_of_one_frame_are_refused(self, tmp_path: Path) -> None:
        lines = [{"file": "a.mp4", "caption": "go", "end": 0.05}] * 3
        assert "one frame only" in refusal(write_videos(tmp_path / "videos", lines))

    @pytest.mark.parametrize(
        ("line", "text"),
        [
            ({"file": "gone.mp4", "caption": "go"}, "files that are not there"),
            ({"caption": "go"}, "name of a file"),
            ("words", "name of a file"),
            ({"file": "a.mp4", "start": 2, "end": 1}, "start before the end"),
            ({"file": "a.mp4", "caption": ""}, "cannot be a prompt"),
            ({"file": "a.mp4", "action": [[1], [1, 2]]}, "one length"),
            ({"file": "a.mp4", "action": ["left"]}, "finite number"),
            ({"file": "a.mp4", "action": [1, 2]}, "actions of different kinds"),
        ],
    )
    def test_a_wrong_line_is_named(self, line: Any, text: str, tmp_path: Path) -> None:
        first = {"file": "a.mp4", "caption": "go", "action": [0.5]}
        source = write_videos(tmp_path / "videos", [first])
        write_captions(source, [first, line])
        message = refusal(source)
        assert text in message
        assert "line 2" in message

    def test_two_files_with_one_name_are_refused(self, tmp_path: Path) -> None:
        source = tmp_path / "videos"
        for folder in ("monday", "tuesday"):
            write_videos(source / folder, [{"file": "a.mp4", "caption": "go"}])
            (source / folder / "captions.jsonl").unlink()
        write_captions(source, [{"file": "a.mp4", "caption": "go"}])
        assert "two files with one name" in refusal(source)

    def test_a_folder_without_or_with_two_caption_files_is_refused(self, tmp_path: Path) -> None:
        source = write_videos(tmp_path / "videos", [{"file": "a.mp4", "caption": "go"}])
        (source / "more.jsonl").write_text("")
        assert "one caption file" in refusal(source)
        (source / "more.jsonl").unlink()
        (source / "captions.jsonl").unlink()
        assert "one caption file" in refusal(source)


class TestFolders:
    def test_a_folder_without_recordings_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert "an empty folder" in refusal(tmp_path / "empty")
        assert "no such folder" in refusal(tmp_path / "nowhere")

    def test_a_name_that_no_world_can_have_is_refused(self, tmp_path: Path) -> None:
        source = write_lerobot(tmp_path / "robot", (12, 15))
        with pytest.raises(DefinitionError, match="name"):
            import_recordings(source, "my robot", tmp_path / "recorded", WHOLE_SIZE)
        assert not (tmp_path / "recorded").exists()

    def test_an_import_is_done_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = write_lerobot(tmp_path / "robot", (12, 15))
        target = tmp_path / "recorded"
        first = import_recordings(source, "robot", target, WHOLE_SIZE)
        monkeypatch.setattr(importer, "open_recordings", None)
        assert import_recordings(source, "robot", target, WHOLE_SIZE) == first
        with pytest.raises(DatasetError, match="other settings"):
            import_recordings(source, "robot", target, ImportSettings(fps=5))
        (source / "meta/new.json").write_text("{}")
        with pytest.raises(DatasetError, match="other files"):
            import_recordings(source, "robot", target, WHOLE_SIZE)

    def test_a_stopped_import_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = write_lerobot(tmp_path / "robot", (12, 15, 9))
        read = LeRobotRecordings.read
        numbers: list[int] = []

        def stopped(self: LeRobotRecordings, number: int) -> Any:
            if number == 2 and numbers == [0, 1]:
                raise KeyboardInterrupt
            numbers.append(number)
            return read(self, number)

        monkeypatch.setattr(LeRobotRecordings, "read", stopped)
        target = tmp_path / "recorded"
        with pytest.raises(KeyboardInterrupt):
            import_recordings(source, "robot", target, WHOLE_SIZE)
        with pytest.raises(DatasetError):
            Dataset(target)  # half an import is no data set
        numbers.append(9)
        import_recordings(source, "robot", target, WHOLE_SIZE)
        assert numbers == [0, 1, 9, 2]
        whole = tmp_path / "whole"
        import_recordings(source, "robot", whole, WHOLE_SIZE)
        for one, other in zip(shards_of(Dataset(target)), shards_of(Dataset(whole)), strict=True):
            assert (one.frames == other.frames).all()
            assert (one.actions == other.actions).all()
        assert sorted(path.name for path in target.iterdir()) == sorted(
            path.name for path in whole.iterdir()
        )

    def test_a_data_set_of_a_simulator_has_no_such_definition(self, tmp_path: Path) -> None:
        dataset = imported(write_lerobot(tmp_path / "robot", (12, 15)))
        del dataset.meta["import"]
        assert recorded_definition(dataset) is None

    def test_a_damaged_meta_is_named(self, tmp_path: Path) -> None:
        dataset = imported(write_lerobot(tmp_path / "robot", (12, 15)))
        dataset.meta["import"]["tasks"] = {"data": {"horizon": "long"}}
        with pytest.raises(DatasetError, match="cannot be understood"):
            recorded_definition(dataset)


@pytest.mark.parametrize(
    ("source_fps", "fps"), [(5, 5), (10, 10), (15, 15), (24, 12), (25, 12.5), (30, 10), (60, 10)]
)
def test_rates_divide_the_recordings_own(source_fps: float, fps: float) -> None:
    assert default_fps(source_fps) == fps


def test_frames_are_the_nearest_in_time() -> None:
    assert Resampling(30, 10).source_frames(10).tolist() == [0, 3, 6, 9]
    assert Resampling(25, 10).source_frames(10).tolist() == [0, 3, 5, 8]
    assert Resampling(5, 10).source_frames(3).tolist() == [0, 1, 1, 2, 2]


def test_rewards_between_frames_are_summed() -> None:
    rewards = np.arange(8.0)
    frames = np.array([0, 3, 6])
    assert summed_rewards(rewards, frames, ends=False).tolist() == [3, 12]
    assert summed_rewards(rewards, frames, ends=True).tolist() == [3, 12 + 6 + 7]
    assert summed_rewards(rewards, np.array([0, 0, 1]), ends=False).tolist() == [0, 0]


def test_shards_are_equal_and_hardly_anything_is_left_over() -> None:
    for count in range(2, 400):
        size = episodes_per_shard(count)
        assert count % size <= 0.02 * count
        assert count // size >= min(count, 10)


def test_pieces_cover_every_episode() -> None:
    pieces = cut_episodes({0: 25, 4: 7}, 10)
    parts = sorted((piece.episode, piece.start, piece.steps) for piece in pieces)
    assert parts == [(0, 0, 8), (0, 8, 9), (0, 17, 8), (4, 0, 7)]
