"""LeRobot data sets become data sets of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from support.imported_recordings import (
    CODEC_ERROR,
    WHOLE_SIZE,
    definition_of,
    episode_of,
    imported,
    refusal,
    shards_of,
)
from support.recordings import (
    actions_of,
    moving_square,
    write_lerobot,
)

from streamdit_gym.actions import Menu, SpokenBox
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.imports.importer import import_recordings
from streamdit_gym.data.imports.pictures import resized
from streamdit_gym.data.imports.recordings import ImportSettings
from streamdit_gym.definition import EnvironmentTask


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
