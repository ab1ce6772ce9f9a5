"""What is measured of a world's frames: fidelity, codec, drift, and the evaluator's own eyesight.

PSNR of moving pixels is over those that differ from an episode's first frame; errors of named
numbers of the state are shares of the numbers' standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import UInt8
from numpy import ndarray

from streamdit_gym.evaluate.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class StateErrorMetrics:
    """Median errors of actor and body, of a world that names them, read off frames by the probe.

    Attributes:
        actor_px: position of what the prompts move.
        body_px: position of what the actor moves.
        body_degrees: orientation of what the actor moves.
    """

    actor_px: Estimate | None = None
    body_px: Estimate | None = None
    body_degrees: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class BodyErrorMetrics:
    """Median errors of the body, over the episodes in which it has moved."""

    body_px: Estimate
    body_degrees: Estimate


@dataclass(frozen=True, kw_only=True)
class EvaluatorAccuracy:
    """How well the evaluator's own models read real frames.

    Attributes:
        state_error: of the state probe; None: the world names neither actor nor body.
        actor_within_1px: share of frames in which the probe finds the actor within a pixel.
        numbers: median error of every number of the state, as a share of its standard deviation.
        angles: median error of every angle of the state, in degrees.
        inverse_dynamics_accuracy: share of a menu's actions that the inverse-dynamics model names
            rightly.
        inverse_dynamics_r: for each dimension of a box, the correlation of read and true values.
        object_integrity: for each object, the share of frames that show exactly one, undamaged.
    """

    state_error: StateErrorMetrics | None = None
    actor_within_1px: Estimate | None = None
    numbers: dict[str, Estimate] = field(default_factory=dict)
    angles: dict[str, Estimate] = field(default_factory=dict)
    inverse_dynamics_accuracy: Estimate | None = None
    inverse_dynamics_r: dict[str, Estimate] = field(default_factory=dict)
    object_integrity: dict[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CodecMetrics:
    """What encoding and decoding real frames loses.

    Attributes:
        psnr_db: of decoded frames, moving pixels.
        frame_psnr_db: of whole decoded frames.
        state_error: of the probe on decoded frames; None: the world names neither actor nor body.
        actor_within_1px: share of decoded frames with the actor within a pixel of the truth.
    """

    psnr_db: Estimate
    frame_psnr_db: Estimate | None = None
    state_error: StateErrorMetrics | None = None
    actor_within_1px: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class FidelityMetrics:
    """How close frames are to real ones, some frames after the last real one.

    What begins with ``copy_`` is of copying the first frame, which is the least that a world must
    beat.

    Attributes:
        horizon: how many frames after.
        psnr_db: of generated frames, moving pixels.
        copy_psnr_db: of copying.
        codec_psnr_db: of the encoded and decoded real frame, which is the most it can reach.
        frame_psnr_db: of whole generated frames.
        copy_frame_psnr_db: of copying.
        ssim: structural similarity of generated frames.
        copy_ssim: of copying.
        state_error: of generated frames; None: the world names neither actor nor body.
        copy_state_error: of copying.
        moved_body: of generated frames, where the body has moved.
        copy_moved_body: of copying, where the body has moved.
        numbers: median error of every number of the state that the probe can read, as a share of
            its standard deviation.
        copy_numbers: of copying.
        angles: median error of every angle that the probe can read, in degrees.
        copy_angles: of copying.
        object_integrity: for each object, the share of frames that show exactly one, undamaged.
    """

    horizon: int
    psnr_db: Estimate
    copy_psnr_db: Estimate
    codec_psnr_db: Estimate
    frame_psnr_db: Estimate | None = None
    copy_frame_psnr_db: Estimate | None = None
    ssim: Estimate
    copy_ssim: Estimate
    state_error: StateErrorMetrics | None = None
    copy_state_error: StateErrorMetrics | None = None
    moved_body: BodyErrorMetrics | None = None
    copy_moved_body: BodyErrorMetrics | None = None
    numbers: dict[str, Estimate] = field(default_factory=dict)
    copy_numbers: dict[str, Estimate] = field(default_factory=dict)
    angles: dict[str, Estimate] = field(default_factory=dict)
    copy_angles: dict[str, Estimate] = field(default_factory=dict)
    object_integrity: dict[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DriftRatio:
    """A property of frames at the end of a long stream over the same at its beginning.

    Attributes:
        generated: in the world.
        real: in the reference simulator under the same actions, or in the recordings.
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
        replayed: whether the reference simulator took the same actions from the same states; else
            streams are held against the recordings' own later frames.
        sharpness: contrast between neighbouring pixels.
        level: mean grey level.
        motion: how far what moves does so from frame to frame, by optical flow; None: measured
            before there was this metric.
        object_integrity: for each object, the share of frames that show exactly one, undamaged.
        end_object_integrity: the same over the last part of the streams.
        film_strip: frames of the first stream, evenly spaced.
    """

    frames: int
    streams: int
    replayed: bool = True
    sharpness: DriftRatio
    level: DriftRatio
    motion: DriftRatio | None = None
    object_integrity: dict[str, Estimate] = field(default_factory=dict)
    end_object_integrity: dict[str, Estimate] = field(default_factory=dict)
    film_strip: UInt8[ndarray, "f h w 3"] | None = field(default=None, repr=False, compare=False)
