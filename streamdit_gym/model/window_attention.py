"""Self-attention inside 3-D windows, shifted by half a window in every other layer.

Takes: tokens ``b f n d`` (n = rows x columns).  Gives: tokens, and keys and values for a cache.
Knows nothing of: noise levels, prompts.

Cyclic shifts make windows that wrap around an axis; tokens of different sides of a wrap do not see
each other.
Source: StreamDiT (arXiv 2507.03745), section 3.3; the shift after Swin (arXiv 2103.14030).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from streamdit_gym.errors import PartitionError
from streamdit_gym.model.key_value_cache import Pair
from streamdit_gym.model.time_embedding import rotate


def _written_out(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Attend without the fused kernel, whose backward is up to twice as slow for short clips on a
    CPU.
    """
    b = len(q)
    q, k, v = (part.flatten(0, 1) for part in (q * q.shape[-1] ** -0.5, k, v))
    scores = q @ k.mT if bias is None else torch.baddbmm(bias, q, k.mT)
    return (scores.softmax(-1) @ v).unflatten(0, (b, -1))


def _regions(length: int, shift: int) -> Tensor:
    """Return, for every place after the cyclic shift, on which side of the wrap it lies."""
    return (
        (torch.arange(length) >= length - shift).long()
        if shift
        else torch.zeros(length, dtype=torch.long)
    )


def window_mask(
    grid: tuple[int, int, int],
    window: tuple[int, int, int],
    shift: tuple[int, int, int],
    frame_mask: Tensor | None,
) -> Bool[Tensor, "windows t t"]:
    """Return which token of a window may see which, for tokens laid out as `to_windows` does.

    Args:
        grid: frames, rows, columns of tokens.
        window: size of a window on each axis.
        shift: cyclic shift of each axis.
        frame_mask: (f, f), True where a frame may see a frame; None for all.
    """
    axes = [_regions(*parts) for parts in zip(grid, shift, strict=True)]
    region = axes[0][:, None, None] * 4 + axes[1][:, None] * 2 + axes[2]
    frame = torch.arange(grid[0]).roll(-shift[0])[:, None, None].expand(grid)
    lay = [to_windows(part[None, ..., None], window)[..., 0] for part in (region, frame)]
    allowed = lay[0][:, :, None] == lay[0][:, None, :]
    if frame_mask is not None:
        allowed = allowed.to(frame_mask.device)
        allowed = allowed & frame_mask[lay[1][:, :, None], lay[1][:, None, :]]
    return allowed


@lru_cache(maxsize=16)
def _sides(
    grid: tuple[int, int, int],
    window: tuple[int, int, int],
    shift: tuple[int, int, int],
    device: torch.device,
) -> Tensor | None:
    """Return `window_mask` for frames that all see each other, on a device and once;
    None if every token sees all of its window.
    """
    allowed = window_mask(grid, window, shift, None)
    return None if allowed.all() else allowed.to(device)


def to_windows(x: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Cut ``b f h w d`` into windows: ``(b windows) tokens d``."""
    f, h, w = window
    return rearrange(x, "b (F f) (H h) (W w) d -> (b F H W) (f h w) d", f=f, h=h, w=w)


def seen(mask: Bool[Tensor, "f s"], tokens: int) -> Float[Tensor, "f*n s*n"]:
    """Return a frame mask as a bias of attention: 0 where a token of n may see a token,
    minus infinity elsewhere.
    """
    bias = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
    bias = bias.masked_fill(~mask, float("-inf"))
    return bias.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)


class WindowAttention(nn.Module):
    """Multi-head self-attention in (shifted) windows, or over whole frames with a cache.

    Args:
        width: token width.
        heads: attention heads.
        rows: token rows (= columns) of a frame.
        window: window size on the frame, row and column axis; a frame size of 0 means all frames.
        shifted: whether this layer shifts by half a window.

    Raises:
        PartitionError: if windows do not divide the frame, or heads the width.
    """

    def __init__(
        self, width: int, heads: int, rows: int, window: tuple[int, int, int], shifted: bool
    ) -> None:
        super().__init__()
        if any(rows % part for part in window[1:]) or width % (2 * heads):
            raise PartitionError(
                "the model's sizes do not fit each other",
                given=f"{rows} token rows, window {window}, width {width}, {heads} heads",
                allowed="windows that divide the token rows; a width that 2 x heads divides",
                remedy="change the configuration",
            )
        self.heads, self.rows, self.window, self.shifted = heads, rows, window, shifted
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    @property
    def whole(self) -> bool:
        """Whether one window holds everything (then a cache can be used)."""
        return self.window == (0, self.rows, self.rows)

    def forward(
        self,
        x: Float[Tensor, "b f n d"],
        rotations: Pair,
        mask: Tensor | None,
        cached: Pair | None,
        context: int = 0,
    ) -> tuple[Float[Tensor, "b g n d"], Pair]:
        """Attend.

        Args:
            x: tokens.
            rotations: rotary cosine and sine of the cached frames and these.
            mask: (f, cached + f) frame mask, or None; where one window holds everything, what
                `seen` makes of it.
            cached: keys and values of earlier frames.
            context: how many of the first frames are only looked at.

        Returns:
            The tokens of the frames behind the context, and the keys and values of all frames,
            cached ones first, before rotation.
        """
        found = rearrange(
            self.qkv(x), "b f n (three g d) -> b f n three g d", three=3, g=self.heads
        )
        q, k, v = found.unbind(
            3
            # handed out: compiled and kept on disk, slices come back from there with sizes that are
            # none
        )
        if cached is None:
            q, turned = rotate(found[:, :, :, :2], *rotations).unbind(3)
        else:
            k, v = (
                torch.cat([old.to(new.dtype), new], 1)
                for old, new in zip(cached, (k, v), strict=True)
            )
            cosine, sine = (part[-q.shape[1] :] for part in rotations)
            q, turned = rotate(q, cosine, sine), rotate(k, *rotations)
        if self.whole:
            y = self._whole(
                q[:, context:], turned, v, None if mask is None else mask[context * x.shape[2] :]
            )
        else:
            y = self._windows(q, turned, v, mask)[:, context:]
        return self.out(y), (k, v)

    def _whole(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        frames = q.shape[1]
        q, k, v = (rearrange(part, "b f n g d -> b g (f n) d") for part in (q, k, v))
        bias = None if bias is None else bias.to(q.dtype)
        learns = q.requires_grad and not q.is_cuda
        y = (
            _written_out(q, k, v, bias)
            if learns
            else functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        )
        return rearrange(y, "b g (f n) d -> b f n (g d)", f=frames)

    def _windows(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        frames, rows = q.shape[1], self.rows
        window = (min(self.window[0] or frames, frames), self.window[1], self.window[2])
        padding = -frames % window[0]  # frames that nobody sees fill the last window up
        if padding:
            seen = (
                torch.ones(frames, frames, dtype=torch.bool, device=q.device)
                if mask is None
                else mask
            )
            mask = functional.pad(
                functional.pad(seen, (0, padding), value=False), (0, 0, 0, padding), value=True
            )
            q, k, v = (functional.pad(part, (0, 0) * 3 + (0, padding)) for part in (q, k, v))
        grid = (frames + padding, rows, rows)
        f, h, w = (
            part // 2 if self.shifted and part < size else 0
            for size, part in zip(grid, window, strict=True)
        )
        shift = (f, h, w)
        allowed = (
            _sides(grid, window, shift, q.device)
            if mask is None
            else window_mask(grid, window, shift, mask).to(q.device)
        )
        laid = []
        for part in (q, k, v):
            part = rearrange(part, "b f (h w) g d -> b f h w (g d)", h=rows).roll(
                (-f, -h, -w), (1, 2, 3)
            )
            laid.append(rearrange(to_windows(part, window), "b t (g d) -> b g t d", g=self.heads))
        masks = None if allowed is None else allowed.repeat(len(q), 1, 1)[:, None]
        y = functional.scaled_dot_product_attention(
            laid[0], laid[1], laid[2], attn_mask=masks
        )  # fused kernels want four axes
        y = rearrange(
            y,
            "(b F H W) g (f h w) d -> b (F f) (H h) (W w) (g d)",
            b=len(q),
            F=grid[0] // window[0],
            H=rows // window[1],
            f=window[0],
            h=window[1],
            w=window[2],
        )
        return rearrange(y.roll(shift, (1, 2, 3)), "b f h w d -> b f (h w) d")[:, :frames]
