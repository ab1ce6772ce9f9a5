"""How a trained world becomes faster: a distilled transformer, a shallower decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streamdit_gym.checks import check_fields
from streamdit_gym.errors import PartitionError
from streamdit_gym.presets import partition
from streamdit_gym.recipes import limits
from streamdit_gym.recipes.stage_settings import AutoencoderTraining
from streamdit_gym.stream.partition import Partition


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a student transformer is distilled from a teacher.

    Attributes:
        partitions: the student's partitions, by name or short form, learned in turn; their micro
            steps are the student's.
        teacher_steps: micro steps of the teacher per move, a multiple of the student's; with
            `autoregressive_teacher` per chunk, and any number.
        autoregressive_teacher: the teacher draws the buffer's chunks one after the other, each from
            noise (N = 1): for students with a longer buffer than their teacher is good at.
        guidance: classifier-free guidance of the teacher; 1 is none.
        temperature: scale of the noise that the student's chunks start from; None: that of the
            weights it starts from. A teacher that draws alike from any noise can have a student
            that needs none (0).
        steps: moves of a buffer, one optimizer step each; of all partitions together.
        streams: streams in flight, all moved in each step.
        continue_probability: chance that a stream goes on from the student's frames, and does not
            restart from recorded ones.
        corruption_probability: chance in each move that a stream's references are corrupted. The
            chunks in flight are not, as a thing may be lost in between.
        motion_weight: extra weight of latents that differ from those of the frame before, beside 1
            for all.
        leaving_weight: weight of the chunk that leaves the buffer, beside 1 for every other; all
            together weigh what they would without it.
        prompt_noise: noise on the student's prompt embeddings, in their standard deviations; the
            teacher's have none.
        token_dropout: largest share of tokens hidden from the student, in half of the prompts.
        robust_scale: root mean squared error of a latent (over its channels) beyond which the loss
            hardly grows.
        squared_weight: weight of the squared error in the loss.
        rate_scale: factor on the learning rates of `DynamicsTraining`.
        cooldown: last part of the steps, in which the learning rates go to zero linearly.
        average_decay: of the averaged weights.
        end_with_minutes: the learning rates also end with the minutes of the call.
    """

    partitions: Sequence[str | Partition] = ("reactive",)
    teacher_steps: int = 4
    autoregressive_teacher: bool = False
    guidance: float = 1.0
    temperature: float | None = None
    steps: int = 4_000
    streams: int = 64
    continue_probability: float = 0.98
    corruption_probability: float = 0.05
    motion_weight: float = 8.0
    leaving_weight: float = 9.0
    prompt_noise: float = 0.5
    token_dropout: float = 1.0
    robust_scale: float = 0.3
    squared_weight: float = 0.02
    rate_scale: float = 0.25
    cooldown: float = 0.6
    average_decay: float = 0.999
    end_with_minutes: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={
                "teacher_steps": (1, limits.MAX_MICRO_STEPS),
                "steps": limits.STEPS,
                "streams": (1, limits.MAX_BATCH),
            },
            reals={
                "guidance": (0, limits.MAX_GUIDANCE),
                "temperature": limits.WEIGHT,
                "continue_probability": limits.FRACTION,
                "corruption_probability": limits.FRACTION,
                "motion_weight": limits.WEIGHT,
                "leaving_weight": limits.POSITIVE_WEIGHT,
                "prompt_noise": limits.WEIGHT,
                "token_dropout": limits.FRACTION,
                "robust_scale": limits.POSITIVE_WEIGHT,
                "squared_weight": limits.WEIGHT,
                "rate_scale": (0, limits.MAX_RATE_SCALE),
                "cooldown": limits.POSITIVE_FRACTION,
                "average_decay": limits.FRACTION,
            },
            bools=("autoregressive_teacher", "end_with_minutes"),
        )
        if not self.partitions:
            raise PartitionError(
                "nothing to learn",
                given="no partition",
                allowed="one or more",
                remedy="for example K4N1c1s1",
            )
        for student in self.student_partitions:
            self._check_partition(student)

    @property
    def student_partitions(self) -> tuple[Partition, ...]:
        """The student's partitions, parsed."""
        return tuple(partition(name) for name in self.partitions)

    def teacher_partition(self, student: Partition) -> Partition:
        """Return how the teacher streams what a student's partition learns."""
        chunks = 1 if self.autoregressive_teacher else student.chunks
        return Partition(
            references=student.references,
            chunks=chunks,
            chunk_frames=student.chunk_frames,
            micro_steps=self.teacher_steps,
        )

    def _check_partition(self, student: Partition) -> None:
        if not student.references:
            raise PartitionError(
                "a stream without references cannot go on",
                given=str(student),
                allowed="K of 1 or more",
                remedy="for example K4N1c1s1",
            )
        divisor = 1 if self.autoregressive_teacher else student.micro_steps
        if self.teacher_steps % divisor:
            raise PartitionError(
                "the teacher's micro steps do not divide among the student's",
                given=f"{self.teacher_steps} for {student}",
                allowed=f"a multiple of {divisor}",
                remedy="for example 4 for K4N1c1s1",
            )


@dataclass(frozen=True, kw_only=True)
class DecoderDistillation:
    """How a world's decoder becomes shallower; its encoder stays as it is.

    Attributes:
        blocks: residual blocks that the decoder keeps on each grid; all of them: train it on.
        training: how the decoder learns.
    """

    blocks: int = 1
    training: AutoencoderTraining = field(
        default_factory=lambda: AutoencoderTraining(steps=6000, decoder_only=True)
    )

    def __post_init__(self) -> None:
        check_fields(self, ints={"blocks": (0, limits.MAX_BATCH)})
