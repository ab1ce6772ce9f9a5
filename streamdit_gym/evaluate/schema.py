"""What an evaluation measures: one dataclass for each family of metrics, and `Scores` for all.

A number with an interval is an `Estimate`. PSNR is in dB; positions are in pixels (px) of the
frame; angles are in degrees. "Real" means the reference simulator or held-out recordings,
"generated" means the world that is evaluated. A family that a world has nothing for is None.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.evaluate.control_schema import (
    AblationMetrics,
    ActionMetrics,
    ReactionMetrics,
    SweepMetrics,
    TextMetrics,
)
from streamdit_gym.evaluate.diversity_schema import DiversityMetrics
from streamdit_gym.evaluate.frame_schema import (
    CodecMetrics,
    DriftMetrics,
    EvaluatorAccuracy,
    FidelityMetrics,
)
from streamdit_gym.evaluate.outcomes import CriterionResult, TeacherComparison
from streamdit_gym.evaluate.serialization import from_plain, to_plain
from streamdit_gym.evaluate.statistics import Estimate

SCHEMA_VERSION = 3
MAX_ACTOR_ERROR = 1 / 64  # median, as a share of the frame's larger side


@dataclass(frozen=True, kw_only=True)
class TaskReadoutMetrics:
    """How well the world's readout rewards one task.

    Attributes:
        real_potential_r: correlation of the read and the true potential on real frames.
        real_step_gain_r: correlation of their gains over one step.
        real_false_success: share of real frames without success that are read as one.
        real_success_recall: share of real successes that are read as such.
        generated_potential_r: correlation at the end of short rollouts.
        generated_gain_r: correlation of the gains over short rollouts.
        generated_false_success: share of generated frames without success that are read as one.
    """

    real_potential_r: Estimate
    real_step_gain_r: Estimate
    real_false_success: Estimate
    real_success_recall: Estimate
    generated_potential_r: Estimate
    generated_gain_r: Estimate
    generated_false_success: Estimate


@dataclass(frozen=True, kw_only=True)
class ReadoutMetrics:
    """How well the world's readout rewards.

    Attributes:
        horizon: frames of the short rollouts.
        tasks: for each task.
    """

    horizon: int
    tasks: dict[str, TaskReadoutMetrics]


@dataclass(frozen=True, kw_only=True)
class OutcomeMetrics:
    """How well the world reads the environment's own reward and end off its transitions.

    Attributes:
        horizon: generated steps that count, from the episode's first frame on.
        real_reward_r: correlation of read and true rewards, real transitions.
        generated_reward_r: of rewards read in rollouts with the true rewards under the same
            actions.
        real_false_ends: ends that are read where the episode goes on, per 1,000 real steps; None
            where ends are a matter of chance.
        generated_false_ends: the same in rollouts.
        real_end_recall: share of real ends that are read as such; None where they are drawn.
        real_end_odds: ends that the world expects over ends that came, real steps; None where ends
            are read off frames.
        generated_end_odds: the same in rollouts of those episodes, as long as these.
        real_reward_residual_r: as `real_reward_r`, of what the action alone does not explain of
            rewards; None if it explains them.
        generated_reward_residual_r: the same in rollouts.
    """

    horizon: int
    real_reward_r: Estimate
    generated_reward_r: Estimate
    real_false_ends: Estimate | None = None
    generated_false_ends: Estimate | None = None
    real_end_recall: Estimate | None = None
    real_end_odds: Estimate | None = None
    generated_end_odds: Estimate | None = None
    real_reward_residual_r: Estimate | None = None
    generated_reward_residual_r: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class AppearanceMetrics:
    """Whether the world takes on an appearance that no training has shown.

    Attributes:
        prompts: some of the appearances that were prompted.
        rates: share of episodes that show it, by thing and frames after the prompt, such as
            ``table_after_4``; ``all_after_4`` stands for all things at once.
        film_strip: a real first frame, then generated ones, for each of the prompts.
    """

    prompts: tuple[str, ...]
    rates: dict[str, Estimate]
    film_strip: UInt8[ndarray, "e f h w 3"] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class PolicyReturns:
    """A policy's mean return in the world and in the reference simulator."""

    generated: float
    real: float


@dataclass(frozen=True, kw_only=True)
class PolicyMetrics:
    """How well the world ranks policies.

    Attributes:
        returns: by policy.
        pearson_r: correlation of the returns.
        rank_r: correlation of their ranks.
        mmrv: mean maximum rank violation, in the simulator's returns: 0 where the world ranks no
            two policies wrongly; None: measured before there was this metric.
    """

    returns: dict[str, PolicyReturns]
    pearson_r: Estimate
    rank_r: Estimate
    mmrv: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class VectorEnvSpeed:
    """Speed of one vector environment."""

    envs: int
    steps_per_s: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, kw_only=True)
class SpeedMetrics:
    """How fast environments of the world step on some hardware."""

    hardware: str
    steps: tuple[VectorEnvSpeed, ...]


@dataclass(frozen=True, kw_only=True)
class FilmStrips:
    """Frames of some episodes, real and generated under the same actions."""

    real: UInt8[ndarray, "e f h w 3"]
    generated: UInt8[ndarray, "e f h w 3"]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Everything that is measured of a world.

    Attributes:
        world: its name.
        partition: how it streams.
        episodes: held-out episodes.
        frame_size: height and width of a frame.
        simulated: whether these are of a reference simulator; else of held-out recordings.
        evaluator: how well the evaluator itself sees.
        codec: what the codec alone loses.
        fidelity: how close frames are to real ones, at several horizons.
        motion: how much frames change from one to the next, generated over real.
        action: whether prompted actions show.
        ablation: whether another episode's actions do worse, if there were other episodes.
        drift: what becomes of long streams.
        diversity: whether futures of one start differ as real ones do, if there is a simulator.
        text: whether unseen phrases are followed, if the world names some.
        reaction: how soon a new prompt shows, if the world names an actor.
        sweep: whether control is continuous, if actions are a box and there is a simulator.
        readout: how well the world rewards tasks with a potential, if it has some.
        outcome: how well it reads the environment's own reward and end, if it has such a task.
        appearance: whether unseen appearances are taken on, if the world knows any.
        policies: how well the world ranks policies, if any were run.
        speed: how fast environments step, if it was measured.
        criteria: the acceptance criteria, applied.
        failure_modes: what is plainly wrong.
        comparison: the world beside its teacher, if it has one.
        schema_version: version of this schema, in files.
        film_strips: pictures, never in files.
    """

    world: str
    partition: str
    episodes: int
    frame_size: tuple[int, ...] = (64, 64)
    simulated: bool = True
    evaluator: EvaluatorAccuracy
    codec: CodecMetrics
    fidelity: tuple[FidelityMetrics, ...]
    motion: Estimate
    action: ActionMetrics
    ablation: AblationMetrics | None = None
    drift: DriftMetrics
    diversity: DiversityMetrics | None = None
    text: TextMetrics | None = None
    reaction: ReactionMetrics | None = None
    sweep: SweepMetrics | None = None
    readout: ReadoutMetrics | None = None
    outcome: OutcomeMetrics | None = None
    appearance: AppearanceMetrics | None = None
    policies: PolicyMetrics | None = None
    speed: SpeedMetrics | None = None
    criteria: tuple[CriterionResult, ...] = ()
    failure_modes: tuple[str, ...] = ()
    comparison: TeacherComparison | None = None
    schema_version: int = SCHEMA_VERSION
    film_strips: FilmStrips | None = field(default=None, repr=False, compare=False)

    @property
    def max_actor_error_px(self) -> float:
        """Error of the actor's position on real frames beyond which the evaluator is weak."""
        return MAX_ACTOR_ERROR * max(self.frame_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as JSON can hold them."""
        content: dict[str, Any] = to_plain(self)
        return content

    def to_json(self) -> str:
        """Return the scores as the text of a file."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    @staticmethod
    def from_dict(content: dict[str, Any]) -> Scores:
        """Return scores from what JSON holds.

        Raises:
            StreamDiTError: if it was written in another version of the schema.
        """
        version = content.get("schema_version")
        if version != SCHEMA_VERSION:
            raise StreamDiTError(
                "scores of another schema version",
                given=version,
                allowed=SCHEMA_VERSION,
                remedy="evaluate the world again with this version of streamdit_gym",
            )
        scores: Scores = from_plain(Scores, content)
        return scores
