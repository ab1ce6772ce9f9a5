"""What encoding and decoding real frames loses."""

from __future__ import annotations

from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext, median_errors
from streamdit_gym.evaluate.metrics.pixel_metrics import moving_psnr
from streamdit_gym.evaluate.schema import CodecMetrics
from streamdit_gym.evaluate.statistics import estimate

FRAME_STRIDE = 4


def codec_metrics(context: EvaluationContext) -> CodecMetrics:
    """Measure the codec alone, on every fourth held-out frame."""
    frames = context.held_out.frames[:, ::FRAME_STRIDE]
    states = context.held_out.states[:, ::FRAME_STRIDE]
    decoded = context.candidate.reconstruct(frames)
    errors = context.state_errors(decoded, states)
    return CodecMetrics(
        psnr_db=moving_psnr(decoded, frames, frames[:, :1]),
        state_error=median_errors(errors),
        actor_within_1px=estimate(errors.actor_px < 1),
    )
