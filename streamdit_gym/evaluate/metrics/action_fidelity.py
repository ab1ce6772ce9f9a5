"""Whether frames show the actions that were prompted."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from streamdit_gym.evaluate.candidate import Frames, menu_prompts
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.metrics.pixel_metrics import disc
from streamdit_gym.evaluate.schema import ActionMetrics
from streamdit_gym.evaluate.statistics import estimate, ratio

CONTEXT_FRAMES = 5  # real frames from which a one-step test goes on
START_STRIDE = 8
ACTOR_RADIUS_PX = 4.0


def action_metrics(context: EvaluationContext, generated: Frames, steps: int) -> ActionMetrics:
    """Read actions back off a rollout, and compare the next frame under other actions.

    Args:
        context: what is measured against what.
        generated: frames under the held-out episodes' actions; the first is the real first frame.
        steps: how many of the rollout's actions to read.
    """
    steps = min(steps, context.held_out.actions.shape[1])
    actions = context.held_out.actions[:, :steps]
    matches = context.models.actions_match(generated[:, : steps + 1], actions)
    real_matches = context.models.actions_match(context.held_out.frames[:, : steps + 1], actions)
    errors = one_step_errors(context)
    return ActionMetrics(
        inverse_dynamics_accuracy=estimate(matches),
        real_inverse_dynamics_accuracy=estimate(real_matches),
        action_fidelity=estimate(np.stack([matches.mean(1), real_matches.mean(1)], -1), ratio),
        chance=1 / len(context.spec.menu),
        next_frame_error=estimate(errors["true"]),
        other_actions_error_ratio=estimate(np.stack([errors["other"], errors["true"]], -1), ratio),
        idle_error_ratio=estimate(np.stack([errors["idle"], errors["true"]], -1), ratio),
    )


def one_step_errors(context: EvaluationContext) -> dict[str, Float[np.ndarray, " e"]]:
    """Return the squared error of the next frame around the actor, for every episode.

    The keys say which action was prompted: the ``true`` one, ``idle``, or any ``other``.
    """
    held_out = context.held_out
    prompts = menu_prompts(context.spec, held_out)
    rng = np.random.default_rng(0)
    errors: dict[str, list[np.ndarray]] = {"true": [], "idle": [], "other": []}
    for start in range(0, held_out.actions.shape[1] - CONTEXT_FRAMES, START_STRIDE):
        now = start + CONTEXT_FRAMES
        next_prompts = _next_prompts(context, prompts, now - 1, rng)
        shown = _next_frames(context, prompts, start, next_prompts)
        mask = _around_actor(context, now)
        real = held_out.frames[:, now].astype(float)
        for kind, frames in shown.items():
            per_pixel = ((frames - real) ** 2).mean(-1)
            pixels = mask.sum((1, 2)).clip(1)
            errors[kind].append((per_pixel * mask).sum((1, 2)) / pixels)
    return {kind: np.mean(values, axis=0) for kind, values in errors.items()}


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
    frames = context.held_out.frames[:, start : start + CONTEXT_FRAMES]
    last_step = start + CONTEXT_FRAMES - 1
    batch_prompts = [
        [*episode[start:last_step], next_prompt]
        for kind_prompts in next_prompts.values()
        for episode, next_prompt in zip(prompts, kind_prompts, strict=True)
    ]
    kinds = len(next_prompts)
    rollout = context.candidate.roll_out(np.concatenate([frames] * kinds), batch_prompts)
    shown = rollout.frames[:, 0].astype(float)
    return dict(zip(next_prompts, np.split(shown, kinds), strict=True))


def _around_actor(context: EvaluationContext, frame: int) -> Bool[np.ndarray, "e h w"]:
    """Return the pixels around the actor in a frame and in the one before."""
    positions = context.held_out.states[:, :, context.actor_columns]
    before = disc(positions[:, frame - 1], ACTOR_RADIUS_PX, context.spec.size)
    after = disc(positions[:, frame], ACTOR_RADIUS_PX, context.spec.size)
    return before | after


def other_actions(
    actions: Int[np.ndarray, " e"], count: int, rng: np.random.Generator
) -> Int[np.ndarray, " e"]:
    """Return, for every action, one of the others."""
    return (actions + rng.integers(1, count, size=len(actions))) % count
