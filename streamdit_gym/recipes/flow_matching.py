"""How a world with chance is trained: from noise to one of many futures."""

from __future__ import annotations

from dataclasses import replace

from streamdit_gym.recipes.distillation_settings import Distillation
from streamdit_gym.recipes.own_world import own_world
from streamdit_gym.recipes.recipe import Recipe
from streamdit_gym.recipes.stage_settings import DynamicsTraining


def flow() -> Recipe:
    """Train a world whose next frame is not determined, as the paper does.

    Noise levels are anywhere, and every latent weighs the same: a weight that depends on which
    future was recorded would change the odds (docs/decisions/0019). References are recorded frames
    with a little noise whose level is told, since a rollout soon is in another future than its
    recording.
    """
    return replace(own_world(), dynamics=flow_training(), distillation=flow_distillation())


def flow_training() -> DynamicsTraining:
    """Return how the transformer learns."""
    return DynamicsTraining(
        objective="flow",
        steps=6000,
        clips=16,
        end_with_minutes=True,
        partitions=(
            ("K4N2c1s1", 0.05),
            ("K4N4c1s1", 0.05),
            ("K0N4c1s1", 0.05),
            ("K0N1c8s1", 0.05),
            ("K1N1c8s1", 0.05),
        ),
        micro_steps=8,
        guidance=1.0,
        sampler_time_share=0.0,
        motion_weight=0.0,
        reference_noise=0.2,
        reference_noise_share=0.7,
        prompt_dropout=0.1,
        rollout_probability=0.0,
        corruption="none",
        corruption_probability=0.0,
        velocity_floor=0.1,
        readback_deadline=0.4,
    )


def flow_distillation() -> Distillation:
    """Return how a student of one evaluation, and of two, is distilled.

    The teacher draws the same future from the same noise every time, so here a student may weigh
    what moves.
    """
    return Distillation(
        partitions=("K4N1c1s1", "K4N1c1s2"),
        teacher_steps=8,
        corruption_probability=0.0,
        streams=32,
        end_with_minutes=True,
    )
