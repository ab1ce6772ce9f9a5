"""Clips under way and the model's own frames in them, as references of the next window.

Late in training the references are the model's own predictions, several frames deep, so that it
learns to go on from its own errors (docs/decisions/0003).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from streamdit_gym.recipes.stage_settings import DynamicsTraining
from streamdit_gym.stream.flow import point
from streamdit_gym.train.latent_episodes import ClipIndex, LatentEpisodes
from streamdit_gym.train.losses import channel_error

# of bounds on a rollout's error: where nothing moves, a frame that stands still is right
MIN_ROLLOUT_ERROR = 0.002
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


@dataclass(frozen=True, kw_only=True)
class Window:
    """The frames that a window begins with; see `Rollouts`."""

    index: ClipIndex
    depth: Int[Tensor, " b"]
    is_target: Bool[Tensor, "b f"]
    clean: Float[Tensor, "b f c h w"]


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
        latents = latents.to(self.device, torch.float32)
        return latents, prompts.to(self.device)

    def next_window(self, progress: float, rollouts: Rollouts | None) -> Rollouts:
        """Return the next window: a frame further in clips that go on, anywhere in the others.

        Args:
            progress: done part of the training, 0 to 1.
            rollouts: the clips under way; None: all are new.
        """
        window = self._new_window()
        if rollouts is not None:
            window = self._continued(progress, rollouts, window)
        clean = self._corrupted(window.clean)
        frames = self.settings.clip_frames
        is_recorded = self.episodes.is_recorded(window.index, frames, offset=1)
        references, times = self.with_noise(clean)
        return Rollouts(
            index=window.index,
            depth=window.depth,
            is_target=window.is_target & is_recorded.to(self.device),
            clean=clean,
            references=references,
            reference_times=times,
            micro_step=0,
            frames=clean,
        )

    def with_noise(self, references: Tensor) -> tuple[Tensor, Tensor]:
        """Put noise on some clips' references; return them and their times."""
        count, frames = references.shape[:2]
        max_level = self.settings.reference_noise
        level = max_level * torch.rand(count, 1, device=self.device)
        is_noisy = torch.rand_like(level) < self.settings.reference_noise_share
        times = 1 - level * is_noisy
        times = times.expand(-1, frames)
        noise = torch.randn_like(references)
        return point(references, noise, times), times

    def _new_window(self) -> Window:
        """Return recorded frames from anywhere."""
        frames = self.settings.clip_frames
        index = self.episodes.sample(self.settings.clips, frames + 1, self.generator)
        every_frame = torch.ones(len(index), frames, dtype=torch.bool, device=self.device)
        clean, _ = self.cut(index, frames)
        return Window(
            index=index,
            depth=torch.zeros_like(index.start),
            is_target=every_frame,
            clean=clean,
        )

    def _continued(self, progress: float, rollouts: Rollouts, window: Window) -> Window:
        """Return the window with the predictions of the clips that go on."""
        old = rollouts.index
        new = window.index
        same_future = self._same_future(rollouts)
        continues = self._continues(progress, rollouts, same_future)
        on_device = continues.to(self.device)
        per_frame = on_device[:, None]
        per_latent = on_device[:, None, None, None, None]
        return Window(
            index=ClipIndex(
                episode=torch.where(continues, old.episode, new.episode),
                start=torch.where(continues, old.start + 1, new.start),
            ),
            depth=torch.where(continues, rollouts.depth + 1, window.depth),
            is_target=torch.where(per_frame, same_future, window.is_target),
            clean=torch.where(per_latent, rollouts.frames, window.clean),
        )

    def _same_future(self, rollouts: Rollouts) -> Bool[Tensor, "b f"]:
        """Return which predictions are still near the recorded frames."""
        clips, _ = self.cut(rollouts.index, self.settings.clip_frames + 1)
        recorded = clips[:, 1:]
        error = self._frame_error(rollouts.frames, recorded)
        return error < self._max_error(rollouts, recorded)

    def _max_error(self, rollouts: Rollouts, recorded: Tensor) -> Tensor | float:
        """Return the error beyond which a prediction is in another future."""
        settings = self.settings
        if not settings.max_still_share:
            return settings.max_rollout_error
        began = replace(rollouts.index, start=rollouts.index.start - rollouts.depth)
        before, _ = self.cut(began, settings.clip_frames)
        still_error = self._frame_error(before, recorded)
        bound = settings.max_still_share * still_error
        return bound.clamp(MIN_ROLLOUT_ERROR, settings.max_rollout_error)

    def _frame_error(self, frames: Tensor, recorded: Tensor) -> Tensor:
        error = channel_error(frames, recorded, self.spatial_channels)
        return error.mean((2, 3, 4))

    def _continues(
        self, progress: float, rollouts: Rollouts, same_future: Bool[Tensor, "b f"]
    ) -> Bool[Tensor, " b"]:
        """Return which clips go on from the model's own frames."""
        settings = self.settings
        start = rollouts.index.start
        ramp = min(1.0, progress / settings.rollout_ramp)
        probability = settings.rollout_probability * ramp
        chance = torch.rand(len(start), generator=self.generator)
        chosen = chance < probability
        depth = rollouts.depth + 1
        may_go_deeper = depth < settings.max_rollout_depth
        end = start + settings.clip_frames + 1
        has_next = end < self.episodes.lengths[rollouts.index.episode]
        last_is_near = same_future[:, -1].cpu()
        return chosen & may_go_deeper & has_next & last_is_near

    def _corrupted(self, clean: Tensor) -> Tensor:
        chance = torch.rand(len(clean), generator=self.generator)
        chosen = chance < self.settings.corruption_probability
        if self.corruption is None or not chosen.any():
            return clean
        on_device = chosen.to(self.device)
        corrupted = self.corruption(clean[on_device])
        clean = clean.clone()
        clean[on_device] = corrupted
        return clean
