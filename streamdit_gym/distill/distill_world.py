"""A whole world made faster: the same codec, heads and prompts around a distilled transformer.

Takes: a world and its data set.  Gives: the student's World in the run folder.  Knows nothing of:
    simulators, Gymnasium.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from streamdit_gym.checks import check_real
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.distill.multistep import Distillation, distill
from streamdit_gym.stream.engine import Engine
from streamdit_gym.text.prompt_encoder import PromptEncoder
from streamdit_gym.train import parallel
from streamdit_gym.train.context_corruption import ContextCorruption
from streamdit_gym.train.latents import encode_dataset
from streamdit_gym.train.run import MAX_MINUTES, write_config
from streamdit_gym.train.train_world import (
    check_dataset,
    check_shards,
    embed_phrases,
    held_out_shards,
    save_world,
)
from streamdit_gym.world import World

MAX_GUIDANCE = 1000.0


def distill_world(
    world: World,
    dataset: Dataset,
    make_encoder: Callable[[], PromptEncoder],
    folder: Path,
    config: Distillation,
    device: str,
    guidance: float = 1.0,
    minutes: float | None = None,
) -> World:
    """Make a student of a world and write it into ``folder/world``, its guided teacher into
    ``folder/teacher``.

    A student for buffers of several chunks alone stands beside the world's transformer
    (`World.pipelined_model`); else it takes its place.

    Resumes: calling again with the same folder goes on where the last call stopped.

    Args:
        world: the teacher.
        dataset: recorded for the same world.
        make_encoder: makes what embeds the data set's phrases; called only if that was never done.
        folder: run folder.
        config: the recipe.
        device: ``"cpu"`` or ``"cuda"``.
        guidance: how far the teacher goes past what a prompt asks for; 1 is no guidance.
        minutes: stop this call after so long; the world written then holds what was learned so far.

    Raises:
        DatasetError: if the data set is of another world, or too small.
        PartitionError: if a partition does not fit the model.
        ArgumentError: if guidance or minutes are no such numbers.
        BusyError: if another run holds the run folder.
        StorageError: if the run folder cannot be written to.
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    check_real("guidance", guidance, least=0, most=MAX_GUIDANCE)
    if minutes is not None:
        minutes = check_real("minutes", minutes, least=0, most=MAX_MINUTES)
    check_dataset(dataset, world.spec)
    for partition in config.partitions:
        Engine(
            world.model_for(partition), world.table, partition
        )  # refuses what could never be streamed
    with parallel.run_folder(folder):
        check_shards(dataset, folder / "latents")
        return _distill(world, dataset, make_encoder, folder, config, device, guidance, minutes)


def _distill(
    world: World,
    dataset: Dataset,
    make_encoder: Callable[[], PromptEncoder],
    folder: Path,
    config: Distillation,
    device: str,
    guidance: float,
    minutes: float | None,
) -> World:
    """Distill in a checked run; see `distill_world`."""
    cuts = [str(partition) for partition in config.partitions]
    write_config(
        folder,
        {
            "world": world.spec.name,
            "guidance": guidance,
            **dataclasses.asdict(config),
            "partitions": cuts,
        },
    )
    with parallel.in_turn():
        codec = copy.deepcopy(world.codec).to(device)
        episodes = encode_dataset(dataset, codec, folder / "latents", device)
        table = embed_phrases(make_encoder, dataset)
    train, _ = episodes.split(held_out_shards(dataset) * dataset.meta["episodes"])
    facts = {key: value for key, value in world.facts.items() if key != "scores"}
    longer = all(partition.chunks > 1 for partition in config.partitions)
    begun = world.model_for(config.partitions[0]) if longer else world.model
    teacher = copy.deepcopy(world.model if config.one_by_one else begun)
    teacher.config = replace(teacher.config, guidance=guidance)
    save_world(replace(world, model=teacher, pipelined_model=None, facts=facts), folder / "teacher")
    student = distill(
        teacher,
        begun,
        train,
        table,
        config,
        folder,
        device,
        minutes,
        ContextCorruption(codec=codec),
    ).to(world.device)
    told = {
        "partitions": cuts,
        "teacher_steps": config.teacher_steps,
        "one_by_one": config.one_by_one,
        "guidance": guidance,
        "temperature": student.config.temperature,
    }
    facts = {**facts, "distilled": told}
    made = (
        replace(world, pipelined_model=student, facts=facts)
        if longer
        else replace(world, model=student, pipelined_model=None, facts=facts)
    )
    save_world(made, folder / "world")
    return made
