"""What an evaluation measures: one dataclass for each family of metrics, and `Scores` for all.

A number with an interval is an `Estimate`. PSNR is in dB over the pixels that differ from an
episode's first frame; positions are in pixels (px) of the frame; angles are in degrees. "Real"
means the reference simulator, "generated" means the world that is evaluated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.evaluate.outcomes import CriterionResult, TeacherComparison
from streamdit_gym.evaluate.serialization import from_plain, to_plain
from streamdit_gym.evaluate.statistics import Estimate

SCHEMA_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class StateErrorMetrics:
    """Median errors of the state that the evaluator's probe reads off frames.

    Attributes:
        actor_px: position of what the prompts move.
        body_px: position of what the actor moves.
        body_degrees: orientation of what the actor moves.
    """

    actor_px: Estimate
    body_px: Estimate
    body_degrees: Estimate


@dataclass(frozen=True, kw_only=True)
class BodyErrorMetrics:
    """Median errors of the body, over the episodes in which it has moved."""

    body_px: Estimate
    body_degrees: Estimate


@dataclass(frozen=True, kw_only=True)
class EvaluatorAccuracy:
    """How well the evaluator's own models read real frames.

    Attributes:
        state_error: of the state probe.
        actor_within_1px: share of frames in which the probe finds the actor within a pixel.
        inverse_dynamics_accuracy: share of actions that the inverse-dynamics model names rightly.
        object_integrity: for each object, the share of frames that show exactly one, undamaged.
    """

    state_error: StateErrorMetrics
    actor_within_1px: Estimate
    inverse_dynamics_accuracy: Estimate
    object_integrity: dict[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class CodecMetrics:
    """What encoding and decoding real frames loses.

    Attributes:
        psnr_db: of decoded frames.
        state_error: of the probe on decoded frames.
        actor_within_1px: share of decoded frames with the actor within a pixel of the truth.
    """

    psnr_db: Estimate
    state_error: StateErrorMetrics
    actor_within_1px: Estimate


@dataclass(frozen=True, kw_only=True)
class FidelityMetrics:
    """How close frames are to real ones, some frames after the last real one.

    Attributes:
        horizon: how many frames after.
        psnr_db: of generated frames.
        copy_psnr_db: of copying the first frame, which is the least that a world must beat.
        codec_psnr_db: of the encoded and decoded real frame, which is the most it can reach.
        ssim: structural similarity of generated frames.
        copy_ssim: of copying.
        state_error: of generated frames.
        copy_state_error: of copying.
        moved_body: of generated frames, where the body has moved.
        copy_moved_body: of copying, where the body has moved.
        object_integrity: for each object, the share of frames that show exactly one, undamaged.
    """

    horizon: int
    psnr_db: Estimate
    copy_psnr_db: Estimate
    codec_psnr_db: Estimate
    ssim: Estimate
    copy_ssim: Estimate
    state_error: StateErrorMetrics
    copy_state_error: StateErrorMetrics
    moved_body: BodyErrorMetrics
    copy_moved_body: BodyErrorMetrics
    object_integrity: dict[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class ActionMetrics:
    """Whether frames show the actions that were prompted.

    Attributes:
        inverse_dynamics_accuracy: share of actions that the inverse-dynamics model reads off
            generated frames.
        real_inverse_dynamics_accuracy: the same on real frames.
        action_fidelity: the first over the second.
        chance: accuracy of a guess.
        next_frame_error: squared error of the next frame at the actor, in squared grey levels.
        other_actions_error_ratio: that error under other actions over the one under the true ones.
        idle_error_ratio: the same for idling.
    """

    inverse_dynamics_accuracy: Estimate
    real_inverse_dynamics_accuracy: Estimate
    action_fidelity: Estimate
    chance: float
    next_frame_error: Estimate
    other_actions_error_ratio: Estimate
    idle_error_ratio: Estimate

    @property
    def twice_chance(self) -> float:
        """Accuracy below which actions count as unreadable."""
        return 2 * self.chance


@dataclass(frozen=True, kw_only=True)
class TextMetrics:
    """How phrases are followed that no training has seen.

    Attributes:
        menu_accuracy: inverse-dynamics accuracy under the menu's phrases.
        unseen_accuracy: the same under unseen phrases.
        unseen_ratio: the second over the first.
    """

    menu_accuracy: Estimate
    unseen_accuracy: Estimate
    unseen_ratio: Estimate


@dataclass(frozen=True, kw_only=True)
class DriftRatio:
    """A property of frames at the end of a long stream over the same at its beginning.

    Attributes:
        generated: in the world.
        real: in the reference simulator under the same actions.
        generated_over_real: the first over the second.
    """

    generated: Estimate
    real: Estimate
    generated_over_real: Estimate


@dataclass(frozen=True, kw_only=True)
class DriftMetrics:
    """What becomes of long streams.

    Attributes:
        frames: length of a stream.
        streams: how many.
        sharpness: contrast between neighbouring pixels.
        level: mean grey level.
        object_integrity: for each object, the share of frames that show exactly one, undamaged.
        end_object_integrity: the same over the last part of the streams.
        film_strip: frames of the first stream, evenly spaced.
    """

    frames: int
    streams: int
    sharpness: DriftRatio
    level: DriftRatio
    object_integrity: dict[str, Estimate]
    end_object_integrity: dict[str, Estimate]
    film_strip: UInt8[ndarray, "f h w 3"] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class ReactionCurve:
    """How soon a new prompt shows.

    Attributes:
        effect: for each frame after the change of prompts, the median share of its final effect on
            the actor's speed.
        prompt_shows: share of episodes in which the new prompt has an effect at all.
        frames_to_50: frames until half of the effect; None if it never comes.
        frames_to_90: frames until nine tenths of it.
    """

    effect: tuple[float, ...]
    prompt_shows: Estimate
    frames_to_50: int | None
    frames_to_90: int | None


@dataclass(frozen=True, kw_only=True)
class ReactionMetrics:
    """How soon a new prompt shows, in the world and in the reference simulator.

    Attributes:
        change_after: frames under the first prompt.
        generated: in the world; frames in flight at the change count.
        real: in the reference simulator.
    """

    change_after: int
    generated: ReactionCurve
    real: ReactionCurve


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
    """

    returns: dict[str, PolicyReturns]
    pearson_r: Estimate
    rank_r: Estimate


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
        evaluator: how well the evaluator itself sees.
        codec: what the codec alone loses.
        fidelity: how close frames are to real ones, at several horizons.
        motion: how much frames change from one to the next, generated over real.
        action: whether prompted actions show.
        text: whether unseen phrases are followed.
        drift: what becomes of long streams.
        reaction: how soon a new prompt shows.
        readout: how well the world rewards.
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
    evaluator: EvaluatorAccuracy
    codec: CodecMetrics
    fidelity: tuple[FidelityMetrics, ...]
    motion: Estimate
    action: ActionMetrics
    text: TextMetrics
    drift: DriftMetrics
    reaction: ReactionMetrics
    readout: ReadoutMetrics
    appearance: AppearanceMetrics | None = None
    policies: PolicyMetrics | None = None
    speed: SpeedMetrics | None = None
    criteria: tuple[CriterionResult, ...] = ()
    failure_modes: tuple[str, ...] = ()
    comparison: TeacherComparison | None = None
    schema_version: int = SCHEMA_VERSION
    film_strips: FilmStrips | None = field(default=None, repr=False, compare=False)

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
