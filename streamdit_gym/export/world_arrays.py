"""The numbers of a world that a runtime needs beside its networks: prompts and first frames.

``world.json`` describes a world, ``world.bin`` has its arrays, float32 with the least significant
byte first; the description says where each begins, in numbers, and its shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.actions import SpokenBox, direction_ends
from streamdit_gym.model.streamdit import MIN_TEXT_TOKENS
from streamdit_gym.text.prompt_table import pad_tokens
from streamdit_gym.text.spoken_table import SpokenTable
from streamdit_gym.world import World

FORMAT = 1
ARRAYS = "world.bin"
DESCRIPTION = "world.json"
MAX_STARTS = 8
NUMBER = np.dtype("<f4")


@dataclass(kw_only=True)
class WorldArrays:
    """Arrays that are written one behind the other.

    Attributes:
        parts: the arrays, by name.
    """

    parts: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, name: str, values: Tensor) -> None:
        """Append an array."""
        self.parts[name] = values.detach().cpu().numpy().astype(NUMBER)

    def places(self) -> dict[str, Any]:
        """Return where every array begins, in numbers, and its shape."""
        places = {}
        offset = 0
        for name, values in self.parts.items():
            places[name] = {"offset": offset, "shape": list(values.shape)}
            offset += values.size
        return places

    def write(self, path: Path) -> None:
        """Write the arrays."""
        path.write_bytes(b"".join(values.tobytes() for values in self.parts.values()))


def read_arrays(path: Path, places: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of a file, as its description places them."""
    numbers = np.fromfile(path, NUMBER)
    arrays = {}
    for name, place in places.items():
        size = math.prod(place["shape"])
        values = numbers[place["offset"] : place["offset"] + size]
        arrays[name] = values.reshape(place["shape"])
    return arrays


def prompt_arrays(world: World) -> dict[str, Tensor]:
    """Return the embeddings of a world's prompts.

    Of a menu: ``tokens`` (u, l, e), their ``mask`` (u, l) and ``pooled`` (u, e) of every phrase. Of
    a box: ``words`` (u, e), dimension by dimension; a prompt has one token for every dimension,
    between those of two words, and ``pooled`` is their mean.
    """
    source = world.prompts
    if isinstance(source, SpokenTable):
        return {"words": source.words}
    table = world.table
    length = max(MIN_TEXT_TOKENS, table.tokens.shape[1])
    return {
        "tokens": pad_tokens(table.tokens, length),
        "mask": pad_tokens(table.mask, length).float(),
        "pooled": table.pooled,
    }


def prompt_tokens(world: World) -> int:
    """Return the number of tokens of every prompt: those of the longest phrase, or a box's."""
    if isinstance(world.spec.actions, SpokenBox):
        return max(MIN_TEXT_TOKENS, len(world.spec.actions))
    return max(MIN_TEXT_TOKENS, world.table.tokens.shape[1])


def chosen_starts(world: World) -> Float[Tensor, "n c h w"]:
    """Return a few of a world's first frames, spread over all of them."""
    latents = world.starts.latents
    count = min(MAX_STARTS, len(latents))
    rows = torch.linspace(0, len(latents) - 1, count).round().long()
    return latents[rows]


def described_actions(world: World, own_prompts: list[str]) -> dict[str, Any]:
    """Return a world's actions as a page shows them.

    A menu has ``phrases``, all that are embedded, and ``buttons``, the row of every action's first
    phrase, the idle one first, and of every prompt of the exporter's own. A box has ``dimensions``,
    and ``ends``: the dimension and the value of each direction.
    """
    language = world.spec.actions
    if isinstance(language, SpokenBox):
        dimensions = zip(language.names, language.words, language.low, language.high, strict=True)
        described = [
            {"name": name, "words": list(words), "low": low, "high": high, "idle": float(idle)}
            for (name, words, low, high), idle in zip(dimensions, language.idle, strict=True)
        ]
        return {"dimensions": described, "ends": direction_ends(language)}
    phrases = world.table.phrases
    texts = [*(of_action[0] for of_action in language.phrases), *own_prompts]
    buttons = [phrases.index(text) for text in texts]
    return {"phrases": list(phrases), "buttons": buttons}
