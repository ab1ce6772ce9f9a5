"""What the rows of a batch over an open model are between two steps, also as a saved state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8

from streamdit_gym.checks import MAX_LONG_PROMPT_CHARS, check_prompt
from streamdit_gym.envs.state import check_ends, checked_generator
from streamdit_gym.stream.saved import check_keys, check_list, check_tensor

STREAM_ENTRIES = ("session", "decoder", "texts")
ARRAYS = ("steps", "frames", "done", "faults")
ENTRIES = ("streams", *ARRAYS, "prompts", "rngs")


@dataclass
class OpenRows:
    """What the environments are between two steps, one row each.

    Attributes:
        steps: taken in the episode.
        frames: the newest ones.
        prompts: the newest ones.
        shown: all frames of the last step, or of the start; after `restored` the newest alone.
        done: whether the episode has ended.
        faults: whether it has because its numbers are not finite.
        rngs: generators that draw the seeds of episodes.
    """

    steps: Int[np.ndarray, " n"]
    frames: UInt8[np.ndarray, "n h w 3"]
    prompts: np.ndarray
    shown: np.ndarray
    done: Bool[np.ndarray, " n"]
    faults: Bool[np.ndarray, " n"]
    rngs: list[np.random.Generator]

    @classmethod
    def new(
        cls, shape: tuple[int, ...], prompt: str, rngs: Sequence[np.random.Generator]
    ) -> OpenRows:
        """Return rows that have not begun.

        Args:
            shape: of a frame.
            prompt: of all rows.
            rngs: a generator for each row.
        """
        count = len(rngs)
        return cls(
            steps=np.zeros(count, dtype=np.int64),
            frames=np.zeros((count, *shape), dtype=np.uint8),
            prompts=np.full(count, prompt, dtype=object),
            shown=np.full(count, None, dtype=object),
            done=np.zeros(count, dtype=bool),
            faults=np.zeros(count, dtype=bool),
            rngs=list(rngs),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the rows as tensors, texts and numbers."""
        arrays = {name: torch.from_numpy(getattr(self, name).copy()) for name in ARRAYS}
        return {
            **arrays,
            "prompts": self.prompts.tolist(),
            "rngs": [rng.bit_generator.state for rng in self.rngs],
        }

    def restored(self, state: dict[str, Any], horizon: int, may_be_done: bool) -> OpenRows:
        """Return the rows of a saved state, checked; these rows stay.

        Args:
            state: of the batch, with what `to_dict` returned; the streams' part is checked by its
                names alone.
            horizon: steps after which an episode is truncated.
            may_be_done: whether ended rows wait for their reset.

        Raises:
            ShapeError: if entries are missing, unknown, or of another shape.
            ArgumentError: if a value is out of range.
        """
        check_keys("state", state, ENTRIES)
        check_keys("streams", state["streams"], STREAM_ENTRIES)
        arrays = {}
        for name in ARRAYS:
            like = torch.from_numpy(getattr(self, name))
            tensor = check_tensor(name, state[name], like, least=0)
            arrays[name] = tensor.cpu().numpy().copy()
        check_ends(arrays["steps"], arrays["done"], horizon, may_be_done)
        count = len(self.rngs)
        prompts = np.full(count, None, dtype=object)
        for row, text in enumerate(check_list("prompts", state["prompts"], count)):
            prompts[row] = check_prompt(text, MAX_LONG_PROMPT_CHARS)
        shown = np.full(count, None, dtype=object)
        for row, frame in enumerate(arrays["frames"]):
            shown[row] = frame[None].copy()
        rngs = []
        for saved in check_list("rngs", state["rngs"], count):
            rng = np.random.Generator(np.random.PCG64())
            rng.bit_generator.state = checked_generator(saved)
            rngs.append(rng)
        return OpenRows(**arrays, prompts=prompts, shown=shown, rngs=rngs)
