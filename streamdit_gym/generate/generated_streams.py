"""Long streams of a world under random actions, cut into segments, for DAgger relabelling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from streamdit_gym.data.random_actions import HeldRandomActions
from streamdit_gym.presets import partition_for
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.session import Session
from streamdit_gym.world import World

ACTOR_RADIUS_PX = 4  # of the disc that hides the actor


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """How streams run.

    Attributes:
        num_segments: segments, one after the other.
        num_streams: streams in one batch.
        segment_frames: new frames in every segment.
        overlap_frames: frames that a segment repeats from the one before.
        actor_removed_share: share of the streams that begin without the actor.
        seed: of starts, noise and actions.
    """

    num_segments: int
    num_streams: int
    segment_frames: int
    overlap_frames: int
    actor_removed_share: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class StreamSegment:
    """Some frames of all streams, the actions that led to them, and the readout of each."""

    frames: UInt8[np.ndarray, "b f h w 3"]
    actions: Int[np.ndarray, "b f"]
    states: Float[np.ndarray, "b f s"]
    scores: Float[np.ndarray, "b f m"]


@torch.no_grad()
def stream_segments(
    world: World, actor: tuple[str, str], settings: StreamSettings
) -> Iterator[StreamSegment]:
    """Yield the segments of all streams.

    Args:
        world: the world.
        actor: names of the state's numbers with the actor's place (px).
        settings: how the streams run.
    """
    rng = np.random.default_rng(settings.seed)
    num_streams = settings.num_streams
    overlap = settings.overlap_frames
    engine = Engine(world.model, world.table, partition_for(world, "reactive"))
    session = _start(engine, world, actor, settings, rng)
    plainest_phrases = [phrases[0] for phrases in world.spec.menu]
    prompt_rows = world.table.rows(plainest_phrases)
    # a stream's actions must not depend on when the others change theirs
    policy = HeldRandomActions(rng, num_streams, len(prompt_rows), draw_every_row=True)
    latents: list[Tensor] = []
    actions: list[np.ndarray] = []
    for _ in range(settings.num_segments):
        # the first segment has none before it, whose last frames it could repeat
        num_frames = settings.segment_frames + overlap - len(latents)
        for _ in range(num_frames):
            chosen = policy.next()
            prompts = prompt_rows[torch.as_tensor(chosen)]
            frame = engine.tick(session, prompts)
            latents.append(frame)
            actions.append(chosen)
        yield _segment_of(world, latents, actions)
        latents = latents[-overlap:]
        actions = actions[-overlap:]


def _start(
    engine: Engine,
    world: World,
    actor: tuple[str, str],
    settings: StreamSettings,
    rng: np.random.Generator,
) -> Session:
    """Return a session that begins with frames of the world's bank, some without the actor."""
    num_streams = settings.num_streams
    bank = world.starts.latents
    bank_rows = rng.integers(len(bank), size=num_streams)
    seeds = rng.integers(2**63, size=num_streams)
    starts = bank[torch.as_tensor(bank_rows), None]
    num_removed = round(settings.actor_removed_share * num_streams)
    if num_removed:
        removed = _without_actor(world, starts[:num_removed], actor)
        starts[:num_removed] = removed
    no_prompts = torch.full((num_streams, 1), -1)
    return engine.start(starts, no_prompts, Noise.seeded(seeds.tolist()))


def _segment_of(world: World, latents: list[Tensor], actions: list[np.ndarray]) -> StreamSegment:
    """Return a segment; its readout is that of the frames encoded again, as a training sees it."""
    codec = world.codec
    frames = []
    encoded = []
    # stream by stream: all of their frames at once need too much memory
    for stream in torch.cat(latents, 1):
        decoded = codec.decode(stream[None])
        frames.append(decoded)
        encoded.append(codec.encode(decoded))
    states, scores = world.readout(torch.cat(encoded))
    return StreamSegment(
        frames=torch.cat(frames).cpu().numpy(),
        actions=np.stack(actions, 1),
        states=states.cpu().numpy(),
        scores=scores.cpu().numpy(),
    )


def _without_actor(
    world: World, latents: Float[Tensor, "n 1 c g g"], actor: tuple[str, str]
) -> Float[Tensor, "n 1 c g g"]:
    """Return the latents of the same frames without the actor."""
    state_names = world.spec.state_names
    columns = [state_names.index(name) for name in actor]
    states, _ = world.readout(latents)
    places = states[:, 0, columns].cpu().numpy()
    frames = world.codec.decode(latents)
    pixels = frames[:, 0].cpu().numpy()
    emptied = torch.from_numpy(without_actor(pixels, places))
    emptied = emptied[:, None].to(latents.device)
    encoded = world.codec.encode(emptied)
    return encoded.to(latents.dtype)


def without_actor(
    frames: UInt8[np.ndarray, "n h w 3"], places: Float[np.ndarray, "n 2"]
) -> UInt8[np.ndarray, "n h w 3"]:
    """Return frames with a disc of their commonest colour over the actor.

    Args:
        frames: the frames.
        places: where the actor is in each (px, across and down).
    """
    emptied = frames.copy()
    rows, columns = np.indices(frames.shape[1:3])
    for frame, (x, y) in zip(emptied, places, strict=True):
        pixels = frame.reshape(-1, 3)
        colours, counts = np.unique(pixels, axis=0, return_counts=True)
        commonest = colours[counts.argmax()]
        distances = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
        frame[distances < ACTOR_RADIUS_PX] = commonest
    return emptied
