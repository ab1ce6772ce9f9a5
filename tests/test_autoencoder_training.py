"""Training the autoencoder: it learns frames, straight latents, and to stay aligned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import wake

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.envs.pusht.world import WORLD
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.model.expand_channels import expand_codec
from streamdit_gym.recipes.stage_settings import AutoencoderTraining
from streamdit_gym.train.losses import background_colour, colour_balance, foreground
from streamdit_gym.train.stage_context import RunOptions
from streamdit_gym.train.stages.autoencoder_stage import (
    AutoencoderTrainer,
    inner_convolutions,
    rebuild,
    standardise,
    to_pixels,
    train_autoencoder,
    with_aligned_channels,
)
from streamdit_gym.train.training_frames import AlignedFrames, TrainingFrames


class IdentityCodec(ConvCodec):
    """A codec that does nothing, so that what happens between encoding and decoding shows."""

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def identity_codec(channels: int, global_channels: int = 0) -> IdentityCodec:
    config = ConvCodecConfig(width=16, channels=channels, global_channels=global_channels)
    return IdentityCodec(config)


def settings(**changes: Any) -> AutoencoderTraining:
    """Return settings without noise or interpolation, but for what the changes say."""
    quiet = {"latent_noise": 0.0, "global_noise": 0.0, "interpolation_probability": 0.0}
    return AutoencoderTraining(**(quiet | changes))


def test_the_autoencoder_can_learn_frames(tmp_path: Path) -> None:
    record(WORLD, tmp_path, RecordConfig(shards=2, episodes=4, steps=16))
    episodes = Dataset(tmp_path).shard(0).frames
    frames = episodes.reshape(-1, 64, 64, 3)
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1))
    training = AutoencoderTraining(steps=60, batch=15, adamw_rate=4e-3)

    @torch.no_grad()
    def error() -> float:
        real = torch.from_numpy(frames[::8])[None]
        rebuilt = codec.eval().decode(codec.encode(real)).float()
        return (rebuilt - real).abs().mean().item()

    before = error()
    data = TrainingFrames(episodes=episodes, held_out=frames)
    trainer = AutoencoderTrainer(codec, data, training, "cpu")
    assert train_autoencoder(trainer, RunOptions(folder=tmp_path / "run"))
    assert error() < 0.3 * before


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_middle_frames_are_interpolated_from_their_neighbours(probability: float) -> None:
    latents = torch.randn(12, 3, 8, 8)
    training = settings(interpolation_probability=probability)
    rebuilt, _ = rebuild(identity_codec(channels=3), latents, training)
    for first in range(0, 12, 3):
        before, middle, after = latents[first : first + 3]
        expected = (before + after) / 2 if probability else middle
        triplet = torch.stack([before, expected, after])
        torch.testing.assert_close(rebuilt[first : first + 3], triplet)


def test_the_curvature_is_that_of_every_triplet() -> None:
    latents = torch.randn(12, 3, 8, 8)
    _, curvature = rebuild(identity_codec(channels=3), latents, settings())
    bends = [
        (latents[i] - 2 * latents[i + 1] + latents[i + 2]).square().mean() for i in range(0, 12, 3)
    ]
    torch.testing.assert_close(curvature, torch.stack(bends).mean())


def test_global_channels_are_never_interpolated() -> None:
    latents = torch.randn(6, 5, 8, 8)
    codec = identity_codec(channels=5, global_channels=3)
    rebuilt, curvature = rebuild(codec, latents, settings(interpolation_probability=1.0))
    assert torch.equal(rebuilt[:, 2:], latents[:, 2:])
    for first in (0, 3):
        mean = (latents[first, :2] + latents[first + 2, :2]) / 2
        torch.testing.assert_close(rebuilt[first + 1, :2], mean)
    assert curvature > 0


def test_noise_on_global_channels_is_the_same_in_every_cell() -> None:
    latents = torch.zeros(6, 5, 8, 8)
    codec = identity_codec(channels=5, global_channels=3)
    rebuilt, _ = rebuild(codec, latents, settings(latent_noise=0.2, global_noise=0.1))
    assert torch.equal(rebuilt[:, 2:], rebuilt[:, 2:, :1, :1].expand(-1, -1, 8, 8))
    assert (rebuilt[:, 2:, 0, 0] != 0).all()
    assert (rebuilt[:, :2].std((2, 3)) > 0).all(), "elsewhere each cell has its own"


def test_the_background_is_the_colour_that_most_of_a_frame_has() -> None:
    frames = torch.full((2, 3, 4, 4), 1.0)
    frames[1] = -0.5
    frames[:, :, :2, :2] = 0.3
    assert background_colour(frames).flatten().tolist() == [1.0] * 3 + [-0.5] * 3
    assert torch.equal(foreground(frames)[:, 0], (frames == 0.3).all(1))


def test_every_colour_weighs_the_same() -> None:
    pixels = -torch.ones(1, 3, 10, 10)
    pixels[..., :2, :] = 1.0
    pixels[..., 0, 0] = torch.tensor([1.0, -1.0, -1.0])
    weight = colour_balance(pixels)
    assert weight.mean() == pytest.approx(1.0)
    black = pixels[:, :1] < 0
    white = (pixels[:, :1] > 0) & (pixels[:, 1:2] > 0)
    red = (pixels[:, :1] > 0) & (pixels[:, 1:2] < 0)
    for colour in (black, white, red):
        assert weight[colour].sum() == pytest.approx(100 / 3, rel=1e-4)


def test_a_rare_colour_weighs_more_where_colours_shall_weigh_the_same() -> None:
    episodes = np.full((1, 3, 64, 64, 3), 100, dtype=np.uint8)
    episodes[:, :, :4, :4] = (250, 120, 0)  # a fireball
    frames = TrainingFrames(episodes=episodes, held_out=episodes[0])
    losses = {}
    for weighting in ("foreground", "colour"):
        chosen = settings(weighting=weighting, foreground_weight=0.0, batch=3)
        trainer = AutoencoderTrainer(identity_codec(3), frames, chosen, "cpu")
        pixels = to_pixels(episodes[0], "cpu")
        losses[weighting] = trainer._pixel_weight(pixels, None)
    assert (losses["foreground"] == 1).all()
    weight = losses["colour"]
    assert torch.equal(weight, colour_balance(pixels))
    fireball, ground = weight[:, :, :4, :4].sum(), weight[:, :, 4:].sum()
    assert fireball.item() == pytest.approx((ground + weight[:, :, :4, 4:].sum()).item(), rel=0.01)


def test_inner_convolutions_are_neither_first_nor_last() -> None:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1))
    inner = inner_convolutions(codec)
    assert len(inner) == 10
    for weight in inner:
        outputs, inputs = weight.shape[:2]
        assert weight.ndim == 4
        assert not {3, 48, codec.channels} & {outputs, inputs}


def plain_frames() -> np.ndarray:
    """Return frames of a white bar that grows on black."""
    frames = np.zeros((4, 12, 64, 64, 3), np.uint8)
    for number in range(12):
        frames[:, number, 8 : 8 + 4 * number, 16:32] = 255
    return frames


def known_codec(plain: np.ndarray) -> ConvCodec:
    """Return a codec that is normalised for the plain frames."""
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1)).requires_grad_(False)
    wake(codec)
    codec.normalise.momentum = 1.0
    codec.encode_pixels(to_pixels(plain, "cpu"))
    return codec.eval()


def test_aligned_channels_are_another_autoencoders_of_the_plain_frames() -> None:
    plain = plain_frames()
    known = known_codec(plain)
    codec = expand_codec(known, 6).eval()
    pixels = to_pixels(plain[0, ::3], "cpu")
    latents = codec.encode_pixels(pixels)
    aligned, distance = with_aligned_channels(latents, pixels, known)
    assert torch.equal(aligned[:, :8], known.encode_pixels(pixels))
    assert torch.equal(aligned[:, 8:], latents[:, 8:]), "no colour can hide among the places"
    assert distance < 1e-9


def test_spatial_channels_learn_to_be_the_same_for_all_colours(tmp_path: Path) -> None:
    plain = plain_frames()
    known = known_codec(plain)
    green, orange = np.uint8([40, 200, 90]), np.uint8([250, 140, 40])
    painted = np.where(plain == 255, green, orange)
    aligned = AlignedFrames(plain=plain, codec=known)
    frames = TrainingFrames(episodes=painted, held_out=painted[0], aligned=aligned)
    pixels = to_pixels(painted[0, ::3], "cpu")
    plain_pixels = to_pixels(plain[0, ::3], "cpu")
    distances: list[float] = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        codec = expand_codec(known, 6).requires_grad_(True)
        training = settings(
            steps=60, batch=15, straightness_weight=0.0, global_noise=0.1, alignment_weight=weight
        )
        options = RunOptions(folder=tmp_path / str(weight))
        trainer = AutoencoderTrainer(codec, frames, training, "cpu")
        assert train_autoencoder(trainer, options)
        latents = codec.encode_pixels(pixels)
        distances.append(with_aligned_channels(latents, plain_pixels, known)[1].item())
    assert distances[1] < 0.25 * distances[0]


def frames_before_a_ground() -> TrainingFrames:
    """Return frames of a small thing before a ground that never changes, and some copies."""
    rng = np.random.default_rng(0)
    ground = rng.integers(256, size=(64, 64, 3), dtype=np.uint8)
    episodes = np.tile(ground, (4, 30, 1, 1, 1))
    for episode in range(4):
        for place in range(20):
            row, column = rng.integers(56, size=2)
            episodes[episode, place, row : row + 8, column : column + 8] = 255
    lengths = np.full(4, 20)
    return TrainingFrames(episodes=episodes, held_out=episodes[0], lengths=lengths)


def scalable_codec() -> ConvCodec:
    torch.manual_seed(0)
    config = ConvCodecConfig(width=16, blocks=1, standardised=True)
    codec = ConvCodec(config).requires_grad_(False)
    wake(codec)
    return codec.eval()


def test_standardised_latents_are_small_where_nothing_moves() -> None:
    frames = frames_before_a_ground()
    codec = scalable_codec()
    recorded = torch.from_numpy(frames.episodes[:, :20])
    plain = codec.encode(recorded)
    standardise(codec, frames)
    latents = codec.encode(recorded)
    mean = plain.mean((0, 1))
    std = (plain - mean).square().mean((0, 1, 3, 4)).sqrt()
    expected = (plain - mean) / std[:, None, None]
    torch.testing.assert_close(latents, expected, rtol=1e-3, atol=1e-3)
    assert latents.mean((0, 1)).abs().max() < 1e-3, "the ground is zero"
    assert latents.square().mean((0, 1, 3, 4)).tolist() == pytest.approx([1] * 8, rel=1e-3)


def test_a_standardised_codec_draws_as_before_and_is_standardised_once() -> None:
    frames = frames_before_a_ground()
    codec = scalable_codec()
    shown = torch.from_numpy(frames.episodes[:1])
    before = codec.decode(codec.encode(shown))
    standardise(codec, frames)
    latents = codec.encode(shown)
    difference = codec.decode(latents).int() - before.int()
    assert difference.abs().max() <= 1
    standardise(codec, frames)
    torch.testing.assert_close(codec.encode(shown), latents, rtol=1e-3, atol=1e-3)


def test_a_decoder_alone_keeps_its_latents() -> None:
    with pytest.raises(StreamDiTError, match="one of the two"):
        AutoencoderTraining(decoder_only=True, standardise=True)


def test_a_few_frames_are_enough_to_measure() -> None:
    frames = frames_before_a_ground()
    codec = scalable_codec()
    standardise(codec, TrainingFrames(episodes=frames.episodes[:1, :5], held_out=frames.held_out))
    assert codec.encode(torch.from_numpy(frames.episodes[:1])).isfinite().all()


def test_frames_that_never_change_have_finite_latents() -> None:
    frames = frames_before_a_ground()
    still = np.repeat(frames.episodes[:, :1], 20, axis=1)[:1].repeat(4, axis=0)
    codec = scalable_codec()
    standardise(codec, TrainingFrames(episodes=still, held_out=still[0]))
    assert codec.encode(torch.from_numpy(still)).abs().max() < 1


def test_spaced_frames_leave_out_the_copies_behind_an_episode() -> None:
    frames = frames_before_a_ground()
    numbered = np.zeros((4, 30, 1, 1, 3), np.uint8) + np.arange(30)[None, :, None, None, None]
    numbered = numbered.astype(np.uint8)
    frames = TrainingFrames(episodes=numbered, held_out=numbered[0], lengths=frames.lengths)
    assert frames.spaced(1000).max() == 19
    assert len(frames.spaced(1000)) == 80
    assert 20 <= len(frames.spaced(20)) < 80
