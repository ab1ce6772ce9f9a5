"""The nouns handed from room to room, and the legend of the shape letters.

Letters: b env (stream) · f frame · c channel · h w latent grid · l prompt token · e prompt width ·
    u distinct prompts.
Latents are ``b f c h w`` float; times ``b f`` in [0, 1] (0 noise, 1 clean); frames ``b f h w 3``
uint8.

Takes / Gives: plain data.  Knows nothing of: any room.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """Which prompt each frame was born with.

    A table of distinct prompts and one index per frame, so that text work is done once per prompt,
    not per frame.

    Attributes:
        tokens: token embeddings of the distinct prompts, padded.
        mask: True where a token is real.
        pooled: one vector per prompt.
        index: row of the table for every frame; -1 means no prompt (dropped).
    """

    tokens: Float[Tensor, "u l e"]
    mask: Tensor
    pooled: Float[Tensor, "u e"]
    index: Int[Tensor, "b f"]


@dataclass(frozen=True, kw_only=True)
class PreparedPrompts:
    """A prompt table as a model uses it, made once and not at every evaluation; row 0 stands for no
    prompt.

    Attributes:
        pooled: what adaLN adds, one vector per prompt.
        mask: True where a token is real.
        keys: cross-attention keys in every layer; g attention heads.
        values: likewise.
        looks: what each says of each colour of the palette, see `streamdit_gym.model.appearance`;
            no colours in a world without.
    """

    pooled: Float[Tensor, "u d"]
    mask: Bool[Tensor, "u l"]
    keys: Float[Tensor, "layer u g l d"]
    values: Float[Tensor, "layer u g l d"]
    looks: Float[Tensor, "u k 4"]

    def join(self, later: PreparedPrompts) -> PreparedPrompts:
        """Return this table with the prompts of a later one behind it (without that one's row
        0).
        """
        import torch

        longest = max(self.mask.shape[1], later.mask.shape[1])

        def longer(x: Tensor, axes_behind: int) -> Tensor:
            return torch.nn.functional.pad(
                x, (0, 0) * axes_behind + (0, longest - x.shape[-1 - axes_behind])
            )

        return PreparedPrompts(
            pooled=torch.cat([self.pooled, later.pooled[1:]]),
            mask=torch.cat([longer(self.mask, 0), longer(later.mask[1:], 0)]),
            keys=torch.cat([longer(self.keys, 1), longer(later.keys[:, 1:], 1)], 1),
            values=torch.cat([longer(self.values, 1), longer(later.values[:, 1:], 1)], 1),
            looks=torch.cat([self.looks, later.looks[1:]]),
        )


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
            then these frames.
            None: every frame sees every frame.
        context: how many of the first frames are only looked at; nothing is predicted for them.
    """

    latents: Float[Tensor, "b f c h w"]
    times: Float[Tensor, "b f"]
    before: Float[Tensor, "b f c h w"]
    before_times: Float[Tensor, "b f"]
    positions: Int[Tensor, " f"]
    mask: Tensor | None
    context: int
