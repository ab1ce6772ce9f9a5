"""What `finetune` and `distill` take for the training of open video models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from streamdit_gym.cli.open_options import Pixels, checked_size
from streamdit_gym.cli.option_types import Count, CountOrZero, Minutes, Range

if TYPE_CHECKING:
    from streamdit_gym.open_training.open_settings import OpenTraining

Fraction = Annotated[float, Range(0.0, 1.0)]
# of both; the names are those of `OpenTraining`
OPEN_TRAINING_SETTINGS: Mapping[str, Any] = {
    "frame_size": tuple[Pixels, ...],
    "fps": Annotated[float, Range(0.01, 1000.0)],
    "cameras": tuple[str, ...],
    "scene": str,
    "negative_prompt": str,
    "partitions": tuple[str, ...],
    "weights": Literal["lora", "full"],
    "rank": Annotated[int, Range(1, 1024)],
    "clips": Annotated[int, Range(1, 65_536)],
    "clips_at_once": Annotated[int, Range(1, 65_536)],
    "learning_rate": Annotated[float, Range(0.0, 10.0)],
    "warmup": Count,
    "average_decay": Fraction,
    "dtype": Literal["float32", "bfloat16"],
    "seed": Annotated[int, Range(0, 2**31 - 1)],
    "checkpoint_minutes": Minutes,
}
FINETUNE_SETTINGS: Mapping[str, Any] = {
    **OPEN_TRAINING_SETTINGS,
    "steps": CountOrZero,
    "minutes": Minutes,
    "prompt_dropout": Fraction,
}
# of distillation alone
DISTILL_SETTINGS: Mapping[str, Any] = {
    **OPEN_TRAINING_SETTINGS,
    "teacher_steps": Annotated[int, Range(1, 64)],
    "guidance": Annotated[float, Range(0.0, 100.0)],
    "max_moves": Annotated[int, Range(0, 64)],
}


def open_training(settings: Mapping[str, Any]) -> OpenTraining:
    """Return how an open model is trained.

    Raises:
        ArgumentError: if a value cannot be used.
    """
    from streamdit_gym.open_training.open_settings import OpenTraining

    values = dict(settings)
    if "frame_size" in values:
        values["frame_size"] = checked_size(values["frame_size"])
    return OpenTraining(**values)


def result_lines(result: Path | None, settings: OpenTraining) -> list[str]:
    """Return what a command says at its end."""
    if result is None:
        return ["the time is up; the same command goes on"]
    from streamdit_gym.open_weights.trained_folder import read_record

    record = read_record(result)
    prompt = "" if record is None else record.prompt
    size = ",".join(map(str, settings.frame_size))
    return [
        f"what was trained is in {result}; stream it:",
        f'  streamdit-gym play wan:{result} --set frame_size={size} prompt="{prompt}"',
    ]
