"""The data set as latents, made once per codec and kept beside the run.

Takes: a data set, a codec.  Gives: clips of latents with their prompts.  Knows nothing of: the
    transformer.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from tqdm import tqdm

from streamdit_gym.data.dataset import UNREADABLE, Dataset
from streamdit_gym.errors import DatasetError
from streamdit_gym.model.codec import LatentCodec
from streamdit_gym.model.precision import training_precision
from streamdit_gym.train.run import saving

log = logging.getLogger("streamdit_gym")

HELD_OUT = 4  # the last shards are never trained on


@dataclass(frozen=True, kw_only=True)
class LatentEpisodes:
    """Episodes of latents in memory.

    Attributes:
        latents: half precision.
        prompts: row of the phrase table for every frame; -1 for the first frame, which no action
            made.
        states: true states.
        scores: true scores.
        astray: how many of an episode's first frames are a world's own; nothing is learned from
            them but how to go on.
    """

    latents: Float[Tensor, "e g c h w"]
    prompts: Int[Tensor, "e g"]
    states: Float[Tensor, "e g n"]
    scores: Float[Tensor, "e g m"]
    astray: Int[Tensor, " e"]

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self.latents)

    def draw(
        self, count: int, frames: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, " count"], Int[Tensor, " count"]]:
        """Draw the episode and the first frame of some clips of so many frames.

        Where a world went astray, clips begin with the later half of its frames.

        Raises:
            DatasetError: if the episodes are shorter than that.
        """
        episode = torch.randint(len(self), (count,), generator=generator)
        places, astray = self.latents.shape[1] - frames + 1, self.astray[episode]
        if places < 1:
            raise DatasetError(
                "episodes shorter than a clip",
                given=f"{self.latents.shape[1]} frames",
                allowed=f"{frames} or more",
                remedy="record longer ones",
            )
        first, end = astray // 2, torch.where(astray > 0, astray, places)
        return episode, (
            first + torch.rand(count, generator=generator) * (end - first)
        ).long().clamp(max=places - 1)

    def real(
        self, episode: Int[Tensor, " count"], start: Int[Tensor, " count"], frames: int
    ) -> Bool[Tensor, "count frames"]:
        """Return which frames of some clips are the simulator's."""
        return start[:, None] + torch.arange(frames) >= self.astray[episode, None]

    def clips(
        self, episode: Int[Tensor, " count"], start: Int[Tensor, " count"], frames: int
    ) -> tuple[Tensor, Tensor]:
        """Cut clips out: latents (count, frames, c, h, w) and prompts (count, frames)."""
        device = self.latents.device
        rows, place = (
            episode[:, None].to(device),
            (start[:, None] + torch.arange(frames)).to(device),
        )
        return self.latents[rows, place], self.prompts[rows, place]

    def to(self, device: str) -> LatentEpisodes:
        """Return the latents and prompts on a device, so that clips are cut where they are used."""
        return replace(self, latents=self.latents.to(device), prompts=self.prompts.to(device))

    def split(self, episodes: int) -> tuple[LatentEpisodes, LatentEpisodes]:
        """Return all but the last episodes, and the last."""
        cut = len(self) - episodes
        parts = [
            {name: getattr(self, name)[part] for name in NAMES}
            for part in (slice(None, cut), slice(cut, None))
        ]
        return LatentEpisodes(**parts[0]), LatentEpisodes(**parts[1])

    def joined(self, other: LatentEpisodes) -> LatentEpisodes:
        """Return these episodes and others; the longer ones are cut."""
        length = min(self.latents.shape[1], other.latents.shape[1])
        parts = {name: (getattr(self, name), getattr(other, name)) for name in NAMES}
        return LatentEpisodes(
            **{
                name: torch.cat([x if x.ndim == 1 else x[:, :length] for x in both])
                for name, both in parts.items()
            }
        )


NAMES = tuple(field.name for field in fields(LatentEpisodes))
STORED = ("latents", "prompts", "states", "scores")


@torch.no_grad()
def encode_dataset(
    dataset: Dataset,
    codec: LatentCodec,
    folder: Path,
    device: str,
    known: LatentCodec | None = None,
) -> LatentEpisodes:
    """Encode every shard, or read the encoding made before; each shard is kept as soon as it is
    done.

    Args:
        dataset: the data set.
        codec: the codec.
        folder: where the encoding is kept.
        device: where to encode.
        known: the codec whose channels for places are taken instead, of the same frames in the
            looks that it knows.
    """
    weights = "".join(encoder_hash(part) for part in (codec, known) if part is not None)
    made_of, stamp = (
        json.dumps({"codec": weights, "data": dataset.meta}, sort_keys=True),
        folder / "made_of.json",
    )
    if stamp.is_file() and stamp.read_text() != made_of:
        raise DatasetError(
            "the run's latents are of another codec or data set",
            given=folder,
            remedy="use another run folder, or delete this one",
        )
    if not stamp.is_file():  # several processes come by
        with saving(stamp) as written:
            written.write_text(made_of)
    parts: list[LatentEpisodes] = []
    for position in tqdm(range(len(dataset)), desc="encode", unit="shard", mininterval=2.0):
        path = latents_path(folder, dataset, position)
        arrays = _read(path) if path.is_file() else None
        if arrays is None:
            _encode_shard(dataset, position, codec, known, device, path)
            arrays = _read(path)
        if arrays is None:
            raise DatasetError(
                "latents cannot be read",
                given=path,
                remedy="look after the disk; nothing else is wrong",
            )
        parts.append(
            LatentEpisodes(
                **arrays,
                astray=torch.full((len(arrays["latents"]),), dataset.meta.get("astray", 0)),
            )
        )
    return LatentEpisodes(
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in NAMES}
    )


def latents_path(folder: Path, dataset: Dataset, position: int) -> Path:
    """Return where the latents of a shard are kept; positions as for `Dataset.shard`."""
    return folder / f"latents-{dataset.shards[position]:05d}.npz"


def _read(path: Path) -> dict[str, Tensor] | None:
    """Return the arrays of a shard's latents; None if the file is cut."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            return {name: torch.from_numpy(file[name]) for name in STORED}
    except UNREADABLE as error:
        log.warning("a shard is encoded anew: %s: %s", path, error)
        return None


def _encode_shard(
    dataset: Dataset,
    position: int,
    codec: LatentCodec,
    known: LatentCodec | None,
    device: str,
    path: Path,
) -> None:
    shard = dataset.shard(position)
    latents = _encoded(codec, shard.frames, device)
    if known is not None:
        places = _encoded(known, dataset.plain(position), device)[:, :, : known.spatial_channels]
        latents = torch.cat([places, latents[:, :, places.shape[2] :]], 2)
    prompts = np.pad(shard.prompts, ((0, 0), (1, 0)), constant_values=-1)
    with saving(path) as part:
        np.savez(
            part, latents=latents.numpy(), prompts=prompts, states=shard.states, scores=shard.scores
        )


def encoder_hash(codec: LatentCodec) -> str:
    """Return a hash of the weights that latents depend on: not the decoder's."""
    weights = (value for key, value in codec.state_dict().items() if not key.startswith("decoder."))
    return hashlib.sha256(b"".join(value.cpu().numpy().tobytes() for value in weights)).hexdigest()


def _encoded(
    codec: LatentCodec, frames: UInt8[np.ndarray, "e g h w 3"], device: str
) -> Float[Tensor, "e g c h w"]:
    with training_precision(device):
        encoded = [codec.encode(torch.from_numpy(episode)[None].to(device)) for episode in frames]
    return torch.cat([part.float().half().cpu() for part in encoded])
