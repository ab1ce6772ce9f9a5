"""How an open model is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamdit_gym.checks import MAX_LONG_PROMPT_CHARS, check_choice, check_fields, check_prompt
from streamdit_gym.errors import ArgumentError, PartitionError
from streamdit_gym.open_weights.load_open_model import GUIDANCE, NEGATIVE_PROMPT
from streamdit_gym.open_weights.wan_backbone import SKYREELS
from streamdit_gym.open_weights.wan_folder import BYTES, WanFolder
from streamdit_gym.recipes import limits
from streamdit_gym.stream.partition import Partition

WEIGHTS = ("lora", "full")
MAX_RANK = 1024
MAX_MICRO_STEPS = 64
# parts of a mixture: a moving buffer, and the clip that a stream begins with, which is drawn at
# once. A share of 0.3 for whole clips was best in the paper.
MIXTURES = {
    SKYREELS: (("K5N8c2s1", 0.7), ("K0N1c21s30", 0.3)),
}
OTHER_MIXTURE = (("K5N1c4s8", 0.7), ("K0N1c9s30", 0.3))


@dataclass(frozen=True, kw_only=True)
class OpenTraining:
    """How an open model is fine-tuned or distilled.

    Attributes:
        frame_size: height and width of the frames that are trained on.
        fps: frames a second to which recordings are resampled; None: those of the model's videos.
        cameras: of recordings, see `ImportSettings`.
        scene: a sentence about the scene, in front of every action's words.
        negative_prompt: the sentence of clips whose prompt is dropped, as guidance has it.
        partitions: what is trained in turn, at random; None: as the model's kind streams, and whole
            clips in three of ten steps.
        weights: ``lora``: an adapter; ``full``: all weights.
        rank: of the adapter's matrices.
        steps: optimizer steps.
        clips: of a step, of all processes together.
        clips_at_once: of an evaluation; gradients of the others are accumulated. It changes the
            memory and the time, and not what is learned.
        learning_rate: at its peak; None: 1e-4 for adapters, 1e-5 for all weights.
        warmup: steps in which the rate rises.
        prompt_dropout: share of the clips without their prompts, as guidance needs them.
        average_decay: of the averaged weights that are written; 0: the last ones.
        teacher_steps: of a distillation: the teacher's evaluations in one of the student.
        guidance: of a distillation: the teacher's weight of the prompt, which the student learns.
        max_moves: of a distillation: the student moves its buffer so many times at most before the
            move that is learned, so that it learns to go on from its own frames.
        dtype: of frozen weights and of activations; None: bfloat16 on a GPU, else float32.
        seed: of clips, times and noise.
        minutes: when a call ends, at the latest; None: when all steps are done.
        checkpoint_minutes: between two checkpoints.

    Raises:
        ArgumentError: if one is out of range.
    """

    frame_size: tuple[int, int] = (480, 832)
    fps: float | None = None
    cameras: tuple[str, ...] = ()
    scene: str = ""
    negative_prompt: str = NEGATIVE_PROMPT
    partitions: tuple[str, ...] | None = None
    weights: str = "lora"
    rank: int = 32
    steps: int = 2000
    clips: int = 8
    clips_at_once: int = 1
    learning_rate: float | None = None
    warmup: int = 50
    prompt_dropout: float = 0.1
    average_decay: float = 0.0
    teacher_steps: int = 4
    guidance: float = GUIDANCE
    max_moves: int = 1
    dtype: str | None = None
    seed: int = 0
    minutes: float | None = None
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={
                "rank": (1, MAX_RANK),
                "steps": limits.STEPS,
                "clips": (1, limits.MAX_BATCH),
                "clips_at_once": (1, limits.MAX_BATCH),
                "warmup": (1, limits.MAX_STEPS),
                "teacher_steps": (1, MAX_MICRO_STEPS),
                "max_moves": (0, MAX_MICRO_STEPS),
                "seed": (0, 2**31 - 1),
            },
            reals={
                "fps": (0.01, 1000),
                "learning_rate": limits.LEARNING_RATE,
                "prompt_dropout": limits.FRACTION,
                "average_decay": limits.FRACTION,
                "guidance": (0, 100),
                "minutes": (0, 1e6),
                "checkpoint_minutes": (0, 1e6),
            },
        )
        check_choice("weights", self.weights, WEIGHTS)
        if self.dtype is not None:
            check_choice("dtype", self.dtype, tuple(BYTES))
        if self.scene:
            check_prompt(self.scene, MAX_LONG_PROMPT_CHARS)
        for text in self.partitions or ():
            Partition.parse(text)

    @property
    def peak_rate(self) -> float:
        """The learning rate at its peak."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-4 if self.weights == "lora" else 1e-5

    def precision(self, device: str) -> str:
        """Return the type of frozen weights and activations on a device."""
        return self.dtype or ("bfloat16" if device.startswith("cuda") else "float32")

    def clips_of_process(self, processes: int) -> int:
        """Return how many clips of a step one of so many processes has.

        Raises:
            ArgumentError: if the clips cannot be shared out.
        """
        if self.clips % (processes * self.clips_at_once):
            raise ArgumentError(
                "the clips of a step cannot be shared out",
                given=f"clips={self.clips}, clips_at_once={self.clips_at_once},"
                f" {processes} processes",
                allowed=f"clips a multiple of {processes * self.clips_at_once}",
                remedy=f"--set clips={processes * self.clips_at_once}",
            )
        return self.clips // processes

    def decisive(self) -> dict[str, Any]:
        """Return what decides the result, as a run's ``config.json`` holds it."""
        others = ("clips_at_once", "minutes", "checkpoint_minutes", "dtype")
        values = {name: value for name, value in vars(self).items() if name not in others}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def mixture(settings: OpenTraining, folder: WanFolder) -> tuple[tuple[Partition, float], ...]:
    """Return what fine-tuning trains, each with its share."""
    if settings.partitions:
        share = 1 / len(settings.partitions)
        return tuple((Partition.parse(text), share) for text in settings.partitions)
    parts = MIXTURES.get(folder.kinds["transformer"], OTHER_MIXTURE)
    return tuple((Partition.parse(text), share) for text, share in parts)


def student_partition(settings: OpenTraining, folder: WanFolder) -> Partition:
    """Return how a student streams: one partition.

    Raises:
        PartitionError: if several are given, or it has no references.
    """
    texts = settings.partitions or (MIXTURES.get(folder.kinds["transformer"], OTHER_MIXTURE)[0][0],)
    partition = Partition.parse(texts[0])
    if len(texts) > 1 or not partition.references:
        raise PartitionError(
            "a student learns one partition, with references",
            given=", ".join(texts),
            allowed="one with K of 1 or more",
            remedy="--set partitions=K5N8c2s1",
        )
    return partition
