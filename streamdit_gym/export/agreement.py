"""Whether an export draws what the engine draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from streamdit_gym.actions import SpokenBox
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.export.exported_stream import ExportedStream
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.world import World

FRAMES = 64
MAX_GREY_LEVELS = 2
HOLD = 4  # frames that an action is held for
SEED = 11


class AgreementError(StreamDiTError, RuntimeError):
    """An export that draws other frames than the world it was made of."""


def actions_to_compare(world: World, frames: int, seed: int = SEED) -> list[Any]:
    """Return random actions for a comparison, each held for a few frames."""
    rng = np.random.default_rng(seed)
    language = world.spec.actions
    count = -(-frames // HOLD)
    if isinstance(language, SpokenBox):
        chosen = list(rng.uniform(language.low, language.high, (count, len(language))))
    else:
        chosen = list(rng.integers(len(language), size=count))
    return [chosen[frame // HOLD] for frame in range(frames)]


@torch.no_grad()
def engine_frames(
    world: World, partition: Partition, start: torch.Tensor, actions: list[Any], seed: int = SEED
) -> UInt8[np.ndarray, "f H W 3"]:
    """Return the frames that the engine draws from a start frame (c h w) under some actions."""
    engine = Engine(world.model_for(partition), world.prompts, partition, idle=world.idle_prompt)
    no_prompt = world.prompts.no_prompt[None, None]
    session = engine.start(start[None, None], no_prompt, Noise.seeded([seed]))
    frames = []
    for action in actions:
        clean = engine.tick(session, world.action_prompts(np.asarray(action)[None]))
        frames.append(world.decode(clean)[0, 0].numpy())
    return np.stack(frames)


def exported_frames(
    stream: ExportedStream, world: World, start: np.ndarray, actions: list[Any], seed: int = SEED
) -> UInt8[np.ndarray, "f H W 3"]:
    """Return the frames that an export draws from the same."""
    noise = Noise.seeded([seed])
    shape = stream.description["latent"]

    def draw(frames: int) -> Float[np.ndarray, "f c h w"]:
        return noise.draw((frames, *shape))[0].numpy()

    stream.start(start, _prompt(stream, world, world.spec.actions.idle), draw)
    frames = []
    for action in actions:
        clean = stream.tick(_prompt(stream, world, action))
        frames.append(stream.decode(clean)[0])
    return np.stack(frames)


def grey_levels_apart(
    folder: Path, world: World, partition: Partition, frames: int = FRAMES
) -> int:
    """Return the largest difference of a pixel between an export and the engine."""
    stream = ExportedStream(folder)
    actions = actions_to_compare(world, frames)
    start = stream.starts[0]
    expected = engine_frames(world, partition, torch.from_numpy(start), actions)
    exported = exported_frames(stream, world, start, actions)
    return int(np.abs(expected.astype(int) - exported.astype(int)).max())


def check_agreement(folder: Path, world: World, partition: Partition) -> int:
    """Compare an export with the engine, and return the largest difference in grey levels.

    Raises:
        AgreementError: if they are farther apart than rounding explains.
    """
    difference = grey_levels_apart(folder, world, partition)
    if difference > MAX_GREY_LEVELS:
        raise AgreementError(
            "the exported networks draw other frames than the world",
            given=f"{difference} grey levels apart within {FRAMES} frames",
            allowed=f"{MAX_GREY_LEVELS}",
            remedy="try other versions of torch, onnx and onnxruntime; nothing was written",
        )
    return difference


def _prompt(stream: ExportedStream, world: World, action: Any) -> Float[np.ndarray, " p"]:
    language = world.spec.actions
    if isinstance(language, SpokenBox):
        return stream.values(list(np.asarray(action, np.float64)))
    return stream.phrase(stream.description["actions"]["phrases"].index(language.prompt(action)))
