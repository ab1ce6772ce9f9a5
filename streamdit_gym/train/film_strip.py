"""Pictures of real and generated episodes."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from streamdit_gym.data.film_strips import pairs_of_rows
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.presets import PARTITIONS
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.train.latent_episodes import LatentEpisodes

MAX_EPISODES = 3
MAX_FRAMES = 64
FRAME_STRIDE = 4


@torch.no_grad()
def film_strip(
    model: StreamDiT,
    codec: ConvCodec,
    table: PromptTable,
    held_out: LatentEpisodes,
    device: str,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw held-out episodes, real above generated.

    Every fourth frame is shown, of a rollout from one real frame.
    """
    steps = min(MAX_FRAMES, held_out.length - 1)
    count = min(MAX_EPISODES, len(held_out))
    spacing = len(held_out) // count
    rows = spacing * torch.arange(count)
    real = held_out.latents[rows, : steps + 1]
    real = real.float().to(device)
    prompts = held_out.prompts[rows, : steps + 1]
    training = model.training
    model.eval()
    engine = Engine(model, table.to(device, torch.float32), PARTITIONS["reactive"])
    start_prompts = torch.zeros(count, 1, dtype=torch.long)
    session = engine.start(real[:, :1], start_prompts, Noise.seeded(range(count)))
    frames = [real[:, :1]]
    for step in range(1, steps + 1):
        frames.append(engine.tick(session, prompts[:, step]))
    generated = torch.cat(frames, 1)
    model.train(training)
    return pairs_of_rows(_shown_frames(codec, real), _shown_frames(codec, generated))


def _shown_frames(codec: ConvCodec, latents: Tensor) -> UInt8[np.ndarray, "e f h w 3"]:
    shown = latents[:, ::FRAME_STRIDE]
    return codec.decode(shown).cpu().numpy()
