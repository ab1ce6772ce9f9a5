"""How the shipped Reacher was trained."""

from __future__ import annotations

from dataclasses import replace

from streamdit_gym.recipes.own_world import own_world
from streamdit_gym.recipes.recipe import Recipe


def reacher() -> Recipe:
    """Return the training of the shipped Reacher.

    It is that of any own world, for longer: an arm's speed is learned first, and its torques, of
    which one hardly moves it in a frame, are learned last. So it does not stop where they cannot be
    read back yet. The shipped one was trained in four parts, each from where the last had ended.
    """
    recipe = own_world()
    dynamics = replace(
        recipe.dynamics, steps=20_000, clips=10, rate_scale=0.7, readback_deadline=0.0
    )
    return replace(recipe, dynamics=dynamics)
