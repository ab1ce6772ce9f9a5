"""The episodes of a LeRobot data set: columns of numbers, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.data.imports.lerobot_features import Features
from streamdit_gym.data.imports.lerobot_reading import column_values, read_episodes, read_table
from streamdit_gym.data.imports.pictures import Clip, colour_pictures, read_clip, resized
from streamdit_gym.data.imports.recordings import UnreadableEpisodeError
from streamdit_gym.data.imports.resampling import Resampling
from streamdit_gym.errors import DatasetError

EPISODE = "episode_index"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

Row = dict[str, Any]  # of meta/episodes


class EpisodeFiles:
    """Reads the episodes of a data set; the newest table is kept, as many episodes share one.

    Args:
        folder: the data set.
        info: content of ``meta/info.json``.
        features: its features.

    Raises:
        DatasetError: if there are no episodes.
    """

    def __init__(self, folder: Path, info: dict[str, Any], features: Features) -> None:
        self.rows = read_episodes(folder)
        self._folder = folder
        self._features = features
        self._data_path = str(info["data_path"])
        self._video_path = str(info.get("video_path") or VIDEO_PATH)
        self._cached_table = lru_cache(maxsize=1)(read_table)

    def check_columns(self, names: Sequence[str]) -> None:
        """Refuse a data set whose tables lack a column.

        Raises:
            DatasetError: if the first table cannot be read, or lacks one.
        """
        path = self._folder / self._table_path(self.rows[0])
        if path.is_file():  # a missing file concerns some episodes, not all
            self._cached_table(path, (EPISODE, *names))

    def columns(self, row: Row, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return columns of an episode, each (rows, numbers).

        Raises:
            UnreadableEpisodeError: if they have other shapes than the features, not the episode's
                length, or numbers that are not finite.
        """
        table = self._episode_table(row, names)
        columns = {}
        for name in names:
            try:
                values = column_values(table, name)
            except ValueError as error:
                raise UnreadableEpisodeError(str(error)) from error
            width = self._features.width(name)
            if values.shape[1] != width:
                text = f"{name} has {values.shape[1]} numbers a row, and not {width}"
                raise UnreadableEpisodeError(text)
            if not np.isfinite(values).all():
                raise UnreadableEpisodeError(f"{name} has numbers that are not finite")
            columns[name] = values
        return columns

    def pictures(
        self, row: Row, camera: str, size: tuple[int, int], resampling: Resampling
    ) -> UInt8[np.ndarray, "g h w 3"]:
        """Return the pictures of an episode that stay.

        Raises:
            UnreadableEpisodeError: if they cannot be read, or there are fewer than rows.
        """
        if not self._features.is_video(camera):
            return self._stored_pictures(row, camera, size, resampling)
        path = self._folder / self._video_path.format(
            video_key=camera,
            chunk_index=row[f"videos/{camera}/chunk_index"],
            file_index=row[f"videos/{camera}/file_index"],
        )
        if not path.is_file():
            raise UnreadableEpisodeError(f"{path.relative_to(self._folder)} is missing")
        clip = Clip(
            path=path,
            start=row[f"videos/{camera}/from_timestamp"],
            end=row[f"videos/{camera}/to_timestamp"],
        )
        frames, count = read_clip(clip, size, resampling)
        if count < row["length"]:
            raise UnreadableEpisodeError(f"{camera}: {count} pictures for {row['length']} rows")
        return frames[: len(resampling.source_frames(row["length"]))]

    def _stored_pictures(
        self, row: Row, camera: str, size: tuple[int, int], resampling: Resampling
    ) -> UInt8[np.ndarray, "g h w 3"]:
        import cv2

        column = self._episode_table(row, [camera]).column(camera)
        frames = []
        for number in resampling.source_frames(row["length"]):
            entry = column[int(number)].as_py() or {}
            content = np.frombuffer(entry.get("bytes") or b"", dtype=np.uint8)
            picture = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
            if picture is None:
                raise UnreadableEpisodeError(f"{camera}: the picture of row {number} is damaged")
            frames.append(resized(colour_pictures(picture[..., ::-1]), size))
        return np.stack(frames)

    def _table_path(self, row: Row) -> str:
        return self._data_path.format(
            chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
        )

    def _episode_table(self, row: Row, names: Sequence[str]) -> Any:
        path = self._table_path(row)
        if not (self._folder / path).is_file():
            raise UnreadableEpisodeError(f"{path} is missing")
        try:
            table = self._cached_table(self._folder / path, (EPISODE, *names))
        except DatasetError as error:
            raise UnreadableEpisodeError(f"{error.problem}: {error.given}") from error
        is_own = table.column(EPISODE).to_numpy() == row[EPISODE]
        own = table.take(np.flatnonzero(is_own))
        if len(own) != row["length"]:
            raise UnreadableEpisodeError(f"{len(own)} rows in {path}, and not {row['length']}")
        return own
