"""Everything that is measured of a world, in one call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.rewards import environment_task
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import WorldDefinition, WorldSpec
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.evaluate.acceptance import check_criteria
from streamdit_gym.evaluate.candidate import Candidate, Frames, Rollout, action_prompts
from streamdit_gym.evaluate.evaluator_models import (
    FULL_TRAINING,
    EvaluatorModels,
    EvaluatorTraining,
    evaluator_models,
)
from streamdit_gym.evaluate.failure_modes import failure_modes
from streamdit_gym.evaluate.metrics.action_ablation import ablation_metrics
from streamdit_gym.evaluate.metrics.action_fidelity import action_metrics
from streamdit_gym.evaluate.metrics.control_sweep import sweep_metrics
from streamdit_gym.evaluate.metrics.diversity import diversity_metrics
from streamdit_gym.evaluate.metrics.drift import drift_metrics
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.metrics.evaluator_accuracy import evaluator_accuracy
from streamdit_gym.evaluate.metrics.fidelity import fidelity_metrics
from streamdit_gym.evaluate.metrics.outcome_accuracy import outcome_metrics
from streamdit_gym.evaluate.metrics.pixel_metrics import motion_ratio
from streamdit_gym.evaluate.metrics.policy_ranking import policy_metrics
from streamdit_gym.evaluate.metrics.reaction import reaction_metrics
from streamdit_gym.evaluate.metrics.readout_accuracy import readout_metrics
from streamdit_gym.evaluate.metrics.reconstruction import codec_metrics
from streamdit_gym.evaluate.metrics.unseen_appearance import appearance_metrics
from streamdit_gym.evaluate.metrics.unseen_prompts import text_metrics
from streamdit_gym.evaluate.real_episodes import (
    HeldOutPlan,
    RealEpisodes,
    RecordedEpisodes,
    SimulatedEpisodes,
)
from streamdit_gym.evaluate.real_futures import FuturesPlan, RealFutures, record_futures
from streamdit_gym.evaluate.schema import FilmStrips, PolicyReturns, Scores

SEED = 20_000  # far from any training seed
SHORT_STEPS = 16
MAX_MOTION_FRAMES = 64
FILM_EPISODES = 6
FILM_STRIDE = 4
FULL_FUTURES = FuturesPlan()


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How much is measured.

    Attributes:
        episodes: held-out episodes; of a reference simulator, with a seed of their own.
        horizons: frames after the start at which a rollout is compared.
        evaluator_training: how evaluator models are trained, if there are none.
        drift_frames: length of the long streams.
        drift_streams: how many of them at most; each starts as a held-out episode does.
        short_episodes: more held-out episodes, of `SHORT_STEPS` steps, in which successes are
            counted: few episodes begin near one.
        futures: how many futures of how many starts are drawn.
        seed: of the held-out episodes.
        workers: processes for the reference simulator; the scores do not depend on it.
    """

    episodes: int = 64
    horizons: tuple[int, ...] = (1, 4, 16, 64, 256)
    evaluator_training: EvaluatorTraining = FULL_TRAINING
    drift_frames: int = 10_000
    drift_streams: int = 16
    short_episodes: int = 400
    futures: FuturesPlan = FULL_FUTURES
    seed: int = SEED
    workers: int = 1

    @property
    def motion_frames(self) -> int:
        """The longest horizon up to which motion and actions are compared."""
        return max(horizon for horizon in self.horizons if horizon <= MAX_MOTION_FRAMES)

    @property
    def plan(self) -> HeldOutPlan:
        """Which held-out episodes this needs."""
        return HeldOutPlan(
            episodes=self.episodes,
            steps=max(self.horizons),
            short_episodes=self.short_episodes,
            short_steps=SHORT_STEPS,
            seed=self.seed,
            workers=self.workers,
        )


QUICK = EvaluationConfig(
    episodes=24,
    evaluator_training=EvaluatorTraining(episodes=80, probe_steps=1500, inverse_steps=2000),
    drift_frames=2000,
    futures=FuturesPlan(starts=4, futures=8),
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What worlds are measured against; worlds with the same simulator can share it.

    Attributes:
        held_out: real episodes.
        short: many more, short ones.
        models: evaluator models, trained on other episodes.
        futures: many real futures of some starts; None: the world is determined, or has no
            simulator.
    """

    held_out: Shard
    short: Shard
    models: EvaluatorModels
    futures: RealFutures | None = None


def collect_evidence(
    spec: WorldSpec,
    reference: WorldDefinition,
    config: EvaluationConfig,
    models_folder: Path,
    dataset: Dataset | None = None,
) -> Evidence:
    """Get held-out episodes, and load or train evaluator models.

    Args:
        spec: the world.
        reference: its definition; with a simulator, episodes are recorded with it.
        config: how much is measured.
        models_folder: where evaluator models lie that are not shipped.
        dataset: what the world was trained on, for a world without a simulator: its last shards
            are held out.

    Raises:
        StreamDiTError: if there is neither a simulator nor a data set.
    """
    source = real_episodes(reference, dataset)
    adapter = reference.evaluation
    models = evaluator_models(spec, adapter, source, config.evaluator_training, models_folder)
    plan = config.plan
    if not spec.score_names:  # nobody looks at short episodes
        plan = replace(plan, short_episodes=1)
    held_out, short = source.held_out(plan)
    futures = record_futures(reference, config.futures, config.seed, config.workers)
    return Evidence(held_out=held_out, short=short, models=models, futures=futures)


def real_episodes(reference: WorldDefinition, dataset: Dataset | None) -> RealEpisodes:
    """Return where real episodes come from: the simulator if there is one, else recordings.

    Raises:
        StreamDiTError: if there is neither.
    """
    if reference.make_simulator is not None:
        return SimulatedEpisodes(reference=reference)
    if dataset is not None:
        return RecordedEpisodes(dataset=dataset)
    raise StreamDiTError(
        "nothing to evaluate this world against",
        given=f"{reference.name}, which has no simulator, without recordings",
        allowed="a definition with make_simulator, or the data set that the world was trained on",
        remedy="name the data set: --set data=FOLDER; its last shards are held out",
    )


def evaluate_world(
    candidate: Candidate,
    reference: WorldDefinition,
    evidence: Evidence,
    config: EvaluationConfig,
    policy_returns: dict[str, PolicyReturns] | None = None,
) -> Scores:
    """Measure everything that a world has, and apply the acceptance criteria.

    Args:
        candidate: what is evaluated.
        reference: the world's definition, with its simulator if it has one.
        evidence: see `collect_evidence`.
        config: how much is measured.
        policy_returns: by policy, if any were run.
    """
    held_out = evidence.held_out
    context = EvaluationContext(
        candidate=candidate, reference=reference, held_out=held_out, models=evidence.models
    )
    first = context.first_frames
    rollout = _held_out_rollout(context)
    generated = np.concatenate([first, rollout.frames], 1)
    last = min(config.motion_frames, held_out.actions.shape[1])
    real = held_out.frames[:, : last + 1]
    scores = Scores(
        world=candidate.spec.name,
        partition=candidate.partition_name,
        episodes=len(first),
        frame_size=candidate.spec.frame_size,
        simulated=reference.make_simulator is not None,
        evaluator=evaluator_accuracy(context),
        codec=codec_metrics(context),
        fidelity=fidelity_metrics(context, generated, config.horizons),
        motion=motion_ratio(generated[:, : last + 1], real, context.is_step[:, :last]),
        action=action_metrics(context, generated, last),
        ablation=ablation_metrics(context, generated),
        text=text_metrics(context),
        drift=drift_metrics(context, config.drift_frames, config.drift_streams, config.workers),
        diversity=diversity_metrics(context, config.futures, evidence.futures),
        reaction=reaction_metrics(context),
        sweep=sweep_metrics(context),
        readout=readout_metrics(context, evidence.short),
        outcome=outcome_metrics(context, rollout.outcomes),
        appearance=appearance_metrics(context),
        policies=policy_metrics(policy_returns) if policy_returns else None,
        film_strips=_film_strips(held_out.frames, generated, last),
    )
    return replace(scores, criteria=check_criteria(scores), failure_modes=failure_modes(scores))


def _held_out_rollout(context: EvaluationContext) -> Rollout:
    """Go on from the held-out episodes' first frames under their actions."""
    actions = context.held_out.actions
    prompts = action_prompts(context.spec, actions)
    has_outcomes = environment_task(context.spec) is not None
    return context.candidate.roll_out(
        context.first_frames, prompts, 0, actions if has_outcomes else None
    )


def _film_strips(real: Frames, generated: Frames, last: int) -> FilmStrips:
    frames = slice(0, last + 1, FILM_STRIDE)
    return FilmStrips(
        real=real[:FILM_EPISODES, frames], generated=generated[:FILM_EPISODES, frames]
    )
