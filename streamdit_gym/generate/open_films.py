"""Videos of an open model, with a line for each that says what it shows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from tqdm import tqdm

from streamdit_gym.checks import check_fields
from streamdit_gym.data.video import PLAYABLE, VideoWriter
from streamdit_gym.errors import ArgumentError, DatasetError
from streamdit_gym.files import atomic_write, folder_lock, remove_parts, write_json, write_text
from streamdit_gym.open_weights.open_streams import OpenModel, OpenStreams
from streamdit_gym.open_weights.wan_codec import FRAMES_PER_LATENT

StartFrames = UInt8[np.ndarray, "n h w 3"]
LINES = "episodes.jsonl"  # as `import` reads them
SETTINGS = "generated.json"
MAX_EPISODES = 100_000  # their numbers have five digits
MAX_STEPS = 1_000_000
MAX_SEED = 2**62


@dataclass(frozen=True, kw_only=True)
class OpenFilms:
    """What to generate with an open model.

    Attributes:
        schedules: sentences for each video. Each steers an equal part of it, but the first one all
            frames up to the end of the first buffer; of more videos than schedules the first begins
            anew.
        episodes: how many videos.
        steps: frames of each, beside the first.
        batch: streams that are generated at once. What they show depends on it by roundings alone.
        seed: video i has the noise of ``seed + i``.
        images: where the pictures are that the videos go on from; None: the sentence alone.
        model: name and settings of the model, so that a folder is not continued with others.

    Raises:
        ArgumentError: if a number is out of range, or there is no sentence.
    """

    schedules: Sequence[Sequence[str]]
    episodes: int = 1
    steps: int = 80
    batch: int = 1
    seed: int = 0
    images: str | None = None
    model: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ints = {
            "episodes": (1, MAX_EPISODES),
            "steps": (1, MAX_STEPS),
            "batch": (1, MAX_EPISODES),
            "seed": (0, MAX_SEED),
        }
        check_fields(self, ints=ints)
        if not self.schedules or not all(self.schedules):
            raise ArgumentError(
                "an open model needs a sentence",
                given="none",
                allowed="a sentence, or a file of sentences",
                remedy='--set prompt="a boat on a calm sea", or --policy FILE.jsonl',
            )

    def schedule(self, number: int) -> Sequence[str]:
        """Return the sentences of a video."""
        return self.schedules[number % len(self.schedules)]

    def stored(self) -> dict[str, Any]:
        """Return what decides the content of the videos that a folder has."""
        return {
            "model": self.model,
            "schedules": [list(schedule) for schedule in self.schedules],
            "steps": self.steps,
            "seed": self.seed,
            "images": self.images,
        }


def write_open_films(
    load: Callable[[], OpenModel],
    films: OpenFilms,
    folder: Path,
    start_frames: StartFrames | None = None,
) -> int:
    """Generate the videos that a folder does not have yet, and return how many those were.

    The folder gets ``00000.mp4`` and so on, and a line for each in ``episodes.jsonl``: its file,
    what each frame was conditioned on, and its seed. `import` reads it.

    Args:
        load: returns the model; it is not called if everything is there.
        films: what to generate.
        folder: where.
        start_frames: pictures that the videos go on from, in turn.

    Raises:
        DatasetError: if the folder holds videos of other settings.
        BusyError: if another process works there.
        ShapeError: if the pictures do not have the size of the model's frames.
    """
    with folder_lock(folder):
        remove_parts(folder)
        _check_settings(films, folder)
        lines = _lines(folder)
        missing = [number for number in range(films.episodes) if number not in lines]
        if not missing:
            return 0
        model = load()
        write_json(folder / SETTINGS, films.stored())
        with tqdm(total=len(missing) * (films.steps + 1), desc="generate", unit="frame") as bar:
            for first in range(0, len(missing), films.batch):
                numbers = missing[first : first + films.batch]
                lines |= _write_batch(model, films, numbers, start_frames, folder, bar)
                texts = [json.dumps(lines[number]) + "\n" for number in sorted(lines)]
                write_text(folder / LINES, "".join(texts))
    return len(missing)


def _write_batch(
    model: OpenModel,
    films: OpenFilms,
    numbers: list[int],
    start_frames: StartFrames | None,
    folder: Path,
    bar: tqdm[Any],
) -> dict[int, dict[str, Any]]:
    """Write some videos, and return their lines; all are there or none."""
    length = films.steps + 1
    prompts: list[list[str]] = [[] for _ in numbers]
    with contextlib.ExitStack() as stack:
        writers = []
        for number in numbers:
            part = stack.enter_context(atomic_write(folder / _name(number)))
            writers.append(VideoWriter(part, model.frame_size, model.fps, PLAYABLE))
        for frames, texts in _streamed(model, films, numbers, start_frames):
            count = min(length - len(prompts[0]), frames.shape[1])
            for row, writer in enumerate(writers):
                prompts[row] += texts[row][:count]
                for frame in frames[row, :count]:
                    writer.add(frame)
            bar.update(count * len(numbers))
        for writer in writers:
            writer.close()
    return {
        number: {"file": _name(number), "prompts": of_video[1:], "seed": films.seed + number}
        for number, of_video in zip(numbers, prompts, strict=True)
    }


def _streamed(
    model: OpenModel,
    films: OpenFilms,
    numbers: list[int],
    start_frames: StartFrames | None,
) -> Iterator[tuple[UInt8[np.ndarray, "b f h w 3"], list[list[str]]]]:
    """Yield the frames of some videos chunk by chunk, and what each was conditioned on."""
    length = films.steps + 1
    # frames that are in the buffer already when a prompt comes
    delay = FRAMES_PER_LATENT * model.partition.latency_frames
    start = None
    if start_frames is not None:
        turns = [number % len(start_frames) for number in numbers]
        start = torch.from_numpy(start_frames[turns])[:, None]
    streams = OpenStreams(model)
    schedules = [films.schedule(number) for number in numbers]
    first_prompts = [schedule[0] for schedule in schedules]
    frames = streams.start(first_prompts, [films.seed + number for number in numbers], start)
    count = frames.shape[1]
    yield frames.cpu().numpy(), [[prompt] * count for prompt in first_prompts]
    while count < length:
        share = min(1.0, (count + delay) / length)
        frames = streams.step([_due(schedule, share) for schedule in schedules])
        if not streams.finite().all():
            raise DatasetError(
                "a video's numbers are not finite",
                given=f"videos {numbers}",
                remedy="choose another seed, or dtype=float32",
            )
        count += frames.shape[1]
        yield frames.cpu().numpy(), streams.shown_prompts()


def _due(schedule: Sequence[str], share: float) -> str:
    """Return the sentence that steers a share of a video, 0 to 1."""
    return schedule[min(len(schedule) - 1, int(share * len(schedule)))]


def _name(number: int) -> str:
    return f"{number:05d}.mp4"


def _check_settings(films: OpenFilms, folder: Path) -> None:
    """Refuse a folder with videos of other settings, or with other files of these names."""
    path = folder / SETTINGS
    if not path.is_file():
        others = [LINES, "meta.json"]
        if any((folder / name).exists() for name in others) or any(folder.glob("*.mp4")):
            raise DatasetError(
                "this folder holds other recordings",
                given=folder,
                allowed="an empty folder, or one of videos of the same model",
                remedy="give another one with --out",
            )
        return
    try:
        stored = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(
            "the settings of a folder of videos cannot be read",
            given=f"{path}: {error}",
            remedy="give another folder with --out",
        ) from error
    current = json.loads(json.dumps(films.stored()))
    if stored != current:
        names = [name for name in current if stored.get(name) != current[name]]
        raise DatasetError(
            "this folder holds videos of other settings",
            given=f"{folder}: other {', '.join(names)}",
            allowed="the settings that it was begun with",
            remedy="give another folder with --out",
        )


def _lines(folder: Path) -> dict[int, dict[str, Any]]:
    """Return the lines of the videos that are there, by their numbers."""
    path = folder / LINES
    if not path.is_file():
        return {}
    try:
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        numbers = {int(Path(line["file"]).stem): line for line in lines}
    except (UnicodeDecodeError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            "the lines of a folder of videos cannot be read",
            given=f"{path}: {error}",
            remedy="give another folder with --out",
        ) from error
    return {number: line for number, line in numbers.items() if (folder / line["file"]).is_file()}
