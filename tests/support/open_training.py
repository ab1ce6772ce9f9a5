"""A tiny open model, and a little video to train it on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from streamdit_gym.open_training.open_settings import OpenTraining
from support.recordings import write_videos
from support.tiny_wan import write_folder

SKYREELS = "SkyReelsV2Transformer3DModel"
LINES = [
    {"file": "a.mp4", "caption": "a cat runs"},
    {"file": "b.mp4", "caption": "rain falls"},
    {"file": "c.mp4", "caption": "fire burns"},
]
SMALL = OpenTraining(
    frame_size=(32, 48),
    partitions=("K1N2c1s1", "K0N1c3s2"),
    rank=4,
    steps=12,
    clips=2,
    warmup=1,
    learning_rate=3e-3,
    negative_prompt="rain",
    dtype="float32",
)


def settings(**changes: object) -> OpenTraining:
    """Return settings of a training of seconds."""
    return replace(SMALL, **changes)


def write_model(folder: Path, kind: str = SKYREELS) -> Path:
    """Write a tiny model."""
    folder.mkdir(parents=True)
    return write_folder(folder, kind)


def write_data(folder: Path) -> Path:
    """Write three videos with captions, of five latents each at 16 frames a second."""
    return write_videos(folder, LINES)


def loss_curve(run: Path) -> dict[int, float]:
    """Return the losses of a run by step; of steps that were done twice the last one."""
    events: dict[int, float] = {}
    for file in sorted((run / "curves").rglob("events*"), key=lambda path: path.stat().st_mtime):
        accumulator = EventAccumulator(str(file), size_guidance={"scalars": 0})
        accumulator.Reload()
        if "loss" in accumulator.Tags()["scalars"]:
            events |= {event.step: event.value for event in accumulator.Scalars("loss")}
    return events
