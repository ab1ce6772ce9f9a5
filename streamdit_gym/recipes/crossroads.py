"""How the shipped Crossroads was trained."""

from __future__ import annotations

from dataclasses import replace

from streamdit_gym.recipes.flow import flow
from streamdit_gym.recipes.recipe import Recipe
from streamdit_gym.recipes.stage_settings import AutoencoderTraining


def crossroads() -> Recipe:
    """Return the training of the shipped Crossroads."""
    recipe = flow()
    return replace(
        recipe,
        autoencoder=AutoencoderTraining(steps=800, weighting="motion", foreground_weight=50.0),
        dynamics=replace(recipe.dynamics, clips=16),
    )
