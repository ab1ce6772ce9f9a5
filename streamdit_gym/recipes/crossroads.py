"""How the shipped Crossroads was trained."""

from __future__ import annotations

from dataclasses import replace

from streamdit_gym.recipes.flow_matching import flow
from streamdit_gym.recipes.recipe import Recipe
from streamdit_gym.recipes.stage_settings import AutoencoderTraining, ReadoutTraining


def crossroads() -> Recipe:
    """Return the training of the shipped Crossroads.

    PushT's autoencoder learned its frames, and a small transformer began from nothing: 2,550 steps
    of it, on 20 shards, 50 minutes in all on one busy core.
    """
    recipe = flow()
    return replace(
        recipe,
        autoencoder=AutoencoderTraining(steps=400, weighting="motion", foreground_weight=50.0),
        readout=ReadoutTraining(steps=1000, batch=256),
    )
