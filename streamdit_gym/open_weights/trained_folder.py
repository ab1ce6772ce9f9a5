"""What a training of an open model leaves: an adapter of its base, or whole weights.

Both have a record, ``streamdit.json``: which weights they change, and how they stream.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from streamdit_gym.errors import BundleError, require
from streamdit_gym.files import write_json

RECORD = "streamdit.json"
ADAPTER_WEIGHTS = "pytorch_lora_weights.safetensors"
FORMAT = 1
MAX_ADAPTERS = 8  # on top of one another
SAMPLED_BYTES = 64  # of every tensor, for the fingerprint of weights
HASH_CHARS = 16


@dataclass(frozen=True, kw_only=True)
class TrainedRecord:
    """Which weights a training changed, and how its result streams.

    Attributes:
        base: the model that was trained, a folder or Hub id.
        base_weights: fingerprint of its transformer.
        partition: that the result has learned best.
        guidance: weight of the prompt; 1 where guidance is distilled.
        time_shift: of the noise levels.
        frame_size: height and width that it has learned.
        fps: frames a second of the videos that it has learned.
        prompt: a sentence that it has learned.
    """

    base: str
    base_weights: str
    partition: str
    guidance: float
    time_shift: float
    frame_size: tuple[int, int]
    fps: float
    prompt: str

    def write(self, folder: Path) -> None:
        """Write the record into a folder."""
        write_json(folder / RECORD, {"format": FORMAT, **asdict(self)})


def read_record(folder: Path) -> TrainedRecord | None:
    """Return a folder's record; None where there is none.

    Raises:
        BundleError: if it cannot be read.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        values = {field.name: content[field.name] for field in fields(TrainedRecord)}
        height, width = values["frame_size"]
        return TrainedRecord(**{**values, "frame_size": (int(height), int(width))})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            "the record of a trained open model cannot be read",
            given=f"{path}: {error}",
            allowed=f"what finetune or distill wrote, of format {FORMAT}",
            remedy="copy the folder again, or train it again",
        ) from error


def is_adapter(folder: Path) -> bool:
    """Return whether a folder is an adapter, whose record names its base."""
    return (folder / ADAPTER_WEIGHTS).is_file() and (folder / RECORD).is_file()


def fingerprint(transformer: Path, adapters: tuple[Path, ...] = ()) -> str:
    """Return what tells one transformer's weights from others'.

    Of every tensor its name, type and shape and its first bytes count, whatever file it is in; of
    adapters everything.

    Args:
        transformer: folder of its files.
        adapters: folders of the adapters on it.
    """
    digest = hashlib.sha256()
    for line in sorted(_tensor_samples(transformer)):
        digest.update(line)
    for adapter in adapters:
        digest.update((adapter / ADAPTER_WEIGHTS).read_bytes())
    return digest.hexdigest()[:HASH_CHARS]


def check_base(record: TrainedRecord, folder: Path, base_weights: str) -> None:
    """Refuse an adapter of other weights.

    Args:
        record: of the adapter.
        folder: of the adapter.
        base_weights: fingerprint of the weights that it shall change.

    Raises:
        BundleError: if they are others.
    """
    if record.base_weights != base_weights:
        raise BundleError(
            "an adapter of another base",
            given=f"{folder}, trained on {record.base}; the weights here are {base_weights}",
            allowed=f"weights {record.base_weights}, in the same precision",
            remedy=f"use it with {record.base}, or an adapter that was trained on this model",
        )


def fuse_adapter(transformer: Any, folder: Path) -> None:
    """Add an adapter's changes to a transformer's weights: it then costs nothing.

    Raises:
        MissingExtraError: if peft is not installed.
        BundleError: if the adapter does not fit.
    """
    require("peft", "open", "an adapter")
    try:
        transformer.load_lora_adapter(
            str(folder), prefix=None, weight_name=ADAPTER_WEIGHTS, use_safetensors=True
        )
    except Exception as error:
        raise BundleError(
            "an adapter does not fit this transformer",
            given=f"{folder}: {error}",
            allowed="an adapter that was trained on a model of this size",
            remedy="use the base that its record names",
        ) from error
    transformer.fuse_lora()
    transformer.unload_lora()


def _tensor_samples(transformer: Path) -> Iterator[bytes]:
    for file in transformer.glob("*.safetensors"):
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
            for name, tensor in header.items():
                if name == "__metadata__":
                    continue
                begin, end = tensor["data_offsets"]
                opened.seek(8 + length + begin)
                sample = opened.read(min(SAMPLED_BYTES, end - begin))
                yield f"{name} {tensor['dtype']} {tensor['shape']} ".encode() + sample
