"""Robot video as an open model takes it: clips of 1 + 4 n frames, and a sentence for each latent.

A latent stands for four frames, so its sentence says what was done on the way to them: the mean
of the actions of a box, or the most frequent action of a menu.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from jaxtyping import UInt8

from streamdit_gym.actions import ActionLanguage, Menu
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.formats.webdataset import read_member
from streamdit_gym.errors import DatasetError
from streamdit_gym.open_weights.wan_codec import FRAMES_PER_LATENT

SCENE_SEPARATOR = ": "
CAPTION_KEYS = ("caption", "prompt", "text", "task")  # of a WebDataset's JSON files
TARS = "*.tar"


@dataclass(frozen=True, kw_only=True)
class OpenClip:
    """A clip.

    Attributes:
        frames: 1 + 4 n.
        sentences: what each of the 1 + n latents shows.
    """

    frames: UInt8[np.ndarray, "g h w 3"]
    sentences: list[str]


class ClipSource(Protocol):
    """Where clips come from, part by part: a part is encoded and kept as a whole."""

    fps: float

    def __len__(self) -> int:
        """Return the number of parts."""

    def read(self, part: int) -> Iterator[OpenClip]:
        """Yield the clips of a part."""

    def origin(self) -> Any:
        """Return what tells these clips from others, as JSON has it."""


class DatasetClips:
    """Clips of a data set, a shard for each part.

    Args:
        dataset: recorded, imported or generated.
        frame_size: height and width that frames become.
        scene: in front of every action's words; empty: nothing.
    """

    def __init__(self, dataset: Dataset, frame_size: tuple[int, int], scene: str) -> None:
        self.dataset = dataset
        self.frame_size = frame_size
        self.scene = scene
        self.fps = float(dataset.meta["fps"])

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self.dataset)

    def origin(self) -> Any:
        """Return the content of ``meta.json``, and how clips are made of it."""
        return {"meta": self.dataset.meta, "size": list(self.frame_size), "scene": self.scene}

    def read(self, part: int) -> Iterator[OpenClip]:
        """Yield a clip of every episode that has more than a picture."""
        shard = self.dataset.shard(part)
        for frames, actions, length in zip(shard.frames, shard.actions, shard.lengths, strict=True):
            steps = int(length) // FRAMES_PER_LATENT * FRAMES_PER_LATENT
            if steps:
                yield OpenClip(
                    frames=resized(frames[: steps + 1], self.frame_size),
                    sentences=spoken(self.dataset.actions, actions[:steps], self.scene),
                )


class WebDatasetClips:
    """Clips of tars in which ``NAME.mp4`` stands beside ``NAME.json`` or ``NAME.txt``.

    Args:
        folder: with the tars.
        frame_size: height and width that frames become.
        fps: of the videos.
        scene: in front of every caption; empty: nothing.

    Raises:
        DatasetError: if there is no tar.
    """

    def __init__(self, folder: Path, frame_size: tuple[int, int], fps: float, scene: str) -> None:
        self.tars = sorted(folder.glob(TARS))
        self.frame_size = frame_size
        self.fps = fps
        self.scene = scene
        if not self.tars:
            raise DatasetError(
                "no tars here",
                given=folder,
                allowed="a WebDataset: tars with NAME.mp4 and NAME.json or NAME.txt",
                remedy="check the path",
            )

    def __len__(self) -> int:
        """Return the number of tars."""
        return len(self.tars)

    def origin(self) -> Any:
        """Return names and sizes of the tars, and how clips are made of them."""
        tars = [[tar.name, tar.stat().st_size] for tar in self.tars]
        return {"tars": tars, "size": list(self.frame_size), "scene": self.scene}

    def read(self, part: int) -> Iterator[OpenClip]:
        """Yield a clip of every video that has a caption.

        Raises:
            DatasetError: if the tar cannot be read.
        """
        path = self.tars[part]
        try:
            with tarfile.open(path) as tar:
                names = set(tar.getnames())
                for name in sorted(names):
                    stem = name.removesuffix(".mp4")
                    caption = _caption(tar, stem, names) if stem != name else ""
                    if caption:
                        yield self._clip(read_member(tar, name), caption)
        except (OSError, tarfile.TarError, ValueError) as error:
            raise DatasetError(
                "a tar cannot be read",
                given=f"{path}: {error}",
                allowed="NAME.mp4 with NAME.json or NAME.txt beside it",
                remedy="write it again, or take it away",
            ) from error

    def _clip(self, frames: UInt8[np.ndarray, "g h w 3"], caption: str) -> OpenClip:
        latents = 1 + (len(frames) - 1) // FRAMES_PER_LATENT
        shown = frames[: 1 + FRAMES_PER_LATENT * (latents - 1)]
        sentence = with_scene(self.scene, caption)
        return OpenClip(frames=resized(shown, self.frame_size), sentences=[sentence] * latents)


def spoken(language: ActionLanguage, actions: np.ndarray, scene: str) -> list[str]:
    """Return a sentence for every latent of an episode; the first is that of the action after it.

    Args:
        language: of the actions.
        actions: of 4 n steps.
        scene: in front of every action's words; empty: nothing.
    """
    groups = actions.reshape(-1, FRAMES_PER_LATENT, *actions.shape[1:])
    texts = [with_scene(scene, language.prompt(_typical(language, group))) for group in groups]
    return [texts[0], *texts]


def with_scene(scene: str, words: str) -> str:
    """Return a sentence of a scene and an action's words."""
    return f"{scene}{SCENE_SEPARATOR}{words}" if scene else words


def resized(
    frames: UInt8[np.ndarray, "g h w 3"], frame_size: tuple[int, int]
) -> UInt8[np.ndarray, "g H W 3"]:
    """Return frames of another height and width."""
    height, width = frame_size
    if frames.shape[1:3] == (height, width):
        return frames
    shrinks = height * width < frames.shape[1] * frames.shape[2]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (width, height), interpolation=way) for frame in frames])


def _typical(language: ActionLanguage, group: np.ndarray) -> Any:
    if isinstance(language, Menu):
        numbers, counts = np.unique(group, return_counts=True)
        return numbers[counts.argmax()]
    return group.mean(axis=0)


def _caption(tar: tarfile.TarFile, stem: str, names: set[str]) -> str:
    """Return the sentence beside a video; empty where there is none."""
    if f"{stem}.txt" in names:
        return " ".join(_content(tar, f"{stem}.txt").split())
    if f"{stem}.json" not in names:
        return ""
    content = json.loads(_content(tar, f"{stem}.json"))
    for key in CAPTION_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), str):
            return " ".join(content[key].split())
    return ""


def _content(tar: tarfile.TarFile, name: str) -> str:
    member = tar.extractfile(name)
    return member.read().decode() if member else ""
