"""The speed of a preset's networks with random weights, moved as in the paper."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from streamdit_gym.bench.paper_decoder import PaperDecoder
from streamdit_gym.bench.timing import median_ms
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.presets import preset as named_preset
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.views import stream_view
from streamdit_gym.types import BufferView, Conditioning

PAPER_PARTITION = Partition(references=0, chunks=8, chunk_frames=2)
PROMPT_TOKENS = 16


@dataclass(frozen=True, kw_only=True)
class PresetSpeed:
    """The speed of a preset: one move of its buffer, and decoding the chunk that leaves it."""

    name: str
    parameters: int
    move_ms: float
    decode_ms: float
    frames_per_move: int
    frames_per_s: float
    frame_size: tuple[int, int]
    compiled: bool


@torch.no_grad()
def measure_preset(
    name: str, device: str, dtype: str, *, moves: int = 5, compiled: bool = False
) -> PresetSpeed:
    """Time a preset with random weights: one move of 8 chunks of 2 latent frames, and decoding.

    Compiled block by block: all blocks share one or two programs. Of a preset without a codec each
    latent frame is decoded to 4 frames, as many as the paper's autoencoder makes of it.

    Raises:
        UnknownNameError: if there is no such preset.
    """
    precision = getattr(torch, dtype)
    model, codec = _random_networks(name, device, precision)
    if compiled:
        for block in model.blocks:
            block.compile()
    view, latents = paper_view(model, device, precision)
    prompts = random_prompts(model, device, precision)
    move_ms = median_ms(lambda: model(view, prompts), times=moves, warm_up=1, device=device)
    decoder = torch.compile(codec.decode) if compiled else codec.decode
    chunk = latents[:, : PAPER_PARTITION.chunk_frames]
    frames = decoder(chunk)
    decode_ms = median_ms(lambda: decoder(chunk).cpu(), times=moves, warm_up=1, device=device)
    num_frames, height, width = frames.shape[1:4]
    return PresetSpeed(
        name=name,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        move_ms=move_ms,
        decode_ms=decode_ms,
        frames_per_move=num_frames,
        frames_per_s=1e3 * num_frames / (move_ms + decode_ms),
        frame_size=(height, width),
        compiled=compiled,
    )


def _random_networks(
    name: str, device: str, precision: torch.dtype
) -> tuple[StreamDiT, ConvCodec | PaperDecoder]:
    sizes = named_preset(name)
    with torch.device(device):
        torch.set_default_dtype(precision)
        try:
            model = StreamDiT(sizes.model)
            codec = PaperDecoder() if sizes.codec is None else ConvCodec(sizes.codec)
        finally:
            torch.set_default_dtype(torch.float32)
    return model.eval(), codec.eval()


def paper_view(model: StreamDiT, device: str, precision: torch.dtype) -> tuple[BufferView, Tensor]:
    """Return a full buffer as the transformer takes it, and its latents."""
    config = model.config
    num_frames = PAPER_PARTITION.frames
    shape = (1, num_frames, config.channels, *config.grid)
    latents = torch.randn(shape, device=device, dtype=precision)
    times = torch.rand(1, num_frames, device=device, dtype=precision)
    view = stream_view(
        latents[:, :0],
        times[:, :0],
        latents,
        times,
        causal=config.causal,
        chunk_frames=PAPER_PARTITION.chunk_frames,
        limit=max(1, config.references),
    )
    return view, latents


def random_prompts(model: StreamDiT, device: str, precision: torch.dtype) -> Conditioning:
    """Return a prompt of random numbers for every frame of a buffer."""
    width = model.config.text_width
    return Conditioning(
        tokens=torch.randn(1, PROMPT_TOKENS, width, device=device, dtype=precision),
        mask=torch.ones(1, PROMPT_TOKENS, dtype=torch.bool, device=device),
        pooled=torch.randn(1, width, device=device, dtype=precision),
        index=torch.zeros(1, PAPER_PARTITION.frames, dtype=torch.long, device=device),
    )
