"""Lay frames out for one evaluation of the model.

In a causal model a frame sees its own chunk, earlier chunks of the buffer, and the last `limit`
references; a reference sees itself and the references before it, `limit` in all. So a cache of
`limit` - 1 frames is all a stream must keep.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from streamdit_gym.types import BufferView

Latents = Float[Tensor, "b f c h w"]
Times = Float[Tensor, "b f"]


def _previous(frames: Tensor, first: Tensor | None = None) -> Tensor:
    """Return, for every frame, the one before it; zeros (or `first`) for the first."""
    if first is None:
        first = torch.zeros_like(frames[:, :1])
    return torch.cat([first, frames[:, :-1]], dim=1)


def stream_mask(
    references: int,
    frames: int,
    chunk_frames: int,
    limit: int,
    cached: int = 0,
    device: str = "cpu",
) -> Bool[Tensor, "f s"]:
    """Return which frame may see which in ``[cached][references][chunks]``.

    Cached frames are columns only.

    Args:
        references: clean frames in this call.
        frames: frames being denoised.
        chunk_frames: frames per chunk.
        limit: most references a frame sees, a reference itself counted in.
        cached: clean frames in the cache.
        device: where to put the mask.
    """
    clean = cached + references
    position = torch.arange(clean + frames, device=device)
    chunk_of_frame = clean + (position - clean) // chunk_frames
    chunk = torch.where(position < clean, position, chunk_of_frame)
    row = position[cached:, None]
    column = position[None]
    is_earlier = chunk[cached:, None] >= chunk[None]
    distance = row.clamp(max=clean - 1) - column
    is_too_far = (column < clean) & (distance >= limit)
    return is_earlier & ~is_too_far


def stream_view(
    references: Latents,
    reference_times: Times,
    frames: Float[Tensor, "b n c h w"],
    times: Float[Tensor, "b n"],
    *,
    causal: bool,
    chunk_frames: int,
    limit: int,
) -> BufferView:
    """Lay out ``[references][frames]`` in playback order; see `stream_mask`."""
    latents = torch.cat([references, frames], 1)
    all_times = torch.cat([reference_times, times], 1)
    device = str(latents.device)
    context = references.shape[1]
    mask = None
    if causal:
        mask = stream_mask(context, frames.shape[1], chunk_frames, limit, device=device)
    return BufferView(
        latents=latents,
        times=all_times,
        before=_previous(latents),
        before_times=_previous(all_times),
        positions=torch.arange(latents.shape[1], device=device),
        mask=mask,
        context=context,
    )


def cached_view(
    fresh: Latents,
    fresh_times: Times,
    frames: Float[Tensor, "b n c h w"],
    times: Float[Tensor, "b n"],
    before: Float[Tensor, "b 1 c h w"],
    before_times: Float[Tensor, "b 1"],
    *,
    cached: int,
    chunk_frames: int,
    limit: int,
) -> BufferView:
    """Lay out ``[fresh references][frames]`` behind `cached` frames whose keys are cached.

    Args:
        fresh: clean frames that are not in the cache yet (may be none).
        fresh_times: their times.
        frames: frames being denoised (may be none).
        times: their times.
        before: the frame before the first of all these.
        before_times: its time.
        cached: frames in the cache.
        chunk_frames: frames per chunk.
        limit: see `stream_mask`.
    """
    latents = torch.cat([fresh, frames], 1)
    all_times = torch.cat([fresh_times, times], 1)
    device = str(latents.device)
    context = fresh.shape[1]
    return BufferView(
        latents=latents,
        times=all_times,
        before=_previous(latents, before),
        before_times=_previous(all_times, before_times),
        positions=cached + torch.arange(latents.shape[1], device=device),
        mask=stream_mask(context, frames.shape[1], chunk_frames, limit, cached, device),
        context=context,
    )


def teacher_view(
    references: Latents, reference_times: Times, frames: Latents, times: Times, *, limit: int
) -> BufferView:
    """Lay out every "next frame" problem of a clip at once.

    This trains a causal model with partition N = 1, c = 1.

    Args:
        references: frames 0 to F-1 of a clip.
        reference_times: their times.
        frames: frames 1 to F, noised; frame i sees references i - limit to i - 1 and itself.
        times: their times.
        limit: K.
    """
    count = references.shape[1]
    device = references.device
    position = torch.arange(count, device=device)
    distance = position[:, None] - position[None]
    past = (distance >= 0) & (distance < limit)
    nothing = torch.zeros(count, count, dtype=torch.bool, device=device)
    itself = torch.eye(count, dtype=torch.bool, device=device)
    reference_rows = torch.cat([past, nothing], 1)
    frame_rows = torch.cat([past, itself], 1)
    return BufferView(
        latents=torch.cat([references, frames], 1),
        times=torch.cat([reference_times, times], 1),
        before=torch.cat([_previous(references), references], 1),
        before_times=torch.cat([_previous(reference_times), reference_times], 1),
        positions=torch.cat([position, position + 1]),
        mask=torch.cat([reference_rows, frame_rows]),
        context=count,
    )
