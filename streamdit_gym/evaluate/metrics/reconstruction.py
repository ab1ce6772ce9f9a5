"""What encoding and decoding real frames loses."""

from __future__ import annotations

from streamdit_gym.evaluate.frame_schema import CodecMetrics
from streamdit_gym.evaluate.metrics.evaluation_context import (
    EvaluationContext,
    median_errors,
    share_within_1px,
)
from streamdit_gym.evaluate.metrics.pixel_metrics import frame_psnr, moving_psnr

FRAME_STRIDE = 4


def codec_metrics(context: EvaluationContext) -> CodecMetrics:
    """Measure the codec alone, on every fourth held-out frame."""
    frames = context.held_out.frames[:, ::FRAME_STRIDE]
    states = context.held_out.states[:, ::FRAME_STRIDE]
    is_frame = context.is_frame[:, ::FRAME_STRIDE]
    decoded = context.candidate.reconstruct(frames)
    errors = context.state_errors(decoded, states).where(is_frame)
    return CodecMetrics(
        psnr_db=moving_psnr(decoded, frames, frames[:, :1], is_frame),
        frame_psnr_db=frame_psnr(decoded, frames, is_frame),
        state_error=median_errors(errors),
        actor_within_1px=share_within_1px(errors.actor_px),
    )
