"""Encode the data set as latents, once per autoencoder; they are kept beside the run."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from streamdit_gym.actions import SpokenBox, action_numbers
from streamdit_gym.data.dataset import UNREADABLE, Dataset
from streamdit_gym.data.shard import Shard
from streamdit_gym.errors import DatasetError
from streamdit_gym.model.codec import LatentCodec
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.precision import training_precision
from streamdit_gym.train import parallel
from streamdit_gym.train.dataset_checks import held_out_shards, latents_path
from streamdit_gym.train.latent_episodes import LatentEpisodes, concatenate
from streamdit_gym.train.run_files import saving
from streamdit_gym.train.stage_context import StageContext, has_global_channels

log = logging.getLogger("streamdit_gym")

STORED = ("latents", "prompts", "states", "scores")


@dataclass(frozen=True, kw_only=True)
class EncodedData:
    """A data set as latents.

    Attributes:
        train: episodes to learn from.
        held_out: episodes to measure on.
    """

    train: LatentEpisodes
    held_out: LatentEpisodes


def run(context: StageContext, codec: ConvCodec) -> EncodedData:
    """Return the data set's latents, split into what is learned from and what is held out."""
    dataset = context.inputs.dataset
    encoder = ShardEncoder(codec, context.device, _aligned_codec(context, codec))
    with parallel.in_turn():
        episodes = encode_dataset(dataset, encoder, context.folder / "latents")
    return split(dataset, episodes)


def run_relabelled(
    context: StageContext, codec: ConvCodec, recorded: LatentEpisodes
) -> LatentEpisodes:
    """Return the recorded episodes and all relabelled ones."""
    episodes = recorded
    with parallel.in_turn():
        for dataset in context.inputs.relabelled:
            folder = relabelled_folder(context.folder, dataset)
            encoded = encode_dataset(dataset, ShardEncoder(codec, context.device), folder)
            episodes = episodes.joined(encoded)
    return episodes


def split(dataset: Dataset, episodes: LatentEpisodes) -> EncodedData:
    """Hold out the last shards."""
    num_held_out = held_out_shards(dataset) * dataset.meta["episodes"]
    train, held_out = episodes.split(num_held_out)
    return EncodedData(train=train, held_out=held_out)


def relabelled_folder(folder: Path, dataset: Dataset) -> Path:
    """Return where a run keeps the latents of relabelled frames."""
    return folder / f"latents-{dataset.folder.name}"


@dataclass(frozen=True)
class ShardEncoder:
    """Encode frames.

    Attributes:
        codec: the autoencoder.
        device: where to encode.
        spatial_codec: the autoencoder whose spatial channels are taken instead, of the same frames
            in the colours that it knows.
    """

    codec: LatentCodec
    device: str
    spatial_codec: LatentCodec | None = None

    def hash(self) -> str:
        """Return what the latents depend on."""
        spatial = "" if self.spatial_codec is None else encoder_hash(self.spatial_codec)
        return encoder_hash(self.codec) + spatial

    def __call__(self, dataset: Dataset, position: int, shard: Shard) -> Tensor:
        """Return the latents of a shard."""
        latents = _encoded(self.codec, shard.frames, self.device)
        if self.spatial_codec is None:
            return latents
        channels = self.spatial_codec.spatial_channels
        base_frames = dataset.base_frames(position)
        base_latents = _encoded(self.spatial_codec, base_frames, self.device)
        spatial = base_latents[:, :, :channels]
        others = latents[:, :, channels:]
        return torch.cat([spatial, others], 2)


@torch.no_grad()
def encode_dataset(dataset: Dataset, encoder: ShardEncoder, folder: Path) -> LatentEpisodes:
    """Encode every shard, or read the encoding made before.

    Each shard is kept as soon as it is done.

    Args:
        dataset: the data set.
        encoder: how frames become latents.
        folder: where the encoding is kept.

    Raises:
        DatasetError: if the folder holds other latents, or one cannot be read.
    """
    _check_origin(dataset, encoder, folder)
    parts: list[LatentEpisodes] = []
    for position in tqdm(range(len(dataset)), desc="encode", unit="shard", mininterval=2.0):
        arrays = _read_or_encode(dataset, position, encoder, folder)
        count, num_frames = arrays["latents"].shape[:2]
        arrays |= _action_arrays(dataset, position, num_frames)
        num_generated = torch.full((count,), dataset.num_generated_frames)
        parts.append(LatentEpisodes(**arrays, num_generated=num_generated))
    return concatenate(parts)


def encoder_hash(codec: LatentCodec) -> str:
    """Return a hash of the weights that latents depend on: not the decoder's."""
    digest = hashlib.sha256()
    for key, value in codec.state_dict().items():
        if not key.startswith("decoder."):
            array = value.cpu().numpy()
            digest.update(array.tobytes())
    return digest.hexdigest()


def _aligned_codec(context: StageContext, codec: ConvCodec) -> ConvCodec | None:
    """Return the continued world's autoencoder, if the data set has its colours, too."""
    world = context.base_world
    if (
        world is None
        or not has_global_channels(codec)
        or not context.inputs.dataset.has_base_frames
    ):
        return None
    return copy.deepcopy(world.codec).to(context.device)


def _check_origin(dataset: Dataset, encoder: ShardEncoder, folder: Path) -> None:
    """Refuse a folder whose latents are of another autoencoder or data set."""
    stamp = folder / "made_of.json"
    origin = json.dumps({"codec": encoder.hash(), "data": dataset.meta}, sort_keys=True)
    if not stamp.is_file():  # several processes come by
        with saving(stamp) as part:
            part.write_text(origin)
    elif stamp.read_text() != origin:
        raise DatasetError(
            "the run's latents are of another codec or data set",
            given=folder,
            remedy="use another run folder, or delete this one",
        )


def _read_or_encode(
    dataset: Dataset, position: int, encoder: ShardEncoder, folder: Path
) -> dict[str, Tensor]:
    path = latents_path(folder, dataset, position)
    arrays = _read(path) if path.is_file() else None
    if arrays is None:
        _encode_shard(dataset, position, encoder, path)
        arrays = _read(path)
    if arrays is None:
        raise DatasetError(
            "latents cannot be read",
            given=path,
            remedy="look after the disk; nothing else is wrong",
        )
    return arrays


def _read(path: Path) -> dict[str, Tensor] | None:
    """Return the arrays of a shard's latents; None if the file is cut."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            return {name: torch.from_numpy(file[name]) for name in STORED}
    except UNREADABLE as error:
        log.warning("a shard is encoded anew: %s: %s", path, error)
        return None


def _encode_shard(dataset: Dataset, position: int, encoder: ShardEncoder, path: Path) -> None:
    shard = dataset.shard(position)
    latents = encoder(dataset, position, shard).numpy()
    # no action led to the first frame
    prompts = np.pad(shard.prompts, ((0, 0), (1, 0)), constant_values=-1)
    with saving(path) as part:
        np.savez(part, latents=latents, prompts=prompts, states=shard.states, scores=shard.scores)


def _action_arrays(dataset: Dataset, position: int, num_frames: int) -> dict[str, Tensor]:
    """Return what a shard says of the action that led to each frame; nothing led to the first."""
    recorded = dataset.arrays(position)
    num_steps = num_frames - 1  # a format may lack the last frame
    actions = recorded["actions"][:, :num_steps]
    lengths = recorded["lengths"].astype(np.int64)
    ends = np.arange(1, num_frames) == lengths[:, None]
    language = dataset.actions
    arrays = {
        "actions": _after_first_frame(action_numbers(language, actions), 0),
        "rewards": _after_first_frame(recorded["rewards"][:, :num_steps], 0),
        "terminated": _after_first_frame(ends & recorded["terminated"][:, None], 0),
        "lengths": np.minimum(lengths + 1, num_frames),
    }
    if isinstance(language, SpokenBox):
        arrays["prompts"] = _after_first_frame(language.positions(actions), np.nan)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _after_first_frame(array: np.ndarray, filler: float) -> np.ndarray:
    """Return an array of steps as one of frames."""
    other_axes = [(0, 0)] * (array.ndim - 2)
    return np.pad(array, [(0, 0), (1, 0), *other_axes], constant_values=filler)


def _encoded(
    codec: LatentCodec, frames: UInt8[np.ndarray, "e g h w 3"], device: str
) -> Float[Tensor, "e g c h w"]:
    latents: list[Tensor] = []
    for pixels in torch.from_numpy(frames).split(1):
        with training_precision(device):
            encoded = codec.encode(pixels.to(device))
        half = encoded.float().half()
        latents.append(half.cpu())
    return torch.cat(latents)
