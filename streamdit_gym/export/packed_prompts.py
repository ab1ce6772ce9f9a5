"""A prepared prompt as one row of numbers, so that whoever runs a graph need not know its parts.

The parts are those of `PreparedPrompts`: the pooled embedding, the mask of real tokens,
cross-attention keys and values of every layer, and what the model's optional module prepared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.types import PreparedPrompts

Parts = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class PackedPrompts:
    """Packs prompts of one model and one number of tokens, and unpacks them.

    Attributes:
        shapes: shape of every part of one prompt.
    """

    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def like(cls, prepared: PreparedPrompts) -> PackedPrompts:
        """Return what packs prompts such as these."""
        return cls(shapes=tuple(tuple(part.shape[1:]) for part in _parts(prepared)))

    @property
    def width(self) -> int:
        """Numbers of one prompt."""
        return sum(self._sizes)

    @property
    def _sizes(self) -> list[int]:
        return [math.prod(shape) for shape in self.shapes]

    def pack(self, prepared: PreparedPrompts) -> Float[Tensor, "u p"]:
        """Return one row for every prompt, row 0 for no prompt."""
        rows = [part.flatten(1) for part in _parts(prepared)]
        return torch.cat(rows, 1)

    def unpack(self, rows: Float[Tensor, "u p"]) -> PreparedPrompts:
        """Return the prompts of some rows."""
        parts = rows.split(self._sizes, dim=1)
        shaped = [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]
        pooled, mask, keys, values, extra = shaped
        return PreparedPrompts(
            pooled=pooled,
            mask=mask > 0,
            keys=keys.transpose(0, 1),
            values=values.transpose(0, 1),
            extra=extra,
        )


def _parts(prepared: PreparedPrompts) -> Parts:
    """Return the parts with the prompts on the first axis."""
    return (
        prepared.pooled,
        prepared.mask.float(),
        prepared.keys.transpose(0, 1),
        prepared.values.transpose(0, 1),
        prepared.extra,
    )
