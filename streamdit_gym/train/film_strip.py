"""Pictures of real and generated episodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from streamdit_gym.data.film_strips import pairs_of_rows
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.presets import PARTITIONS
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.text.prompt_protocol import Prompts, PromptSource
from streamdit_gym.train.latent_episodes import LatentEpisodes

MAX_EPISODES = 3
MAX_FRAMES = 64
FRAME_STRIDE = 4


@torch.no_grad()
def film_strip(
    model: StreamDiT,
    codec: ConvCodec,
    source: PromptSource,
    held_out: LatentEpisodes,
    device: str,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw held-out episodes, real above generated.

    Every fourth frame is shown, of a rollout from one real frame.
    """
    num_frames = min(MAX_FRAMES + 1, held_out.length)
    count = min(MAX_EPISODES, len(held_out))
    spacing = len(held_out) // count
    rows = spacing * torch.arange(count)
    prompts = held_out.prompts[rows, :num_frames]
    real = held_out.latents[rows, :num_frames]
    real = real.float().to(device)
    was_training = model.training
    model.eval()
    partition = replace(PARTITIONS["reactive"], micro_steps=model.config.micro_steps)
    engine = Engine(model, source.to(device, torch.float32), partition)
    generated = _rollout(engine, real[:, :1], prompts)
    model.train(was_training)
    real_frames = _shown_frames(codec, real)
    generated_frames = _shown_frames(codec, generated)
    return pairs_of_rows(real_frames, generated_frames)


def _rollout(
    engine: Engine, start: Float[Tensor, "e 1 c h w"], prompts: Prompts
) -> Float[Tensor, "e f c h w"]:
    """Return start frames and what is generated after them."""
    count, num_frames = prompts.shape[:2]
    noise = Noise.seeded(range(count))
    session = engine.start(start, engine.idle_prompts(count, 1), noise)
    frames = [start]
    for step in range(1, num_frames):
        frame = engine.tick(session, prompts[:, step])
        frames.append(frame)
    return torch.cat(frames, 1)


def _shown_frames(codec: ConvCodec, latents: Tensor) -> UInt8[np.ndarray, "e f h w 3"]:
    shown = latents[:, ::FRAME_STRIDE]
    pixels = codec.decode(shown)
    return pixels.cpu().numpy()
