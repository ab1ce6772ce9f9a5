"""A folder of videos with a caption file, see `streamdit_gym.data.imports.caption_file`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from streamdit_gym.actions import ActionLanguage
from streamdit_gym.data.imports.caption_file import CaptionLine, read_caption_file
from streamdit_gym.data.imports.pictures import Clip, read_clip, video_fps
from streamdit_gym.data.imports.recordings import (
    Description,
    ImportSettings,
    RecordedEpisode,
    Recordings,
    UnreadableEpisodeError,
)
from streamdit_gym.data.imports.resampling import Resampling, default_fps, mean_actions
from streamdit_gym.data.imports.spoken_actions import ActionRanges, caption_menu, spoken_box
from streamdit_gym.errors import ArgumentError, DatasetError


class VideoRecordings(Recordings):
    """Videos, and one file ``*.jsonl`` that says what is to be seen in them.

    Args:
        folder: where they are.
        settings: how they are read.

    Raises:
        DatasetError: if the caption file or all videos cannot be read.
    """

    def __init__(self, folder: Path, settings: ImportSettings) -> None:
        if settings.cameras:
            raise ArgumentError(
                "a folder of videos has no cameras",
                given=f"cameras={','.join(settings.cameras)}",
                allowed="nothing",
                remedy="leave it out, or name one camera's videos in the caption file",
            )
        self._size = settings.frame_size
        self._lines = read_caption_file(folder)
        self._fps = settings.fps or default_fps(_first_fps(self._lines))
        self._ranges: ActionRanges | None = None
        self._action_of: dict[str, int] = {}
        actions, notes = self._actions(settings.prompts)
        captions = {caption for line in self._lines for caption in line.captions}
        self.description = Description(
            format="videos",
            fps=self._fps,
            actions=actions,
            episodes=[line.name for line in self._lines],
            notes=notes,
            captions=tuple(sorted(captions)),
        )

    def read(self, number: int) -> RecordedEpisode:
        """Return an episode."""
        line = self._lines[number]
        if self._ranges is not None and line.actions is None:
            raise UnreadableEpisodeError("it has no action")
        if self._ranges is None and not line.captions:
            raise UnreadableEpisodeError("it has no caption")
        resampling = Resampling(video_fps(line.path), self._fps)
        clip = Clip(path=line.path, start=line.start, end=line.end)
        frames, count = read_clip(clip, self._size, resampling)
        kept = resampling.source_frames(count)
        actions = self._episode_actions(line, count, kept)
        return RecordedEpisode(
            frames=frames,
            actions=actions,
            rewards=np.zeros(len(actions)),
            states=np.zeros((len(frames), 0)),
        )

    def _actions(self, prompts: str) -> tuple[ActionLanguage, tuple[str, ...]]:
        """Return the action language, and notes about it."""
        vectors = [line.actions for line in self._lines if line.actions is not None]
        if prompts == "captions" or (prompts == "auto" and not vectors):
            captions: list[str] = []
            for line in self._lines:
                captions += line.captions
            menu = caption_menu(captions)
            self._action_of = {menu.prompt(action): action for action in range(len(menu))}
            return menu, ()
        if not vectors:
            raise DatasetError(
                "no line of the caption file has an action",
                given="prompts=actions",
                allowed='lines with "action": [0.1, -0.5]',
                remedy="add them, or train on captions: prompts=captions",
            )
        names = _action_names(self._lines)
        self._ranges = ActionRanges.of(names, vectors)
        return spoken_box(self._ranges)

    def _episode_actions(
        self, line: CaptionLine, count: int, kept: Int[np.ndarray, " g"]
    ) -> np.ndarray:
        """Return the action of every step between frames that stay."""
        if self._ranges is not None:
            assert line.actions is not None
            rows = _one_per_frame(len(line.actions), count, "actions")
            return mean_actions(line.actions[rows], kept)[:, self._ranges.varies]
        rows = _one_per_frame(len(line.captions), count, "captions")[kept[:-1]]
        return np.array([self._action_of[line.captions[row]] for row in rows], dtype=np.int64)


def _one_per_frame(given: int, count: int, kind: str) -> Int[np.ndarray, " r"]:
    """Return which of a line's actions or captions goes with each recorded frame.

    Raises:
        UnreadableEpisodeError: if there is neither one, nor one for each frame or step.
    """
    if given == 1:
        return np.zeros(count, dtype=np.int64)
    if given not in (count, count - 1):
        raise UnreadableEpisodeError(f"{given} {kind} for {count} frames")
    return np.arange(count).clip(max=given - 1)


def _action_names(lines: Sequence[CaptionLine]) -> tuple[str, ...]:
    """Return the names of an action's numbers, which are the same in all lines.

    Raises:
        DatasetError: if two lines have other names or another number of them.
    """
    names: tuple[str, ...] = ()
    first = ""
    for line in lines:
        if line.actions is None:
            continue
        count = line.actions.shape[1]
        own = line.action_names or tuple(f"action {number + 1}" for number in range(count))
        if names and own != names:
            raise DatasetError(
                "actions of different kinds in one caption file",
                given=f"{first}: {', '.join(names)}; {line.name}: {', '.join(own)}",
                allowed="the same numbers, in the same order, in every line",
                remedy="mend the lines, or make two data sets of them",
            )
        if not names:
            names = own
            first = line.name
    return names


def _first_fps(lines: Sequence[CaptionLine]) -> float:
    """Return the frame rate of the first video that can be read.

    Raises:
        DatasetError: if none can.
    """
    reasons = []
    for line in lines:
        try:
            return video_fps(line.path)
        except UnreadableEpisodeError as error:
            reasons.append(str(error))
    raise DatasetError(
        "no video can be read",
        given=reasons[0] if len(reasons) == 1 else f"{reasons[0]}; and {len(reasons) - 1} more",
        allowed="videos that FFmpeg can decode",
        remedy="copy them again, or convert them to H.264",
    )
