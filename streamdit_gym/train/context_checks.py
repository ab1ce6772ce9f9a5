"""What must hold before a training begins."""

from __future__ import annotations

from streamdit_gym.data.definition_checks import check_definition
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.recipes.stage_settings import DynamicsTraining
from streamdit_gym.stream.partition import Partition
from streamdit_gym.train.dataset_checks import (
    check_actions,
    check_dataset,
    check_length,
    check_phrases,
    check_relabelled,
    check_shards,
)
from streamdit_gym.train.stage_context import StageContext, has_global_channels
from streamdit_gym.train.stages import latents_stage, readout_stage


def check_context(context: StageContext) -> None:
    """Refuse what could not be trained, before anything is written."""
    inputs = context.inputs
    check_definition(inputs.spec)
    check_dataset(inputs.dataset, inputs.spec)
    check_phrases(inputs.dataset, inputs.spec)
    check_frame_size(context)
    check_length(inputs.dataset, min_steps(context.recipe.dynamics))
    check_actions(inputs.dataset)
    check_continuation(context)
    readout_stage.check(context)
    for relabelled in inputs.relabelled:
        check_relabelled(relabelled, inputs.dataset)


def min_steps(settings: DynamicsTraining) -> int:
    """Return how many steps the longest clip of a training has."""
    steps = settings.clip_frames
    for text, _ in settings.partitions:
        partition = Partition.parse(text)
        steps = max(steps, partition.references + partition.frames - 1)
    return steps


def check_continuation(context: StageContext) -> None:
    """Refuse a recipe and a loaded world that do not belong together."""
    world = context.base_world
    if (world is None) != (context.recipe.continue_from is None):
        raise StreamDiTError(
            "the recipe and the world to continue from do not belong together",
            given="only one of recipe.continue_from and inputs.base_world",
            allowed="both or none",
            remedy="load the world that the recipe names",
        )
    _check_objective(context)
    added = context.recipe.added_channels
    if added and world is not None and has_global_channels(world.codec):
        raise StreamDiTError(
            "the continued world has global channels already",
            given=f"{added} more channels",
            allowed="0",
            remedy="leave them out of the recipe",
        )


def _check_objective(context: StageContext) -> None:
    """Refuse to go on with a transformer of another kind of input."""
    world = context.base_world
    objective = context.recipe.dynamics.objective
    if world is None or not context.recipe.keeps_transformer:
        return
    if world.model.config.sees_noise == (objective == "flow"):
        return
    kind = "flow" if world.model.config.sees_noise else "regression"
    raise StreamDiTError(
        "the transformer to continue from was trained with another objective",
        given=f"{objective}; that of {world.spec.name}: {kind}",
        allowed="the same, or a new transformer behind its autoencoder",
        remedy="Continuation(world=..., new_transformer=True) in a recipe, or --init none",
    )


def check_frame_size(context: StageContext) -> None:
    """Refuse to continue a world with frames of another size."""
    spec = context.inputs.spec
    world = context.base_world
    if world is None or world.codec.frame_size == spec.frame_size:
        return
    height, width = world.codec.frame_size
    own_height, own_width = spec.frame_size
    raise StreamDiTError(
        "the world to continue from has frames of another size",
        given=f"{height} x {width} pixels: {world.spec.name}",
        allowed=f"{own_height} x {own_width} pixels: the definition of {spec.name}",
        remedy=f"frame_size=({height}, {width}), or a recipe that continues from no world",
    )


def check_files(context: StageContext) -> None:
    """Read every shard that is not encoded yet, before hours are spent."""
    check_shards(context.inputs.dataset, context.folder / "latents")
    for relabelled in context.inputs.relabelled:
        check_shards(relabelled, latents_stage.relabelled_folder(context.folder, relabelled))
