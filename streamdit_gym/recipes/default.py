"""General recipes, for any world."""

from __future__ import annotations

from streamdit_gym.recipes.distillation_settings import Distillation
from streamdit_gym.recipes.recipe import Recipe
from streamdit_gym.recipes.stage_settings import (
    AppearanceTraining,
    AutoencoderTraining,
    DynamicsTraining,
    ReadoutTraining,
    TransitionTraining,
)


def default() -> Recipe:
    """Train a world from nothing on two CPU cores, in some hours."""
    return Recipe()


def gpu() -> Recipe:
    """Train a world from nothing on one large GPU, ending with the minutes of the call.

    The distilled student is for the pipelined partition: see docs/decisions/0010.
    """
    return Recipe(
        dynamics=DynamicsTraining(steps=60_000, clips=256, end_with_minutes=True),
        distillation=Distillation(
            partitions=("pipelined",),
            autoregressive_teacher=True,
            teacher_steps=1,
            temperature=0.0,
            steps=60_000,
            streams=1024,
            rate_scale=0.5,
            end_with_minutes=True,
        ),
    )


def tiny() -> Recipe:
    """Train the smallest world for a few steps: to see that everything runs."""
    return Recipe(
        preset="tiny",
        autoencoder=AutoencoderTraining(steps=4),
        readout=ReadoutTraining(steps=4),
        transitions=TransitionTraining(steps=4),
        appearance=AppearanceTraining(steps=4),
        dynamics=DynamicsTraining(steps=5, clips=2),
        distillation=Distillation(steps=4, streams=4),
    )
