"""How close a rollout stays to real frames, at several horizons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from streamdit_gym.definition import WorldDefinition, WorldSpec
from streamdit_gym.evaluate.candidate import Frames
from streamdit_gym.evaluate.frame_schema import BodyErrorMetrics, FidelityMetrics
from streamdit_gym.evaluate.metrics.evaluation_context import (
    EvaluationContext,
    median_errors,
    medians,
    rates,
)
from streamdit_gym.evaluate.metrics.pixel_metrics import frame_psnr, moving_psnr, ssim
from streamdit_gym.evaluate.state_errors import StateErrors
from streamdit_gym.evaluate.statistics import estimate, median

# from where on a body counts as moved
MOVED_PX = 1.0
MOVED_DEGREES = 5.0
MIN_EPISODES = 4  # that are as long as a horizon


def fidelity_metrics(
    context: EvaluationContext, generated: Frames, horizons: Sequence[int]
) -> tuple[FidelityMetrics, ...]:
    """Compare a rollout with the reference simulator.

    Args:
        context: what is measured against what.
        generated: frames under the held-out episodes' actions; the first is the real first frame.
        horizons: frames after the first; those that too few episodes reach are left out.
    """
    lengths = context.held_out.lengths
    enough = min(MIN_EPISODES, len(lengths))
    return tuple(
        _at_horizon(context, generated, horizon)
        for horizon in horizons
        if (lengths >= horizon).sum() >= enough
    )


def _at_horizon(context: EvaluationContext, generated: Frames, horizon: int) -> FidelityMetrics:
    held_out = context.held_out
    rows = held_out.lengths >= horizon
    at_horizon = slice(horizon, horizon + 1)
    first = context.first_frames[rows]
    real = held_out.frames[rows, at_horizon]
    shown = generated[rows, at_horizon]
    states = held_out.states[rows, at_horizon]
    errors = context.state_errors(shown, states).only(context.readable)
    copy_errors = context.state_errors(first, states).only(context.readable)
    has_moved = body_has_moved(
        held_out.states[rows, 0], states[:, 0], context.reference, context.spec
    )
    decoded = context.candidate.reconstruct(real)
    return FidelityMetrics(
        horizon=horizon,
        psnr_db=moving_psnr(shown, real, first),
        copy_psnr_db=moving_psnr(first, real, first),
        codec_psnr_db=moving_psnr(decoded, real, first),
        frame_psnr_db=frame_psnr(shown, real),
        copy_frame_psnr_db=frame_psnr(first, real),
        ssim=estimate(ssim(shown, real)),
        copy_ssim=estimate(ssim(first, real)),
        state_error=median_errors(errors),
        copy_state_error=median_errors(copy_errors),
        moved_body=_body_errors_where(has_moved, errors),
        copy_moved_body=_body_errors_where(has_moved, copy_errors),
        numbers=medians(errors.numbers),
        copy_numbers=medians(copy_errors.numbers),
        angles=medians(errors.angles),
        copy_angles=medians(copy_errors.angles),
        object_integrity=rates(context.object_integrity(shown)),
    )


def body_has_moved(
    before: Float[np.ndarray, "e s"],
    after: Float[np.ndarray, "e s"],
    reference: WorldDefinition,
    spec: WorldSpec,
) -> Bool[np.ndarray, " e"]:
    """Return in which episodes the body is elsewhere, or turned; in none if there is no body."""
    body = reference.evaluation.body
    if body is None:
        return np.zeros(len(before), dtype=bool)
    x, y, cosine, sine = (spec.state_names.index(name) for name in body)
    position = [x, y]
    direction = [cosine, sine]
    distance = np.linalg.norm(after[:, position] - before[:, position], axis=-1)
    cosine_of_turn = (after[:, direction] * before[:, direction]).sum(-1)
    is_elsewhere = distance > MOVED_PX
    is_turned = cosine_of_turn < np.cos(np.radians(MOVED_DEGREES))
    return is_elsewhere | is_turned


def _body_errors_where(
    has_moved: Bool[np.ndarray, " e"], errors: StateErrors
) -> BodyErrorMetrics | None:
    if errors.body_px is None or errors.body_degrees is None:
        return None
    rows = has_moved[:, None]
    return BodyErrorMetrics(
        body_px=estimate(np.where(rows, errors.body_px, np.nan), median),
        body_degrees=estimate(np.where(rows, errors.body_degrees, np.nan), median),
    )
