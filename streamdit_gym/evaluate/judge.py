"""The judge: everything that is measured of a world, in one call.

Takes: a candidate and its twin.  Gives: scores.  Knows nothing of: Gymnasium, agents, how scores
    are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from streamdit_gym.data.processes import map_in_processes
from streamdit_gym.data.recorder import RecordConfig, record_shard
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import ReferenceSimulator, Simulator, WorldSpec
from streamdit_gym.evaluate import measures
from streamdit_gym.evaluate.acceptance import faults, promises
from streamdit_gym.evaluate.candidate import Candidate, prompts_of
from streamdit_gym.evaluate.evaluator_models import (
    EvaluatorModels,
    EvaluatorTraining,
    train_evaluator_models,
)

SEED = 20_000  # far from any training seed
SHORT = 16


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How much is measured.

    Attributes:
        episodes: held-out episodes, played by the twin with a seed of its own.
        horizons: frames after the start at which a rollout is compared.
        evaluator_training: how the evaluator's models are trained, if there are none.
        drift_frames: length of the long streams.
        drift_streams: how many of them at most; each starts as a held-out episode does.
        short_episodes: more held-out episodes, of `SHORT` steps, in which successes are counted:
            few episodes begin near one.
        seed: of the held-out episodes.
        workers: processes in which the twin plays held-out episodes and long streams; what comes of
            it is the same.
    """

    episodes: int = 64
    horizons: tuple[int, ...] = (1, 4, 16, 64, 256)
    evaluator_training: EvaluatorTraining = EvaluatorTraining()
    drift_frames: int = 10_000
    drift_streams: int = 16
    short_episodes: int = 400
    seed: int = SEED
    workers: int = 1


QUICK = EvaluationConfig(
    episodes=24,
    evaluator_training=EvaluatorTraining(episodes=80, probe_steps=1500, inverse_steps=2000),
    drift_frames=2000,
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Real episodes to judge against, and the eyes trained on others;
    worlds with the same twin can share them.
    """

    held_out: Shard
    short: Shard
    eyes: EvaluatorModels


def gather(
    spec: WorldSpec,
    twin: ReferenceSimulator,
    config: EvaluationConfig,
    eyes: EvaluatorModels | None = None,
) -> Evidence:
    """Play the held-out episodes and, unless there are eyes,
    train the judge's on other real ones.
    """
    plan = RecordConfig(episodes=config.episodes, steps=max(config.horizons), seed=config.seed)
    many = replace(plan, episodes=config.short_episodes, steps=SHORT)
    jobs = [(spec, twin.make, twin.starts, plan, 0), (spec, twin.make, twin.starts, many, 2)]
    held_out, short = map_in_processes(
        _recorded,
        jobs,
        config.workers,
        tqdm(total=len(jobs), desc="held-out episodes", leave=False),
    )
    return Evidence(
        held_out=held_out,
        short=short,
        eyes=train_evaluator_models(spec, twin, config.evaluator_training)
        if eyes is None
        else eyes,
    )


def _recorded(
    job: tuple[WorldSpec, Callable[[], Simulator], dict[str, float], RecordConfig, int],
) -> Shard:
    return record_shard(*job)


def judge(
    candidate: Candidate,
    twin: ReferenceSimulator,
    evidence: Evidence,
    config: EvaluationConfig,
    played: dict[str, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    """Measure everything.

    Args:
        candidate: what is judged.
        twin: the real simulator.
        evidence: see `gather`.
        config: how much is measured.
        played: players with their mean returns in the world and in the twin, if there are any.

    Returns:
        Scores by name; ``promises`` and ``faults`` say what they mean; ``strip`` and
        ``drift["strip"]`` are frames.
    """
    spec, held_out, eyes = candidate.spec, evidence.held_out, evidence.eyes
    first = held_out.frames[:, :1]
    rollout = candidate.roll_out(first, prompts_of(spec, held_out))
    made = np.concatenate([first, rollout.frames], 1)
    long = max(h for h in config.horizons if h <= 64)
    scores: dict[str, Any] = {
        "world": spec.name,
        "partition": candidate.partition_name,
        "episodes": len(first),
        "objects": list(twin.objects(first[:, 0])),
        "tasks": sorted(spec.tasks),
        "judge": measures.evaluator_accuracy(eyes, held_out, twin, spec),
        "codec": measures.codec(candidate, held_out, eyes, twin),
        "fidelity": measures.fidelity(candidate, held_out, made, eyes, twin, config.horizons),
        "motion": measures.motion(made[:, : long + 1], held_out.frames[:, : long + 1]),
        "obedience": measures.obedience(candidate, held_out, made, eyes, twin, long),
        "free_text": measures.free_text(candidate, held_out, eyes, twin),
        "drift": measures.drift(
            candidate,
            held_out,
            twin,
            config.drift_frames,
            config.drift_streams,
            workers=config.workers,
        ),
        "reaction": measures.reaction(candidate, held_out, eyes, twin),
        "reward": measures.reward(candidate, held_out, evidence.short),
        "strip": {
            "real": held_out.frames[:6, : long + 1 : 4],
            "generated": made[:6, : long + 1 : 4],
        },
    }
    if twin.looks is not None:
        scores["looks"] = measures.looks(candidate, held_out, twin.looks)
    if played:
        scores["policies"] = measures.policies(played)
    scores["promises"], scores["faults"] = promises(scores), faults(scores)
    return scores
