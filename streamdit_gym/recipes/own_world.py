"""How a world is trained of which nothing is known but its recordings."""

from __future__ import annotations

from streamdit_gym.recipes.recipe import Recipe
from streamdit_gym.recipes.stage_settings import (
    AutoencoderTraining,
    Continuation,
    DynamicsTraining,
    ReadoutTraining,
    TransitionTraining,
)


def own_world() -> Recipe:
    """Train any world on two CPU cores, in about an hour.

    It starts from PushT's autoencoder where frames have their size, which learns other pictures
    sooner than one from nothing. The transformer is a small one that has learned nothing: it takes
    nearly three times as many steps in an hour as PushT's (docs/decisions/0017). Nothing here needs
    knowledge of the scene. What weighs more is what moves in the recordings. References are
    corrupted by noise whose level the model is told, and not by things that bend, split or fade,
    since that presumes a few solid things before a plain ground. A rollout goes on only while it is
    twice as near to its recording as a frame that stands still would be: what moves is a small part
    of many pictures, and the mean over all of them hides that it is elsewhere. A training whose
    actions do nothing ends early.
    """
    return Recipe(
        preset="mini",
        continue_from=Continuation(world="PushT", adapt_autoencoder=True, new_transformer=True),
        autoencoder=AutoencoderTraining(
            steps=1500,
            weighting="motion",
            foreground_weight=50.0,
            standardise=True,
            max_minutes_share=0.35,
        ),
        readout=ReadoutTraining(steps=1000, batch=256),
        transitions=TransitionTraining(steps=2000),
        dynamics=DynamicsTraining(
            steps=6000,
            clips=16,
            end_with_minutes=True,
            max_still_share=0.5,
            corruption="none",
            corruption_probability=0.0,
            readback_deadline=0.4,
        ),
    )
