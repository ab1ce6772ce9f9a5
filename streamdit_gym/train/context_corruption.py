"""ContextCorruption to reference frames, for the transformer to mend.

Takes: latents, a codec.  Gives: latents of frames bent, doubled, faded or with a piece astray.
    Knows nothing of: the transformer.

A stream's errors stay in it: what is copied from frame to frame stays bent for ever once it is
bent. A model's own rollouts show it such frames only until they have strayed from the recorded
truth, which is soon. Bent on purpose, the truth is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from streamdit_gym.model.codec import LatentCodec
from streamdit_gym.train.train_codec import ground


@dataclass(frozen=True, kw_only=True)
class ContextCorruption:
    """How frames are damaged; all frames of a clip in the same way, as in a stream that nothing
    mends.

    Attributes:
        codec: whose latents they are.
        bend: largest deviation of the smooth displacement, in pixels.
        knots: how many random displacements across a frame the smooth one goes through.
        piece: largest radius of the disc whose content comes from elsewhere, in pixels; twice as
            large where it is turned instead, and always twice as large where it is spread: turned
            and stretched by as much as the direction from its middle says, slid: moved towards an
            edge that is near, and maybe over it, or squeezed.
        spread: deviation of that turn, in radians, and of the stretch, as a logarithm.
        squeeze: how many times smaller things are squeezed at most.
        double: share of clips in which each frame is two so damaged: their mean, or all that is in
            either.
        fade: share of clips in which a disc of the frame pales towards the frame's commonest
            colour.
    """

    codec: LatentCodec
    bend: float = 3.0
    knots: int = 6
    piece: float = 8.0
    spread: tuple[float, float] = (0.4, 0.15)
    squeeze: float = 2.0
    double: float = 0.6
    fade: float = 0.25

    @torch.no_grad()
    def __call__(self, latents: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f c h w"]:
        """Return damaged latents; what they tell of looks stays."""
        b, device = len(latents), latents.device
        weight = next(self.codec.parameters())
        frames = self.codec.decode_latents(
            rearrange(latents, "b f c h w -> (b f) c h w").to(weight.dtype)
        ).float()
        clips = rearrange(frames, "(b f) c h w -> b f c h w", b=b)
        first, second = (self._displaced(clips) for _ in range(2))
        mean, either = (
            (first + second) / 2,
            torch.where(_stands_out(first) > _stands_out(second), first, second),
        )
        chance = torch.rand(b, 1, 1, 1, 1, device=device)
        damaged = torch.where(
            chance < self.double / 2, mean, torch.where(chance < self.double, either, first)
        )
        _, disc = self._disc(clips, self.piece * torch.rand(b, 1, 1, device=device))
        pale = (
            torch.rand(b, 1, 1, device=device)
            * (torch.rand(b, 1, 1, device=device) < self.fade)
            * disc
        )
        damaged = torch.lerp(damaged, ground(damaged).expand_as(damaged), pale[:, None, None])
        made = self.codec.encode_pixels(
            rearrange(damaged, "b f c h w -> (b f) c h w").clamp(-1, 1).to(weight.dtype)
        )
        local = self.codec.spatial_channels
        places = rearrange(made, "(b f) c h w -> b f c h w", b=b).to(latents.dtype)[:, :, :local]
        return torch.cat([places, latents[:, :, local:]], 2)

    def _displaced(self, clips: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f c h w"]:
        b, frames, _, size, _ = clips.shape
        device = clips.device
        strength = self.bend * torch.rand(b, 1, 1, 1, device=device)
        knots = torch.randn(b, 2, self.knots, self.knots, device=device)
        field = strength * functional.interpolate(
            knots, size=(size, size), mode="bicubic", align_corners=True
        )
        kind = torch.randint(5, (b, 1, 1), device=device)
        turned, spread, slid, squeezed = (kind == k for k in (1, 2, 3, 4))
        radius = torch.where(
            spread | slid | squeezed,
            2 * self.piece,
            self.piece * torch.rand(b, 1, 1, device=device) * (1 + turned.float()),
        )
        (x, y), inside = self._disc(clips, radius)
        by, longer = (self._by_direction(x, y, deviation) for deviation in self.spread)
        angle = torch.where(spread, by, 2 * torch.pi * turned * torch.rand(b, 1, 1, device=device))
        smaller = 1 + (self.squeeze - 1) * torch.rand(b, 1, 1, device=device)
        length = torch.where(spread, longer.exp(), torch.where(squeezed, smaller, 1))
        moved = (
            torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], 1)
            * length[:, None]
        )
        shift = (size / 4) * torch.randn(b, 2, 1, 1, device=device)
        shift = torch.where(
            slid[:, None], self._off_the_edge(x, y) * torch.rand(b, 1, 1, 1, device=device), shift
        )
        field = field + inside[:, None] * torch.where(
            (turned | spread | squeezed)[:, None], moved - torch.stack([x, y], 1), shift
        )
        along = torch.arange(size, device=device, dtype=torch.float32)
        rows, columns = torch.meshgrid(along, along, indexing="ij")
        place = (
            torch.stack([columns + field[:, 0], rows + field[:, 1]], dim=-1) * 2 / (size - 1) - 1
        )
        moved = functional.grid_sample(
            rearrange(clips, "b f c h w -> b (f c) h w"),
            place,
            padding_mode="border",
            align_corners=True,
        )
        return rearrange(moved, "b (f c) h w -> b f c h w", f=frames)

    def _off_the_edge(
        self, x: Float[Tensor, "b h w"], y: Float[Tensor, "b h w"]
    ) -> Float[Tensor, "b 2 1 1"]:
        """Return where what is slid over the nearest edge comes from, as an offset (x, y); 0 where
        every edge is far.

        Args:
            x: each pixel's offset from the place that is slid.
            y: likewise.
        """
        reach = 2 * self.piece
        gaps = torch.stack(
            [-x.amin((1, 2)), x.amax((1, 2)), -y.amin((1, 2)), y.amax((1, 2))], 1
        )  # left, right, top, bottom
        gap, edge = gaps.min(1)
        inwards = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], device=x.device)[
            edge
        ]
        return (inwards * reach * (gap < reach)[:, None])[..., None, None]

    def _by_direction(
        self, x: Float[Tensor, "b h w"], y: Float[Tensor, "b h w"], deviation: float
    ) -> Float[Tensor, "b h w"]:
        """Return a random number for each direction: waves of one, two and three periods around,
        the first the largest.
        """
        around = torch.atan2(y, x)
        waves = torch.zeros_like(around)
        for periods in range(1, 4):
            phase = 2 * torch.pi * torch.rand(len(x), 1, 1, device=x.device)
            height = deviation * torch.randn(len(x), 1, 1, device=x.device) * 2**0.5 / periods**2
            waves = waves + height * torch.sin(periods * around + phase)
        return waves

    def _disc(
        self, clips: Float[Tensor, "b f c h w"], radius: Float[Tensor, "b 1 1"]
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Return each pixel's offsets (x, y) from a place of its clip's, and whether it is within
        the radius [b, h, w].

        Half of the places are anywhere, half where something stands out.
        """
        size = self.codec.size
        standing = _stands_out(clips[:, :1])[:, 0].flatten(1) + 1e-6
        drawn = torch.multinomial(standing / standing.sum(1, keepdim=True) + 1 / size**2, 1)[
            ..., None
        ]
        along = torch.arange(size, device=clips.device, dtype=torch.float32)
        x, y = torch.broadcast_tensors(along - drawn % size, along[:, None] - drawn // size)
        return (x, y), x.square() + y.square() < radius.square()


def _stands_out(clips: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f 1 h w"]:
    return (clips - ground(clips)).square().sum(2, keepdim=True)
