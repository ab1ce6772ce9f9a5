"""Noise levels along the buffer, for sampling and for training: one time per frame.

Slot 0 is the oldest chunk and the cleanest; slot N-1 is pure noise when a move begins.
Source: StreamDiT (arXiv 2507.03745), sections 3.2 and 3.3.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.stream.partition import Partition


def slot_starts(partition: Partition) -> Float[Tensor, " n"]:
    """Return the time of every slot when a move begins: t_j = (N - 1 - j) / N."""
    chunks = partition.chunks
    later_chunks = torch.arange(chunks - 1, -1, -1, dtype=torch.float32)
    return later_chunks / chunks


def sampling_times(partition: Partition, micro_step: int) -> Float[Tensor, " f"]:
    """Return the time of every frame in the buffer at one micro step of a move."""
    steps_to_clean = partition.micro_steps * partition.chunks
    times = slot_starts(partition) + micro_step / steps_to_clean
    return times.repeat_interleave(partition.chunk_frames)


def equal_times(latents: Float[Tensor, "b f c h w"], time: float) -> Float[Tensor, "b f"]:
    """Return one time for all frames, in float32 whatever torch's default is."""
    shape = latents.shape[:2]
    return torch.full(
        shape,
        time,
        dtype=torch.float32,
        device=latents.device,
    )


def training_times(
    partition: Partition, batch: int, start_share: float = 0.0, device: str = "cpu"
) -> Float[Tensor, "b f"]:
    """Draw training times: one uniform time per chunk, inside the chunk's own segment of [0, 1].

    Args:
        partition: how the buffer is cut.
        batch: number of rows.
        start_share: share of rows whose chunks sit exactly at their segments' starts, where a
            sampler with one micro step evaluates the model (our addition; 0 is the paper).
        device: where to put the times.
    """
    chunks = partition.chunks
    offsets = torch.rand(batch, chunks, device=device)
    is_inside = torch.rand(batch, 1, device=device) >= start_share
    offsets = offsets * is_inside
    starts = slot_starts(partition).to(device)
    times = starts + offsets / chunks
    return times.repeat_interleave(partition.chunk_frames, dim=1)


def shifted(times: Float[Tensor, "*t"], shift: float) -> Float[Tensor, "*t"]:
    """Return the times at which a flow with shifted noise levels stands after equal steps.

    A shift above 1 spends more of the steps where there is much noise, as large pictures need it;
    1 changes nothing. Source: Stable Diffusion 3 (arXiv 2403.03206), section 5.3.2.
    """
    if shift == 1:
        return times
    noise = 1 - times
    shifted_noise = shift * noise / (1 + (shift - 1) * noise)
    return torch.as_tensor(1 - shifted_noise)
