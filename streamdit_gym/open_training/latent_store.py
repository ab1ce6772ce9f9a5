"""Latents and embedded sentences of a run, computed once and read clip by clip.

``latents/00000.safetensors`` holds the clips of a part of the data, ``texts/00000.safetensors``
some sentences' embeddings. A part that is there is not computed again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from streamdit_gym.errors import DatasetError
from streamdit_gym.open_training.open_clips import ClipSource, OpenClip
from streamdit_gym.train import parallel
from streamdit_gym.train.run_files import saving

LATENTS = "latents"
TEXTS = "texts"
ORIGIN = "made_of.json"
SENTENCES = "sentences"  # of a file's metadata
TEXTS_PER_FILE = 64
Encode = Callable[[UInt8[Tensor, "b f H W 3"]], Float[Tensor, "b n c h w"]]
EncodeTexts = Callable[[Sequence[str]], list[Float[Tensor, "l e"]]]


@dataclass(frozen=True, kw_only=True)
class StoredClip:
    """Where a clip's latents lie.

    Attributes:
        path: the file.
        key: of the tensor.
        sentences: of every latent.
    """

    path: Path
    key: str
    sentences: list[str]

    def __len__(self) -> int:
        """Return the number of latents."""
        return len(self.sentences)

    def latents(self, start: int, count: int) -> Float[Tensor, "n c h w"]:
        """Read some latents, and no others."""
        with safe_open(str(self.path), "pt") as opened:
            part: Tensor = opened.get_slice(self.key)[start : start + count]
        return part.float()


def encode_clips(source: ClipSource, encode: Encode, origin: Any, folder: Path) -> None:
    """Encode every part of the data that is not encoded yet; each process has parts of its own.

    Args:
        source: the clips.
        encode: the autoencoder.
        origin: what else the latents depend on, as JSON has it.
        folder: the run folder.

    Raises:
        DatasetError: if the folder holds latents of other data, or the data cannot be read.
    """
    target = folder / LATENTS
    _check_origin(target / ORIGIN, {"data": source.origin(), **origin})
    missing = [part for part in range(len(source)) if not _is_whole(_part_path(target, part))]
    parallel.wait()  # all have looked before one writes
    rounds = range(0, len(missing), parallel.processes())
    for first in tqdm(rounds, desc="encode video", unit="part", disable=parallel.rank() > 0):
        for part in missing[first + parallel.rank() : first + parallel.rank() + 1]:
            _encode_part(source.read(part), encode, _part_path(target, part))
        parallel.wait()  # nobody waits longer for the others than a part takes


def _encode_part(clips: Iterator[OpenClip], encode: Encode, path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    sentences: dict[str, list[str]] = {}
    for number, clip in enumerate(clips):
        key = f"{number:05d}"
        latents = encode(torch.from_numpy(clip.frames)[None])[0]
        tensors[key] = latents.half().cpu().contiguous()
        sentences[key] = clip.sentences
    with saving(path) as part:
        save_file(tensors, str(part), {SENTENCES: json.dumps(sentences)})


def stored_clips(folder: Path, parts: int) -> list[StoredClip]:
    """Return the clips of a run.

    Raises:
        DatasetError: if there are none.
    """
    clips: list[StoredClip] = []
    for part in range(parts):
        path = _part_path(folder / LATENTS, part)
        for key, sentences in _sentences_of(path).items():
            clips.append(StoredClip(path=path, key=key, sentences=sentences))
    if not clips:
        raise DatasetError(
            "no clip to train on",
            given=folder,
            allowed="episodes of five frames or more, videos with captions",
            remedy="record or import more",
        )
    return clips


def embed_sentences(
    sentences: Sequence[str], encode: Callable[[], EncodeTexts], folder: Path
) -> dict[str, Float[Tensor, "l e"]]:
    """Return the embeddings of sentences; those that are not in the run folder are computed.

    Args:
        sentences: each once.
        encode: loads the text encoder; called only if a sentence is missing.
        folder: the run folder.
    """
    known = dict(_read_texts(folder / TEXTS))
    missing = [text for text in sentences if text not in known]
    groups = [missing[i : i + TEXTS_PER_FILE] for i in range(0, len(missing), TEXTS_PER_FILE)]
    number = len(list((folder / TEXTS).glob("*.safetensors")))
    encoder = encode() if groups and not parallel.rank() else None
    parallel.wait()  # all have looked before one writes
    for group in tqdm(groups, desc="embed sentences", unit="file", disable=encoder is None):
        if encoder is not None:
            embedded = {str(i): encoder([text])[0].bfloat16() for i, text in enumerate(group)}
            tensors = {key: value.cpu().contiguous() for key, value in embedded.items()}
            with saving(_part_path(folder / TEXTS, number)) as path:
                save_file(tensors, str(path), {SENTENCES: json.dumps(group)})
        number += 1
        parallel.wait()
    known = dict(_read_texts(folder / TEXTS))
    return {text: known[text] for text in sentences}


def _read_texts(folder: Path) -> Iterator[tuple[str, Float[Tensor, "l e"]]]:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(str(path), "pt") as opened:
            sentences = json.loads(opened.metadata()[SENTENCES])
            for number, text in enumerate(sentences):
                yield text, opened.get_tensor(str(number)).float()


def _part_path(folder: Path, part: int) -> Path:
    return folder / f"{part:05d}.safetensors"


def _is_whole(path: Path) -> bool:
    """Return whether a part is there; one that is cut is encoded anew."""
    try:
        _sentences_of(path)
    except (DatasetError, FileNotFoundError):
        return False
    return True


def _sentences_of(path: Path) -> dict[str, list[str]]:
    try:
        with safe_open(str(path), "pt") as opened:
            sentences: dict[str, list[str]] = json.loads(opened.metadata()[SENTENCES])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            "latents cannot be read", given=f"{path}: {error}", remedy="delete the file"
        ) from error
    return sentences


def _check_origin(stamp: Path, origin: Any) -> None:
    """Refuse a folder whose latents are of other data, or of another autoencoder."""
    text = json.dumps(origin, sort_keys=True)
    with parallel.in_turn():
        if not stamp.is_file() and not parallel.rank():
            with saving(stamp) as part:
                part.write_text(text)
    if stamp.read_text() != text:
        raise DatasetError(
            "the run's latents are of other data, frames or another model",
            given=stamp.parent,
            allowed="the data, frame size, scene and model that the run began with",
            remedy="use another --out, or delete this run",
        )
