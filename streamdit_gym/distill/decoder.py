"""A world whose decoder is shallower.

What a latent means is the encoder's, which stays; so do transformer, readout and start frames. The
decoder's last blocks on each grid are left out, and the others learn to do without them.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.model.conv_codec import ConvCodec, Residual
from streamdit_gym.recipes.distillation_settings import DecoderDistillation
from streamdit_gym.train import parallel
from streamdit_gym.train.dataset_checks import check_dataset, check_length, check_shards
from streamdit_gym.train.run_files import save_world, write_config
from streamdit_gym.train.stage_context import RunOptions, has_global_channels
from streamdit_gym.train.stages.autoencoder_stage import (
    TRIPLET,
    AutoencoderTrainer,
    train_autoencoder,
)
from streamdit_gym.train.stages.latents_stage import encoder_hash
from streamdit_gym.train.training_frames import load_frames, num_training_shards
from streamdit_gym.world import World


def distill_decoder(
    world: World, dataset: Dataset, settings: DecoderDistillation, options: RunOptions
) -> World | None:
    """Train a world's decoder on, with fewer blocks, resuming from the run folder.

    The world is written into the run folder's ``world/``.

    Args:
        world: the world.
        dataset: recorded for the same world.
        settings: how; the encoder stays, whatever they say.
        options: of the run.

    Returns:
        The world, or None if the time was up before all steps were done.

    Raises:
        DatasetError: if the data set is of another world, too small, or of too short episodes.
        StreamDiTError: if the decoder has not so many blocks or the world has global channels,
            or the run folder is another run's.
        BusyError: if another run holds the run folder.
        StorageError: if the run folder cannot be written to.
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    check_dataset(dataset, world.spec)
    check_length(dataset, TRIPLET - 1)
    if has_global_channels(world.codec):
        raise StreamDiTError(
            "a decoder of latents with global channels learns with its encoder",
            given=f"{world.codec.channels - world.codec.spatial_channels} global channels",
            allowed="none",
            remedy="train with a recipe that continues from that world, with adapt_autoencoder",
        )
    codec = with_fewer_blocks(world.codec, settings.blocks)
    training = replace(settings.training, decoder_only=True)
    settings = replace(settings, training=training)
    with parallel.run_folder(options.folder):
        check_shards(dataset)
        _check_origin(options.folder, encoder_hash(codec))
        write_config(options.folder, dataclasses.asdict(_RunConfig.of(world, codec, settings)))
        frames = load_frames(dataset, num_training_shards(dataset, training.max_frames))
        trainer = AutoencoderTrainer(codec, frames, training, options.device)
        if not train_autoencoder(trainer, options):
            return None
        return _saved(world, codec, options.folder)


def with_fewer_blocks(codec: ConvCodec, blocks: int) -> ConvCodec:
    """Return an autoencoder that encodes alike and decodes with the first blocks of each grid.

    Raises:
        StreamDiTError: if the decoder has not so many.
    """
    config = codec.config
    num_blocks = config.blocks if config.decoder_blocks is None else config.decoder_blocks
    if not 0 <= blocks <= num_blocks:
        raise StreamDiTError(
            "the decoder has not so many blocks",
            given=blocks,
            allowed=f"0 to {num_blocks}",
            remedy="give one of these",
        )
    shallow_config = replace(config, decoder_blocks=blocks)
    shallow = ConvCodec(shallow_config)
    decoder = _first_blocks(codec.decoder, blocks)
    tensors = codec.state_dict() | {
        f"decoder.{name}": tensor for name, tensor in decoder.state_dict().items()
    }
    names = shallow.state_dict()
    shallow.load_state_dict({name: tensors[name] for name in names})
    return shallow.train(codec.training)


@dataclass(frozen=True, kw_only=True)
class _RunConfig:
    """What a run's config.json says."""

    world: str
    encoder: str
    settings: DecoderDistillation

    @classmethod
    def of(cls, world: World, codec: ConvCodec, settings: DecoderDistillation) -> _RunConfig:
        return cls(world=world.spec.name, encoder=encoder_hash(codec), settings=settings)


def _first_blocks(decoder: nn.Sequential, blocks: int) -> nn.Sequential:
    """Return a decoder's layers without the last blocks on each grid."""
    layers: list[nn.Module] = []
    number = 0  # of the block on its grid, from 1; 0: no block
    for layer in decoder:
        number = number + 1 if isinstance(layer, Residual) else 0
        if number <= blocks:
            layers.append(layer)
    return nn.Sequential(*layers)


def _saved(world: World, codec: ConvCodec, folder: Path) -> World:
    codec.requires_grad_(False)
    codec.to(world.device)
    facts = {key: value for key, value in world.facts.items() if key != "scores"}
    result = replace(world, codec=codec, facts=facts)
    save_world(result, folder / "world")
    return result


def _check_origin(folder: Path, encoder: str) -> None:
    """Refuse the run folder of another world's decoder."""
    config = folder / "config.json"
    if config.is_file() and _recorded_encoder(config) != encoder:
        raise StreamDiTError(
            "the run here is another one",
            given=folder,
            allowed="this world's decoder",
            remedy="give another folder",
        )


def _recorded_encoder(config: Path) -> str | None:
    """Return the encoder that a run's config names; None if none, or it cannot be read."""
    try:
        settings = json.loads(config.read_text())
    except ValueError:
        return None
    return settings.get("encoder") if isinstance(settings, dict) else None
