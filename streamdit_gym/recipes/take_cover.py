"""How Take Cover is trained."""

from __future__ import annotations

from dataclasses import replace

from streamdit_gym.recipes.flow_matching import flow
from streamdit_gym.recipes.recipe import Recipe


def take_cover() -> Recipe:
    """Return a flow from nothing, since frames have a shape of their own.

    It takes as many steps of the transformer as the minutes have. An hour is too little: fireballs
    begin too seldom in it.
    """
    recipe = flow()
    return replace(
        recipe,
        continue_from=None,
        autoencoder=replace(recipe.autoencoder, steps=1500),
        transitions=replace(recipe.transitions, steps=3000),
        dynamics=replace(recipe.dynamics, steps=20_000, readback_deadline=0.0),
    )
