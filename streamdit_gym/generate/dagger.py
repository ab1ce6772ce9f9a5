"""Where a world goes astray, and what its simulator says must follow: more to train on.

Takes: a world and its simulator.  Gives: a data set for ``train --corrections``.  Knows nothing of:
    training.

A world that is trained on recordings sees its own mistakes only as long as they are small: later
the recording tells another story. Here the simulator is put into the state that the world's heads
read from its own frames, however bent they are, and plays on. So each episode begins with frames of
the world's stream and goes on with what should have come next; it is DAgger (Ross et al., 2011)
with the simulator as expert.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from tqdm import tqdm

from streamdit_gym.checks import check_fields
from streamdit_gym.data.definition_checks import check_definition
from streamdit_gym.data.episode import Episode, all_phrases, explore, stack_episodes
from streamdit_gym.data.recorder import (
    AGAIN,
    MAX_SEED,
    MAX_SHARD_FRAMES,
    MAX_SHARDS,
    MAX_WORKERS,
    check_shard_size,
    missing_shards,
    write_meta,
)
from streamdit_gym.data.simulator_checks import check_first_episodes
from streamdit_gym.definition import ReferenceSimulator, WorldSpec
from streamdit_gym.envs.worlds import reference_simulator, spec_of
from streamdit_gym.errors import ArgumentError, StreamDiTError
from streamdit_gym.files import folder_lock, remove_parts, writing_to
from streamdit_gym.presets import PARTITIONS
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.world import World, find_world

Job = tuple[Episode, dict[str, np.ndarray], int]

# share of the corrections that begin where a thing is not whole, if there are as many such frames
BROKEN = 0.75
MAX_STREAMS = 4096  # all of them are denoised and decoded at once
ACTOR_PX = 4  # radius that hides the thing that obeys


@dataclass(frozen=True, kw_only=True)
class CorrectionsConfig:
    """What to record.

    Attributes:
        shards: how many shards; each is taken further down the same streams.
        episodes: streams, and so episodes per shard.
        steps: steps per episode, the world's own counted in.
        astray: how many frames of an episode are the world's own.
        every: frames of the streams from one shard to the next; each shard follows the best places
            of all streams in them.
        forsaken: share of the streams that begin without the thing that obeys: what a world loses
            once in a hundred thousand frames, and then for ever, its own streams hardly show.
        seed: of starts, noise, moves and the choice of frames.
        workers: processes of the simulator.
    """

    shards: int = 40
    episodes: int = 32
    steps: int = 96
    astray: int = 8
    every: int = 64
    forsaken: float = 0.25
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ArgumentError: if one is out of range, or there is no frame of the simulator in an
                episode.
        """
        check_fields(
            self,
            ints={
                "shards": (1, MAX_SHARDS),
                "episodes": (1, MAX_STREAMS),
                "steps": (1, MAX_SHARD_FRAMES),
                "astray": (2, MAX_SHARD_FRAMES),
                "every": (1, MAX_SHARD_FRAMES),
                "seed": (0, MAX_SEED),
                "workers": (1, MAX_WORKERS),
            },
            reals={"forsaken": (0, 1)},
        )
        check_shard_size(self.episodes, max(self.steps, self.every + self.astray))
        if self.steps < self.astray:
            raise ArgumentError(
                "too short episodes",
                given=self.steps,
                allowed=f"{self.astray} or more",
                remedy="change --steps",
            )


def record_corrections(
    name: str, folder: str | Path, config: CorrectionsConfig, device: str = "cpu"
) -> None:
    """Stream a world under random moves and record corrections on the way, showing a progress bar.

    Safe to stop at any moment and to call again: whole shards are kept.

    Args:
        name: the world that goes astray: shipped name, folder or Hub id; its heads say where it is.
        folder: where to write.
        config: what to record.
        device: where to stream.

    Raises:
        UnknownNameError: if there is no such world, or it has no simulator.
        DefinitionError: if the definition, or what the simulator gives in a first episode, is
            wrong; nothing is written then.
        DatasetError: if the folder holds a data set made with other settings.
        BusyError: if another process works in the folder.
        StorageError: if the folder cannot be written to.
    """
    folder, world = Path(folder), World.from_pretrained(name, device=device)
    spec, twin = spec_of(world.spec.name), reference_simulator(world.spec.name)
    if twin.looks is not None:
        raise StreamDiTError(
            "a state does not say the colours",
            given=spec.name,
            remedy="correct a world that has one look",
        )
    check_definition(spec, twin.starts)
    check_first_episodes(spec, twin.make, twin.starts)
    files = json.loads((find_world(name) / "config.json").read_text())["files"]
    plan = {
        name: getattr(config, name)
        for name in ("seed", "episodes", "steps", "astray", "every", "forsaken")
    }
    with writing_to(folder, AGAIN), folder_lock(folder):
        remove_parts(folder)
        write_meta(
            folder, spec, {**plan, "bundle": files, "device": device}
        )  # elsewhere the streams would be others
        missing = missing_shards(folder, config.shards)
        if missing:
            _record_missing(world, spec, twin, folder, config, missing)


def _record_missing(
    world: World,
    spec: WorldSpec,
    twin: ReferenceSimulator,
    folder: Path,
    config: CorrectionsConfig,
    missing: list[int],
) -> None:
    correct = partial(_correct, twin.make, spec, next(iter(twin.starts)), config.steps)
    with ExitStack() as stack:
        spread: Callable[..., Iterable[Episode]] = map
        if config.workers > 1:
            pool = multiprocessing.get_context("spawn").Pool(
                config.workers, signal.signal, (signal.SIGINT, signal.SIG_IGN)
            )
            spread = stack.enter_context(pool).map
        parts = tqdm(
            _streams(world, twin, config),
            total=config.shards,
            unit="shard",
            desc=f"correct {spec.name}",
        )
        for shard, part in enumerate(parts):
            if shard in missing:
                jobs = _jobs_of(part, spec, twin, config, shard)
                stack_episodes(spec, list(spread(correct, jobs))).save(folder, shard)


def _jobs_of(
    part: Part, spec: WorldSpec, twin: ReferenceSimulator, config: CorrectionsConfig, shard: int
) -> list[Job]:
    """Return the episodes of a shard as far as they are the world's own,
    each with what is known of it and a seed.
    """
    rng = np.random.default_rng([config.seed, 1 + shard])
    numbers = {phrase: i for i, phrase in enumerate(all_phrases(spec))}
    prompts = np.array([numbers[ways[0]] for ways in spec.menu])
    things = [twin.objects(row) for row in part.frames]
    whole = np.array([(np.stack(list(row.values())) > 0).all(0) for row in things])
    jobs = []
    for row, last in choose(whole, config.astray, config.episodes, rng):
        seen = slice(last + 1 - config.astray, last + 1)
        actions = part.actions[row, seen][1:].tolist()
        states = list(part.states[row, seen])
        own = Episode(
            frames=list(part.frames[row, seen]),
            actions=actions,
            prompts=prompts[actions].tolist(),
            states=states,
            scores=list(part.scores[row, seen]),
        )
        # the newest state in which a thing was whole, of the frames that clips begin with
        sure = {}
        for name, there in things[row].items():
            for i in range(config.astray // 2, config.astray):
                if there[seen][i]:
                    sure[name] = states[i]
        jobs.append((own, sure, int(rng.integers(2**31))))
    return jobs


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some frames of all streams: pixels, the actions that led to them, and what the heads read."""

    frames: UInt8[np.ndarray, "b f h w 3"]
    actions: Int[np.ndarray, "b f"]
    states: np.ndarray
    scores: np.ndarray


@torch.no_grad()
def _streams(world: World, twin: ReferenceSimulator, config: CorrectionsConfig) -> Iterator[Part]:
    """Yield, shard by shard, the newest frames of all streams;
    the first `astray` - 1 of them were there before.
    """
    rng = np.random.default_rng(config.seed)
    engine = Engine(world.model, world.table, PARTITIONS["reactive"])
    bank = torch.as_tensor(rng.integers(len(world.starts.latents), size=config.episodes))
    noise = Noise.seeded(rng.integers(2**63, size=config.episodes).tolist())
    starts = world.starts.latents[bank, None]
    if forsaken := round(config.forsaken * config.episodes):
        places = world.readout(starts[:forsaken])[0][
            :, 0, [world.spec.state_names.index(name) for name in twin.actor]
        ]
        emptied = without(
            world.codec.decode(starts[:forsaken])[:, 0].cpu().numpy(), places.cpu().numpy()
        )
        starts[:forsaken] = world.codec.encode(
            torch.from_numpy(emptied)[:, None].to(starts.device)
        ).to(starts.dtype)
    session = engine.start(starts, torch.full((config.episodes, 1), -1), noise)
    rows = world.table.rows([ways[0] for ways in world.spec.menu])
    held, left = np.zeros(config.episodes, int), np.zeros(config.episodes, int)
    kept: list[torch.Tensor] = []
    taken: list[np.ndarray] = []
    for _ in range(config.shards):
        for _ in range(config.every if kept else config.every + config.astray - 1):
            held = np.where(left == 0, rng.integers(len(rows), size=len(held)), held)
            left = np.where(left == 0, rng.integers(1, 9, size=len(left)), left) - 1
            kept.append(engine.tick(session, rows[torch.as_tensor(held)]))
            taken.append(held)
        shown = [world.codec.decode(row[None]) for row in torch.cat(kept, 1)]
        states, scores = world.readout(
            torch.cat([world.codec.encode(row) for row in shown])
        )  # of what a training will see
        frames = torch.cat(shown).cpu().numpy()
        yield Part(
            frames=frames,
            actions=np.stack(taken, 1),
            states=states.cpu().numpy(),
            scores=scores.cpu().numpy(),
        )
        kept, taken = kept[1 - config.astray :], taken[1 - config.astray :]


def without(
    frames: UInt8[np.ndarray, "n h w 3"], places: Float[np.ndarray, "n 2"]
) -> UInt8[np.ndarray, "n h w 3"]:
    """Return frames with a disc of their commonest colour over a place (px,
    across and down) of each.
    """
    emptied = frames.copy()
    rows, columns = np.indices(frames.shape[1:3])
    for frame, (x, y) in zip(emptied, places, strict=True):
        colours, counts = np.unique(frame.reshape(-1, 3), axis=0, return_counts=True)
        frame[np.hypot(columns + 0.5 - x, rows + 0.5 - y) < ACTOR_PX] = colours[counts.argmax()]
    return emptied


def choose(
    whole: Bool[np.ndarray, "b f"], astray: int, count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Return the (stream, frame) places that corrections follow, with at least `astray` - 1 frames
    before each.

    First of every spell in which a thing is not whole one place of its first frames, where it is
    still seen what the thing was, and one of the rest, however long it lasts, up to their share;
    then any places.
    """
    places = [
        (row, frame) for row in range(len(whole)) for frame in range(astray - 1, whole.shape[1])
    ]
    parts: dict[tuple[int, int, bool], list[tuple[int, int]]] = {}
    for row, there in enumerate(whole):
        began = 0
        for frame in range(whole.shape[1]):
            if there[frame]:
                began = frame + 1
            elif frame >= astray - 1:
                parts.setdefault((row, began, frame - began < astray // 2), []).append((row, frame))
    broken = [part[int(rng.integers(len(part)))] for part in parts.values()]
    chosen = [broken[i] for i in rng.permutation(len(broken))[: round(BROKEN * count)]]
    anywhere = (places[i] for i in rng.permutation(len(places)))
    return chosen + list(
        islice((place for place in anywhere if place not in chosen), count - len(chosen))
    )


def _correct(make: Callable[[], Any], spec: WorldSpec, start: str, steps: int, job: Job) -> Episode:
    """Go on with an episode of the world in the simulator."""
    own, sure, seed = job
    simulator = make()
    simulator.reset(np.random.default_rng(seed), start)
    rng = np.random.default_rng(seed)
    if (
        "sure" in inspect.signature(simulator.put).parameters
    ):  # a simulator need not know what to do with it
        simulator.put(rng, own.states[-2], own.actions[-1], own.states[-1], sure=sure)
    else:
        simulator.put(rng, own.states[-2], own.actions[-1], own.states[-1])
    made = explore(spec, simulator, rng, own, steps - len(own.actions))
    simulator.close()
    return made
