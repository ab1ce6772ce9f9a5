"""The loss of a transformer on latents, with mixed partitions.

Most steps learn partition N = 1 with references for every frame of a clip at once (`teacher_view`);
the rest learn moving buffers and whole clips (docs/decisions/0003).
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from streamdit_gym.model.precision import training_precision
from streamdit_gym.model.preconditioning import clean_of_velocity
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.recipes.stage_settings import DynamicsTraining
from streamdit_gym.stream.flow import euler_step, point, velocity
from streamdit_gym.stream.noise_levels import training_times
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.views import stream_view, teacher_view
from streamdit_gym.text.prompt_protocol import Prompts, PromptSource
from streamdit_gym.train.latent_episodes import ClipIndex, LatentEpisodes
from streamdit_gym.train.losses import channel_error, motion_weight, robust_loss
from streamdit_gym.train.optimization import OptimizerPart, muon_and_adamw
from streamdit_gym.train.prompt_corruption import PromptCorruption, without_some_prompts
from streamdit_gym.train.rollout_windows import Corruption, Rollouts, RolloutSampler
from streamdit_gym.types import BufferView, Conditioning

# what a prompt goes through, beside the blocks' keys and values of it
TEXT_MODULES = ("text", "pooled", "no_prompt")
TEXT_KEYS = ".cross.key_value."
MAX_REHEARSAL_CLIPS = 4


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """A model's view of some frames, and what they should become.

    Attributes:
        view: what the model sees.
        prompts: of the frames.
        target: the clean frames.
        noise: that the frames are mixed with.
        previous: the frame before each.
        is_target: whether a frame counts.
    """

    view: BufferView
    prompts: Conditioning
    target: Float[Tensor, "b f c h w"]
    noise: Float[Tensor, "b f c h w"]
    previous: Float[Tensor, "b f c h w"]
    is_target: Bool[Tensor, "b f"]


class DynamicsTrainer:
    """The loss of a step; see the module's text.

    Args:
        model: the transformer.
        episodes: training episodes.
        table: embeddings of the data set's prompts.
        settings: how it learns.
        device: where.
        corruption: of references; None: never.
    """

    def __init__(
        self,
        model: StreamDiT,
        episodes: LatentEpisodes,
        table: PromptSource,
        settings: DynamicsTraining,
        device: str,
        corruption: Corruption | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.device = device
        self.table = table.to(device, torch.float32)
        self.prompt_corruption = PromptCorruption.of_prompts(
            self.table, settings.prompt_noise, settings.token_dropout
        )
        self.generator = torch.Generator().manual_seed(0)
        self.spatial_channels = model.config.spatial_channels
        self.max_references = model.config.references
        self.sampler = RolloutSampler(
            episodes, settings, device, self.spatial_channels, corruption, self.generator
        )
        self.rollouts: Rollouts | None = None
        self.squared_weight = settings.squared_weight
        _choose_trained_weights(model, settings.text_only)

    @property
    def episodes(self) -> LatentEpisodes:
        """The training episodes."""
        return self.sampler.episodes

    def seed(self, seed: int, _step: int) -> None:
        """Seed the choice of partitions and clips."""
        self.generator.manual_seed(seed)

    def loss(self, _step: int, progress: float) -> Tensor:
        """Return the loss of a step, of a partition chosen at random.

        Args:
            progress: done part of the training, 0 to 1.
        """
        settings = self.settings
        fading = max(0.0, 1 - progress / settings.squared_fade)
        self.squared_weight = settings.squared_weight + fading
        choice = torch.rand((), generator=self.generator).item()
        for text, share in settings.partitions:
            if choice < share:
                return self.buffer_loss(Partition.parse(text))
            choice -= share
        return self.next_frame_loss(progress)

    def next_frame_loss(self, progress: float = 1.0) -> Tensor:
        """Return the loss of N = 1: every next frame of some clips.

        Micro step by micro step, the model learns from the truth at that noise level while its own
        sampler goes along. When that is done its frames are the references of the next window, a
        frame later: so after d windows every frame of a clip is the end of a rollout of d frames.

        In some steps the noise levels are anywhere instead. Such noisy frames show the truth, so no
        rollout goes through them.
        """
        choice = torch.rand((), generator=self.generator).item()
        if choice >= self.settings.sampler_time_share:
            rollouts = self.sampler.next_window(progress, None)
            inputs, _ = self._window_inputs(rollouts, at_sampler_times=False)
            loss, _ = self.loss_of(inputs)
            return loss
        rollouts = self._current_rollouts(progress)
        inputs, times = self._window_inputs(rollouts, at_sampler_times=True)
        loss, predicted = self.loss_of(inputs)
        with torch.no_grad():
            frames = self._sampler_step(rollouts, inputs, times, predicted.detach())
        micro_step = rollouts.micro_step + 1
        self.rollouts = replace(rollouts, micro_step=micro_step, frames=frames)
        return loss

    def buffer_loss(self, partition: Partition) -> Tensor:
        """Return the loss of a moving buffer: all its chunks at once, each in its own time span."""
        settings = self.settings
        num_frames = partition.frames
        num_references = partition.references
        # as many frames being denoised in a step as in the next-frame loss
        count = max(1, settings.clips * settings.clip_frames // num_frames)
        index = self.episodes.sample(count, num_references + num_frames, self.generator)
        inputs = self._buffer_inputs(partition, index)
        with eager():
            loss, _ = self.loss_of(inputs)
        return loss

    def loss_of(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """Return the loss and the predicted velocities."""
        settings = self.settings
        predicted = self.velocity(inputs.view, inputs.prompts, settings.velocity_floor)
        target = self.bounded_velocity(inputs.view, inputs.target, inputs.noise)
        error = channel_error(predicted, target, self.spatial_channels)
        if settings.objective == "regression":
            error = robust_loss(error, settings.robust_scale, self.squared_weight)
        weight = motion_weight(
            inputs.target, inputs.previous, settings.motion_weight, self.spatial_channels
        )
        weight = weight * inputs.is_target[:, :, None, None, None]
        weighted = weight * error
        return weighted.mean(), predicted

    def velocity(self, view: BufferView, prompts: Conditioning, floor: float) -> Tensor:
        """Return the model's velocity."""
        with training_precision(self.device):
            predicted, _ = self.model(view, prompts, None, floor)
        return predicted.float()

    def bounded_velocity(self, view: BufferView, target: Tensor, noise: Tensor) -> Tensor:
        """Return the true velocity, bounded near t = 1 exactly as the model's is."""
        frames = target.shape[1]
        times = view.times[:, -frames:, None, None, None]
        remaining = 1 - times
        floored = remaining.clamp_min(self.settings.velocity_floor)
        bound = remaining / floored
        return velocity(target, noise) * bound

    def prompts(self, prompts: Prompts) -> Conditioning:
        """Return the batch's distinct prompts, corrupted, with some frames' prompts dropped."""
        remaining = without_some_prompts(prompts, self.settings.prompt_dropout)
        distinct = self.table.distinct(remaining)
        return self.prompt_corruption(distinct)

    def rehearse(self) -> None:
        """Do a piece of a step, on a copy of the model and few clips."""
        clips = min(MAX_REHEARSAL_CLIPS, self.settings.clips)
        settings = replace(self.settings, clips=clips)
        scratch = copy.deepcopy(self.model)
        trainer = DynamicsTrainer(scratch, self.episodes, self.table, settings, self.device)
        with eager():
            trainer.next_frame_loss(0.0).backward()

    def _current_rollouts(self, progress: float) -> Rollouts:
        """Return the window that is being sampled, or the next one if it is done."""
        rollouts = self.rollouts
        if rollouts is None or rollouts.micro_step == self.settings.micro_steps:
            return self.sampler.next_window(progress, rollouts)
        return rollouts

    def _window_inputs(
        self, rollouts: Rollouts, at_sampler_times: bool
    ) -> tuple[LossInputs, Tensor]:
        """Return the inputs of the loss of a window, and the sampler's times."""
        frames = self.settings.clip_frames
        clips, rows = self.sampler.cut(rollouts.index, frames + 1)
        target = clips[:, 1:]
        noise = torch.randn_like(target)
        reference_rows = rows[:, :-1]
        frame_rows = rows[:, 1:]
        prompts = self.prompts(torch.cat([reference_rows, frame_rows], 1))
        sampler_time = rollouts.micro_step / self.settings.micro_steps
        sampler_times = torch.full((len(clips), frames), sampler_time, device=self.device)
        times = sampler_times if at_sampler_times else torch.rand_like(sampler_times)
        inputs = LossInputs(
            view=self._window_view(rollouts, point(target, noise, times), times),
            prompts=prompts,
            target=target,
            noise=noise,
            previous=rollouts.clean,
            is_target=rollouts.is_target,
        )
        return inputs, sampler_times

    def _window_view(self, rollouts: Rollouts, frames: Tensor, times: Tensor) -> BufferView:
        return teacher_view(
            rollouts.references,
            rollouts.reference_times,
            frames,
            times,
            limit=self.max_references,
        )

    def _sampler_step(
        self, rollouts: Rollouts, inputs: LossInputs, times: Tensor, predicted: Tensor
    ) -> Tensor:
        """Return the frames after the sampler's next micro step, as the engine goes."""
        settings = self.settings
        dt = 1 / settings.micro_steps
        if rollouts.micro_step == 0:  # at pure noise the truth has shown nothing yet
            noisy = point(inputs.target, inputs.noise, times)
            clean = clean_of_velocity(predicted, noisy, times, settings.velocity_floor)
            return point(clean, inputs.noise, times + dt)
        frames = rollouts.frames
        view = self._window_view(rollouts, frames, times)
        own_velocity = self.velocity(view, inputs.prompts, 0.0)
        return euler_step(frames, own_velocity, dt)

    def _buffer_inputs(self, partition: Partition, index: ClipIndex) -> LossInputs:
        num_references = partition.references
        clips, rows = self.sampler.cut(index, num_references + partition.frames)
        target = clips[:, num_references:]
        times = training_times(partition, len(index), self.settings.sampler_time_share, self.device)
        noise = torch.randn_like(target)
        references, reference_times = self.sampler.with_noise(clips[:, :num_references])
        view = stream_view(
            references,
            reference_times,
            point(target, noise, times),
            times,
            causal=self.model.config.causal,
            chunk_frames=partition.chunk_frames,
            limit=self.max_references,
        )
        is_recorded = self.episodes.is_recorded(index, partition.frames, offset=num_references)
        return LossInputs(
            view=view,
            prompts=self.prompts(rows),
            target=target,
            noise=noise,
            previous=_previous_frames(clips, num_references),
            is_target=is_recorded.to(self.device),
        )


def eager() -> AbstractContextManager[object]:
    """Run compiled blocks eagerly: only the layout of most steps is worth its compilation."""
    return torch.compiler.set_stance("force_eager")


def dynamics_optimizers(model: nn.Module, settings: DynamicsTraining) -> dict[str, OptimizerPart]:
    """Return Muon for the blocks' matrices and AdamW for the rest of what is trained."""
    matrices = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and _is_block_matrix(name, parameter)
    ]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    muon_rate = settings.rate_scale * settings.muon_rate
    adamw_rate = settings.rate_scale * settings.adamw_rate
    return muon_and_adamw(trained, matrices, (muon_rate, adamw_rate))


def _is_block_matrix(name: str, parameter: nn.Parameter) -> bool:
    return name.startswith("blocks") and "modulation" not in name and parameter.ndim == 2


def _choose_trained_weights(model: StreamDiT, text_only: bool) -> None:
    model.requires_grad_(False)
    for name, weight in model.dynamics_parameters():
        is_text_module = name.split(".")[0] in TEXT_MODULES
        reads_text = is_text_module or TEXT_KEYS in name
        weight.requires_grad_(reads_text or not text_only)


def _previous_frames(
    clips: Float[Tensor, "b g c h w"], num_references: int
) -> Float[Tensor, "b f c h w"]:
    """Return the frame before each that is denoised; the first of all stands for its own."""
    if num_references:
        first = num_references - 1
        return clips[:, first:-1]
    first_frame = clips[:, :1]
    return torch.cat([first_frame, clips[:, :-1]], 1)
