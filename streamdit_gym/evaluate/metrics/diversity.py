"""Whether the futures of one start differ as real ones do: neither one alone, nor their mean.

A world may miss chance in three ways. It may draw one future only, again and again; it may draw the
mean of all futures, which is blurred; and it may mix two of them in one frame. The first two have
no spread, the last two no sharpness where real futures differ.

Of a determined world the futures of one start should all be the same: what they differ by is
unwanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from streamdit_gym.evaluate.candidate import Actions, Frames, action_prompts
from streamdit_gym.evaluate.diversity_schema import DiversityMetrics
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext, rates
from streamdit_gym.evaluate.metrics.outcome_odds import name_outcomes, odds_metrics
from streamdit_gym.evaluate.metrics.pixel_metrics import MOVING_LEVEL, contrast_under
from streamdit_gym.evaluate.real_futures import FuturesPlan, RealFutures
from streamdit_gym.evaluate.statistics import estimate, ratio

DETERMINED_FUTURES = 4  # of a start in a determined world: enough to see them differ
FILM_FUTURES = 4
FILM_STRIDE = 2

# Futures of all starts, and of one.
Futures = UInt8[np.ndarray, "s n f h w 3"]
OneStart = UInt8[np.ndarray, "n f h w 3"]


@dataclass(frozen=True, kw_only=True)
class _Starts:
    """Where generated futures begin, and how many of their frames count."""

    context: Frames
    actions: Actions
    lengths: Int[np.ndarray, " s"]


def diversity_metrics(
    context: EvaluationContext, plan: FuturesPlan, real: RealFutures | None, seed: int = 0
) -> DiversityMetrics | None:
    """Compare generated futures with each other, and with real ones.

    Args:
        context: what is measured against what.
        plan: how many futures there are.
        real: real ones; None: the world is determined, and the held-out episodes are its futures.
        seed: of the noise; every future has its own.

    Returns:
        None for a world without a simulator: whether it is determined is not known.
    """
    if context.reference.make_simulator is None:
        return None
    if real is None:
        return _determined(context, plan, seed)
    starts = _Starts(context=real.context, actions=real.actions, lengths=real.lengths)
    generated = _generated(context, starts, real.frames.shape[1], seed)
    odds = None
    outcome = context.adapter.outcome
    if outcome is not None:
        odds = odds_metrics(
            name_outcomes(outcome, real.frames, real.lengths),
            name_outcomes(outcome, generated, real.lengths),
        )
    spreads = [_spreads(context, frames, real.lengths) for frames in (generated, real.frames)]
    return DiversityMetrics(
        starts=len(generated),
        futures=generated.shape[1],
        frames=generated.shape[2],
        spread=estimate(np.stack(spreads, -1), ratio),
        sharpness=estimate(_contrasts(generated, real), root_of_ratio),
        object_integrity=rates(_integrity(context, generated, real.lengths)),
        real_object_integrity=rates(_integrity(context, real.frames, real.lengths)),
        odds=odds,
        film_strip=_film_strip(real.frames[0], generated[0]),
    )


def pairwise_distance(latents: Float[np.ndarray, "n f ..."]) -> float:
    """Return the mean distance of two futures: the root mean square of their difference.

    Args:
        latents: of the futures of one start, two at least.
    """
    flat = latents.reshape(*latents.shape[:2], -1)
    distances = []
    for future in range(1, len(flat)):
        differences = flat[:future] - flat[future]
        distances.append(np.sqrt((differences**2).mean(-1)).mean(-1))
    return float(np.concatenate(distances).mean())


def root_of_ratio(samples: np.ndarray) -> float:
    """Return the root of the sum of the first column over that of the second."""
    return float(np.sqrt(ratio(samples)))


def _determined(context: EvaluationContext, plan: FuturesPlan, seed: int) -> DiversityMetrics:
    """Return how far generated futures differ, beside how far the held-out episodes move."""
    held_out = context.held_out
    starts = min(plan.starts, len(held_out.frames))
    steps = min(plan.frames, held_out.actions.shape[1])
    first = _Starts(
        context=held_out.frames[:starts, :1],
        actions=held_out.actions[:starts, :steps],
        lengths=np.minimum(held_out.lengths[:starts], steps),
    )
    generated = _generated(context, first, min(DETERMINED_FUTURES, plan.futures), seed)
    moved = _moved(context, held_out.frames[:starts, : steps + 1], first.lengths)
    spread = _spreads(context, generated, first.lengths)
    return DiversityMetrics(
        starts=starts,
        futures=generated.shape[1],
        frames=steps,
        unwanted_variation=estimate(np.stack([spread, moved], -1), ratio),
    )


def _generated(context: EvaluationContext, starts: _Starts, futures: int, seed: int) -> Futures:
    """Return generated futures; each stream draws noise of its own, see `Candidate.roll_out`."""
    repeated = np.repeat(starts.context, futures, axis=0)
    prompts = action_prompts(context.spec, np.repeat(starts.actions, futures, axis=0))
    frames = context.candidate.roll_out(repeated, prompts, seed).frames
    return frames.reshape(len(starts.context), futures, *frames.shape[1:])


def _spreads(
    context: EvaluationContext, futures: Futures, lengths: Int[np.ndarray, " s"]
) -> Float[np.ndarray, " s"]:
    return np.array(
        [
            pairwise_distance(context.candidate.latents(frames[:, :length])) if length else np.nan
            for frames, length in zip(futures, lengths, strict=True)
        ]
    )


def _moved(
    context: EvaluationContext, frames: Frames, lengths: Int[np.ndarray, " s"]
) -> Float[np.ndarray, " s"]:
    """Return how far frames are from the first ones, in the mean; in latents."""
    moved = []
    for latents, length in zip(context.candidate.latents(frames), lengths, strict=True):
        differences = latents[1 : length + 1] - latents[:1]
        moved.append(np.sqrt((differences.reshape(length, -1) ** 2).mean(-1)).mean())
    return np.array(moved)


def _contrasts(generated: Futures, real: RealFutures) -> Float[np.ndarray, "s 2"]:
    """Return the contrasts of generated and of real frames where futures differ, for each start."""
    contrasts = []
    for shown, true, length in zip(generated, real.frames, real.lengths, strict=True):
        mask = _differing_pixels(np.concatenate([shown, true]))[:length]
        contrasts.append([contrast_under(mask, side[:, :length]).sum() for side in (shown, true)])
    return np.array(contrasts, dtype=float)


def _differing_pixels(futures: OneStart) -> Bool[np.ndarray, "f h w"]:
    """Return the pixels of every frame in which any two futures differ."""
    span = futures.max(0).astype(np.int16) - futures.min(0)
    differs: Bool[np.ndarray, "f h w"] = span.max(-1) > MOVING_LEVEL
    return differs


def _integrity(
    context: EvaluationContext, futures: Futures, lengths: Int[np.ndarray, " s"]
) -> dict[str, Float[np.ndarray, "s m"]]:
    """Return, for each object, which frames of each start's futures show it undamaged."""
    starts, count, frames = futures.shape[:3]
    is_frame = np.arange(frames) < lengths[:, None, None]
    flat = futures.reshape(starts, count * frames, *futures.shape[3:])
    counts = np.broadcast_to(is_frame, (starts, count, frames)).reshape(starts, -1)
    integrity = context.object_integrity(flat)
    return {name: np.where(counts, shares, np.nan) for name, shares in integrity.items()}


def _film_strip(real: OneStart, generated: OneStart) -> np.ndarray:
    rows = [side[:FILM_FUTURES, ::FILM_STRIDE] for side in (real, generated)]
    return np.concatenate(rows)
