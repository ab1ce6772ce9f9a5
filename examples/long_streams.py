"""Does motion die? Long streams of one world, cut in several ways, beside its simulator.

Usage: python examples/long_streams.py Crossroads K4N1c1s8 K1N1c8s8 K0N4c1s2 [--frames 600]

Partitions may be of any kind: one frame at a time (K4N1c1s8), chunk by chunk (K1N1c8s8), a moving
buffer (K4N4c1s2), or the same without references (K0N4c1s2, the diagonal of FIFO-Diffusion). All
streams follow the same random actions, each held for some frames.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from streamdit_gym import World
from streamdit_gym.data.motion import displacement_px
from streamdit_gym.data.random_actions import HeldExploration
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.registry import world_definition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition

PART = 0.15  # of a stream: its first and its last frames
STRIDE = 3  # one of so many pairs of neighbouring frames is measured
CONTEXT = 5  # real frames that every stream begins with


def held_actions(definition: WorldDefinition, frames: int, seed: int) -> list[int]:
    """Return an action for every frame."""
    rng = np.random.default_rng(seed)
    policy = HeldExploration(definition.actions)
    return [policy.next(rng) for _ in range(frames)]


def real_stream(definition: WorldDefinition, actions: list[int], seed: int) -> np.ndarray:
    """Return what the simulator draws: an idle context, and a frame for every action."""
    rng = np.random.default_rng(seed)
    simulator = definition.make_simulator()
    start = next(iter(definition.starts))
    frames = [simulator.reset(rng, start)]
    taken = [definition.actions.idle] * (CONTEXT - 1) + actions
    frames += [simulator.step(action) for action in taken]
    simulator.close()
    return np.stack(frames)


def generated_frames(
    world: World, partition: Partition, context: np.ndarray, actions: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the frames of all streams, chunk after chunk."""
    engine = Engine(world.model_for(partition), world.prompts, partition, idle=world.idle_prompt)
    latents = world.encode(torch.from_numpy(context))
    idle = world.idle_prompt.expand(len(context), CONTEXT, *world.idle_prompt.shape)
    session = engine.start(latents, idle, Noise.seeded(range(len(context))))
    chunks = range(0, actions.shape[1], partition.chunk_frames)
    for first in tqdm(chunks, desc=str(partition), unit="chunk", leave=False):
        prompts = world.action_prompts(actions[:, first])
        yield world.decode(engine.tick(session, prompts)).numpy()


def report(definition: WorldDefinition, name: str, streams: np.ndarray) -> str:
    """Return motion and whole objects in the first and the last part of the streams."""
    window = int(PART * streams.shape[1])
    cells = []
    for part in (streams[:, :window], streams[:, -window:]):
        pairs = [
            displacement_px(stream[place], stream[place + 1])
            for stream in part
            for place in range(0, window - 1, STRIDE)
        ]
        shares = []
        if definition.evaluation.objects is not None:
            whole = definition.evaluation.objects(part.reshape(-1, *part.shape[2:]))
            shares = [f"{thing} {np.nanmean(found):.0%}" for thing, found in whole.items()]
        cells.append(", ".join([f"{np.mean(pairs):.2f} px a frame", *shares]))
    return f"{name:12} first: {cells[0]:32} last: {cells[1]}"


def main() -> None:
    """Stream in all ways, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world")
    parser.add_argument("partitions", nargs="+")
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--streams", type=int, default=8)
    arguments = parser.parse_args()
    world = World.from_pretrained(arguments.world)
    definition = world_definition(world.spec.name)
    actions = [held_actions(definition, arguments.frames, n) for n in range(arguments.streams)]
    real = [real_stream(definition, each, seed) for seed, each in enumerate(actions)]
    streams = np.stack(real)
    print(report(definition, "simulator", streams[:, CONTEXT:]))
    for text in arguments.partitions:
        chunks = generated_frames(
            world, Partition.parse(text), streams[:, :CONTEXT], np.array(actions)
        )
        print(report(definition, text, np.concatenate(list(chunks), 1)), flush=True)


if __name__ == "__main__":
    main()
