"""Self-attention inside 3-D windows, shifted by half a window in every other layer.

Tokens are ``b f n d`` (n = rows x columns). Cyclic shifts make windows that wrap around an axis;
tokens of different sides of a wrap do not see each other.
Source: StreamDiT (arXiv 2507.03745), section 3.3; the shift after Swin (arXiv 2103.14030).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from streamdit_gym.errors import PartitionError
from streamdit_gym.model.key_value_cache import Pair
from streamdit_gym.model.time_embedding import rotate

Size = tuple[int, int, int]  # frames, rows, columns


def _attend_explicitly(
    q: Float[Tensor, "b g q d"],
    k: Float[Tensor, "b g k d"],
    v: Float[Tensor, "b g k d"],
    bias: Float[Tensor, "q k"] | None,
) -> Float[Tensor, "b g q d"]:
    """Attend without the fused kernel.

    Its backward is up to twice as slow for short clips on a CPU.
    """
    batch = len(q)
    head_width = q.shape[-1]
    q = q * head_width**-0.5
    q = q.flatten(0, 1)  # b*g q d
    keys = k.flatten(0, 1).mT  # b*g d k
    values = v.flatten(0, 1)
    scores = q @ keys if bias is None else torch.baddbmm(bias, q, keys)
    weights = scores.softmax(-1)
    y = weights @ values
    return y.unflatten(0, (batch, -1))


def _wrapped(length: int, shift: int) -> Int[Tensor, " l"]:
    """Return 1 for every place that the cyclic shift has wrapped around, else 0."""
    if shift == 0:
        return torch.zeros(length, dtype=torch.long)
    first_wrapped = length - shift
    is_wrapped = torch.arange(length) >= first_wrapped
    return is_wrapped.long()


def window_mask(
    grid: Size, window: Size, shift: Size, frame_mask: Bool[Tensor, "f f"] | None
) -> Bool[Tensor, "windows t t"]:
    """Return which token of a window may see which, for tokens laid out as `to_windows` does.

    Args:
        grid: frames, rows, columns of tokens.
        window: size of a window on each axis.
        shift: cyclic shift of each axis.
        frame_mask: True where a frame may see a frame; None for all.
    """
    frames, rows, columns = (_wrapped(*axis) for axis in zip(grid, shift, strict=True))
    frames = frames[:, None, None]
    rows = rows[:, None]
    side = 4 * frames + 2 * rows + columns  # f h w: the sides of the three wraps as one number
    queries, keys = _pairs_in_windows(side, window)
    is_same_side = queries == keys
    if frame_mask is None:
        return is_same_side
    frame = torch.arange(grid[0])
    frame = frame.roll(-shift[0])
    frame_of_token = frame[:, None, None].expand(grid)
    queries, keys = _pairs_in_windows(frame_of_token, window)
    sees = frame_mask[queries, keys]
    return is_same_side.to(sees.device) & sees


def _pairs_in_windows(
    numbers: Int[Tensor, "f h w"], window: Size
) -> tuple[Int[Tensor, "windows t 1"], Int[Tensor, "windows 1 t"]]:
    """Return each token's number as a query and as a key of its window."""
    tokens = numbers[None, ..., None]
    windows = to_windows(tokens, window)
    windows = windows[..., 0]
    return windows[:, :, None], windows[:, None, :]


@lru_cache(maxsize=16)
def _unmasked_windows(
    grid: Size, window: Size, shift: Size, device: torch.device
) -> Bool[Tensor, "windows t t"] | None:
    """Return `window_mask` for frames that all see each other, computed once.

    It is None if every token sees all of its window.
    """
    allowed = window_mask(grid, window, shift, None)
    return None if allowed.all() else allowed.to(device)


def to_windows(x: Tensor, window: Size) -> Tensor:
    """Cut ``b f h w d`` into windows: ``(b windows) tokens d``."""
    f, h, w = window
    return rearrange(x, "b (F f) (H h) (W w) d -> (b F H W) (f h w) d", f=f, h=h, w=w)


def from_windows(x: Tensor, window: Size, grid: Size) -> Tensor:
    """Undo `to_windows`, with attention heads g beside the tokens."""
    f, h, w = window
    return rearrange(
        x,
        "(b F H W) g (f h w) d -> b (F f) (H h) (W w) (g d)",
        F=grid[0] // f,
        H=grid[1] // h,
        W=grid[2] // w,
        f=f,
        h=h,
        w=w,
    )


def attention_bias(
    mask: Bool[Tensor, "f s"], tokens: int
) -> Float[Tensor, "f*{tokens} s*{tokens}"]:
    """Return a frame mask as a bias: 0 where a token of n may see a token, else minus infinity."""
    no_bias = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
    bias = no_bias.masked_fill(~mask, float("-inf"))
    rows = bias.repeat_interleave(tokens, 0)
    return rows.repeat_interleave(tokens, 1)


class WindowAttention(nn.Module):
    """Multi-head self-attention in (shifted) windows, or over all frames with a cache.

    Args:
        width: token width.
        heads: attention heads.
        token_grid: token rows and columns of a frame.
        window: window size on the frame, row and column axis; a frame size of 0 means all frames.
        shifted: whether this layer shifts by half a window.

    Raises:
        PartitionError: if windows do not divide the frame, or heads the width.
    """

    def __init__(
        self, width: int, heads: int, token_grid: tuple[int, int], window: Size, shifted: bool
    ) -> None:
        super().__init__()
        rows, columns = token_grid
        _, window_rows, window_columns = window
        if rows % window_rows or columns % window_columns or width % (2 * heads):
            raise PartitionError(
                "the model's sizes do not fit each other",
                given=f"{rows} x {columns} tokens, window {window}, width {width}, {heads} heads",
                allowed="windows that divide rows and columns; a width that 2 x heads divides",
                remedy="change the configuration",
            )
        self.heads = heads
        self.token_grid = token_grid
        self.window = window
        self.shifted = shifted
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    @property
    def is_global(self) -> bool:
        """Whether one window holds everything; only then can a cache be used."""
        return self.window == (0, *self.token_grid)

    def forward(
        self,
        x: Float[Tensor, "b f n d"],
        rotations: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cached: Pair | None,
        context: int = 0,
    ) -> tuple[Float[Tensor, "b k n d"], Pair]:
        """Attend.

        Args:
            x: tokens.
            rotations: rotary cosine and sine of the cached frames and these.
            mask: (f, cached + f) frame mask, or None for all; where one window holds everything,
                its `attention_bias`.
            cached: keys and values of earlier frames.
            context: how many of the first frames are attended to only.

        Returns:
            The tokens of the frames behind the context, and the keys and values of all frames,
            cached ones first, before rotation.
        """
        tokens = x.shape[2]
        qkv = self.qkv(x)
        qkv = rearrange(qkv, "b f n (three g d) -> b f n three g d", three=3, g=self.heads)
        # unbound, not sliced: a compiled model that is loaded from disk gets slices of no size
        q, k, v = qkv.unbind(3)
        if cached is None:
            turned = rotate(qkv[:, :, :, :2], *rotations)
            q, rotated = turned.unbind(3)
        else:
            k = _append(cached[0], k)
            v = _append(cached[1], v)
            cosine, sine = rotations
            frames = q.shape[1]
            q = rotate(q, cosine[-frames:], sine[-frames:])
            rotated = rotate(k, cosine, sine)
        if self.is_global:
            bias = None if mask is None else mask[context * tokens :]
            y = self._attend_globally(q[:, context:], rotated, v, bias)
        else:
            y = self._attend_in_windows(q, rotated, v, mask)
            y = y[:, context:]
        return self.out(y), (k, v)

    def _attend_globally(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None
    ) -> Float[Tensor, "b f n d"]:
        frames = q.shape[1]
        q, k, v = (rearrange(part, "b f n g d -> b g (f n) d") for part in (q, k, v))
        if bias is not None:
            bias = bias.to(q.dtype)
        if q.requires_grad and not q.is_cuda:
            y = _attend_explicitly(q, k, v, bias)
        else:
            y = scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return rearrange(y, "b g (f n) d -> b f n (g d)", f=frames)

    def _attend_in_windows(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Bool[Tensor, "f f"] | None
    ) -> Float[Tensor, "b f n d"]:
        frames = q.shape[1]
        window = self._window(frames)
        padding = -frames % window[0]  # frames that no frame sees fill the last window up
        if padding:
            mask = _padded_mask(mask, frames, padding, q.device)
            q, k, v = (pad(part, (0, 0) * 3 + (0, padding)) for part in (q, k, v))
        grid = (frames + padding, *self.token_grid)
        shift = self._shift(grid, window)
        if mask is None:
            allowed = _unmasked_windows(grid, window, shift, q.device)
        else:
            allowed = window_mask(grid, window, shift, mask).to(q.device)
        if allowed is not None:
            allowed = allowed.repeat(len(q), 1, 1)
            allowed = allowed[:, None]  # fused kernels want four axes
        q, k, v = (self._windowed(part, window, shift) for part in (q, k, v))
        y = scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        y = from_windows(y, window, grid)
        y = y.roll(shift, (1, 2, 3))
        y = rearrange(y, "b f h w d -> b f (h w) d")
        return y[:, :frames]

    def _window(self, frames: int) -> Size:
        """Return the window for a number of frames: never longer than these."""
        length, rows, columns = self.window
        if length == 0:
            length = frames
        return (min(length, frames), rows, columns)

    def _shift(self, grid: Size, window: Size) -> Size:
        """Return the cyclic shift of each axis: half a window where there are several."""
        if not self.shifted:
            return (0, 0, 0)
        f, h, w = (part // 2 if part < size else 0 for size, part in zip(grid, window, strict=True))
        return (f, h, w)

    def _windowed(self, x: Tensor, window: Size, shift: Size) -> Float[Tensor, "b g t d"]:
        """Return shifted queries, keys or values, cut into windows."""
        f, h, w = shift
        rows, _ = self.token_grid
        x = rearrange(x, "b f (h w) g d -> b f h w (g d)", h=rows)
        x = x.roll((-f, -h, -w), (1, 2, 3))
        x = to_windows(x, window)
        return rearrange(x, "b t (g d) -> b g t d", g=self.heads)


def _append(cached: Tensor, fresh: Tensor) -> Tensor:
    cached = cached.to(fresh.dtype)
    return torch.cat([cached, fresh], 1)


def _padded_mask(
    mask: Bool[Tensor, "f f"] | None, frames: int, padding: int, device: torch.device
) -> Bool[Tensor, "p p"]:
    """Return the mask of frames with padding behind them, which no frame sees."""
    if mask is None:
        mask = torch.ones(frames, frames, dtype=torch.bool, device=device)
    columns = pad(mask, (0, padding), value=False)
    return pad(columns, (0, 0, 0, padding), value=True)
