"""The StreamDiT transformer: frames at their own noise levels and their prompts in, velocities out.

Takes: a BufferView and its Conditioning.  Gives: the velocity of every frame.  Knows nothing of:
    streams, codecs.

The network predicts the clean latent as a gated change of the frame before it, which is where
almost all of the next frame already is; the velocity follows from that prediction. It is fed the
best linear guess of each clean latent instead of the noisy latent itself, so that pure noise comes
in as nothing (docs/decisions/0002).
Source: StreamDiT (arXiv 2507.03745), section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from streamdit_gym.errors import PartitionError
from streamdit_gym.model.appearance import Looks
from streamdit_gym.model.block import Block, CrossAttention
from streamdit_gym.model.conv_refiner import ConvRefiner
from streamdit_gym.model.embedding import embedding
from streamdit_gym.model.key_value_cache import KeyValueCache
from streamdit_gym.model.patchify import patchify, unpatchify
from streamdit_gym.model.preconditioning import linear_estimate, velocity_of_clean
from streamdit_gym.model.time_embedding import rotation, sinusoid
from streamdit_gym.model.window_attention import seen
from streamdit_gym.types import BufferView, Conditioning, PreparedPrompts

MIN_TEXT_TOKENS = (
    16  # to which prompts are padded: on a CPU the softmax of a shorter row takes ten times as long
)


@dataclass(frozen=True, kw_only=True)
class StreamDiTConfig:
    """Size and kind of the transformer.

    Attributes:
        channels: latent channels.
        looks: how many of them, the last ones, are a palette, three to a colour; see
            `streamdit_gym.model.appearance`.
        grid: latent height and width.
        patch: latents per token side.
        width: token width.
        depth: blocks.
        heads: attention heads.
        text_width: width of the prompt encoder's embeddings.
        window: attention window in frames, token rows, token columns; 0 frames means all of them.
        causal: whether a frame sees only itself and earlier frames; needed for a cache of the
            references.
        references: most reference frames a frame sees, in a causal model.
        refine: channels of the convolutional head behind the last block; 0 for none.
        refine_blocks: residual blocks in it.
        reference_time: noise level at which references are fed while sampling; 1 is clean.
        temperature: scale of the noise that chunks begin with; 0 is none, for what learned from a
            teacher that draws alike from any noise.
        guidance: how far sampling goes from what no prompt gives towards, and past, what the prompt
            gives; 1 is no guidance, and one evaluation of the network instead of two.
    """

    channels: int = 8
    looks: int = 0
    grid: int = 8
    patch: int = 2
    width: int = 256
    depth: int = 6
    heads: int = 8
    text_width: int = 384
    window: tuple[int, int, int] = (0, 4, 4)
    causal: bool = True
    references: int = 4
    reference_time: float = 1.0
    temperature: float = 1.0
    guidance: float = 1.0
    refine: int = 64
    refine_blocks: int = 1

    @property
    def local(self) -> int:
        """Channels that tell where things are."""
        return self.channels - self.looks

    @property
    def rows(self) -> int:
        """Token rows (= columns) of a frame."""
        return self.grid // self.patch


class StreamDiT(nn.Module):
    """The transformer; it holds no state of any stream."""

    def __init__(self, config: StreamDiTConfig) -> None:
        super().__init__()
        self.config = config
        width, patch_width = config.width, config.local * config.patch**2
        self.embed = nn.Linear(
            2 * patch_width, width
        )  # a frame's token beside the token of the frame before it
        self.place = embedding(config.rows**2, width, std=0.02)
        self.time = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.text = nn.Linear(config.text_width, width)
        self.pooled = nn.Sequential(
            nn.Linear(config.text_width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.no_prompt = embedding(2, config.text_width, std=0.02)
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.rows, config.window, shifted=bool(i % 2))
            for i in range(config.depth)
        )
        self.final_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.final_modulation = nn.Linear(width, 2 * width)
        self.final = nn.Linear(width, patch_width + config.patch**2)
        self.refine = (
            ConvRefiner(width, config.local, config.patch, config.refine, config.refine_blocks)
            if config.refine
            else None
        )
        self.carry = nn.Linear(width, 2 * config.local)
        for layer in (self.final_modulation, self.final, self.carry):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.looks = Looks(config.looks // 3, config.text_width) if config.looks else None

    @property
    def whole(self) -> bool:
        """Whether one window holds everything, as a cache needs."""
        return tuple(self.config.window) == (0, self.config.rows, self.config.rows)

    def forward(
        self,
        view: BufferView,
        prompts: Conditioning,
        cache: KeyValueCache | None = None,
        floor: float = 0.0,
        prepared: PreparedPrompts | None = None,
    ) -> tuple[Float[Tensor, "b f c h w"], KeyValueCache]:
        """Return the velocity of every frame behind the view's context, and the cache with the
        context's frames behind its own.

        A model whose windows are smaller than a frame can use no cache, and returns an empty one.

        Args:
            view: the frames.
            prompts: their prompts.
            cache: keys and values of earlier frames; they stand directly before
                `view.positions[0]`.
            floor: see `velocity_of_clean`; above 0 only in training.
            prepared: what `prepare` made of the prompts before; then only their index is looked at.

        Raises:
            PartitionError: if a cache is given to a model whose windows are smaller than a frame.
        """
        clean, new = self.predict_clean(view, prompts, cache, prepared)
        if self.config.guidance != 1 and not self.training:
            index = prompts.index.clone()
            index[:, view.context :] = -1
            unsaid, _ = self.predict_clean(view, replace(prompts, index=index), cache, prepared)
            local = slice(self.config.local)  # colours past those that are named are no colours
            clean[:, :, local] = (
                unsaid[:, :, local] + self.config.guidance * (clean - unsaid)[:, :, local]
            )
        return velocity_of_clean(
            clean, view.latents[:, view.context :], view.times[:, view.context :], floor
        ), new

    def predict_clean(
        self,
        view: BufferView,
        prompts: Conditioning,
        cache: KeyValueCache | None = None,
        prepared: PreparedPrompts | None = None,
    ) -> tuple[Float[Tensor, "b f c h w"], KeyValueCache]:
        """Return the predicted clean latents, and the cache with the context behind it;
        see `forward`.
        """
        if cache is not None and not self.whole:
            raise PartitionError(
                "this model cannot use a cache",
                given=f"window {self.config.window}",
                allowed=f"(0, {self.config.rows}, {self.config.rows})",
                remedy="stream without the cache",
            )
        config = self.config
        given, given_before = (
            linear_estimate(view.latents, view.times),
            linear_estimate(view.before, view.before_times),
        )
        own, before = given[:, :, : config.local], given_before[:, :, : config.local]
        x = self.embed(torch.cat([patchify(own, config.patch), patchify(before, config.patch)], -1))
        x = x + self.place.to(x.dtype)
        table = self.prepare(prompts) if prepared is None else prepared
        index = prompts.index + 1  # row 0 is no prompt
        times = torch.cat(
            [sinusoid(view.times, config.width), sinusoid(view.before_times, config.width)], -1
        )
        condition = functional.silu(self.time(times.to(x.dtype)) + table.pooled[index])
        cached, positions = 0 if cache is None else cache.frames, view.positions
        if cached:
            positions = torch.cat(
                [positions[0] - torch.arange(cached, 0, -1, device=positions.device), positions]
            )
        rotations = rotation(positions, config.width // config.heads)
        mask = (
            None
            if view.mask is None
            else seen(view.mask, config.rows**2)
            if self.whole
            else view.mask
        )
        bias = torch.zeros_like(table.mask, dtype=x.dtype).masked_fill(~table.mask, float("-inf"))[
            :, None, None
        ]
        pairs = []
        for layer, block in enumerate(self.blocks):
            # the last block is the last to look at the context: what follows is for the frames to
            # predict alone
            context = (
                min(view.context, view.latents.shape[1] - 1) if layer == config.depth - 1 else 0
            )
            row = index[:, context:].flatten()
            # index_select: the backward of indexing is serial on a CPU
            prompt = (
                table.keys[layer].index_select(0, row),
                table.values[layer].index_select(0, row),
                bias[row],
            )
            known = cache.layers[layer] if cache is not None and cached else None
            x, (keys, values) = block(x, condition, prompt, rotations, mask, known, context)
            if self.whole:
                pairs.append((keys[:, : cached + view.context], values[:, : cached + view.context]))
        x = x[
            :, view.context - context :
        ]  # empty, if all is context and only keys and values are asked for
        condition, own, before, before_times = (
            part[:, view.context :] for part in (condition, own, before, view.before_times)
        )
        shift, scale = self.final_modulation(condition)[:, :, None].chunk(2, dim=-1)
        x = torch.addcmul(shift, self.final_norm(x), 1 + scale)
        drawn = unpatchify(self.final(x), config.patch, config.rows)
        if self.refine is not None:
            drawn = drawn + self.refine(x, drawn, own, before)
        change, gate = drawn[:, :, :-1].float(), 2 * drawn[:, :, -1:].float().sigmoid()
        keep_before, keep_own = self.carry(condition).float()[..., None, None].chunk(2, dim=2)
        # what stands still is copied exactly: a closed gate and a clean frame before leave no way
        # for it to fade
        kept = (
            1 + keep_before * (1 - before_times[..., None, None, None])
        ) * before + keep_own * own
        clean = kept + gate * change
        if self.looks is not None:
            times, worn = (
                view.times[:, view.context :],
                given_before[:, view.context :, config.local :],
            )
            clean = torch.cat(
                [
                    clean,
                    self.looks(times, worn, before_times, table.looks[index[:, view.context :]]),
                ],
                dim=2,
            )
        return clean, KeyValueCache(layers=tuple(pairs))

    def empty_cache(self, rows: int) -> KeyValueCache:
        """Return the keys and values of no frames."""
        config = self.config
        shape = (rows, 0, config.rows**2, config.heads, config.width // config.heads)
        return KeyValueCache(
            layers=tuple(
                (self.embed.weight.new_zeros(shape), self.embed.weight.new_zeros(shape))
                for _ in self.blocks
            )
        )

    def prepare(self, prompts: Conditioning) -> PreparedPrompts:
        """Do the work that depends on the prompts alone; the index is not looked at."""
        missing = max(0, MIN_TEXT_TOKENS - prompts.tokens.shape[1])
        spoken, heard = (
            functional.pad(prompts.tokens, (0, 0, 0, missing)),
            functional.pad(prompts.mask, (0, missing)),
        )
        empty = spoken.new_zeros(1, *spoken.shape[1:])
        empty[0, 0] = self.no_prompt[0].to(empty.dtype)
        first = heard.new_zeros(1, *heard.shape[1:])
        first[0, 0] = True
        tokens = self.text(torch.cat([empty, spoken]))
        pooled = self.pooled(
            torch.cat([self.no_prompt[1:].to(prompts.pooled.dtype), prompts.pooled])
        )
        crosses = [module for module in self.blocks.modules() if isinstance(module, CrossAttention)]
        pairs = torch.stack([cross.prepare(tokens) for cross in crosses], dim=1)
        mask = torch.cat([first, heard])
        looks = (
            pooled.new_zeros(len(mask), 0, 4)
            if self.looks is None
            else self.looks.prepare(prompts.tokens, prompts.mask)
        )
        return PreparedPrompts(
            pooled=pooled, mask=mask, keys=pairs[0], values=pairs[1], looks=looks
        )
