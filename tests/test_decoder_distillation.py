"""Decoders are made shallower and learn from the deeper one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_tiny_world, wake

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.distill.decoder import distill_decoder, with_fewer_blocks
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.errors import DatasetError, StreamDiTError
from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.recipes.distillation_settings import DecoderDistillation
from streamdit_gym.recipes.stage_settings import AutoencoderTraining
from streamdit_gym.train.stage_context import RunOptions


def test_a_shallower_decoder_is_the_deeper_one_without_its_last_blocks() -> None:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=3, decoder_blocks=2)).eval()
    wake(codec)
    shallow = with_fewer_blocks(codec, 1)
    assert shallow.config == replace(codec.config, decoder_blocks=1)
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    latents = codec.encode_pixels(pixels)
    assert torch.equal(shallow.encode_pixels(pixels), latents)
    for last_block in (codec.decoder[2], codec.decoder[6]):
        for weight in last_block.second.parameters():
            weight.data.zero_()  # adds nothing, as if it were not there
    assert torch.equal(shallow.decode_latents(latents), codec.decode_latents(latents))


def test_a_shallower_decoder_keeps_the_scale_of_latents() -> None:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1, standardised=True)).eval()
    wake(codec)
    assert codec.scale is not None
    codec.scale.measure(3 + 2 * torch.randn(64, 8, 8, 8))
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    assert torch.equal(
        with_fewer_blocks(codec, 0).encode_pixels(pixels), codec.encode_pixels(pixels)
    )


def test_a_decoder_keeps_any_number_of_its_blocks() -> None:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1))
    assert with_fewer_blocks(codec, 1).config.decoder_blocks == 1, "all, to train it on"
    for blocks in (-1, 2):
        with pytest.raises(StreamDiTError, match="0 to 1"):
            with_fewer_blocks(codec, blocks)


@pytest.fixture(scope="module")
def short_recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Dataset]:
    """Return data sets by the steps of their episodes."""
    spec = make_tiny_world().spec
    datasets: dict[int, Dataset] = {}
    for steps in (1, 3):
        folder = tmp_path_factory.mktemp(f"steps-{steps}")
        config = RecordConfig(shards=2, episodes=2, steps=steps)
        record(
            WorldDefinition.of(spec, make_simulator=PushTSimulator, starts={"uniform": 1.0}),
            folder,
            config,
        )
        datasets[steps] = Dataset(folder)
    return datasets


SHALLOW = DecoderDistillation(blocks=0, training=AutoencoderTraining(steps=1, batch=6))


def test_a_decoder_needs_triplets_of_frames(
    short_recordings: dict[int, Dataset], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="too short"):
        distill_decoder(
            make_tiny_world(), short_recordings[1], SHALLOW, RunOptions(folder=tmp_path)
        )


def test_a_decoder_of_global_channels_is_refused(
    short_recordings: dict[int, Dataset], tmp_path: Path
) -> None:
    config = ConvCodecConfig(width=16, blocks=1, channels=14, global_channels=6)
    world = replace(make_tiny_world(), codec=ConvCodec(config))
    with pytest.raises(StreamDiTError, match="global channels"):
        distill_decoder(world, short_recordings[3], SHALLOW, RunOptions(folder=tmp_path))


def test_a_run_folder_is_for_one_worlds_decoder(
    short_recordings: dict[int, Dataset], tmp_path: Path
) -> None:
    world = make_tiny_world()
    options = RunOptions(folder=tmp_path)
    assert distill_decoder(world, short_recordings[3], SHALLOW, options) is not None
    other = replace(world, codec=ConvCodec(world.codec.config))
    with pytest.raises(StreamDiTError, match="another"):
        distill_decoder(other, short_recordings[3], SHALLOW, options)
