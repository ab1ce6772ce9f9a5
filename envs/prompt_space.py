"""The action space of environments that take free text: exactly what `step` accepts."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from streamdit_gym.checks import MAX_PROMPT_CHARS, check_prompt
from streamdit_gym.errors import ArgumentError

PRINTABLE = "".join(map(chr, range(ord(" "), ord("~") + 1)))


class PromptSpace(spaces.Text):
    """Prompts that `streamdit_gym.checks.check_prompt` allows: 1 to 200 printable characters.

    They may be of any script; samples are of printable ASCII. Where a plain `Text` space stands for
    this one, as in a Minari data set that was read back, it knows of ASCII alone.

    Args:
        seed: of the samples.
        most: characters that a prompt may have, 1,000 for open models. Samples have no more than
            200, since a model may not take that many tokens.
    """

    def __init__(
        self, seed: int | np.random.Generator | None = None, *, most: int = MAX_PROMPT_CHARS
    ) -> None:
        super().__init__(most, charset=PRINTABLE, seed=seed)

    def sample(
        self,
        mask: tuple[int | None, NDArray[np.int8] | None] | None = None,
        probability: tuple[int | None, NDArray[np.float64] | None] | None = None,
    ) -> str:
        """Return a random prompt; see `gymnasium.spaces.Text.sample`."""
        if mask is None and probability is None:
            mask = (None, None)
        text = super().sample(self._with_length(mask), self._with_length(probability))
        if text.strip():
            return text
        return self.characters[-1] * len(text)  # spaces alone are no prompt

    def contains(self, x: Any) -> bool:
        """Return whether `step` accepts a value."""
        try:
            check_prompt(x, self.max_length)
        except ArgumentError:
            return False
        return True

    def __repr__(self) -> str:
        """Return the space's name and bounds."""
        return f"PromptSpace({self.min_length}, {self.max_length})"

    def __eq__(self, other: object) -> bool:
        """Return whether another space allows the same."""
        return isinstance(other, PromptSpace) and self.max_length == other.max_length

    def _with_length(self, mask: tuple[int | None, Any] | None) -> tuple[int | None, Any] | None:
        """Return a mask of samples with a random length where it has none."""
        if mask is None or mask[0] is not None:
            return mask
        longest = min(self.max_length, MAX_PROMPT_CHARS)
        return int(self.np_random.integers(self.min_length, longest + 1)), mask[1]
