"""Whether frames show the actions that were prompted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from streamdit_gym.actions import SpokenBox
from streamdit_gym.evaluate.candidate import Frames, action_prompts
from streamdit_gym.evaluate.control_schema import ActionMetrics
from streamdit_gym.evaluate.evaluator_models import MIN_SKILL
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext, means_over_steps
from streamdit_gym.evaluate.metrics.pixel_metrics import disc
from streamdit_gym.evaluate.statistics import (
    UNMEASURED,
    Estimate,
    correlation,
    estimate,
    paired_ratio,
    ratio,
)

CONTEXT_FRAMES = 5  # real frames from which a one-step test goes on
START_STRIDE = 8
ACTOR_RADIUS_PX = 4.0


def action_metrics(context: EvaluationContext, generated: Frames, steps: int) -> ActionMetrics:
    """Read actions back off a rollout; around an actor, compare the next frame under others.

    Args:
        context: what is measured against what.
        generated: frames under the held-out episodes' actions; the first is the real first frame.
        steps: how many of the rollout's actions to read.
    """
    if isinstance(context.spec.actions, SpokenBox):
        return _box_metrics(context, generated, steps)
    matches = context.action_matches(generated, steps)
    real_matches = context.action_matches(context.held_out.frames, steps)
    metrics = ActionMetrics(
        inverse_dynamics_accuracy=estimate(matches),
        real_inverse_dynamics_accuracy=estimate(real_matches),
        chance=1 / len(context.spec.menu),
    )
    fidelity = _ratio_of(means_over_steps(matches), means_over_steps(real_matches))
    is_readable = metrics.real_skill >= MIN_SKILL
    metrics = replace(metrics, action_fidelity=fidelity if is_readable else UNMEASURED)
    if context.adapter.actor is None:
        return metrics
    errors = one_step_errors(context)
    return replace(
        metrics,
        next_frame_error=estimate(errors["true"]),
        other_actions_error_ratio=_ratio_of(errors["other"], errors["true"]),
        idle_error_ratio=_ratio_of(errors["idle"], errors["true"]),
    )


def _box_metrics(context: EvaluationContext, generated: Frames, steps: int) -> ActionMetrics:
    pairs = context.dimension_pairs(generated, steps)
    real_pairs = context.dimension_pairs(context.held_out.frames, steps)
    shown = {name: estimate(values, correlation) for name, values in pairs.items()}
    real = {name: estimate(values, correlation) for name, values in real_pairs.items()}
    return ActionMetrics(
        dimension_r=shown,
        real_dimension_r=real,
        dimension_fidelity={
            name: paired_ratio(shown[name], r) if r.value >= MIN_SKILL else UNMEASURED
            for name, r in real.items()
        },
    )


def one_step_errors(context: EvaluationContext) -> dict[str, Float[np.ndarray, " e"]]:
    """Return the squared error of the next frame around the actor, for every episode.

    The keys say which action was prompted: the ``true`` one, ``idle``, or any ``other``.
    """
    held_out = context.held_out
    steps = held_out.actions.shape[1]
    prompts = action_prompts(context.spec, held_out.actions)
    assert isinstance(prompts, list)
    rng = np.random.default_rng(0)
    errors: dict[str, list[np.ndarray]] = {"true": [], "idle": [], "other": []}
    for start in range(0, steps - CONTEXT_FRAMES, START_STRIDE):
        now = start + CONTEXT_FRAMES
        next_prompts = _next_prompts(context, prompts, now - 1, rng)
        shown = _next_frames(context, prompts, start, next_prompts)
        mask = _around_actor(context, now)
        real = held_out.frames[:, now].astype(float)
        for kind, frames in shown.items():
            error = _masked_error(frames, real, mask)
            errors[kind].append(np.where(context.is_frame[:, now], error, np.nan))
    return {kind: means_over_steps(np.stack(values, 1)) for kind, values in errors.items()}


def _next_prompts(
    context: EvaluationContext, prompts: list[list[str]], step: int, rng: np.random.Generator
) -> dict[str, list[str]]:
    menu = context.spec.menu
    others = other_actions(context.held_out.actions[:, step], len(menu), rng)
    return {
        "true": [episode[step] for episode in prompts],
        "idle": [menu[0][0]] * len(prompts),
        "other": [menu[action][0] for action in others],
    }


def _next_frames(
    context: EvaluationContext,
    prompts: list[list[str]],
    start: int,
    next_prompts: dict[str, list[str]],
) -> dict[str, Float[np.ndarray, "e h w 3"]]:
    """Generate the frame after the context under each kind of next prompt, all in one batch."""
    end = start + CONTEXT_FRAMES
    last_step = end - 1
    frames = context.held_out.frames[:, start:end]
    batch_prompts = [
        [*episode[start:last_step], next_prompt]
        for kind_prompts in next_prompts.values()
        for episode, next_prompt in zip(prompts, kind_prompts, strict=True)
    ]
    kinds = len(next_prompts)
    batch_frames = np.concatenate([frames] * kinds)
    rollout = context.candidate.roll_out(batch_frames, batch_prompts)
    shown = rollout.frames[:, 0].astype(float)
    return dict(zip(next_prompts, np.split(shown, kinds), strict=True))


def _around_actor(context: EvaluationContext, frame: int) -> Bool[np.ndarray, "e h w"]:
    """Return the pixels around the actor in a frame and in the one before."""
    frame_size = context.spec.frame_size
    positions = context.held_out.states[:, :, context.actor_columns]
    before = disc(positions[:, frame - 1], ACTOR_RADIUS_PX, frame_size)
    after = disc(positions[:, frame], ACTOR_RADIUS_PX, frame_size)
    return before | after


def _masked_error(
    shown: Float[np.ndarray, "e h w 3"],
    real: Float[np.ndarray, "e h w 3"],
    mask: Bool[np.ndarray, "e h w"],
) -> Float[np.ndarray, " e"]:
    differences = shown - real
    per_pixel = (differences**2).mean(-1)
    total = (per_pixel * mask).sum((1, 2))
    pixels = mask.sum((1, 2)).clip(1)
    return total / pixels


def _ratio_of(
    numerators: Float[np.ndarray, " e"], denominators: Float[np.ndarray, " e"]
) -> Estimate:
    return estimate(np.stack([numerators, denominators], -1), ratio)


def other_actions(
    actions: Int[np.ndarray, " e"], count: int, rng: np.random.Generator
) -> Int[np.ndarray, " e"]:
    """Return, for every action, one of the others."""
    offsets = rng.integers(1, count, size=len(actions))
    return (actions + offsets) % count
