"""Clips under way and the model's own frames in them, as references of the next window.

Late in training the references are the model's own predictions, several frames deep, so that it
learns to go on from its own errors (docs/decisions/0003).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from streamdit_gym.recipes.stage_settings import DynamicsTraining
from streamdit_gym.stream.flow import point
from streamdit_gym.train.latent_episodes import ClipIndex, LatentEpisodes
from streamdit_gym.train.losses import channel_error

Corruption = Callable[[Float[Tensor, "b f c h w"]], Float[Tensor, "b f c h w"]]


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Clips under way.

    Attributes:
        index: where each clip begins.
        depth: how many predictions in a row the references are.
        is_target: whether the recorded frame after a reference is what must follow it: it is the
            simulator's, and belongs to the same future.
        clean: the clips' first frames, real or the model's own, maybe corrupted.
        references: the same with noise.
        reference_times: their times.
        micro_step: the sampler's next micro step.
        frames: the sampler's state: what the frames after the references have become so far.
    """

    index: ClipIndex
    depth: Int[Tensor, " b"]
    is_target: Bool[Tensor, "b f"]
    clean: Float[Tensor, "b f c h w"]
    references: Float[Tensor, "b f c h w"]
    reference_times: Float[Tensor, "b f"]
    micro_step: int
    frames: Float[Tensor, "b f c h w"]


class RolloutSampler:
    """Choose which clips to look at next.

    Args:
        episodes: training episodes.
        settings: of the training.
        device: where the clips are used.
        spatial_channels: of the latents.
        corruption: of references; None: never.
        generator: of random choices.
    """

    def __init__(
        self,
        episodes: LatentEpisodes,
        settings: DynamicsTraining,
        device: str,
        spatial_channels: int,
        corruption: Corruption | None,
        generator: torch.Generator,
    ) -> None:
        self.episodes = episodes
        self.settings = settings
        self.device = device
        self.spatial_channels = spatial_channels
        self.corruption = corruption
        self.generator = generator

    def cut(self, index: ClipIndex, frames: int) -> tuple[Tensor, Tensor]:
        """Return the latents and prompts of clips, on the device."""
        latents, prompts = self.episodes.clips(index, frames)
        return latents.to(self.device, torch.float32), prompts.to(self.device)

    def next_window(self, progress: float, rollouts: Rollouts | None) -> Rollouts:
        """Return the next window: a frame further in clips that go on, anywhere in the others.

        Args:
            progress: done part of the training, 0 to 1.
            rollouts: the clips under way; None: all are new.
        """
        frames = self.settings.clip_frames
        index = self.episodes.sample(self.settings.clips, frames + 1, self.generator)
        depth = torch.zeros_like(index.start)
        is_target = torch.ones(len(index), frames, dtype=torch.bool, device=self.device)
        if rollouts is None:
            clean = self.cut(index, frames)[0]
        else:
            same_future = self._same_future(rollouts)
            continues = self._continues(progress, rollouts, same_future)
            index = ClipIndex(
                episode=torch.where(continues, rollouts.index.episode, index.episode),
                start=torch.where(continues, rollouts.index.start + 1, index.start),
            )
            depth = torch.where(continues, rollouts.depth + 1, depth)
            on_device = continues.to(self.device)
            recorded = self.cut(index, frames)[0]
            clean = torch.where(on_device[:, None, None, None, None], rollouts.frames, recorded)
            is_target = torch.where(on_device[:, None], same_future, is_target)
        clean = self._corrupted(clean)
        is_recorded = self.episodes.is_recorded(index, frames, offset=1)
        references, times = self.with_noise(clean)
        return Rollouts(
            index=index,
            depth=depth,
            is_target=is_target & is_recorded.to(self.device),
            clean=clean,
            references=references,
            reference_times=times,
            micro_step=0,
            frames=clean,
        )

    def with_noise(self, references: Tensor) -> tuple[Tensor, Tensor]:
        """Put noise on some clips' references; return them and their times."""
        max_level = self.settings.reference_noise
        level = max_level * torch.rand(len(references), 1, device=self.device)
        level = level * (torch.rand_like(level) < 0.5)
        times = (1 - level).expand(-1, references.shape[1])
        return point(references, torch.randn_like(references), times), times

    def _same_future(self, rollouts: Rollouts) -> Bool[Tensor, "b f"]:
        """Return which predictions are still near the recorded frames."""
        frames = self.settings.clip_frames
        recorded = self.cut(rollouts.index, frames + 1)[0][:, 1:]
        error = channel_error(rollouts.frames, recorded, self.spatial_channels)
        return error.mean((2, 3, 4)) < self.settings.max_rollout_error

    def _continues(
        self, progress: float, rollouts: Rollouts, same_future: Bool[Tensor, "b f"]
    ) -> Bool[Tensor, " b"]:
        """Return which clips go on from the model's own frames."""
        settings = self.settings
        ramp = min(1.0, progress / settings.rollout_ramp)
        chance = settings.rollout_probability * ramp
        chosen = torch.rand(len(rollouts.index), generator=self.generator) < chance
        not_too_deep = rollouts.depth + 1 < settings.max_rollout_depth
        has_next = rollouts.index.start + settings.clip_frames + 1 < self.episodes.length
        return chosen & not_too_deep & has_next & same_future[:, -1].cpu()

    def _corrupted(self, clean: Tensor) -> Tensor:
        chance = torch.rand(len(clean), generator=self.generator)
        chosen = chance < self.settings.corruption_probability
        if self.corruption is None or not chosen.any():
            return clean
        on_device = chosen.to(self.device)
        clean = clean.clone()
        clean[on_device] = self.corruption(clean[on_device])
        return clean
