"""The moving buffer: push fresh noise at the back, denoise in lock-step, pop the clean chunk in
front.

Takes: latents of the frames being denoised, their prompts.  Gives: the buffer before and after a
    move.
Knows nothing of: models, where noise comes from.

At rest the buffer holds N - 1 chunks, slot j at t = (N - 1 - j) / N. A move pushes a chunk of
noise, takes s micro steps with all slots in lock-step, and pops slot 0, which has reached t = 1;
every other slot then stands exactly where the slot before it began.  Source: StreamDiT (arXiv
2507.03745), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from streamdit_gym.errors import ShapeError
from streamdit_gym.stream.partition import Partition


@dataclass(frozen=True, kw_only=True)
class MovingBuffer:
    """The frames being denoised, oldest first, with the prompt each was born with.

    Attributes:
        partition: how the buffer is cut.
        latents: the frames' latents, each at its slot's noise level.
        prompts: row of the prompt table for every frame.
    """

    partition: Partition
    latents: Float[Tensor, "b f c h w"]
    prompts: Int[Tensor, "b f"]

    def __post_init__(self) -> None:
        c, frames = self.partition.chunk_frames, self.latents.shape[1]
        if (
            frames % c
            or frames > self.partition.frames
            or self.prompts.shape != self.latents.shape[:2]
        ):
            raise ShapeError(
                "a buffer does not fit its partition",
                given=f"{tuple(self.latents.shape)} and {tuple(self.prompts.shape)}",
                allowed=f"at most {self.partition.chunks} whole chunks of {c}",
                remedy="one prompt per frame",
            )

    @property
    def chunks(self) -> int:
        """Number of chunks in it now."""
        return self.latents.shape[1] // self.partition.chunk_frames

    def push(self, noise: Float[Tensor, "b n c h w"], prompts: Int[Tensor, "b n"]) -> MovingBuffer:
        """Append a chunk of noise with its prompts."""
        return replace(
            self,
            latents=torch.cat([self.latents, noise], 1),
            prompts=torch.cat([self.prompts, prompts], 1),
        )

    def with_latents(self, latents: Float[Tensor, "b f c h w"]) -> MovingBuffer:
        """Return the buffer after a micro step."""
        return replace(self, latents=latents)

    def pop(self) -> tuple[Float[Tensor, "b n c h w"], Int[Tensor, "b n"], MovingBuffer]:
        """Return the front chunk, its prompts, and the buffer without it."""
        c = self.partition.chunk_frames
        rest = replace(self, latents=self.latents[:, c:], prompts=self.prompts[:, c:])
        return self.latents[:, :c], self.prompts[:, :c], rest
