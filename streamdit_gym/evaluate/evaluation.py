"""Everything that is measured of a world, in one call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from streamdit_gym.data.processes import map_in_processes
from streamdit_gym.data.recorder import RecordConfig, record_shard
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import WorldDefinition, WorldSpec
from streamdit_gym.evaluate.acceptance import check_criteria
from streamdit_gym.evaluate.candidate import Candidate, Frames, menu_prompts
from streamdit_gym.evaluate.evaluator_models import (
    FULL_TRAINING,
    EvaluatorModels,
    EvaluatorTraining,
    evaluator_models,
)
from streamdit_gym.evaluate.failure_modes import failure_modes
from streamdit_gym.evaluate.metrics.action_fidelity import action_metrics
from streamdit_gym.evaluate.metrics.drift import drift_metrics
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.metrics.evaluator_accuracy import evaluator_accuracy
from streamdit_gym.evaluate.metrics.fidelity import fidelity_metrics
from streamdit_gym.evaluate.metrics.pixel_metrics import motion_ratio
from streamdit_gym.evaluate.metrics.policy_ranking import policy_metrics
from streamdit_gym.evaluate.metrics.reaction import reaction_metrics
from streamdit_gym.evaluate.metrics.readout_accuracy import readout_metrics
from streamdit_gym.evaluate.metrics.reconstruction import codec_metrics
from streamdit_gym.evaluate.metrics.unseen_appearance import appearance_metrics
from streamdit_gym.evaluate.metrics.unseen_prompts import text_metrics
from streamdit_gym.evaluate.schema import FilmStrips, PolicyReturns, Scores

SEED = 20_000  # far from any training seed
SHORT_STEPS = 16
HELD_OUT_SHARD, SHORT_SHARD = 0, 2  # 1 and 3 are the evaluator models' own episodes
MAX_MOTION_FRAMES = 64
FILM_EPISODES = 6
FILM_STRIDE = 4


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How much is measured.

    Attributes:
        episodes: held-out episodes of the reference simulator, with a seed of their own.
        horizons: frames after the start at which a rollout is compared.
        evaluator_training: how evaluator models are trained, if there are none.
        drift_frames: length of the long streams.
        drift_streams: how many of them at most; each starts as a held-out episode does.
        short_episodes: more held-out episodes, of `SHORT_STEPS` steps, in which successes are
            counted: few episodes begin near one.
        seed: of the held-out episodes.
        workers: processes for the reference simulator; the scores do not depend on it.
    """

    episodes: int = 64
    horizons: tuple[int, ...] = (1, 4, 16, 64, 256)
    evaluator_training: EvaluatorTraining = FULL_TRAINING
    drift_frames: int = 10_000
    drift_streams: int = 16
    short_episodes: int = 400
    seed: int = SEED
    workers: int = 1

    @property
    def motion_frames(self) -> int:
        """The longest horizon up to which motion and actions are compared."""
        return max(horizon for horizon in self.horizons if horizon <= MAX_MOTION_FRAMES)


QUICK = EvaluationConfig(
    episodes=24,
    evaluator_training=EvaluatorTraining(episodes=80, probe_steps=1500, inverse_steps=2000),
    drift_frames=2000,
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What worlds are measured against; worlds with the same simulator can share it.

    Attributes:
        held_out: real episodes.
        short: many more, short ones.
        models: evaluator models, trained on other episodes.
    """

    held_out: Shard
    short: Shard
    models: EvaluatorModels


@dataclass(frozen=True, kw_only=True)
class _RecordingJob:
    definition: WorldDefinition
    plan: RecordConfig
    shard: int


def collect_evidence(
    spec: WorldSpec,
    reference: WorldDefinition,
    config: EvaluationConfig,
    models_folder: Path,
) -> Evidence:
    """Record held-out episodes, and load or train evaluator models.

    Args:
        spec: the world.
        reference: its real simulator.
        config: how much is measured.
        models_folder: where evaluator models lie that are not shipped.
    """
    models = evaluator_models(spec, reference, config.evaluator_training, models_folder)
    plan = RecordConfig(episodes=config.episodes, steps=max(config.horizons), seed=config.seed)
    short_plan = replace(plan, episodes=config.short_episodes, steps=SHORT_STEPS)
    jobs = [
        _RecordingJob(definition=reference, plan=shard_plan, shard=shard)
        for shard_plan, shard in ((plan, HELD_OUT_SHARD), (short_plan, SHORT_SHARD))
    ]
    bar = tqdm(total=len(jobs), desc="held-out episodes", leave=False)
    held_out, short = map_in_processes(_record, jobs, config.workers, bar)
    return Evidence(held_out=held_out, short=short, models=models)


def _record(job: _RecordingJob) -> Shard:
    return record_shard(job.definition, job.plan, job.shard)


def evaluate_world(
    candidate: Candidate,
    reference: WorldDefinition,
    evidence: Evidence,
    config: EvaluationConfig,
    policy_returns: dict[str, PolicyReturns] | None = None,
) -> Scores:
    """Measure everything, and apply the acceptance criteria.

    Args:
        candidate: what is evaluated.
        reference: the real simulator.
        evidence: see `collect_evidence`.
        config: how much is measured.
        policy_returns: by policy, if any were run.
    """
    held_out = evidence.held_out
    context = EvaluationContext(
        candidate=candidate, reference=reference, held_out=held_out, models=evidence.models
    )
    first = context.first_frames
    rollout = candidate.roll_out(first, menu_prompts(candidate.spec, held_out))
    generated = np.concatenate([first, rollout.frames], 1)
    last = config.motion_frames
    scores = Scores(
        world=candidate.spec.name,
        partition=candidate.partition_name,
        episodes=len(first),
        evaluator=evaluator_accuracy(context),
        codec=codec_metrics(context),
        fidelity=fidelity_metrics(context, generated, config.horizons),
        motion=motion_ratio(generated[:, : last + 1], held_out.frames[:, : last + 1]),
        action=action_metrics(context, generated, last),
        text=text_metrics(context),
        drift=drift_metrics(context, config.drift_frames, config.drift_streams, config.workers),
        reaction=reaction_metrics(context),
        readout=readout_metrics(context, evidence.short),
        appearance=appearance_metrics(context),
        policies=policy_metrics(policy_returns) if policy_returns else None,
        film_strips=_film_strips(held_out.frames, generated, last),
    )
    return replace(scores, criteria=check_criteria(scores), failure_modes=failure_modes(scores))


def _film_strips(real: Frames, generated: Frames, last: int) -> FilmStrips:
    frames = slice(0, last + 1, FILM_STRIDE)
    return FilmStrips(
        real=real[:FILM_EPISODES, frames], generated=generated[:FILM_EPISODES, frames]
    )
