"""Whether control is continuous: one dimension of a box after the other, from low to high.

From the same starts, a dimension is held at each of its values for some frames while the others
idle, in the world and in the reference simulator. What it has moved is read off the last frames by
the evaluator's probe, along the line between the two ends of the simulator's own sweep.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from streamdit_gym.actions import SpokenBox
from streamdit_gym.data.trial_episodes import simulator_of
from streamdit_gym.evaluate.candidate import Frames
from streamdit_gym.evaluate.control_schema import SweepCurve, SweepMetrics
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.statistics import estimate

VALUES = 21
FRAMES = 8  # under one value
STARTS = 4
MIN_RANGE = 0.05  # of the probe's features, which lie between -1 and 1: less is not to be seen

Features = Float[np.ndarray, "n v k"]
Displacements = Float[np.ndarray, "n v"]


def sweep_metrics(context: EvaluationContext, seed: int = 0) -> SweepMetrics | None:
    """Sweep every dimension of a box.

    Args:
        context: what is measured against what.
        seed: of the first start.

    Returns:
        None for a menu, or without a simulator.
    """
    box = context.spec.actions
    if not isinstance(box, SpokenBox) or context.reference.make_simulator is None:
        return None
    curves = {}
    for dimension, name in enumerate(box.names):
        values = np.linspace(box.low[dimension], box.high[dimension], VALUES)
        actions = np.tile(box.idle, (VALUES, 1))
        actions[:, dimension] = values
        curve = _sweep(context, actions, values, seed)
        if curve is not None:
            curves[name] = curve
    return SweepMetrics(frames=FRAMES, dimensions=curves)


def _sweep(
    context: EvaluationContext,
    actions: Float[np.ndarray, "v d"],
    values: Float[np.ndarray, " v"],
    seed: int,
) -> SweepCurve | None:
    first, last = _real_sweep(context, actions, seed)
    context_frames = first.repeat(VALUES, axis=0)[:, None]
    prompts = np.tile(actions[:, None], (STARTS, FRAMES, 1))
    shown = context.candidate.roll_out(context_frames, prompts, seed).frames[:, -1]
    real = _features(context, last)
    generated = _features(context, shown.reshape(last.shape))
    line = real[:, -1] - real[:, 0]
    if np.linalg.norm(line, axis=-1).mean() < MIN_RANGE:
        return None
    real_curves = displacements(real, real)
    generated_curves = displacements(generated, real)
    return SweepCurve(
        values=tuple(float(value) for value in values),
        real=tuple(float(value) for value in real_curves.mean(0)),
        generated=tuple(float(value) for value in generated_curves.mean(0)),
        error=estimate(generated_curves - real_curves, largest_error),
        backward=estimate(generated_curves, largest_fall),
    )


def displacements(features: Features, real: Features) -> Displacements:
    """Return where features stand on the line from the real low to the real high end: 0 to 1.

    Args:
        features: for every start and value.
        real: those of the reference simulator.
    """
    low = real[:, :1]
    line = real[:, -1:] - low
    square = (line**2).sum(-1).mean()  # over all starts: of one it may be tiny
    return ((features - low) * line).sum(-1) / square


def largest_error(differences: Displacements) -> float:
    """Return the largest distance between two mean curves."""
    return float(np.abs(differences.mean(0)).max())


def largest_fall(curves: Displacements) -> float:
    """Return how far a mean curve falls back below its highest point so far."""
    curve = curves.mean(0)
    return float((np.maximum.accumulate(curve) - curve).max())


def _real_sweep(
    context: EvaluationContext, actions: Float[np.ndarray, "v d"], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts' first frames (n h w 3), and the last ones under each value (n v h w 3)."""
    simulator = simulator_of(context.reference)
    first: list[np.ndarray] = []
    last: list[np.ndarray] = []
    for start in range(STARTS):
        for action in actions:
            rng = np.random.default_rng(seed + start)
            frame = simulator.reset(rng, context.commonest_start)
            if len(first) == start:
                first.append(frame)
            for _ in range(FRAMES):
                frame = simulator.step(action)
            last.append(frame)
    simulator.close()
    stacked = np.stack(last)
    return np.stack(first), stacked.reshape(STARTS, len(actions), *stacked.shape[1:])


def _features(context: EvaluationContext, frames: Frames) -> Features:
    return context.models.probe.features(frames)
