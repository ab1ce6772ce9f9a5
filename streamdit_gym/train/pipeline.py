"""Train a whole world from a data set, stage by stage, and write its bundle.

Every stage resumes: calling again with the same run folder goes on where the last call stopped.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from streamdit_gym.recipes import Recipe
from streamdit_gym.train import parallel
from streamdit_gym.train.assembly import TrainedParts, assemble_world
from streamdit_gym.train.context_checks import check_context, check_files
from streamdit_gym.train.phrases import embed_phrases, prompt_source
from streamdit_gym.train.run_files import save_world, write_config
from streamdit_gym.train.stage_context import RunOptions, StageContext, TimeUpError, TrainingInputs
from streamdit_gym.train.stages import (
    appearance_stage,
    autoencoder_stage,
    dynamics_stage,
    latents_stage,
    readout_stage,
    transition_stage,
)
from streamdit_gym.train.stages.dynamics_stage import DynamicsData
from streamdit_gym.world import World


def train_world(inputs: TrainingInputs, recipe: Recipe, options: RunOptions) -> World | None:
    """Train a world, or go on with one, and write the bundle into the run folder's ``world/``.

    Args:
        inputs: the world's definition, the data, and the trained world to continue from.
        recipe: how every stage learns.
        options: where to train, and for how long.

    Returns:
        The world, or None if the time was up before the transformer's stage.

    Raises:
        DatasetError: if a data set is of another world, too small, or of too short episodes.
        DefinitionError: if the world's definition is wrong.
        BusyError: if another run holds the run folder.
        StorageError: if the run folder cannot be written to.
        StreamDiTError: if recipe, definition and continued world do not fit each other.
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    context = StageContext(inputs=inputs, recipe=recipe, options=options)
    check_context(context)
    with parallel.run_folder(context.folder):
        check_files(context)
        write_config(context.folder, run_config(context))
        try:
            return train_stages(context)
        except TimeUpError:
            return None


def train_stages(context: StageContext) -> World:
    """Train what is still to be trained of a checked run.

    The readouts look at real frames and come before the transformer, so that every call that
    reaches the transformer ends with a bundle that can be used.
    """
    # first of all, since a missing encoder should not be found out hours later
    table = embed_phrases(context.inputs.make_encoder, context.inputs.dataset)
    codec = autoencoder_stage.run(context)
    encoded = latents_stage.run(context, codec)
    readout = readout_stage.run(context, codec, encoded.train)
    transitions = transition_stage.run(context, codec, encoded.train)
    episodes = latents_stage.run_relabelled(context, codec, encoded.train)
    model = dynamics_stage.initial_model(context)
    appearance = appearance_stage.run(context, model, encoded.train, table)
    prompts = prompt_source(context.inputs.spec, table)
    data = DynamicsData(codec=codec, episodes=episodes, held_out=encoded.held_out, prompts=prompts)
    dynamics_stage.run(context, model, data)
    appearance_stage.restore(model, appearance)
    parts = TrainedParts(
        model=model, codec=codec, readout=readout, transitions=transitions, table=table
    )
    world = assemble_world(context, parts, encoded, episodes)
    save_world(world, context.folder / "world")
    return world


def run_config(context: StageContext) -> dict[str, Any]:
    """Return the run's resolved settings."""
    inputs = context.inputs
    return {
        "world": inputs.spec.name,
        "data_seed": inputs.dataset.meta["seed"],
        "shards": len(inputs.dataset),
        "relabelled_data": [str(dataset.folder) for dataset in inputs.relabelled],
        **dataclasses.asdict(context.recipe),
    }
