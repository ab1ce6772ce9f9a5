"""DAgger relabelling: a world's own frames, then what its simulator says must follow.

A world that is trained on recordings sees its own mistakes only as long as they are small: later
the recording goes elsewhere. Here the simulator is put into the state that the world's readout
gives for its own frames, however wrong they are, and goes on from there. So each episode begins
with generated frames and continues with what should have come next; it is DAgger (Ross et al.,
2011) with the simulator as expert.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from tqdm import tqdm

from streamdit_gym.actions import Menu
from streamdit_gym.checks import check_fields
from streamdit_gym.data.definition_checks import check_definition
from streamdit_gym.data.episode import Episode, all_phrases, explore, stack_episodes
from streamdit_gym.data.processes import mapping
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
from streamdit_gym.data.trial_episodes import check_first_episodes, simulator_of
from streamdit_gym.definition import WorldDefinition, WorldSpec
from streamdit_gym.envs.worlds import definition_with_simulator
from streamdit_gym.errors import ArgumentError, StreamDiTError
from streamdit_gym.files import folder_lock, remove_parts, writing_to
from streamdit_gym.generate.frame_choice import choose_frames
from streamdit_gym.generate.generated_streams import (
    StreamSegment,
    StreamSettings,
    stream_segments,
)
from streamdit_gym.world import World, find_world

MAX_STREAMS = 4096  # all of them are denoised and decoded at once


@dataclass(frozen=True, kw_only=True)
class RelabelConfig:
    """What to relabel.

    Attributes:
        shards: how many shards; each comes from further down the same streams.
        episodes: streams, and so episodes per shard.
        steps: steps per episode, the generated ones counted in.
        generated_frames: how many frames of an episode are the world's own.
        shard_frames: frames of the streams from one shard to the next; each shard follows the
            best places of all streams in them.
        actor_removed_share: share of the streams that begin without the actor. A world loses it
            once in a hundred thousand frames, and then for ever: too rarely to learn from.
        seed: of starts, noise, actions and the choice of frames.
        workers: processes of the simulator.
    """

    shards: int = 40
    episodes: int = 32
    steps: int = 96
    generated_frames: int = 8
    shard_frames: int = 64
    actor_removed_share: float = 0.25
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ArgumentError: if one is out of range, or an episode has no frame of the simulator.
        """
        check_fields(
            self,
            ints={
                "shards": (1, MAX_SHARDS),
                "episodes": (1, MAX_STREAMS),
                "steps": (1, MAX_SHARD_FRAMES),
                "generated_frames": (2, MAX_SHARD_FRAMES),
                "shard_frames": (1, MAX_SHARD_FRAMES),
                "seed": (0, MAX_SEED),
                "workers": (1, MAX_WORKERS),
            },
            reals={"actor_removed_share": (0, 1)},
        )
        segment_frames = self.shard_frames + self.generated_frames
        check_shard_size(self.episodes, max(self.steps, segment_frames))
        if self.steps < self.generated_frames:
            raise ArgumentError(
                "too short episodes",
                given=self.steps,
                allowed=f"{self.generated_frames} or more",
                remedy="change steps",
            )

    def file_entries(self) -> dict[str, Any]:
        """Return what ``meta.json`` says, in the words of all versions."""
        return {
            "seed": self.seed,
            "episodes": self.episodes,
            "steps": self.steps,
            "astray": self.generated_frames,
            "every": self.shard_frames,
            "forsaken": self.actor_removed_share,
        }

    def stream_settings(self) -> StreamSettings:
        """Return how the streams run."""
        return StreamSettings(
            num_segments=self.shards,
            num_streams=self.episodes,
            segment_frames=self.shard_frames,
            overlap_frames=self.generated_frames - 1,
            actor_removed_share=self.actor_removed_share,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class RelabelJob:
    """An episode as far as it is generated, for the simulator to go on with.

    Attributes:
        episode: the generated frames, and the readout of each.
        intact_states: per object, the newest state in which it was intact.
        seed: of the simulator.
    """

    episode: Episode
    intact_states: dict[str, np.ndarray]
    seed: int


def relabel_world(
    name: str, folder: str | Path, config: RelabelConfig, device: str = "cpu"
) -> None:
    """Stream a world under random actions and record what its simulator says must follow.

    It is safe to stop at any moment and to call again: whole shards are kept.

    Args:
        name: the world: shipped name, folder or Hub id; its readout gives the states.
        folder: where to write.
        config: what to relabel.
        device: where to stream.

    Raises:
        UnknownNameError: if there is no such world, or it has no simulator.
        StreamDiTError: if it has no menu, or prompts change its colours.
        DefinitionError: if the definition, or what the simulator gives in a first episode, is
            wrong; nothing is written then.
        DatasetError: if the folder holds a data set of other settings.
        BusyError: if another process works in the folder.
        StorageError: if the folder cannot be written to.
    """
    folder = Path(folder)
    world = World.from_pretrained(name, device=device)
    definition = definition_with_simulator(world.spec.name)
    spec = definition.spec
    _check_menu(spec)
    if definition.evaluation.appearance is not None:
        raise StreamDiTError(
            "a state does not say the colours",
            given=spec.name,
            remedy="relabel a world that has one appearance",
        )
    check_definition(definition, definition.starts)
    check_first_episodes(definition, definition.starts)
    bundle = json.loads((find_world(name) / "config.json").read_text())["files"]
    with writing_to(folder, AGAIN), folder_lock(folder):
        remove_parts(folder)
        # the device counts: elsewhere the streams would be others
        write_meta(folder, spec, {**config.file_entries(), "bundle": bundle, "device": device})
        missing = missing_shards(folder, config.shards)
        if missing:
            _record_missing(world, definition, folder, config, missing)


def _check_menu(spec: WorldSpec) -> None:
    """Refuse a world whose actions are no menu.

    Raises:
        StreamDiTError: if they are a box.
    """
    if not isinstance(spec.actions, Menu):
        raise StreamDiTError(
            "relabelling needs a menu",
            given=f"{spec.name}, whose actions are a box",
            allowed="a world whose actions are a Menu",
            remedy="train without relabelled frames",
        )


def _record_missing(
    world: World,
    definition: WorldDefinition,
    folder: Path,
    config: RelabelConfig,
    missing: list[int],
) -> None:
    """Run all streams, and write the shards that are missing."""
    actor, _ = relabelled_objects(definition)
    go_on = partial(_continue_in_simulator, definition, config.steps)
    segments = tqdm(
        stream_segments(world, actor, config.stream_settings()),
        total=config.shards,
        unit="shard",
        desc=f"relabel {definition.name}",
    )
    with mapping(config.workers) as map_jobs:
        for shard, segment in enumerate(segments):
            if shard in missing:
                rng = np.random.default_rng([config.seed, 1 + shard])
                jobs = _jobs_of(segment, definition, config, rng)
                episodes = list(map_jobs(go_on, jobs))
                stack_episodes(definition, episodes, config.steps).save(folder, shard)


def relabelled_objects(
    definition: WorldDefinition,
) -> tuple[tuple[str, str], Callable[..., dict[str, np.ndarray]]]:
    """Return what relabelling must know of a world: its actor's place, and its objects.

    Raises:
        StreamDiTError: if its definition tells none.
    """
    evaluation = definition.evaluation
    if evaluation.actor is None or evaluation.objects is None:
        raise StreamDiTError(
            "relabelling reads states off generated frames",
            given=f"{definition.name}, whose evaluation names no actor and objects",
            allowed="a definition with evaluation=EvaluationAdapter(actor=..., objects=...)",
            remedy="train without relabelled frames",
        )
    return evaluation.actor, evaluation.objects


def _jobs_of(
    segment: StreamSegment,
    definition: WorldDefinition,
    config: RelabelConfig,
    rng: np.random.Generator,
) -> list[RelabelJob]:
    """Return the episodes of a shard as far as they are generated."""
    phrases = all_phrases(definition)
    prompts = np.array([phrases.index(menu_phrases[0]) for menu_phrases in definition.menu])
    _, objects_in = relabelled_objects(definition)
    integrity = [objects_in(frames) for frames in segment.frames]
    is_intact = np.array([_all_intact(objects) for objects in integrity])
    num_frames = config.generated_frames
    jobs = []
    for stream, last in choose_frames(is_intact, num_frames, config.episodes, rng):
        window = slice(last + 1 - num_frames, last + 1)
        actions = segment.actions[stream, window][1:].tolist()
        states = list(segment.states[stream, window])
        episode = Episode(
            frames=list(segment.frames[stream, window]),
            actions=actions,
            prompts=prompts[actions].tolist(),
            rewards=[0.0] * len(actions),
            states=states,
            scores=list(segment.scores[stream, window]),
        )
        objects = {name: values[window] for name, values in integrity[stream].items()}
        intact_states = _newest_intact_states(objects, states)
        seed = int(rng.integers(2**31))
        jobs.append(RelabelJob(episode=episode, intact_states=intact_states, seed=seed))
    return jobs


def _all_intact(objects: dict[str, Float[np.ndarray, " f"]]) -> Bool[np.ndarray, " f"]:
    """Return in which frames all objects are intact."""
    integrity = np.stack(list(objects.values()))
    return np.logical_and.reduce(integrity > 0, axis=0)


def _newest_intact_states(
    objects: dict[str, np.ndarray], states: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Return per object the newest state in which it was intact.

    Only the later half of the generated frames counts, with which training clips begin.
    """
    newest = {}
    for name, is_intact in objects.items():
        for frame in range(len(states) // 2, len(states)):
            if is_intact[frame]:
                newest[name] = states[frame]
    return newest


def _continue_in_simulator(definition: WorldDefinition, steps: int, job: RelabelJob) -> Episode:
    """Return a generated episode with the simulator's steps after it."""
    simulator: Any = simulator_of(definition)
    start = next(iter(definition.starts))
    simulator.reset(np.random.default_rng(job.seed), start)
    rng = np.random.default_rng(job.seed)
    states = job.episode.states
    optional = {}
    if "sure" in inspect.signature(simulator.start_from).parameters:
        optional["sure"] = job.intact_states
    simulator.start_from(rng, states[-2], job.episode.actions[-1], states[-1], **optional)
    num_missing = steps - len(job.episode.actions)
    episode = explore(definition, simulator, rng, job.episode, num_missing)
    simulator.close()
    return episode
