"""How the buffer is cut: K reference frames, then N chunks of c frames, s micro steps per move.

Source: StreamDiT (arXiv 2507.03745), section 3.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamdit_gym.checks import shown
from streamdit_gym.errors import PartitionError

MIN_VALUES = {"references": 0, "chunks": 1, "chunk_frames": 1, "micro_steps": 1}
MAX_VALUE = 64  # many times what any model has learned, and still no danger to the memory
SHORT_FORM = r"K([0-9]{1,9})N([0-9]{1,9})c([0-9]{1,9})s([0-9]{1,9})"


@dataclass(frozen=True, kw_only=True)
class Partition:
    """K, N, c, s of the paper.

    Attributes:
        references: K, clean frames in front of the buffer, input only.
        chunks: N, chunks being denoised, each at its own noise level.
        chunk_frames: c, frames in a chunk; they share a noise level.
        micro_steps: s, evaluations of the model per move of the buffer.

    Raises:
        PartitionError: if a number is out of range.
    """

    references: int
    chunks: int = 1
    chunk_frames: int = 1
    micro_steps: int = 1

    def __post_init__(self) -> None:
        for name, least in MIN_VALUES.items():
            value = getattr(self, name)
            is_integer = isinstance(value, int) and not isinstance(value, bool)
            if not is_integer or not least <= value <= MAX_VALUE:
                raise PartitionError(
                    f"{name} of a partition is out of range",
                    given=f"{name}={shown(value)}",
                    allowed=f"a whole number from {least} to {MAX_VALUE}",
                    remedy="for example Partition(references=4)",
                )

    @property
    def frames(self) -> int:
        """Frames being denoised: N c."""
        return self.chunks * self.chunk_frames

    @property
    def latency_frames(self) -> int:
        """Frames in flight when an action arrives, which it cannot change: (N - 1) c."""
        return (self.chunks - 1) * self.chunk_frames

    def __str__(self) -> str:
        """Return the short form, as in ``K4N1c1s1``."""
        return f"K{self.references}N{self.chunks}c{self.chunk_frames}s{self.micro_steps}"

    @classmethod
    def parse(cls, text: str) -> Partition:
        """Read the short form.

        Raises:
            PartitionError: if the text is no short form.
        """
        numbers = re.fullmatch(SHORT_FORM, text)
        if not numbers:
            raise PartitionError(
                "cannot read a partition",
                given=shown(text),
                allowed="K<refs>N<chunks>c<frames>s<steps>",
                remedy="as in K4N2c1s1",
            )
        references, chunks, chunk_frames, micro_steps = map(int, numbers.groups())
        return cls(
            references=references,
            chunks=chunks,
            chunk_frames=chunk_frames,
            micro_steps=micro_steps,
        )
