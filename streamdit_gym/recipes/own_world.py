"""How a world is trained of which nothing is known but its recordings."""

from __future__ import annotations

from streamdit_gym.recipes.recipe import Recipe
from streamdit_gym.recipes.stage_settings import (
    AutoencoderTraining,
    DynamicsTraining,
    ReadoutTraining,
    TransitionTraining,
)


def own_world() -> Recipe:
    """Train any world from nothing on two CPU cores, in about an hour.

    Nothing here needs knowledge of the scene. What weighs more is what moves in the recordings.
    References are corrupted by noise whose level the model is told, and not by things that bend,
    split or fade, since that presumes a few solid things before a plain ground. A training whose
    actions do nothing ends early.
    """
    return Recipe(
        autoencoder=AutoencoderTraining(steps=2500, weighting="motion", foreground_weight=50.0),
        readout=ReadoutTraining(steps=3000),
        transitions=TransitionTraining(steps=3000),
        dynamics=DynamicsTraining(
            steps=2500,
            reference_noise=0.2,
            reference_noise_share=0.7,
            corruption="none",
            corruption_probability=0.0,
            readback_deadline=0.4,
        ),
    )
