"""How the shipped Take Cover was trained."""

from __future__ import annotations

from dataclasses import replace

from streamdit_gym.recipes.flow_matching import flow
from streamdit_gym.recipes.recipe import Recipe


def take_cover() -> Recipe:
    """Return the training of the shipped Take Cover.

    It is a flow from nothing, since frames have a shape of their own: 1,200 steps of the
    autoencoder, and as many of the transformer as an hour has.
    """
    recipe = flow()
    return replace(
        recipe,
        continue_from=None,
        autoencoder=replace(recipe.autoencoder, steps=1200),
        transitions=replace(recipe.transitions, steps=3000),
        dynamics=replace(recipe.dynamics, steps=20_000, readback_deadline=0.0),
    )
