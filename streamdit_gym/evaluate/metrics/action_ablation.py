"""What right actions are worth: the same episodes under the actions of others must be worse."""

from __future__ import annotations

import numpy as np

from streamdit_gym.evaluate.candidate import Frames, action_prompts
from streamdit_gym.evaluate.control_schema import AblationMetrics
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.metrics.pixel_metrics import squared_errors
from streamdit_gym.evaluate.statistics import estimate, share_removed

STEPS = 16


def ablation_metrics(context: EvaluationContext, generated: Frames) -> AblationMetrics | None:
    """Compare a rollout with one under permuted actions, where the real frames change.

    Args:
        context: what is measured against what.
        generated: frames under the held-out episodes' actions; the first is the real first frame.

    Returns:
        None if there is a single episode, which has no others.
    """
    held_out = context.held_out
    episodes, all_steps = held_out.actions.shape[:2]
    if episodes < 2:
        return None
    steps = min(STEPS, all_steps)
    others = np.roll(held_out.actions[:, :steps], episodes // 2, axis=0)
    prompts = action_prompts(context.spec, others)
    shown = context.candidate.roll_out(context.first_frames, prompts).frames
    frames = slice(1, steps + 1)
    real = held_out.frames[:, frames]
    mask = (
        _changing_pixels(held_out.frames[:, : steps + 1]) & context.is_frame[:, frames, None, None]
    )
    errors = squared_errors(generated[:, frames], real, mask)[:, 0]
    other_errors = squared_errors(shown, real, mask)[:, 0]
    pairs = np.stack([errors, other_errors], -1)
    return AblationMetrics(horizon=steps, error_removed=estimate(pairs, share_removed))


def _changing_pixels(frames: Frames) -> np.ndarray:
    """Return the pixels of all frames that change at any time in their episode (e, 1, h, w)."""
    return (frames != frames[:, :1]).any((1, 4), keepdims=True)[..., 0]
