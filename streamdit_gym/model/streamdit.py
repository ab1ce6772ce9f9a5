"""The StreamDiT transformer: frames at their own noise levels and their prompts in, velocities out.

The network predicts the clean latent as a gated change of the frame before it, which is where
almost all of the next frame already is; the velocity follows from that prediction.

A world with chance needs the noisy latents themselves as input, as the paper has them: the noise
decides which of the possible futures is drawn (`StreamDiTConfig.sees_noise`, docs/decisions/0019).
Where the future is determined noise is only error, and the input is the best linear guess of each
clean latent, so that pure noise comes in as nothing (docs/decisions/0002).
Source: StreamDiT (arXiv 2507.03745), section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from streamdit_gym.errors import PartitionError
from streamdit_gym.model.block import Block, CrossAttention, padding_bias
from streamdit_gym.model.conv_refiner import ConvRefiner
from streamdit_gym.model.initial_values import embedding, zeroed
from streamdit_gym.model.key_value_cache import KeyValueCache
from streamdit_gym.model.optional_modules import global_predictor
from streamdit_gym.model.patchify import patchify, unpatchify
from streamdit_gym.model.preconditioning import (
    expand_times,
    linear_estimate,
    unit_variance,
    velocity_of_clean,
)
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.model.tensor_names import restore_names, store_names
from streamdit_gym.model.time_embedding import rotation, sinusoid
from streamdit_gym.model.window_attention import attention_bias
from streamdit_gym.types import BufferView, Conditioning, PreparedPrompts

# Prompts are padded to this length: on a CPU the softmax of a shorter row takes ten times as long.
MIN_TEXT_TOKENS = 16


class StreamDiT(nn.Module):
    """The transformer; it holds no state of any stream.

    `prepare` does the work of the prompts once; `forward` predicts velocities with it.

    Attributes:
        time_shift: of the noise levels while sampling: none.
    """

    time_shift: float = 1.0

    def __init__(self, config: StreamDiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        channels = config.spatial_channels
        token_channels = channels * config.patch**2
        self.embed = nn.Linear(2 * token_channels, width)  # of a frame and of the one before it
        self.pos_embed = embedding(config.num_tokens, width, std=0.02)
        self.time = _mlp(2 * width, width)
        self.text = nn.Linear(config.text_width, width)
        self.pooled = _mlp(config.text_width, width)
        self.no_prompt = embedding(2, config.text_width, std=0.02)  # its token; its pooled vector
        self.blocks = nn.ModuleList()
        for layer in range(config.depth):
            is_shifted = layer % 2 == 1
            block = Block(width, config.heads, config.token_grid, config.window, is_shifted)
            self.blocks.append(block)
        self.final_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.final_modulation = nn.Linear(width, 2 * width)
        self.final = nn.Linear(width, token_channels + config.patch**2)  # a change and its gate
        self.conv_refiner: ConvRefiner | None = None
        if config.refiner_channels:
            self.conv_refiner = ConvRefiner(
                width,
                channels,
                config.patch,
                config.refiner_channels,
                config.refiner_blocks,
            )
        self.skip_gain = nn.Linear(width, 2 * channels)
        # at first every frame is predicted to be the one before it
        for output in (self.final_modulation, self.final, self.skip_gain):
            zeroed(output)
        self.global_predictor = global_predictor(config.global_channels, config.text_width)
        self.register_state_dict_post_hook(store_names)
        self.register_load_state_dict_pre_hook(restore_names)

    @property
    def is_global(self) -> bool:
        """Whether one attention window holds everything, as a cache needs."""
        return self.config.window == (0, *self.config.token_grid)

    def forward(
        self,
        view: BufferView,
        prompts: Conditioning,
        cache: KeyValueCache | None = None,
        floor: float = 0.0,
        prepared: PreparedPrompts | None = None,
    ) -> tuple[Float[Tensor, "b f c h w"], KeyValueCache]:
        """Return the velocity of every frame behind the view's context, and the longer cache.

        The cache that is returned has the context's frames behind those of the given one. A model
        whose windows are smaller than a frame can use no cache, and returns an empty one.

        Args:
            view: the frames.
            prompts: their prompts.
            cache: keys and values of earlier frames; they stand directly before
                `view.positions[0]`.
            floor: see `velocity_of_clean`; above 0 only in training.
            prepared: what `prepare` returned for the same prompts; then only their index is used.

        Raises:
            PartitionError: if a cache is given to a model whose windows are smaller than a frame.
        """
        clean, longer_cache = self.predict_clean(view, prompts, cache, prepared)
        is_guided = self.config.guidance != 1 and not self.training
        if is_guided:
            clean = self._guide(clean, view, prompts, cache, prepared)
        context = view.context
        latents = view.latents[:, context:]
        times = view.times[:, context:]
        return velocity_of_clean(clean, latents, times, floor), longer_cache

    def predict_clean(
        self,
        view: BufferView,
        prompts: Conditioning,
        cache: KeyValueCache | None = None,
        prepared: PreparedPrompts | None = None,
    ) -> tuple[Float[Tensor, "b f c h w"], KeyValueCache]:
        """Return the predicted clean latents without guidance, and the longer cache.

        The arguments are those of `forward`.
        """
        self._check_cache(cache)
        table = self.prepare(prompts) if prepared is None else prepared
        rows = prompts.index + 1  # row 0 stands for no prompt
        scale_input = unit_variance if self.config.sees_noise else linear_estimate
        own = scale_input(view.latents, view.times)
        before = linear_estimate(view.before, view.before_times)
        tokens = self._embed_frames(own, before)
        condition = self._condition(view, table.pooled[rows], tokens.dtype)
        tokens, longer_cache = self._run_blocks(tokens, condition, view, table, rows, cache)

        # from here on the frames behind the context alone
        context = view.context
        condition = condition[:, context:]
        own = own[:, context:]
        before = before[:, context:]
        before_times = view.before_times[:, context:]
        times = view.times[:, context:]
        rows = rows[:, context:]
        spatial = self._predict_spatial(tokens, condition, own, before, before_times)
        instructions = self.global_predictor.condition(table, rows)
        clean = self.global_predictor.decode(spatial, times, before, before_times, instructions)
        return clean, longer_cache

    def dynamics_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield all weights with their names, but for those of the global predictor."""
        for name, parameter in self.named_parameters():
            if not name.startswith("global_predictor."):
                yield name, parameter

    def prepare(self, prompts: Conditioning) -> PreparedPrompts:
        """Do the work that depends on the prompts alone; their index is not used."""
        tokens, mask = self._with_no_prompt(prompts)
        text = self.text(tokens)
        pooled_no_prompt = self.no_prompt[1:].to(prompts.pooled.dtype)
        pooled = torch.cat([pooled_no_prompt, prompts.pooled])
        pooled = self.pooled(pooled)
        pairs = [
            module.prepare(text)
            for module in self.blocks.modules()
            if isinstance(module, CrossAttention)
        ]
        keys, values = torch.stack(pairs, dim=1)  # each: layer u g l e
        extra = self.global_predictor.encode(prompts.tokens, prompts.mask)
        return PreparedPrompts(
            pooled=pooled,
            mask=mask,
            keys=keys,
            values=values,
            extra=extra,
        )

    def empty_cache(self, rows: int) -> KeyValueCache:
        """Return the keys and values of no frames."""
        config = self.config
        shape = (rows, 0, config.num_tokens, config.heads, config.head_width)
        weight = self.embed.weight
        layers = []
        for _ in self.blocks:
            keys = weight.new_zeros(shape)
            values = weight.new_zeros(shape)
            layers.append((keys, values))
        return KeyValueCache(layers=tuple(layers))

    def _check_cache(self, cache: KeyValueCache | None) -> None:
        if cache is not None and not self.is_global:
            raise PartitionError(
                "this model cannot use a cache",
                given=f"window {self.config.window}",
                allowed=(0, *self.config.token_grid),
                remedy="stream without the cache",
            )

    def _guide(
        self,
        clean: Float[Tensor, "b f c h w"],
        view: BufferView,
        prompts: Conditioning,
        cache: KeyValueCache | None,
        prepared: PreparedPrompts | None,
    ) -> Float[Tensor, "b f c h w"]:
        """Return a prediction moved away from what the model predicts without a prompt.

        Only spatial channels move: past what a prompt names a global channel has no meaning.
        """
        index = prompts.index.clone()
        index[:, view.context :] = -1
        no_prompts = replace(prompts, index=index)
        unprompted, _ = self.predict_clean(view, no_prompts, cache, prepared)
        channels = self.config.spatial_channels
        spatial = clean[:, :, :channels]
        unprompted = unprompted[:, :, :channels]
        guided = unprompted + self.config.guidance * (spatial - unprompted)
        return torch.cat([guided, clean[:, :, channels:]], dim=2)

    def _embed_frames(
        self, own: Float[Tensor, "b f c h w"], before: Float[Tensor, "b f c h w"]
    ) -> Float[Tensor, "b f n d"]:
        """Return tokens of every frame beside the frame before it, with their position added."""
        channels = self.config.spatial_channels
        patch = self.config.patch
        own = own[:, :, :channels]
        before = before[:, :, :channels]
        own_patches = patchify(own, patch)
        before_patches = patchify(before, patch)
        patches = torch.cat([own_patches, before_patches], -1)
        tokens = self.embed(patches)
        positions = self.pos_embed.to(tokens.dtype)
        return tokens + positions

    def _condition(
        self, view: BufferView, pooled: Float[Tensor, "b f d"], dtype: torch.dtype
    ) -> Float[Tensor, "b f d"]:
        """Return the adaLN condition of every frame: its noise levels and its prompt."""
        width = self.config.width
        own_times = sinusoid(view.times, width)
        before_times = sinusoid(view.before_times, width)
        times = torch.cat([own_times, before_times], -1)
        embedded = self.time(times.to(dtype))
        return silu(embedded + pooled)

    def _run_blocks(
        self,
        tokens: Float[Tensor, "b f n d"],
        condition: Float[Tensor, "b f d"],
        view: BufferView,
        table: PreparedPrompts,
        rows: Int[Tensor, "b f"],
        cache: KeyValueCache | None,
    ) -> tuple[Float[Tensor, "b k n d"], KeyValueCache]:
        """Return the tokens of the frames behind the context, and the longer cache.

        Args:
            tokens: of all frames.
            condition: see `_condition`.
            view: where the frames stand, and which sees which.
            table: the prompts' keys and values.
            rows: each frame's row of the table.
            cache: keys and values of earlier frames.
        """
        config = self.config
        cached = 0 if cache is None else cache.frames
        positions = _all_positions(view.positions, cached)
        rotations = rotation(positions, config.head_width)
        mask = view.mask
        if mask is not None and self.is_global:
            mask = attention_bias(mask, config.num_tokens)
        bias = padding_bias(table.mask, tokens.dtype)
        pairs = []
        dropped = 0  # first frames that a block attends to, and leaves out of its result
        for layer, block in enumerate(self.blocks):
            if layer == config.depth - 1:
                # no later block looks at the context, so the last one goes on without it; one
                # frame stays where all is context, and only keys and values are wanted
                dropped = min(view.context, tokens.shape[1] - 1)
            row = rows[:, dropped:].flatten()
            # index_select: the backward of indexing is serial on a CPU
            keys = table.keys[layer].index_select(0, row)
            values = table.values[layer].index_select(0, row)
            prompt = (keys, values, bias[row])
            past = cache.layers[layer] if cache is not None and cached else None
            tokens, pair = block(tokens, condition, prompt, rotations, mask, past, dropped)
            if self.is_global:
                keys, values = pair
                frames = cached + view.context
                pairs.append((keys[:, :frames], values[:, :frames]))
        tokens = tokens[:, view.context - dropped :]
        return tokens, KeyValueCache(layers=tuple(pairs))

    def _predict_spatial(
        self,
        tokens: Float[Tensor, "b f n d"],
        condition: Float[Tensor, "b f d"],
        own: Float[Tensor, "b f c h w"],
        before: Float[Tensor, "b f c h w"],
        before_times: Float[Tensor, "b f"],
    ) -> Float[Tensor, "b f s h w"]:
        """Return the clean spatial channels: a gated change of the frame before.

        Args:
            tokens: what the last block returned.
            condition: see `_condition`.
            own: the network's input of the frames.
            before: linear estimates of the clean latents of the frames before them.
            before_times: noise levels of the frames before them.
        """
        channels = self.config.spatial_channels
        own = own[:, :, :channels]
        before = before[:, :, :channels]
        prediction = self._predict_change(tokens, condition, own, before)
        change, gate_logit = prediction.split([channels, 1], dim=2)
        gate_logit = gate_logit.float()
        gate = 2 * gate_logit.sigmoid()  # b f 1 h w
        gains = self.skip_gain(condition)
        gains = gains.float()
        gains = gains[..., None, None]
        before_gain, own_gain = gains.chunk(2, dim=2)  # each: b f s 1 1
        # what stands still is copied exactly: with a closed gate and a clean frame before, there
        # is no way for it to fade
        before_noise = 1 - expand_times(before_times)
        before_weight = 1 + before_gain * before_noise
        return before_weight * before + own_gain * own + gate * change.float()

    def _predict_change(
        self,
        tokens: Float[Tensor, "b f n d"],
        condition: Float[Tensor, "b f d"],
        own: Float[Tensor, "b f s h w"],
        before: Float[Tensor, "b f s h w"],
    ) -> Float[Tensor, "b f s+1 h w"]:
        """Return what to add to the frame before, and in the last channel its gate's logit."""
        config = self.config
        modulation = self.final_modulation(condition)
        modulation = modulation[:, :, None]
        shift, scale = modulation.chunk(2, dim=-1)  # each: b f 1 d
        tokens = self.final_norm(tokens)
        tokens = torch.addcmul(shift, tokens, 1 + scale)
        prediction = self.final(tokens)
        rows, _ = config.token_grid
        prediction = unpatchify(prediction, config.patch, rows)
        if self.conv_refiner is None:
            return prediction
        return prediction + self.conv_refiner(tokens, prediction, own, before)

    def _with_no_prompt(
        self, prompts: Conditioning
    ) -> tuple[Float[Tensor, "r l e"], Bool[Tensor, "r l"]]:
        """Return padded tokens and mask with a row 0 in front, which stands for no prompt."""
        length = prompts.tokens.shape[1]
        missing = max(0, MIN_TEXT_TOKENS - length)
        tokens = pad(prompts.tokens, (0, 0, 0, missing))  # u l e
        mask = pad(prompts.mask, (0, missing))  # u l
        _, padded_length, width = tokens.shape
        no_tokens = tokens.new_zeros(1, padded_length, width)
        no_tokens[0, 0] = self.no_prompt[0]
        no_mask = mask.new_zeros(1, padded_length)
        no_mask[0, 0] = True
        tokens = torch.cat([no_tokens, tokens])
        mask = torch.cat([no_mask, mask])
        return tokens, mask


def _mlp(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.SiLU(),
        nn.Linear(width, width),
    )


def _all_positions(positions: Int[Tensor, " f"], cached: int) -> Int[Tensor, " s"]:
    """Return the positions of the cached frames and of these, which follow them."""
    if cached == 0:
        return positions
    past = positions[0] - torch.arange(cached, 0, -1, device=positions.device)
    return torch.cat([past, positions])
