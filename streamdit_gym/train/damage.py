"""Damage to reference frames, for the transformer to mend.

Takes: latents, a codec.  Gives: latents of the same frames, bent, doubled or with a piece out of place.  Knows nothing of: the transformer.

A stream's errors stay in it: what is copied from frame to frame stays bent for ever once it is bent. A model's own rollouts
show it such frames only until they have strayed from the recorded truth, which is soon. Bent on purpose, the truth is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from streamdit_gym.codec.latent_codec import LatentCodec


@dataclass(frozen=True, kw_only=True)
class Damage:
    """How frames are damaged; all frames of a clip in the same way, as in a stream that nothing mends.

    Attributes:
        codec: whose latents they are.
        bend: largest deviation of the smooth displacement, in pixels.
        knots: how many random displacements across a frame the smooth one goes through.
        piece: largest radius of the disc whose content comes from elsewhere, in pixels.
        double: share of clips in which each frame is the mean of two so damaged.
    """

    codec: LatentCodec
    bend: float = 3.0
    knots: int = 6
    piece: float = 8.0
    double: float = 0.5

    @torch.no_grad()
    def __call__(self, latents: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f c h w"]:
        """Return damaged latents."""
        b = len(latents)
        weight = next(self.codec.parameters())
        frames = self.codec.decode_latents(rearrange(latents, "b f c h w -> (b f) c h w").to(weight.dtype)).float()
        clips = rearrange(frames, "(b f) c h w -> b (f c) h w", b=b)
        twice = torch.rand(b, 1, 1, 1, device=latents.device) < self.double
        first, second = (self._displaced(clips) for _ in range(2))
        damaged = torch.where(twice, (first + second) / 2, first)
        pixels = rearrange(damaged, "b (f c) h w -> (b f) c h w", c=3)
        made = self.codec.encode_pixels(pixels.clamp(-1, 1).to(weight.dtype))
        return rearrange(made, "(b f) c h w -> b f c h w", b=b).to(latents.dtype)

    def _displaced(self, clips: Float[Tensor, "b n h w"]) -> Float[Tensor, "b n h w"]:
        b, size, device = len(clips), self.codec.size, clips.device
        strength = self.bend * torch.rand(b, 1, 1, 1, device=device)
        knots = torch.randn(b, 2, self.knots, self.knots, device=device)
        field = strength * functional.interpolate(knots, size=(size, size), mode="bicubic", align_corners=True)
        along = torch.arange(size, device=device, dtype=torch.float32)
        rows, columns = torch.meshgrid(along, along, indexing="ij")
        middle = size * torch.rand(2, b, 1, 1, device=device)
        inside = (rows - middle[0]).square() + (columns - middle[1]).square() < (self.piece * torch.rand(b, 1, 1, device=device)).square()
        field = field + inside[:, None] * (size / 4) * torch.randn(b, 2, 1, 1, device=device)
        place = torch.stack([columns + field[:, 0], rows + field[:, 1]], dim=-1)
        return functional.grid_sample(clips, place * 2 / (size - 1) - 1, padding_mode="border", align_corners=True)
