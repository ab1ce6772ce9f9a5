"""How soon a new prompt shows.

Pairs of rollouts have the same noise: one is prompted A throughout, the other A and then B. In the
world and in the reference simulator they begin as the held-out episodes do. The effect is the
difference of the actor's velocities between the two, along its final direction.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from streamdit_gym.data.trial_episodes import simulator_of
from streamdit_gym.definition import HasState
from streamdit_gym.evaluate.candidate import action_prompts
from streamdit_gym.evaluate.control_schema import ReactionCurve, ReactionMetrics
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext, begin_at
from streamdit_gym.evaluate.statistics import estimate

STEPS_BEFORE = 6
STEPS_AFTER = 10
FINAL_STEPS = 4  # over which the final effect is averaged
MIN_EFFECT_PX = 1.0  # a frame; walls and the body can hide the effect
MIN_LENGTH_PX = 1e-3

Actions = Int[np.ndarray, "e s"]
Positions = Float[np.ndarray, "e f 2"]


def reaction_metrics(context: EvaluationContext) -> ReactionMetrics | None:
    """Measure how soon a new prompt shows in the world and in the reference simulator.

    Returns:
        None for a world that names no actor, whose actions are a box, or whose simulator cannot
        start anywhere.
    """
    if context.adapter.actor is None or not context.spec.menu or not context.starts_anywhere:
        return None
    steady, changed = _action_pairs(len(context.held_out.frames), len(context.spec.menu))
    generated = reaction_curve(
        _generated_positions(context, steady),
        _generated_positions(context, changed),
        latency_frames=context.candidate.latency_frames,
    )
    real = reaction_curve(_real_positions(context, steady), _real_positions(context, changed))
    return ReactionMetrics(change_after=STEPS_BEFORE, generated=generated, real=real)


def reaction_curve(steady: Positions, changed: Positions, latency_frames: int = 0) -> ReactionCurve:
    """Return how soon two sets of rollouts part.

    Args:
        steady: where the actor was under one prompt.
        changed: where it was when the prompt changed after `STEPS_BEFORE` frames.
        latency_frames: frames in flight at the change; they show no effect.
    """
    steady_velocity = np.diff(steady, axis=1)[:, STEPS_BEFORE:]
    changed_velocity = np.diff(changed, axis=1)[:, STEPS_BEFORE:]
    effect = changed_velocity - steady_velocity
    final = effect[:, -FINAL_STEPS:].mean(1, keepdims=True)
    length = np.linalg.norm(final, axis=-1).clip(MIN_LENGTH_PX)
    fraction_of_final = (effect * final).sum(-1) / length**2
    shows = length[:, 0] > MIN_EFFECT_PX
    curve = np.full(STEPS_AFTER, np.nan)
    if shows.any():
        curve = np.median(fraction_of_final[shows], axis=0)
    curve = np.concatenate([np.zeros(latency_frames), curve])
    return ReactionCurve(
        effect=tuple(float(value) for value in curve),
        prompt_shows=estimate(shows),
        frames_to_50=_frames_until(curve, 0.5),
        frames_to_90=_frames_until(curve, 0.9),
    )


def _frames_until(curve: Float[np.ndarray, " f"], fraction: float) -> int | None:
    reached = np.flatnonzero(curve >= fraction)
    return int(reached[0]) + 1 if len(reached) else None


def _action_pairs(episodes: int, count: int) -> tuple[Actions, Actions]:
    """Return the actions of steady and of changed rollouts; the first action of a menu idles."""
    moves = count - 1
    first = np.arange(episodes) % moves + 1
    opposite = (first - 1 + moves // 2) % moves + 1  # if the menu goes around
    steady = np.repeat(first[:, None], STEPS_BEFORE + STEPS_AFTER, axis=1)
    changed = steady.copy()
    changed[:, STEPS_BEFORE:] = opposite[:, None]
    return steady, changed


def _generated_positions(context: EvaluationContext, actions: Actions) -> Positions:
    prompts = action_prompts(context.spec, actions)
    first = context.first_frames
    rollout = context.candidate.roll_out(first, prompts)
    frames = np.concatenate([first, rollout.frames], 1)
    states, _ = context.models.probe.read(frames)
    return states[..., context.actor_columns]


def _real_positions(context: EvaluationContext, actions: Actions) -> Positions:
    """Take actions in the reference simulator from where the held-out episodes begin."""
    simulator = simulator_of(context.reference)
    assert isinstance(simulator, HasState)
    columns = context.actor_columns
    positions = []
    for first_state, episode in zip(context.first_states, actions.tolist(), strict=True):
        begin_at(simulator, context.commonest_start, first_state, context.spec.actions.idle)
        states = [simulator.state()]
        for action in episode:
            simulator.step(action)
            states.append(simulator.state())
        positions.append(np.stack(states)[:, columns])
    simulator.close()
    return np.stack(positions)
