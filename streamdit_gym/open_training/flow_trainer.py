"""Flow matching of an open model on clips: every frame of a moving buffer at its own noise level.

A step's partition comes from a mixture. References are clean but for the noise that the model's
kind has on them; every chunk has a time of its own in its segment, bent as the sampler bends it.
Source: StreamDiT (arXiv 2507.03745), sections 3.2 and 3.3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from streamdit_gym.open_training.open_batches import Batch, OpenBatches
from streamdit_gym.open_training.open_settings import OpenTraining
from streamdit_gym.open_weights.wan_backbone import WanBackbone
from streamdit_gym.stream.flow import point, velocity
from streamdit_gym.stream.noise_levels import equal_times, shifted, slot_starts
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.views import stream_view
from streamdit_gym.train import parallel


class OpenTrainer(ABC):
    """The loss of a step, over the clips of a process, some at once.

    Args:
        backbone: the model that learns, without guidance.
        batches: of clips.
        settings: of the training.
        device: where it is trained.
    """

    def __init__(
        self, backbone: WanBackbone, batches: OpenBatches, settings: OpenTraining, device: str
    ) -> None:
        self.backbone = backbone
        self.batches = batches
        self.settings = settings
        self.device = device

    @abstractmethod
    def clips_loss(self, step: int, numbers: range) -> Tensor:
        """Return the mean loss of some clips.

        Args:
            step: of the training.
            numbers: of the clips in the whole step.
        """

    def seed(self, seed: int, step: int) -> None:
        """Do nothing: all random numbers follow from the step and the clip."""
        return

    def loss(self, step: int, _progress: float) -> Tensor:
        """Return the loss of a step: its value is that of all processes' clips.

        Gradients of all clips but the last ones are there already when it returns, and going down
        its gradient adds those.
        """
        at_once = self.settings.clips_at_once
        own = self.settings.clips_of_process(parallel.processes())
        first = own * parallel.rank()
        share = at_once / own
        before = torch.zeros((), device=self.device)
        for start in range(first, first + own - at_once, at_once):
            part = share * self.clips_loss(step, range(start, start + at_once))
            part.backward()
            before += part.detach()
        last = first + own - at_once
        loss = share * self.clips_loss(step, range(last, last + at_once))
        whole = parallel.mean(loss.detach() + before)
        return loss + (whole - loss.detach())

    @torch.no_grad()
    def rehearse(self) -> None:
        """Evaluate the loss of a clip."""
        self.clips_loss(0, range(1))

    def with_noise(self, references: Tensor, noise: Tensor) -> Tensor:
        """Return references at the noise level that the model's kind has on them."""
        time = self.backbone.config.reference_time
        return references if time == 1 else point(references, noise, equal_times(references, time))

    def velocity(
        self,
        model: WanBackbone,
        references: Float[Tensor, "b k c h w"],
        frames: Float[Tensor, "b f c h w"],
        times: Float[Tensor, "b f"],
        rows: Tensor,
    ) -> Float[Tensor, "b f c h w"]:
        """Return a model's velocity of the frames of a buffer.

        Args:
            model: the student, or its teacher.
            references: at their noise level.
            frames: behind them.
            times: of the frames.
            rows: sentences of references and frames.
        """
        view = stream_view(
            references,
            equal_times(references, self.backbone.config.reference_time),
            frames,
            times,
            causal=False,
            chunk_frames=1,
            limit=max(1, references.shape[1]),
        )
        prompts = self.batches.sentences.conditioning(rows, self.device)
        kind = torch.device(self.device).type
        in_bfloat16 = self.settings.precision(self.device) == "bfloat16"
        with torch.autocast(kind, torch.bfloat16, enabled=in_bfloat16):
            predicted, _ = model(view, prompts)
        return predicted.float()


class FlowTrainer(OpenTrainer):
    """The loss of fine-tuning.

    Args:
        backbone: the model that learns, without guidance.
        batches: of clips.
        settings: of the training.
        device: where it is trained.
        mixture: partitions with their shares.

    Raises:
        DatasetError: if all clips are too short for one of the partitions.
    """

    def __init__(
        self,
        backbone: WanBackbone,
        batches: OpenBatches,
        settings: OpenTraining,
        device: str,
        mixture: Sequence[tuple[Partition, float]],
    ) -> None:
        super().__init__(backbone, batches, settings, device)
        self.mixture = mixture
        for partition, _ in mixture:
            batches.check_length(partition)

    def partition_of(self, step: int) -> Partition:
        """Return the partition of a step."""
        position = self.batches.share(step)
        for partition, share in self.mixture:
            position -= share
            if position < 0:
                return partition
        return self.mixture[-1][0]

    def clips_loss(self, step: int, numbers: range) -> Tensor:
        """Return the mean squared error of the velocity of all frames behind the references."""
        partition = self.partition_of(step)
        count = partition.references
        batch = self.batches.batch(step, numbers, count + partition.frames).to(self.device)
        frames = batch.latents[:, count:]
        noise = batch.noise[:, count:]
        times = self.times(batch, partition)
        predicted = self.velocity(
            self.backbone,
            self.with_noise(batch.latents[:, :count], batch.noise[:, :count]),
            point(frames, noise, times),
            times,
            batch.rows,
        )
        return functional.mse_loss(predicted, velocity(frames, noise))

    def times(self, batch: Batch, partition: Partition) -> Float[Tensor, "b f"]:
        """Return a time for each chunk, uniform in its segment before it is bent."""
        uniform = batch.uniform[:, : partition.chunks]
        starts = slot_starts(partition).to(uniform.device)
        equal = starts + uniform / partition.chunks
        return shifted(equal, self.backbone.time_shift).repeat_interleave(partition.chunk_frames, 1)
