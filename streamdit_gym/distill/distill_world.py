"""A whole world made faster: its autoencoder, readout and prompts around a distilled student."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.distill.distiller import DistillationData, Distiller
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.recipes.distillation_settings import Distillation
from streamdit_gym.recipes.stage_settings import DynamicsTraining
from streamdit_gym.stream.engine import Engine
from streamdit_gym.text.prompt_encoder import PromptEncoder
from streamdit_gym.train import parallel
from streamdit_gym.train.context_corruption import ContextCorruption
from streamdit_gym.train.dataset_checks import check_dataset, check_shards
from streamdit_gym.train.dynamics_trainer import dynamics_optimizers
from streamdit_gym.train.loop import LOG_EVERY, TrainingLoop
from streamdit_gym.train.optimization import linear_cooldown
from streamdit_gym.train.phrases import embed_phrases, prompt_source
from streamdit_gym.train.run_files import save_world, write_config
from streamdit_gym.train.stage_context import RunOptions
from streamdit_gym.train.stages.dynamics_stage import compile_blocks
from streamdit_gym.train.stages.latents_stage import ShardEncoder, encode_dataset, split
from streamdit_gym.world import World

SEED = 1


@dataclass(frozen=True, kw_only=True)
class DistillationInputs:
    """What a student is distilled from.

    Attributes:
        world: the teacher's world.
        dataset: recorded for the same world.
        make_encoder: returns what embeds the data set's phrases; called only if they were never
            embedded.
    """

    world: World
    dataset: Dataset
    make_encoder: Callable[[], PromptEncoder]


def distill_world(inputs: DistillationInputs, settings: Distillation, options: RunOptions) -> World:
    """Distill a student of a world, resuming from the run folder.

    The student's world is written into the run folder's ``world/``, its guided teacher into
    ``teacher/``. A student for buffers of several chunks alone stands beside the world's own
    transformer (`World.pipelined_model`); any other takes its place. If the time is up, the world
    holds what was learned so far.

    Raises:
        DatasetError: if the data set is of another world, or too small.
        PartitionError: if a partition does not fit the model.
        BusyError: if another run holds the run folder.
        StorageError: if the run folder cannot be written to.
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    world = inputs.world
    check_dataset(inputs.dataset, world.spec)
    for partition in settings.student_partitions:
        # the engine refuses what could never be streamed
        Engine(world.model_for(partition), world.table, partition)
    with parallel.run_folder(options.folder):
        check_shards(inputs.dataset, options.folder / "latents")
        write_config(options.folder, _run_config(world, settings))
        return _distill(inputs, settings, options)


def train_student(
    teacher: StreamDiT,
    initial: StreamDiT,
    data: DistillationData,
    settings: Distillation,
    options: RunOptions,
) -> StreamDiT:
    """Return a student of a teacher, resuming from the run folder; it holds the averaged weights.

    Args:
        teacher: the model to learn from, its guidance in its config.
        initial: whose weights the student starts from, mostly the teacher itself.
        data: what streams are made of.
        settings: of the distillation.
        options: of the run.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    student = _initial_student(teacher, initial, settings).to(options.device).train()
    teacher.to(options.device).eval().requires_grad_(False)
    data = replace(data, episodes=data.episodes.to(options.device))
    distiller = Distiller(teacher, student, data, settings, options.device)
    if options.compile:
        compile_blocks(teacher)
        compile_blocks(student)
    rates = DynamicsTraining(rate_scale=settings.rate_scale)
    loop = TrainingLoop(
        name="distill",
        state_name="student",
        module=student,
        trainer=distiller,
        optimizers=dynamics_optimizers(student, rates),
        schedule=linear_cooldown(settings.cooldown),
        average_decay=settings.average_decay,
        seed=SEED,
        steps=settings.steps,
        end_with_minutes=settings.end_with_minutes,
        options=options,
        curve=_curve_of(settings),
    )
    loop.run()
    return student.requires_grad_(False)


def _distill(inputs: DistillationInputs, settings: Distillation, options: RunOptions) -> World:
    """Distill in a checked run."""
    world = inputs.world
    with parallel.in_turn():
        codec = copy.deepcopy(world.codec).to(options.device)
        encoder = ShardEncoder(codec, options.device)
        episodes = encode_dataset(inputs.dataset, encoder, options.folder / "latents")
    table = embed_phrases(inputs.make_encoder, inputs.dataset)
    data = DistillationData(
        episodes=split(inputs.dataset, episodes).train,
        table=prompt_source(world.spec, table),
        corruption=ContextCorruption(codec=codec),
    )
    facts = {key: value for key, value in world.facts.items() if key != "scores"}
    teacher, initial = _teacher_and_initial(world, settings)
    teacher_world = replace(world, model=teacher, pipelined_model=None, facts=facts)
    save_world(teacher_world, options.folder / "teacher")
    student = train_student(teacher, initial, data, settings, options).to(world.device)
    facts = {**facts, "distilled": _facts(settings, student)}
    if _is_pipelined(settings):
        result = replace(world, pipelined_model=student, facts=facts)
    else:
        result = replace(world, model=student, pipelined_model=None, facts=facts)
    save_world(result, options.folder / "world")
    return result


def _is_pipelined(settings: Distillation) -> bool:
    """Return whether the student is for buffers of several chunks alone."""
    return all(partition.chunks > 1 for partition in settings.student_partitions)


def _teacher_and_initial(world: World, settings: Distillation) -> tuple[StreamDiT, StreamDiT]:
    """Return the guided teacher, and the model whose weights the student starts from."""
    initial = world.model
    if _is_pipelined(settings):
        initial = world.model_for(settings.student_partitions[0])
    original = world.model if settings.autoregressive_teacher else initial
    teacher = copy.deepcopy(original)
    teacher.config = replace(teacher.config, guidance=settings.guidance)
    return teacher, initial


def _initial_student(teacher: StreamDiT, initial: StreamDiT, settings: Distillation) -> StreamDiT:
    temperature = settings.temperature
    if temperature is None:
        temperature = initial.config.temperature
    micro_steps = min(partition.micro_steps for partition in settings.student_partitions)
    config = replace(teacher.config, guidance=1.0, temperature=temperature, micro_steps=micro_steps)
    student = StreamDiT(config)
    student.load_state_dict(initial.state_dict())
    return student


def _curve_of(settings: Distillation) -> Callable[[int], str | None]:
    """Return the names of the curves: one for every partition."""
    partitions = settings.student_partitions

    def curve(step: int) -> str | None:
        if step % LOG_EVERY >= len(partitions):
            return None
        return f"loss/{partitions[step % len(partitions)]}"

    return curve


def _run_config(world: World, settings: Distillation) -> dict[str, Any]:
    return {
        "world": world.spec.name,
        **dataclasses.asdict(settings),
        "partitions": [str(partition) for partition in settings.student_partitions],
    }


def _facts(settings: Distillation, student: StreamDiT) -> dict[str, Any]:
    """Return what the student's bundle says about its distillation."""
    return {
        "partitions": [str(partition) for partition in settings.student_partitions],
        "teacher_steps": settings.teacher_steps,
        "autoregressive_teacher": settings.autoregressive_teacher,
        "guidance": settings.guidance,
        "temperature": student.config.temperature,
    }
