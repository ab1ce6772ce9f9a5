"""The parts of a world that become ONNX graphs, each a module of tensors in and tensors out.

They call the engine's own code, so a graph is the engine's loop with its state as arguments. There
is no batch axis: a graph moves one stream.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from streamdit_gym.export.packed_prompts import PackedPrompts
from streamdit_gym.model.codec import HALF_RANGE, LatentCodec
from streamdit_gym.model.key_value_cache import KeyValueCache
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.stream.flow import euler_step
from streamdit_gym.stream.noise_levels import equal_times, sampling_times
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.sampler import MAX_ABS_LATENT
from streamdit_gym.stream.views import cached_view
from streamdit_gym.types import BufferView, Conditioning


class PromptGraph(nn.Module):
    """The work of a prompt that depends on no frame.

    Args:
        model: the transformer.
        packed: packs what it prepares.
    """

    def __init__(self, model: StreamDiT, packed: PackedPrompts) -> None:
        super().__init__()
        self.model = model
        self.packed = packed

    def forward(
        self, tokens: Float[Tensor, "l e"], mask: Float[Tensor, " l"], pooled: Float[Tensor, " e"]
    ) -> Float[Tensor, " p"]:
        """Return the packed prompt of one text's embeddings; mask is 1 where a token is real."""
        prompts = Conditioning(
            tokens=tokens[None],
            mask=mask[None] > 0,
            pooled=pooled[None],
            index=torch.zeros(1, 1, dtype=torch.long),
        )
        return self.packed.pack(self.model.prepare(prompts))[1]


class StepGraph(nn.Module):
    """One micro step of a move of a stream's buffer.

    Args:
        model: the transformer.
        partition: how the buffer is cut; chunks of one frame.
        packed: unpacks the prompts.
        no_prompt: the packed prompt that stands for none.
    """

    no_prompt: Tensor
    times: Tensor

    def __init__(
        self,
        model: StreamDiT,
        partition: Partition,
        packed: PackedPrompts,
        no_prompt: Float[Tensor, " p"],
    ) -> None:
        super().__init__()
        self.model = model
        self.partition = partition
        self.packed = packed
        self.register_buffer("no_prompt", no_prompt[None], persistent=False)
        steps = [sampling_times(partition, step) for step in range(partition.micro_steps)]
        self.register_buffer("times", torch.stack(steps), persistent=False)

    def forward(
        self,
        buffer: Float[Tensor, "n c h w"],
        references: Float[Tensor, "2 c h w"],
        prompts: Float[Tensor, "m p"],
        cache: Float[Tensor, "layer 2 k t g e"],
        known: Float[Tensor, " 1"],
        step: Int[Tensor, " 1"] | None = None,
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "layer 2 k t g e"]]:
        """Return the buffer after a micro step, and the cache of the next move.

        After the last step of a move the buffer's first frame is clean.

        Args:
            buffer: the frames being denoised; in a move's first step the last one is noise.
            references: the two newest clean frames, the newest one last.
            prompts: of the newest reference, then of every frame in the buffer (m = 1 + n).
            cache: keys and values of the k references before the newest one.
            known: how many of these there are, the last ones; fewer than k while a stream starts.
            step: number of the micro step; left out where a move has one.
        """
        view = self._view(buffer[None], references[None], step)
        count = cache.shape[2]
        assert view.mask is not None
        frame = torch.arange(view.mask.shape[1])
        is_there = frame >= count - known
        view = replace(view, mask=view.mask & is_there)
        prepared = self.packed.unpack(torch.cat([self.no_prompt, prompts]))
        velocity, longer_cache = self.model(
            view, _in_order(len(prompts)), _cache_of(cache), 0.0, prepared
        )
        dt = 1 / (self.partition.micro_steps * self.partition.chunks)
        latents = euler_step(buffer, velocity[0], dt)
        latents = latents.clamp(-MAX_ABS_LATENT, MAX_ABS_LATENT)
        return latents, _packed_cache(longer_cache.last(count))

    def _view(
        self,
        buffer: Float[Tensor, "1 n c h w"],
        references: Float[Tensor, "1 2 c h w"],
        step: Int[Tensor, " 1"] | None,
    ) -> BufferView:
        """Lay out the newest reference and the buffer behind the cached references."""
        config = self.model.config
        times = self.times if step is None else self.times.index_select(0, step)
        before = references[:, :1]
        newest = references[:, 1:]
        reference_times = equal_times(newest, config.reference_time)
        return cached_view(
            newest,
            reference_times,
            buffer,
            times,
            before,
            reference_times,
            cached=self.partition.references - 1,
            chunk_frames=self.partition.chunk_frames,
            limit=config.references,
        )


class DecoderGraph(nn.Module):
    """Latents to pixels.

    Args:
        codec: the codec.
    """

    def __init__(self, codec: LatentCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, latents: Float[Tensor, "f c h w"]) -> UInt8[Tensor, "f H W 3"]:
        """Return frames."""
        pixels = self.codec.decode_latents(latents)
        values = (pixels + 1) * HALF_RANGE
        values = values.round().clamp(0, 255)
        return values.permute(0, 2, 3, 1).to(torch.uint8)


class EncoderGraph(nn.Module):
    """Pixels to latents.

    Args:
        codec: the codec.
    """

    def __init__(self, codec: LatentCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, frames: UInt8[Tensor, "f H W 3"]) -> Float[Tensor, "f c h w"]:
        """Return latents."""
        pixels = frames.permute(0, 3, 1, 2).float() / HALF_RANGE - 1
        return self.codec.encode_pixels(pixels)


def _in_order(frames: int) -> Conditioning:
    """Return an index that gives every frame the prepared prompt in its place."""
    nothing = torch.zeros(1, 1, 1)
    return Conditioning(
        tokens=nothing,
        mask=nothing[0] > 0,
        pooled=nothing[0],
        index=torch.arange(frames)[None],
    )


def _cache_of(packed: Float[Tensor, "layer 2 k t g e"]) -> KeyValueCache:
    layers = tuple((pair[0][None], pair[1][None]) for pair in packed)
    return KeyValueCache(layers=layers)


def _packed_cache(cache: KeyValueCache) -> Float[Tensor, "layer 2 k t g e"]:
    layers = [torch.stack([keys[0], values[0]]) for keys, values in cache.layers]
    return torch.stack(layers)
