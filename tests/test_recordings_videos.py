"""Videos with captions become data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
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
    write_captions,
    write_videos,
)

from streamdit_gym.actions import Menu
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.imports.importer import import_recordings
from streamdit_gym.data.imports.recordings import ImportSettings


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
