"""How much can be measured in a given time: an evaluation is cut to what fits.

The costs of its parts are timed on this machine first. Then everything is cut, from a full
evaluation on, until the sum of the parts fits. Fewer episodes make wider intervals, and shorter
training a weaker evaluator; what is measured stays the same, but for the longest horizons.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from streamdit_gym.actions import SpokenBox
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.evaluate.candidate import Candidate, action_prompts
from streamdit_gym.evaluate.evaluation import SHORT_STEPS, EvaluationConfig
from streamdit_gym.evaluate.evaluator_models import EvaluatorTraining, train_evaluator_models
from streamdit_gym.evaluate.inverse_dynamics import train_inverse_dynamics
from streamdit_gym.evaluate.metrics import control_sweep
from streamdit_gym.evaluate.metrics.diversity import DETERMINED_FUTURES
from streamdit_gym.evaluate.real_episodes import RealEpisodes
from streamdit_gym.evaluate.real_futures import FuturesPlan, can_reseed

SHARES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)  # of an evaluation, tried in turn
MIN_STARTS, MIN_FUTURES = 4, 4
MIN_EPISODES, MIN_DRIFT_FRAMES, MIN_DRIFT_STREAMS = 8, 64, 2
MIN_TRAINING_EPISODES, MIN_PROBE_STEPS, MIN_INVERSE_STEPS = 16, 150, 300
# smaller evaluations go without the longest horizons
HORIZON_SHARES = ((0.5, 256), (0.15, 64), (0.0, 16))
FIXED_SECONDS = 20.0  # intervals, pictures, the environments' speed
SHORT_ROLLOUTS = 4  # from every held-out episode: other actions, unseen phrases, reactions
READS = 4  # of every held-out frame, real or generated
ACTOR_FRAMES = 2.25  # one-step tests around an actor, for each held-out frame
TIMED_FRAMES = 8  # of a rollout
TIMED_PROBE_STEPS, TIMED_INVERSE_STEPS = 4, 20


@dataclass(frozen=True, kw_only=True)
class EvaluationCosts:
    """Seconds that the parts of an evaluation take on this machine.

    Attributes:
        real_frame: a frame of the simulator, in one process; of recordings next to nothing.
        generated_frame: a frame of one stream among several.
        read_frame: reading a frame by the probe.
        probe_step: a training step of the probe.
        inverse_step: a training step of the inverse-dynamics model.
        encoded_frame: encoding a frame, real or generated.
    """

    real_frame: float
    generated_frame: float
    read_frame: float
    probe_step: float
    inverse_step: float
    encoded_frame: float


def measure_costs(candidate: Candidate, source: RealEpisodes, seed: int) -> EvaluationCosts:
    """Time the parts of an evaluation, in some seconds.

    Args:
        candidate: the world that is to be evaluated.
        source: of real episodes.
        seed: of the episodes.
    """
    start = time.perf_counter()
    real = source.check(seed)
    real_seconds = time.perf_counter() - start
    num_frames = real.frames.shape[0] * real.frames.shape[1]
    spec = candidate.spec
    first = real.frames[:, :1]
    prompts = action_prompts(spec, real.actions[:, :TIMED_FRAMES])
    num_generated = len(first) * min(TIMED_FRAMES, real.actions.shape[1])
    candidate.roll_out(first, prompts)  # the first one also fills caches
    generated_seconds = _seconds(lambda: candidate.roll_out(first, prompts))
    encoding_seconds = _seconds(lambda: candidate.latents(real.frames))
    training = EvaluatorTraining(probe_steps=TIMED_PROBE_STEPS, inverse_steps=1)
    models = train_evaluator_models(spec, real, training)
    training_seconds = _seconds(lambda: train_evaluator_models(spec, real, training))
    read_seconds = _seconds(lambda: models.probe.features(real.frames))
    return EvaluationCosts(
        real_frame=real_seconds / num_frames,
        generated_frame=generated_seconds / num_generated,
        read_frame=read_seconds / num_frames,
        probe_step=max(0.0, training_seconds - read_seconds) / TIMED_PROBE_STEPS,
        inverse_step=_inverse_step_seconds(models.probe.features(real.frames), real, candidate),
        encoded_frame=encoding_seconds / num_frames,
    )


def config_within(
    seconds: float, full: EvaluationConfig, costs: EvaluationCosts, reference: WorldDefinition
) -> EvaluationConfig:
    """Return the largest part of an evaluation that fits; the smallest, if none does.

    Args:
        seconds: that it may take.
        full: what is measured where time is no matter.
        costs: of the parts.
        reference: the world's definition.
    """
    for share in SHARES:
        config = scaled(full, share)
        if estimated_seconds(config, costs, reference) <= seconds:
            break
    return config


def scaled(full: EvaluationConfig, share: float) -> EvaluationConfig:
    """Return an evaluation of about a share of another one's work."""
    if share == 1:
        return full
    longest = next(horizon for least, horizon in HORIZON_SHARES if share >= least)
    horizons = tuple(horizon for horizon in full.horizons if horizon <= longest)
    horizons = horizons or full.horizons[:1]
    training = full.evaluator_training
    training_share = math.sqrt(share)  # a blind evaluator is worth less than a wide interval
    return replace(
        full,
        episodes=_cut(full.episodes, share, MIN_EPISODES),
        horizons=horizons,
        drift_frames=_cut(full.drift_frames, share, MIN_DRIFT_FRAMES),
        drift_streams=_cut(full.drift_streams, share, MIN_DRIFT_STREAMS),
        short_episodes=_cut(full.short_episodes, share, MIN_EPISODES),
        futures=replace(
            full.futures,
            starts=_cut(full.futures.starts, math.sqrt(share), MIN_STARTS),
            futures=_cut(full.futures.futures, math.sqrt(share), MIN_FUTURES),
        ),
        evaluator_training=replace(
            training,
            episodes=_cut(training.episodes, training_share, MIN_TRAINING_EPISODES),
            episode_steps=min(training.episode_steps, max(horizons)),
            probe_steps=_cut(training.probe_steps, training_share, MIN_PROBE_STEPS),
            inverse_steps=_cut(training.inverse_steps, training_share, MIN_INVERSE_STEPS),
        ),
    )


def estimated_seconds(
    config: EvaluationConfig, costs: EvaluationCosts, reference: WorldDefinition
) -> float:
    """Return about how long an evaluation takes, evaluator models included."""
    training = config.evaluator_training
    num_training = training.episodes * training.episode_steps
    num_held_out = config.episodes * max(config.horizons)
    num_drift = config.drift_frames * config.drift_streams
    num_short = config.short_episodes * SHORT_STEPS if reference.score_names else 0
    num_swept = 0
    if isinstance(reference.actions, SpokenBox):
        frames_per_dimension = control_sweep.VALUES * control_sweep.STARTS * control_sweep.FRAMES
        num_swept = len(reference.actions) * frames_per_dimension
    num_generated = num_held_out + num_drift + num_short + num_swept
    num_generated += SHORT_ROLLOUTS * SHORT_STEPS * config.episodes
    if reference.evaluation.actor is not None:
        num_generated += int(ACTOR_FRAMES * num_held_out)
    num_generated_futures, num_real_futures = _future_frames(config.futures, reference)
    num_generated += num_generated_futures
    num_parallel = num_held_out + num_drift + num_short + num_real_futures
    num_real = num_training + num_swept + num_parallel / config.workers
    return (
        FIXED_SECONDS
        + costs.real_frame * num_real
        + costs.generated_frame * num_generated
        + costs.read_frame * (num_training + READS * num_held_out + num_drift)
        + costs.probe_step * training.probe_steps_for(num_training)
        + costs.inverse_step * training.inverse_steps
        + costs.encoded_frame * (num_generated_futures + num_real_futures)
    )


def _future_frames(plan: FuturesPlan, reference: WorldDefinition) -> tuple[int, int]:
    """Return how many frames of futures are generated, and how many are simulated."""
    if reference.make_simulator is None:
        return 0, 0
    if can_reseed(reference):
        num_frames = plan.starts * plan.futures * plan.frames
        return num_frames, num_frames
    return plan.starts * min(plan.futures, DETERMINED_FUTURES) * plan.frames, 0


def _inverse_step_seconds(
    features: Float[np.ndarray, "e f k"], real: Shard, candidate: Candidate
) -> float:
    seconds = _seconds(
        lambda: train_inverse_dynamics(
            features, real.actions, real.lengths, candidate.spec.actions, TIMED_INVERSE_STEPS
        )
    )
    return seconds / TIMED_INVERSE_STEPS


def _cut(count: int, share: float, least: int) -> int:
    return min(count, max(least, round(count * share)))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
