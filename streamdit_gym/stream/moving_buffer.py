"""The moving buffer: push noise at the back, denoise in lock-step, pop the clean chunk in front.

At rest the buffer holds N - 1 chunks, slot j at t = (N - 1 - j) / N. A move pushes a chunk of
noise, takes s micro steps with all slots in lock-step, and pops slot 0, which has reached t = 1;
every other slot then stands exactly where the slot before it began.  Source: StreamDiT (arXiv
2507.03745), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.errors import ShapeError
from streamdit_gym.stream.partition import Partition
from streamdit_gym.text.prompt_protocol import NewPrompts, Prompts


@dataclass(frozen=True, kw_only=True)
class MovingBuffer:
    """The frames being denoised, oldest first, with the prompt that conditions each.

    Attributes:
        partition: how the buffer is cut.
        latents: the frames' latents, each at its slot's noise level.
        prompts: the prompt of every frame, see `streamdit_gym.text.prompt_protocol`.

    Raises:
        ShapeError: if there are no whole chunks, too many, or not one prompt for each frame.
    """

    partition: Partition
    latents: Float[Tensor, "b f c h w"]
    prompts: Prompts

    def __post_init__(self) -> None:
        chunk = self.partition.chunk_frames
        frames = self.latents.shape[1]
        has_whole_chunks = frames % chunk == 0 and frames <= self.partition.frames
        if not has_whole_chunks or self.prompts.shape[:2] != self.latents.shape[:2]:
            raise ShapeError(
                "a buffer does not fit its partition",
                given=f"{tuple(self.latents.shape)} and {tuple(self.prompts.shape)}",
                allowed=f"at most {self.partition.chunks} whole chunks of {chunk}",
                remedy="one prompt per frame",
            )

    @property
    def chunks(self) -> int:
        """Number of chunks in it now."""
        frames = self.latents.shape[1]
        return frames // self.partition.chunk_frames

    def push(self, noise: Float[Tensor, "b n c h w"], prompts: Prompts) -> MovingBuffer:
        """Append a chunk of noise with its prompts."""
        return replace(
            self,
            latents=torch.cat([self.latents, noise], 1),
            prompts=torch.cat([self.prompts, prompts], 1),
        )

    def with_latents(self, latents: Float[Tensor, "b f c h w"]) -> MovingBuffer:
        """Return the buffer after a micro step."""
        return replace(self, latents=latents)

    def with_prompt(self, prompt: NewPrompts) -> MovingBuffer:
        """Return the buffer with one prompt (b 1) for all frames of a stream."""
        prompts = repeat_frames(prompt, self.latents.shape[1])
        return replace(self, prompts=prompts.contiguous())

    def pop(self) -> tuple[Float[Tensor, "b n c h w"], Prompts, MovingBuffer]:
        """Return the front chunk, its prompts, and the buffer without it."""
        chunk = self.partition.chunk_frames
        rest = replace(
            self,
            latents=self.latents[:, chunk:],
            prompts=self.prompts[:, chunk:],
        )
        front = self.latents[:, :chunk]
        front_prompts = self.prompts[:, :chunk]
        return front, front_prompts, rest


def repeat_frames(prompts: NewPrompts, frames: int) -> Prompts:
    """Return the one prompt (b 1) of every stream for so many frames."""
    _, _, *shape = prompts.shape
    return prompts.expand(-1, frames, *shape)
