"""How the shipped PushT-Looks was trained."""

from __future__ import annotations

from streamdit_gym.recipes.recipe import Recipe
from streamdit_gym.recipes.stage_settings import (
    AppearanceTraining,
    AutoencoderTraining,
    Continuation,
    DynamicsTraining,
    ReadoutTraining,
)


def pusht_looks() -> Recipe:
    """Return the training of the shipped PushT-Looks.

    It continued from PushT, on 80 shards and two CPU cores. The autoencoder gets a palette of five
    colours; the transformer learns prompts alone, and a quarter of what it learned is kept
    (docs/decisions/0009).
    """
    return Recipe(
        preset="small",
        continue_from=Continuation(
            world="PushT", adapt_autoencoder=True, weight_interpolation=0.75
        ),
        autoencoder=AutoencoderTraining(steps=4500, batch=60),
        readout=ReadoutTraining(steps=0),
        appearance=AppearanceTraining(channels=15, steps=6000, batch=256),
        dynamics=DynamicsTraining(steps=1_700, clips=20, rate_scale=0.5, text_only=True),
    )
