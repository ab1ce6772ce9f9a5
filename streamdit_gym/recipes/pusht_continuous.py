"""How the shipped PushT-Continuous was trained."""

from __future__ import annotations

from streamdit_gym.recipes.recipe import Recipe
from streamdit_gym.recipes.stage_settings import Continuation, DynamicsTraining, ReadoutTraining


def pusht_continuous() -> Recipe:
    """Return the training of the shipped PushT-Continuous.

    It continued from PushT, whose frames, latents and readout it keeps: only the transformer
    learns what values of the box mean.
    """
    return Recipe(
        preset="small",
        continue_from=Continuation(world="PushT"),
        readout=ReadoutTraining(steps=0),
        dynamics=DynamicsTraining(steps=3_000, clips=8, rate_scale=0.6, end_with_minutes=True),
        max_start_frames=256,
    )
