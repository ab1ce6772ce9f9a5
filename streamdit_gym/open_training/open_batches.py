"""Batches of clips whose random numbers follow from the step and the clip's number alone.

So a run that was killed goes on as if it had not been, and the batch may be cut into pieces, among
processes or one after the other, without changing what is learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from streamdit_gym.errors import DatasetError
from streamdit_gym.open_training.latent_store import StoredClip
from streamdit_gym.stream.partition import Partition
from streamdit_gym.types import Conditioning

MAX_CLIPS = 2**17  # of a step, and of the choices that they share
DROPPED = -1


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Embedded sentences, by number.

    Attributes:
        numbers: of the sentences.
        embeddings: of their tokens, in the order of the numbers.
        length: tokens that the model takes.
    """

    numbers: Mapping[str, int]
    embeddings: Sequence[Float[Tensor, "l e"]]
    length: int

    @classmethod
    def of(cls, embedded: Mapping[str, Float[Tensor, "l e"]], length: int) -> Sentences:
        """Return sentences with their embeddings."""
        numbers = {text: number for number, text in enumerate(embedded)}
        return cls(numbers=numbers, embeddings=list(embedded.values()), length=length)

    def conditioning(self, rows: Int[Tensor, "b f"], device: str) -> Conditioning:
        """Return the embeddings of the sentences that frames have; -1 is none."""
        used, index = rows.unique(return_inverse=True)
        texts = [int(number) for number in used if number != DROPPED]
        width = self.embeddings[0].shape[-1]
        tokens = torch.zeros(len(texts), self.length, width)
        mask = torch.zeros(len(texts), self.length, dtype=torch.bool)
        for place, number in enumerate(texts):
            embedded = self.embeddings[number]
            tokens[place, : len(embedded)] = embedded
            mask[place, : len(embedded)] = True
        index = index - int((used == DROPPED).sum())
        return Conditioning(
            tokens=tokens.to(device),
            mask=mask.to(device),
            pooled=tokens.mean(1).to(device),
            index=index.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some clips of a step.

    Attributes:
        latents: clean.
        noise: as many numbers.
        rows: number of every latent's sentence; -1: none.
        uniform: numbers from 0 to 1, as many for every clip as there are latents.
    """

    latents: Float[Tensor, "b f c h w"]
    noise: Float[Tensor, "b f c h w"]
    rows: Int[Tensor, "b f"]
    uniform: Float[Tensor, "b f"]

    def to(self, device: str) -> Batch:
        """Return the batch on a device; rows stay where they are."""
        return Batch(
            latents=self.latents.to(device),
            noise=self.noise.to(device),
            rows=self.rows,
            uniform=self.uniform.to(device),
        )


class OpenBatches:
    """Samples clips of a run.

    Args:
        clips: to choose from.
        sentences: of their latents.
        seed: of the run.
        prompt_dropout: share of the clips without their sentences.
    """

    def __init__(
        self,
        clips: Sequence[StoredClip],
        sentences: Sentences,
        seed: int,
        prompt_dropout: float,
    ) -> None:
        self.clips = clips
        self.sentences = sentences
        self.seed = seed
        self.prompt_dropout = prompt_dropout

    @property
    def longest(self) -> int:
        """Latents of the longest clip."""
        return max(len(clip) for clip in self.clips)

    def check_length(self, partition: Partition) -> None:
        """Refuse a partition for which all clips are too short.

        Raises:
            DatasetError: if they are.
        """
        count = partition.references + partition.frames
        if self.longest < count:
            raise DatasetError(
                "clips are too short for this partition",
                given=f"{partition}: {count} latents, {1 + 4 * (count - 1)} frames;"
                f" the longest clip has {self.longest}",
                allowed="partitions whose K + N c is no more than that",
                remedy="take longer episodes, a higher fps, or --set partitions=... with less",
            )

    def generator(self, step: int, clip: int) -> torch.Generator:
        """Return the random numbers of a clip of a step."""
        number = (self.seed * 1_000_003 + step) * MAX_CLIPS + clip
        return torch.Generator().manual_seed(number % 2**63)

    def choice(self, step: int, count: int, number: int = 0) -> int:
        """Return a number below a count that all clips of a step share.

        Args:
            step: of the training.
            count: of numbers to choose from.
            number: of the choice; others are independent of it.
        """
        generator = self.generator(step, MAX_CLIPS - 2 - number)
        return int(torch.randint(count, (1,), generator=generator))

    def share(self, step: int) -> float:
        """Return a number from 0 to 1 that all clips of a step share."""
        return float(torch.rand(1, generator=self.generator(step, MAX_CLIPS - 1)))

    def batch(self, step: int, numbers: range, count: int) -> Batch:
        """Return clips of so many latents.

        Args:
            step: of the training.
            numbers: of the clips in the whole step.
            count: of latents.
        """
        parts = [self._clip(self.generator(step, number), count) for number in numbers]
        return Batch(
            latents=torch.stack([part.latents for part in parts]),
            noise=torch.stack([part.noise for part in parts]),
            rows=torch.stack([part.rows for part in parts]),
            uniform=torch.stack([part.uniform for part in parts]),
        )

    def _clip(self, generator: torch.Generator, count: int) -> Batch:
        """Return one clip, without the axis of clips."""
        fitting = [clip for clip in self.clips if len(clip) >= count]
        clip = fitting[int(torch.randint(len(fitting), (1,), generator=generator))]
        start = int(torch.randint(len(clip) - count + 1, (1,), generator=generator))
        latents = clip.latents(start, count)
        texts = clip.sentences[start : start + count]
        rows = torch.tensor([self.sentences.numbers[text] for text in texts])
        if float(torch.rand(1, generator=generator)) < self.prompt_dropout:
            rows = torch.full_like(rows, DROPPED)
        return Batch(
            latents=latents,
            noise=torch.randn(latents.shape, generator=generator),
            rows=rows,
            uniform=torch.rand(count, generator=generator),
        )
