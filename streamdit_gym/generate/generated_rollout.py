"""The frames and prompts of a shard's episodes, from their first frames to their last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from streamdit_gym.generate.prompt_source import Prompts
from streamdit_gym.stream.clip import ClipSampler, PromptedFrames
from streamdit_gym.stream.noise import Noise
from streamdit_gym.text.prompt_protocol import Prompts as EmbeddedPrompts


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A shard's episodes.

    Attributes:
        latents: all frames.
        prompts: prompts and actions of every step.
        self_consistency_errors: of every episode at some of its frames.
        is_faulty: which episodes had a frame that is not finite.
    """

    latents: Float[Tensor, "n f c g g"]
    prompts: list[Prompts]
    self_consistency_errors: Float[np.ndarray, "n k"]
    is_faulty: Bool[Tensor, " n"]


def draw_episodes(
    sampler: ClipSampler,
    steps: list[Prompts],
    prompts: EmbeddedPrompts,
    noise: Noise,
    start: PromptedFrames | None,
) -> Rollout:
    """Draw episodes as clips.

    Args:
        sampler: draws the clips.
        steps: prompts and actions of every step.
        prompts: of all frames that are drawn.
        noise: a sequence for each episode.
        start: the episodes' first frames; None: they are drawn, too.
    """
    is_faulty = torch.zeros(len(prompts), dtype=torch.bool, device=sampler.sampler.device)
    latents = [] if start is None else [start.latents]
    errors = []
    for clip in sampler.clips(prompts, noise, start):
        frames = clip.frames.latents
        is_faulty |= ~is_finite(frames)
        latents.append(without_faults(frames))
        error = sampler.self_consistency_error(clip)
        errors.append(error.cpu().numpy())
    return Rollout(
        latents=torch.cat(latents, 1),
        prompts=steps,
        self_consistency_errors=finite_errors(errors),
        is_faulty=is_faulty,
    )


def is_finite(frames: Float[Tensor, "n f c g g"]) -> Bool[Tensor, " n"]:
    """Return which episodes' frames are finite everywhere."""
    numbers = frames.flatten(1)
    return numbers.isfinite().all(1)


def without_faults(frames: Float[Tensor, "n f c g g"]) -> Float[Tensor, "n f c g g"]:
    """Return frames with zeros where they are not finite.

    Policies and readout need numbers; an episode with a fault is not kept.
    """
    return frames.nan_to_num(0, 0, 0)


def finite_errors(errors: list[Float[np.ndarray, " n"]]) -> Float[np.ndarray, "n k"]:
    """Return the self-consistency errors of every episode, 0 where they are not finite."""
    return np.nan_to_num(np.stack(errors, 1), posinf=0.0, neginf=0.0)
