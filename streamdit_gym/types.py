"""The nouns handed from room to room, and the legend of the shape letters.

Letters: b env (stream) · f frame · c channel · h w latent grid · l prompt token · e prompt width ·
    u distinct prompts.
Latents are ``b f c h w`` float; times ``b f`` in [0, 1] (0 noise, 1 clean); frames ``b f h w 3``
uint8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """The prompt that each frame is conditioned on.

    It is a table of distinct prompts and one index per frame, so that text work is done once per
    prompt, not per frame.

    Attributes:
        tokens: token embeddings of the distinct prompts, padded.
        mask: True where a token is real.
        pooled: one vector per prompt.
        index: row of the table for every frame; -1 means no prompt (dropped).
    """

    tokens: Float[Tensor, "u l e"]
    mask: Bool[Tensor, "u l"]
    pooled: Float[Tensor, "u e"]
    index: Int[Tensor, "b f"]


@dataclass(frozen=True, kw_only=True)
class PreparedPrompts:
    """A prompt table as a model uses it, computed once and not at every evaluation.

    Row 0 stands for no prompt; d is the model's width.

    Attributes:
        pooled: the pooled prompt embeddings, projected to the width of adaLN's condition.
        mask: True where a token is real.
        keys: cross-attention keys in every layer; g attention heads.
        values: cross-attention values in every layer.
        extra: what the model's optional module has prepared, one row per prompt; only that module
            reads it.
    """

    pooled: Float[Tensor, "u d"]
    mask: Bool[Tensor, "u l"]
    keys: Float[Tensor, "layer u g l e"]
    values: Float[Tensor, "layer u g l e"]
    extra: Float[Tensor, "u k o"]

    def join(self, later: PreparedPrompts) -> PreparedPrompts:
        """Return this table with the prompts of a later one behind it, without that one's row 0."""
        import torch

        length = max(self.mask.shape[1], later.mask.shape[1])
        masks = [_pad_tokens(self.mask, length), _pad_tokens(later.mask[1:], length)]
        return PreparedPrompts(
            pooled=torch.cat([self.pooled, later.pooled[1:]]),
            mask=torch.cat(masks),
            keys=_join_keys(self.keys, later.keys, length),
            values=_join_keys(self.values, later.values, length),
            extra=torch.cat([self.extra, later.extra[1:]]),
        )


def _join_keys(first: Tensor, later: Tensor, length: int) -> Tensor:
    """Join keys or values of two tables, padded to a number of tokens."""
    import torch

    return torch.cat([_pad_tokens(first, length, 1), _pad_tokens(later[:, 1:], length, 1)], 1)


def _pad_tokens(x: Tensor, length: int, axes_behind: int = 0) -> Tensor:
    """Pad the token axis, which has so many axes behind it, to a length."""
    from torch.nn import functional

    missing = length - x.shape[-1 - axes_behind]
    return functional.pad(x, (0, 0) * axes_behind + (0, missing))


@dataclass(frozen=True, kw_only=True)
class BufferView:
    """What the model sees in one evaluation: frames in playback order, each at its own time.

    Attributes:
        latents: the frames.
        times: noise level of every frame, 0 noise to 1 clean.
        before: the frame before each frame, at its own noise level (zeros where there is none).
        before_times: noise level of the frame before (0 where there is none).
        positions: place of every frame on the time axis, relative; cached frames stand before them.
        mask: True where a frame (row) may look at a frame (column); columns are the cached frames,
            then these frames. None: every frame sees every frame.
        context: how many of the first frames are attended to only; nothing is predicted for them.
    """

    latents: Float[Tensor, "b f c h w"]
    times: Float[Tensor, "b f"]
    before: Float[Tensor, "b f c h w"]
    before_times: Float[Tensor, "b f"]
    positions: Int[Tensor, " f"]
    mask: Bool[Tensor, "f s"] | None
    context: int
