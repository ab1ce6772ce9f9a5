"""What becomes of long streams.

A simulator, too, may look different after a while: a T that is pushed off its goal has more edges.
So the reference simulator takes the same actions from the same states, and what counts is how much
more a stream has drifted. Where no simulator can start from these states, streams take the
recordings' own actions, and are held against the recordings' later frames.

A lost object is often lost for good, so the frames of a stream repeat each other: intervals are
over streams. Motion is that of what moves, by optical flow, in some pairs of neighbouring frames:
in a stream that dies it ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from tqdm import tqdm

from streamdit_gym.actions import ActionLanguage
from streamdit_gym.data.motion import displacement_px
from streamdit_gym.data.processes import map_in_processes
from streamdit_gym.data.random_actions import HeldExploration
from streamdit_gym.data.trial_episodes import simulator_of
from streamdit_gym.definition import Action, WorldDefinition
from streamdit_gym.evaluate.candidate import Actions, Frames, action_prompts
from streamdit_gym.evaluate.frame_schema import DriftMetrics, DriftRatio
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext, begin_at, rates
from streamdit_gym.evaluate.metrics.pixel_metrics import sharpness_and_level
from streamdit_gym.evaluate.statistics import estimate, ratio

SHARPNESS, LEVEL, MOTION = 0, 1, 2  # columns of image statistics
MAX_MOTION_PAIRS = 64  # of frames, in a part of a stream; optical flow takes half a millisecond
MAX_RECORDED_LENGTHS = 4  # of a stream that nothing replays
END_SHARE = 0.15  # of a stream: the parts that are compared
MIN_WINDOW = 2  # frames of such a part: one pair
FILM_FRAMES = 16


@dataclass(frozen=True, kw_only=True)
class ReplayJob:
    """Actions to take in the reference simulator.

    Attributes:
        definition: the world.
        start: kind of start.
        state: the state to begin in.
        actions: what to do.
        pairs: see `motion_pairs`.
        seed: of the simulator.
    """

    definition: WorldDefinition
    start: str
    state: Float[np.ndarray, " s"]
    actions: Sequence[Action]
    pairs: frozenset[int] = frozenset()
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class _Ends:
    """Image statistics (sharpness, level, motion) at the beginning and at the end of streams."""

    begin: Float[np.ndarray, "n 3"]
    end: Float[np.ndarray, "n 3"]


def drift_metrics(
    context: EvaluationContext, frames: int, max_streams: int, workers: int = 1, seed: int = 0
) -> DriftMetrics:
    """Compare the first with the last part of long streams, and check their objects.

    Args:
        context: what is measured against what.
        frames: length of a stream; where no simulator replays it, at most a few times the longest
            recording's.
        max_streams: how many at most; each starts as a held-out episode does.
        workers: processes for the reference simulator.
        seed: of the random actions and of the noise.
    """
    streams = min(max_streams, len(context.held_out.frames))
    replayed = context.starts_anywhere
    if replayed:
        actions = _held_random_actions(context.spec.actions, streams, frames, seed)
        window = max(MIN_WINDOW, int(END_SHARE * frames))
    else:
        longest = int(context.held_out.lengths.max())
        frames = min(frames, MAX_RECORDED_LENGTHS * longest)
        actions = _recorded_actions(context, streams, frames)
        window = max(MIN_WINDOW, int(END_SHARE * longest))
    prompts = action_prompts(context.spec, actions)
    shown = context.candidate.roll_out(context.first_frames[:streams], prompts, seed).frames
    pairs = motion_pairs(frames, window)
    generated = _ends(np.stack([image_statistics(stream, pairs) for stream in shown]), window)
    if replayed:
        real = _ends(_replayed_statistics(context, actions, pairs, workers, seed), window)
    else:
        real = _recorded_ends(context, streams, window)
    integrity = context.object_integrity(shown)
    return DriftMetrics(
        frames=frames,
        streams=streams,
        replayed=replayed,
        sharpness=_drift_ratio(generated, real, SHARPNESS),
        level=_drift_ratio(generated, real, LEVEL),
        motion=_drift_ratio(generated, real, MOTION),
        object_integrity=rates(integrity),
        end_object_integrity=rates({name: each[:, -window:] for name, each in integrity.items()}),
        film_strip=_evenly_spaced(shown),
    )


def replay_image_statistics(job: ReplayJob) -> Float[np.ndarray, "f 3"]:
    """Take actions in the reference simulator, and return its frames' statistics."""
    simulator = simulator_of(job.definition)
    begin_at(simulator, job.start, job.state, job.definition.actions.idle, job.seed)
    statistics = []
    previous = None
    for number, action in enumerate(job.actions):  # frame by frame: a long stream is large
        frame = simulator.step(action)
        pair = frame[None] if previous is None else np.stack([previous, frame])
        is_measured = frozenset({len(pair) - 1}) if number in job.pairs else frozenset()
        statistics.append(image_statistics(pair, is_measured)[-1:])
        previous = frame
    simulator.close()
    return np.concatenate(statistics)


def image_statistics(
    frames: UInt8[np.ndarray, "f h w 3"], pairs: frozenset[int]
) -> Float[np.ndarray, "f 3"]:
    """Return sharpness, level and motion (px) of frames; motion is NaN but for some.

    Args:
        frames: one after the other.
        pairs: numbers of frames whose motion from the one before is measured.
    """
    motion = np.full((len(frames), 1), np.nan)
    for number in pairs:
        motion[number] = displacement_px(frames[number - 1], frames[number])
    return np.concatenate([sharpness_and_level(frames), motion], 1)


def motion_pairs(frames: int, window: int) -> frozenset[int]:
    """Return evenly spaced frames of a stream's first and last part, the first frame left out."""
    count = min(window, MAX_MOTION_PAIRS)
    begin = np.linspace(1, window - 1, count)
    end = np.linspace(frames - window, frames - 1, count)
    numbers = np.concatenate([begin, end]).round().astype(int)
    return frozenset(number for number in numbers.tolist() if 1 <= number < frames)


def _held_random_actions(language: ActionLanguage, streams: int, frames: int, seed: int) -> Actions:
    rng = np.random.default_rng(seed)
    actions = []
    for _ in range(streams):
        exploration = HeldExploration(language)
        actions.append([exploration.next(rng) for _ in range(frames)])
    return np.array(actions, dtype=language.dtype)


def _recorded_actions(context: EvaluationContext, streams: int, frames: int) -> Actions:
    """Return the recordings' own actions, episode after episode, a different one first."""
    held_out = context.held_out
    episodes = [
        actions[:length] for actions, length in zip(held_out.actions, held_out.lengths, strict=True)
    ]
    rows = []
    for stream in range(streams):
        turned = np.concatenate(episodes[stream:] + episodes[:stream])
        repeats = -(-frames // len(turned))
        rows.append(np.concatenate([turned] * repeats)[:frames])
    return np.stack(rows)


def _replayed_statistics(
    context: EvaluationContext, actions: Actions, pairs: frozenset[int], workers: int, seed: int
) -> Float[np.ndarray, "n f 3"]:
    jobs = [
        ReplayJob(
            definition=context.reference,
            start=context.commonest_start,
            state=state,
            actions=stream.tolist() if stream.ndim == 1 else list(stream),
            pairs=pairs,
            seed=seed,
        )
        for state, stream in zip(context.first_states, actions, strict=False)
    ]
    bar = tqdm(total=len(jobs), desc="reference simulator", unit="stream", leave=False)
    return np.stack(map_in_processes(replay_image_statistics, jobs, workers, bar))


def _recorded_ends(context: EvaluationContext, streams: int, window: int) -> _Ends:
    """Return the recordings' statistics in their first frames, and in all later ones."""
    begin = []
    end = []
    for frames, length in zip(
        context.held_out.frames[:streams], context.held_out.lengths, strict=False
    ):
        recorded = frames[1 : length + 1]
        every_pair = frozenset(range(1, len(recorded)))
        statistics = image_statistics(recorded, every_pair)
        begin.append(_mean(statistics[:window]))
        later = statistics[window:] if length > window else statistics
        end.append(_mean(later))
    return _Ends(begin=np.stack(begin), end=np.stack(end))


def _ends(statistics: Float[np.ndarray, "n f 3"], window: int) -> _Ends:
    begin = [_mean(stream[:window]) for stream in statistics]
    end = [_mean(stream[-window:]) for stream in statistics]
    return _Ends(begin=np.stack(begin), end=np.stack(end))


def _mean(statistics: Float[np.ndarray, "f 3"]) -> Float[np.ndarray, " 3"]:
    """Return the mean of each column, NaN apart; NaN where nothing was measured."""
    count = (~np.isnan(statistics)).sum(0)
    total = np.nansum(statistics, 0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _drift_ratio(generated: _Ends, real: _Ends, column: int) -> DriftRatio:
    columns = []
    for ends in (generated, real):
        columns += [ends.end[:, column], ends.begin[:, column]]
    samples = np.stack(columns, -1)
    return DriftRatio(
        generated=estimate(samples[:, :2], ratio),
        real=estimate(samples[:, 2:], ratio),
        generated_over_real=estimate(samples, _ratio_of_ratios),
    )


def _ratio_of_ratios(ends: Float[np.ndarray, "n 4"]) -> float:
    generated = ratio(ends[:, :2])
    real = ratio(ends[:, 2:])
    return generated / real if real else math.nan


def _evenly_spaced(shown: Frames) -> np.ndarray:
    first_stream = shown[0]
    last = len(first_stream) - 1
    frames = np.linspace(0, last, FILM_FRAMES).astype(int)
    return first_stream[frames]
