"""A world whose decoder is smaller.

Takes: a world and its data set.  Gives: the same world around a codec with fewer blocks in its
    decoder.
Knows nothing of: streams, prompts, simulators.

What a latent means is the encoder's, which stays; so do transformer, heads and starts. The
decoder's last blocks on either grid are left out, and the others learn to do without them.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

from torch import nn

from streamdit_gym.checks import check_real
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.errors import DatasetError, StreamDiTError
from streamdit_gym.model.conv_codec import ConvCodec, Residual
from streamdit_gym.train import parallel
from streamdit_gym.train.latents import encoder_hash
from streamdit_gym.train.run import MAX_MINUTES, write_config
from streamdit_gym.train.train_codec import CodecTraining, train_codec
from streamdit_gym.train.train_world import (
    check_dataset,
    check_shards,
    codec_frames,
    codec_shards,
    save_world,
)
from streamdit_gym.world import World


def distill_decoder(
    world: World,
    dataset: Dataset,
    folder: Path,
    blocks: int,
    config: CodecTraining,
    device: str,
    minutes: float | None = None,
) -> World | None:
    """Train a world's decoder on, with so many of its blocks on each grid, and write the world into
    ``folder/world``.

    Resumes: calling again with the same folder goes on where the last call stopped.

    Args:
        world: the world.
        dataset: recorded for the same world.
        folder: run folder.
        blocks: how many the decoder keeps; it may be all.
        config: the recipe; the encoder is left alone whatever it says.
        device: ``"cpu"`` or ``"cuda"``.
        minutes: stop this call after so long.

    Returns:
        The world, or None if the time was up before all steps were done.

    Raises:
        DatasetError: if the data set is of another world, too small, or of too short episodes.
        StreamDiTError: if the decoder has not so many blocks or paints with a palette, or the run
            folder is another run's.
        BusyError: if another run holds the run folder.
        StorageError: if the run folder cannot be written to.
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    if minutes is not None:
        minutes = check_real("minutes", minutes, least=0, most=MAX_MINUTES)
    check_dataset(dataset, world.spec)
    if dataset.meta["steps"] < 2:  # a codec is trained on threes of frames
        raise DatasetError(
            "too short episodes",
            given=f"{dataset.meta['steps']} steps",
            allowed="2 or more",
            remedy="record longer ones",
        )
    if world.codec.config.palette_channels:
        raise StreamDiTError(
            "a decoder that paints learns with its encoder",
            given=f"{world.codec.config.palette_channels} channels of a palette",
            allowed="none",
            remedy="train --continue-from that world, with --adapt-codec",
        )
    codec, recipe = shallower(world.codec, blocks), replace(config, decoder_only=True)
    with parallel.run_folder(folder):
        check_shards(dataset)
        return _train_decoder(world, codec, dataset, folder, blocks, recipe, device, minutes)


def _train_decoder(
    world: World,
    codec: ConvCodec,
    dataset: Dataset,
    folder: Path,
    blocks: int,
    recipe: CodecTraining,
    device: str,
    minutes: float | None,
) -> World | None:
    """Train a decoder in a checked run; see `distill_decoder`."""
    made_of, before = encoder_hash(codec), folder / "config.json"
    if before.is_file() and _encoder_of(before) != made_of:
        raise StreamDiTError(
            "the run here is another one",
            given=folder,
            allowed="this world's decoder",
            remedy="give another folder",
        )
    write_config(
        folder,
        {
            "world": world.spec.name,
            "encoder": made_of,
            "decoder_blocks": blocks,
            **dataclasses.asdict(recipe),
        },
    )
    frames, held_out = codec_frames(dataset, codec_shards(dataset))
    if not train_codec(codec, frames, held_out, recipe, folder, device, minutes):
        return None
    codec.requires_grad_(False).to(world.device)
    made = replace(
        world,
        codec=codec,
        facts={key: value for key, value in world.facts.items() if key != "scores"},
    )
    save_world(made, folder / "world")
    return made


def _encoder_of(config: Path) -> str | None:
    """Return what a run's config says of its encoder; None if it says nothing,
    or cannot be read.
    """
    try:
        settings = json.loads(config.read_text())
    except ValueError:
        return None
    return settings.get("encoder") if isinstance(settings, dict) else None


def shallower(codec: ConvCodec, blocks: int) -> ConvCodec:
    """Return a codec that encodes alike and decodes with the first blocks of either grid alone.

    Raises:
        StreamDiTError: if the decoder has not so many.
    """
    config = codec.config
    now = config.blocks if config.decoder_blocks is None else config.decoder_blocks
    if not 0 <= blocks <= now:
        raise StreamDiTError(
            "the decoder has not so many blocks",
            given=blocks,
            allowed=f"0 to {now}",
            remedy="give one of these",
        )
    made = ConvCodec(replace(config, decoder_blocks=blocks))
    made.encoder.load_state_dict(codec.encoder.state_dict())
    made.normalise.load_state_dict(codec.normalise.state_dict())
    kept, place = [], 0
    for layer in codec.decoder:
        place = place + 1 if isinstance(layer, Residual) else 0
        if place <= blocks:
            kept.append(layer)
    made.decoder.load_state_dict(nn.Sequential(*kept).state_dict())
    return made.train(codec.training)
