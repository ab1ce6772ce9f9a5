"""One lossless video per shard: what `record` writes."""

from __future__ import annotations

from pathlib import Path

from streamdit_gym.data.formats.frame_format import EpisodeRecord, FrameFormat, Frames
from streamdit_gym.data.video import LOSSLESS, read_video, write_video
from streamdit_gym.files import atomic_write


class Mkv(FrameFormat):
    """``shard-00000.mkv``: H.264 in RGB, lossless, every frame of every episode in order."""

    def write(
        self, folder: Path, shard: int, frames: Frames, fps: float, records: list[EpisodeRecord]
    ) -> None:
        """Write one video."""
        with atomic_write(folder / _video_name(shard)) as part:
            write_video(part, frames.reshape(-1, *frames.shape[2:]), fps, LOSSLESS)

    def read(self, folder: Path, shard: int, num_episodes: int) -> Frames:
        """Read one video."""
        frames = read_video(folder / _video_name(shard))
        return frames.reshape(num_episodes, -1, *frames.shape[1:])

    def files(self, folder: Path, shard: int) -> list[Path]:
        """Return the video."""
        return list(folder.glob(_video_name(shard)))


def _video_name(shard: int) -> str:
    return f"shard-{shard:05d}.mkv"
