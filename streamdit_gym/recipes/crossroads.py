"""How the shipped Crossroads was trained."""

from __future__ import annotations

from dataclasses import replace

from streamdit_gym.recipes.flow_matching import flow
from streamdit_gym.recipes.recipe import Recipe
from streamdit_gym.recipes.stage_settings import (
    AutoencoderTraining,
    Continuation,
    ReadoutTraining,
    TransitionTraining,
)


def crossroads() -> Recipe:
    """Return the training of the shipped Crossroads.

    PushT's autoencoder learned its frames, and a small transformer began from nothing, on 20
    shards, in two calls of 45 minutes on one busy core each: the second one went on from the first.
    """
    recipe = flow()
    return replace(
        recipe,
        preset="mini",
        continue_from=Continuation(world="PushT", adapt_autoencoder=True, new_transformer=True),
        autoencoder=AutoencoderTraining(steps=900, weighting="motion", foreground_weight=50.0),
        readout=ReadoutTraining(steps=300, batch=256),
        transitions=TransitionTraining(steps=1000),
        dynamics=replace(recipe.dynamics, clips=16),
    )
