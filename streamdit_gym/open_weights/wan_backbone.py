"""A Wan transformer as the engine's model.

Wan's noise level sigma is 1 at noise and 0 at data; our time is t = 1 - sigma. It predicts the
noise minus the data, which is minus our velocity.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from streamdit_gym.errors import PartitionError
from streamdit_gym.model.key_value_cache import KeyValueCache
from streamdit_gym.model.preconditioning import clean_of_velocity
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.types import BufferView, Conditioning

TRAIN_STEPS = 1000  # Wan's time embedding counts so many noise levels
FPS_24 = 1  # SkyReels-V2's mark for 24 frames a second; 0 is 16
SKYREELS = "SkyReelsV2Transformer3DModel"
WAN = "WanTransformer3DModel"


class FramePrompts:
    """Cross-attention in which every frame looks at its own prompt.

    Where there are as many prompts as videos it is what it wraps, to the bit.

    Args:
        processor: the attention of diffusers that it wraps.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Float[Tensor, "b n d"],
        encoder_hidden_states: Float[Tensor, "p l d"],
        *more: Any,
        **named: Any,
    ) -> Float[Tensor, "b n d"]:
        """Return what the tokens take from their prompts: one for a video, or one for a frame."""
        videos = len(hidden_states)
        prompts = len(encoder_hidden_states)
        if prompts != videos:
            hidden_states = hidden_states.reshape(prompts, -1, hidden_states.shape[-1])
        attended = self.processor(attn, hidden_states, encoder_hidden_states, *more, **named)
        return attended.reshape(videos, -1, attended.shape[-1])


class WanBackbone(nn.Module):
    """A transformer of diffusers, Wan's or SkyReels-V2's, that moves streams.

    Args:
        transformer: `WanTransformer3DModel` or `SkyReelsV2Transformer3DModel`; the attention to
            prompts is wrapped in place.
        no_prompt: embedding of the negative prompt, for guidance and for frames without prompt.
        grid: rows and columns of a latent.
        references: most clean latents before the buffer.
        guidance: weight of the prompt; 1 is no guidance, and one evaluation instead of two.
        time_shift: of the noise levels, see `streamdit_gym.stream.noise_levels.shifted`; Wan 2.1
            takes 3 at 480p and 5 at 720p, SkyReels-V2-DF 8 from text and 5 from an image.
        reference_time: noise level of references; SkyReels-V2-DF was trained with 0.98.
        micro_steps: s of partitions that are named and not written out.
    """

    def __init__(
        self,
        transformer: Any,
        no_prompt: Float[Tensor, "l e"],
        *,
        grid: tuple[int, int],
        references: int,
        guidance: float = 1.0,
        time_shift: float = 1.0,
        reference_time: float = 1.0,
        micro_steps: int = 1,
    ) -> None:
        super().__init__()
        self.transformer: Any = transformer
        self.time_shift = time_shift
        self.register_buffer("no_prompt", no_prompt, persistent=False)
        sizes: Any = transformer.config
        _, rows, _ = sizes.patch_size
        # by name, since diffusers is not loaded here; of a sharded one it is a base's
        names = [kind.__name__ for kind in type(transformer).__mro__]
        self.takes_frame_times = SKYREELS in names
        self.config = StreamDiTConfig(
            channels=sizes.in_channels,
            grid=grid,
            patch=rows,
            width=sizes.num_attention_heads * sizes.attention_head_dim,
            depth=sizes.num_layers,
            heads=sizes.num_attention_heads,
            text_width=sizes.text_dim,
            window=(0, grid[0] // rows, grid[1] // rows),
            causal=False,
            references=references,
            sees_noise=True,
            micro_steps=micro_steps,
            reference_time=reference_time,
            guidance=guidance,
            refiner_channels=0,
            refiner_blocks=0,
        )
        for block in transformer.blocks:
            block.attn2.processor = FramePrompts(block.attn2.processor)

    @property
    def is_global(self) -> bool:
        """Every frame sees every token."""
        return True

    def prepare(self, prompts: Conditioning) -> None:
        """Prepare nothing: the transformer reads prompts at every evaluation."""

    def empty_cache(self, rows: int) -> KeyValueCache:
        """Return a cache that holds nothing: frames see later ones, so none can be kept."""
        return KeyValueCache(layers=())

    def forward(
        self,
        view: BufferView,
        prompts: Conditioning,
        cache: KeyValueCache | None = None,
        floor: float = 0.0,
        prepared: Any = None,
    ) -> tuple[Float[Tensor, "b f c h w"], KeyValueCache]:
        """Return the velocity of every frame behind the view's context, and an empty cache.

        Raises:
            PartitionError: if a cache is given, or the view hides frames from one another.
        """
        if (cache is not None and cache.frames) or view.mask is not None:
            raise PartitionError(
                "this model looks at all frames at once",
                given="a cache, or a mask",
                allowed="neither",
                remedy="stream with an Engine, which gives none where config.causal is False",
            )
        velocity = self._velocity(view, prompts.index, prompts)
        if self.config.guidance != 1:
            without_prompt = self._velocity(view, torch.full_like(prompts.index, -1), prompts)
            velocity = without_prompt + self.config.guidance * (velocity - without_prompt)
        return velocity[:, view.context :], self.empty_cache(len(velocity))

    def predict_clean(
        self,
        view: BufferView,
        prompts: Conditioning,
        cache: KeyValueCache | None = None,
        prepared: Any = None,
    ) -> tuple[Float[Tensor, "b f c h w"], KeyValueCache]:
        """Return the clean latents that it predicts, with guidance, and an empty cache."""
        velocity, longer_cache = self.forward(view, prompts, cache, 0.0, prepared)
        latents = view.latents[:, view.context :]
        times = view.times[:, view.context :]
        return clean_of_velocity(velocity, latents, times, 0.0), longer_cache

    def _velocity(
        self, view: BufferView, index: Tensor, prompts: Conditioning
    ) -> Float[Tensor, "b f c h w"]:
        """Return the velocity of all frames, each conditioned on a row of the prompts."""
        embeddings = self._embeddings(prompts)[index + 1]  # row 0 is the negative prompt
        is_one_prompt = bool((index == index[:, :1]).all())
        embeddings = embeddings[:, 0] if is_one_prompt else embeddings.flatten(0, 1)
        # the patch embedding's; some parts of the transformer stay in float32
        dtype = self.transformer.patch_embedding.weight.dtype
        videos = view.latents.transpose(1, 2).to(dtype)
        noise_levels = TRAIN_STEPS * (1 - view.times)
        predicted = self._predict(videos, noise_levels, embeddings.to(dtype))
        return -predicted.transpose(1, 2).float()

    def _predict(
        self,
        videos: Float[Tensor, "b c f h w"],
        noise_levels: Float[Tensor, "b f"],
        embeddings: Float[Tensor, "p l e"],
    ) -> Float[Tensor, "b c f h w"]:
        """Return noise minus data, as the transformer predicts it."""
        if self.takes_frame_times:
            output = self.transformer(
                videos,
                noise_levels,
                embeddings,
                enable_diffusion_forcing=True,
                fps=self._fps_marks(len(videos)),
                return_dict=False,
            )
        else:
            times = noise_levels.repeat_interleave(self.config.num_tokens, 1)
            output = self.transformer(videos, times, embeddings, return_dict=False)
        predicted: Tensor = output[0]
        return predicted

    def _fps_marks(self, videos: int) -> list[int] | None:
        """Return what SkyReels-V2 takes for videos of 24 frames a second, if it asks for it."""
        if not self.transformer.config.inject_sample_info:
            return None
        # of one video: the same is added to all, and diffusers fails with more
        return [FPS_24]

    def _embeddings(self, prompts: Conditioning) -> Float[Tensor, "u l e"]:
        """Return the negative prompt's embedding, then the prompts', zero behind their ends."""
        assert isinstance(self.no_prompt, Tensor)
        tokens = prompts.tokens * prompts.mask[..., None]
        return torch.cat([self.no_prompt.to(tokens)[None], tokens])
