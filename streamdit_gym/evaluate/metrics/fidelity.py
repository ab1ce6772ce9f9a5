"""How close a rollout stays to real frames, at several horizons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from streamdit_gym.definition import WorldDefinition, WorldSpec
from streamdit_gym.evaluate.candidate import Frames
from streamdit_gym.evaluate.evaluator_models import StateErrors
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext, median_errors
from streamdit_gym.evaluate.metrics.pixel_metrics import moving_psnr, ssim
from streamdit_gym.evaluate.schema import BodyErrorMetrics, FidelityMetrics
from streamdit_gym.evaluate.statistics import estimate, median

# from where on a body counts as moved
MOVED_PX = 1.0
MOVED_DEGREES = 5.0


def fidelity_metrics(
    context: EvaluationContext, generated: Frames, horizons: Sequence[int]
) -> tuple[FidelityMetrics, ...]:
    """Compare a rollout with the reference simulator.

    Args:
        context: what is measured against what.
        generated: frames under the held-out episodes' actions; the first is the real first frame.
        horizons: frames after the first.
    """
    return tuple(_at_horizon(context, generated, horizon) for horizon in horizons)


def _at_horizon(context: EvaluationContext, generated: Frames, horizon: int) -> FidelityMetrics:
    held_out = context.held_out
    at_horizon = slice(horizon, horizon + 1)
    first = context.first_frames
    real = held_out.frames[:, at_horizon]
    shown = generated[:, at_horizon]
    states = held_out.states[:, at_horizon]
    errors = context.state_errors(shown, states)
    copy_errors = context.state_errors(first, states)
    first_states = held_out.states[:, 0]
    has_moved = body_has_moved(first_states, states[:, 0], context.reference, context.spec)
    decoded = context.candidate.reconstruct(real)
    return FidelityMetrics(
        horizon=horizon,
        psnr_db=moving_psnr(shown, real, first),
        copy_psnr_db=moving_psnr(first, real, first),
        codec_psnr_db=moving_psnr(decoded, real, first),
        ssim=estimate(ssim(shown, real)),
        copy_ssim=estimate(ssim(first, real)),
        state_error=median_errors(errors),
        copy_state_error=median_errors(copy_errors),
        moved_body=_body_errors_where(has_moved, errors),
        copy_moved_body=_body_errors_where(has_moved, copy_errors),
        object_integrity=context.object_integrity(shown),
    )


def body_has_moved(
    before: Float[np.ndarray, "e s"],
    after: Float[np.ndarray, "e s"],
    reference: WorldDefinition,
    spec: WorldSpec,
) -> Bool[np.ndarray, " e"]:
    """Return in which episodes the body is elsewhere, or turned."""
    body = reference.evaluation.body
    assert body is not None
    x, y, cosine, sine = (spec.state_names.index(name) for name in body)
    position = [x, y]
    direction = [cosine, sine]
    distance = np.linalg.norm(after[:, position] - before[:, position], axis=-1)
    cosine_of_turn = (after[:, direction] * before[:, direction]).sum(-1)
    is_elsewhere = distance > MOVED_PX
    is_turned = cosine_of_turn < np.cos(np.radians(MOVED_DEGREES))
    return is_elsewhere | is_turned


def _body_errors_where(has_moved: Bool[np.ndarray, " e"], errors: StateErrors) -> BodyErrorMetrics:
    rows = has_moved[:, None]
    return BodyErrorMetrics(
        body_px=estimate(np.where(rows, errors.body_px, np.nan), median),
        body_degrees=estimate(np.where(rows, errors.body_degrees, np.nan), median),
    )
