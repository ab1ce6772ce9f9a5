"""How Fetch is trained."""

from __future__ import annotations

from dataclasses import replace

from streamdit_gym.recipes.own_world import own_world
from streamdit_gym.recipes.recipe import Recipe


def fetch() -> Recipe:
    """Return the training of an own world, from nothing, since its frames are larger than PushT's.

    Block and goal are a few pixels each, so rare colours weigh more in the autoencoder.
    """
    recipe = own_world()
    return replace(
        recipe,
        continue_from=None,
        autoencoder=replace(
            recipe.autoencoder,
            steps=4000,
            batch=24,
            weighting="colour",
            foreground_weight=15.0,
        ),
        readout=replace(recipe.readout, steps=3000),
        dynamics=replace(
            recipe.dynamics, steps=20_000, clips=12, rate_scale=0.8, readback_deadline=0.0
        ),
    )
