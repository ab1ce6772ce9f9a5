"""How long a training will take on this machine, from a few steps on random numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.presets import sizes_for
from streamdit_gym.recipes import Recipe
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.train.dynamics_trainer import DynamicsTrainer
from streamdit_gym.train.latent_episodes import LatentEpisodes

PROBED_CLIPS = 4
PROBED_FRAMES = 12  # of the autoencoder's batch
PROBED_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class TrainingTime:
    """Seconds of the two long stages of a training; all others are short beside them."""

    autoencoder: float
    dynamics: float

    @property
    def minutes(self) -> float:
        """Minutes of both."""
        return (self.autoencoder + self.dynamics) / 60


def estimate_training(recipe: Recipe, frame_size: tuple[int, int]) -> TrainingTime:
    """Return about how long a recipe takes on this machine's CPU, for frames of a size."""
    sizes = sizes_for(recipe.preset, frame_size)
    assert sizes.codec is not None, "presets that can be trained have a codec"
    codec_share = recipe.autoencoder.batch / PROBED_FRAMES
    dynamics_share = recipe.dynamics.clips / PROBED_CLIPS
    codec_seconds = _codec_step_seconds(ConvCodec(sizes.codec), frame_size)
    dynamics_seconds = _dynamics_step_seconds(sizes.model, recipe)
    return TrainingTime(
        autoencoder=recipe.autoencoder_steps * codec_share * codec_seconds,
        dynamics=recipe.dynamics.steps * dynamics_share * dynamics_seconds,
    )


def _codec_step_seconds(codec: ConvCodec, frame_size: tuple[int, int]) -> float:
    pixels = torch.rand(PROBED_FRAMES, 3, *frame_size)

    def step() -> None:
        rebuilt = codec.decode_latents(codec.encode_pixels(pixels))
        (rebuilt - pixels).square().mean().backward()

    return _seconds(step)


def _dynamics_step_seconds(config: StreamDiTConfig, recipe: Recipe) -> float:
    settings = replace(recipe.dynamics, clips=PROBED_CLIPS)
    model = StreamDiT(config)
    episodes = _random_episodes(config, settings.clip_frames + config.references + 2)
    trainer = DynamicsTrainer(model, episodes, _random_table(config), settings, "cpu")
    trainer.seed(0, 0)
    return _seconds(lambda: trainer.loss(0, 0.0).backward())


def _random_episodes(config: StreamDiTConfig, num_frames: int) -> LatentEpisodes:
    shape = (PROBED_CLIPS, num_frames)
    return LatentEpisodes(
        latents=torch.randn(*shape, config.channels, *config.grid).half(),
        prompts=torch.zeros(shape, dtype=torch.long),
        states=torch.zeros(*shape, 0),
        scores=torch.zeros(*shape, 0),
        actions=torch.zeros(*shape, 1),
        rewards=torch.zeros(*shape, 0),
        terminated=torch.zeros(shape, dtype=torch.bool),
        lengths=torch.full((PROBED_CLIPS,), num_frames),
        num_generated=torch.zeros(PROBED_CLIPS, dtype=torch.long),
    )


def _random_table(config: StreamDiTConfig) -> PromptTable:
    tokens = torch.randn(1, 4, config.text_width)
    mask = torch.ones(1, 4, dtype=torch.bool)
    return PromptTable(["stay"], tokens, mask, torch.randn(1, config.text_width))


def _seconds(step: Callable[[], None]) -> float:
    """Return the time of a step; the first one is not counted."""
    step()
    start = time.perf_counter()
    for _ in range(PROBED_STEPS):
        step()
    return (time.perf_counter() - start) / PROBED_STEPS
