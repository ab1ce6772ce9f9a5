"""Lay frames out for one evaluation of the model.

Takes: reference frames, frames being denoised, their times.  Gives: a BufferView.  Knows nothing
    of: prompts, weights.

In a causal model a frame sees its own chunk, earlier chunks of the buffer, and the last `limit`
references; a reference sees itself and the references before it, `limit` in all. So a cache of
`limit` - 1 frames is all a stream must keep.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.types import BufferView

Latents = Float[Tensor, "b f c h w"]
Times = Float[Tensor, "b f"]


def _shifted(frames: Tensor, first: Tensor | None = None) -> Tensor:
    """Return, for every frame, the one before it; zeros (or `first`) for the first."""
    head = torch.zeros_like(frames[:, :1]) if first is None else first
    return torch.cat([head, frames[:, :-1]], dim=1)


def stream_mask(
    references: int,
    frames: int,
    chunk_frames: int,
    limit: int,
    cached: int = 0,
    device: str = "cpu",
) -> Tensor:
    """Return which frame may see which in ``[cached][references][chunks]``, without the cached
    rows.

    Args:
        references: clean frames in this call.
        frames: frames being denoised.
        chunk_frames: frames per chunk.
        limit: most references a frame sees, a reference itself counted in.
        cached: clean frames in the cache.
        device: where to put the mask.
    """
    clean = cached + references
    place = torch.arange(clean + frames, device=device)
    chunk = torch.where(place < clean, place, clean + (place - clean) // chunk_frames)
    row, column = place[cached:, None], place[None]
    seen = chunk[cached:, None] >= chunk[None]
    far = (column < clean) & (row.clamp(max=clean - 1) - column >= limit)
    return seen & ~far


def stream_view(
    references: Latents,
    reference_times: Times,
    frames: Latents,
    times: Times,
    *,
    causal: bool,
    chunk_frames: int,
    limit: int,
) -> BufferView:
    """Lay out ``[references][frames]`` in playback order."""
    latents, all_times = torch.cat([references, frames], 1), torch.cat([reference_times, times], 1)
    device = str(latents.device)
    mask = (
        stream_mask(references.shape[1], frames.shape[1], chunk_frames, limit, device=device)
        if causal
        else None
    )
    return BufferView(
        latents=latents,
        times=all_times,
        before=_shifted(latents),
        before_times=_shifted(all_times),
        positions=torch.arange(latents.shape[1], device=device),
        mask=mask,
        context=references.shape[1],
    )


def cached_view(
    fresh: Latents,
    fresh_times: Times,
    frames: Latents,
    times: Times,
    before: Latents,
    before_times: Times,
    *,
    cached: int,
    chunk_frames: int,
    limit: int,
) -> BufferView:
    """Lay out ``[fresh references][frames]`` behind `cached` frames whose keys and values are kept.

    Args:
        fresh: clean frames that are not in the cache yet (may be none).
        fresh_times: their times.
        frames: frames being denoised (may be none).
        times: their times.
        before: the frame before the first of all these, (b, 1, c, h, w).
        before_times: its time.
        cached: frames in the cache.
        chunk_frames: frames per chunk.
        limit: see `stream_mask`.
    """
    latents, all_times = torch.cat([fresh, frames], 1), torch.cat([fresh_times, times], 1)
    device = str(latents.device)
    return BufferView(
        latents=latents,
        times=all_times,
        before=_shifted(latents, before),
        before_times=_shifted(all_times, before_times),
        positions=cached + torch.arange(latents.shape[1], device=device),
        mask=stream_mask(fresh.shape[1], frames.shape[1], chunk_frames, limit, cached, device),
        context=fresh.shape[1],
    )


def teacher_view(
    references: Latents, reference_times: Times, frames: Latents, times: Times, *, limit: int
) -> BufferView:
    """Lay out every "next frame" problem of a clip at once, for training a causal model with
    partition N = 1, c = 1.

    Args:
        references: frames 0 to F-1 of a clip.
        reference_times: their times.
        frames: frames 1 to F, noised; frame i sees references i - limit to i - 1 and itself.
        times: their times.
        limit: K.
    """
    f = references.shape[1]
    device = references.device
    i = torch.arange(f, device=device)
    past = (i[:, None] >= i[None]) & (i[:, None] - i[None] < limit)
    nothing, self_only = (
        torch.zeros(f, f, dtype=torch.bool, device=device),
        torch.eye(f, dtype=torch.bool, device=device),
    )
    mask = torch.cat([torch.cat([past, nothing], 1), torch.cat([past, self_only], 1)])
    return BufferView(
        latents=torch.cat([references, frames], 1),
        times=torch.cat([reference_times, times], 1),
        before=torch.cat([_shifted(references), references], 1),
        before_times=torch.cat([_shifted(reference_times), reference_times], 1),
        positions=torch.cat([i, i + 1]),
        mask=mask,
        context=f,
    )
