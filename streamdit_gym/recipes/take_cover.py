"""How Take Cover is trained."""

from __future__ import annotations

from dataclasses import replace

from streamdit_gym.recipes.flow_matching import flow
from streamdit_gym.recipes.recipe import Recipe


def take_cover() -> Recipe:
    """Return a flow from nothing, since frames have a shape of their own.

    Rare colours weigh more in the autoencoder: whatever the player sees moves when it steps aside,
    and fireballs are a few bright pixels of it. The transformer takes as many steps as the minutes
    have.
    """
    recipe = flow()
    return replace(
        recipe,
        continue_from=None,
        autoencoder=replace(recipe.autoencoder, weighting="colour", steps=750),
        transitions=replace(recipe.transitions, steps=3000),
        dynamics=replace(recipe.dynamics, steps=20_000, readback_deadline=0.0),
    )
