"""What becomes of long streams.

A simulator, too, may look different after a while: a T that is pushed off its goal has more edges.
So the reference simulator takes the same actions from the same states, and what counts is how much
more a stream has drifted.

A lost object is often lost for good, so the frames of a stream repeat each other: intervals are
over streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from streamdit_gym.data.processes import map_in_processes
from streamdit_gym.data.random_actions import draw_held_action
from streamdit_gym.data.trial_episodes import simulator_of
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.evaluate.candidate import Frames
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext, begin_at
from streamdit_gym.evaluate.metrics.pixel_metrics import sharpness_and_level
from streamdit_gym.evaluate.schema import DriftMetrics, DriftRatio
from streamdit_gym.evaluate.statistics import estimate, ratio

END_SHARE = 0.15  # of a stream: the parts that are compared
FILM_FRAMES = 16


@dataclass(frozen=True, kw_only=True)
class ReplayJob:
    """Actions to take in the reference simulator.

    Attributes:
        definition: the world.
        start: kind of start.
        state: the state to begin in.
        actions: what to do.
        seed: of the simulator.
    """

    definition: WorldDefinition
    start: str
    state: Float[np.ndarray, " s"]
    actions: Sequence[int]
    seed: int = 0


def drift_metrics(
    context: EvaluationContext, frames: int, max_streams: int, workers: int = 1, seed: int = 0
) -> DriftMetrics:
    """Compare the first with the last part of long streams, and check their objects.

    Args:
        context: what is measured against what.
        frames: length of a stream.
        max_streams: how many at most; each starts as a held-out episode does.
        workers: processes for the reference simulator.
        seed: of the random actions and of the noise.
    """
    streams = min(max_streams, len(context.held_out.frames))
    actions = _held_random_actions(len(context.spec.menu), streams, frames, seed)
    prompts = [[context.spec.menu[action][0] for action in stream] for stream in actions]
    shown = context.candidate.roll_out(context.first_frames[:streams], prompts, seed).frames
    generated = np.stack([sharpness_and_level(stream) for stream in shown])
    real = _real_image_statistics(context, actions, workers, seed)
    end = max(1, int(END_SHARE * frames))
    integrity = _integrity_by_stream(context, shown)
    return DriftMetrics(
        frames=frames,
        streams=streams,
        sharpness=_drift_ratio(generated[..., 0], real[..., 0], end),
        level=_drift_ratio(generated[..., 1], real[..., 1], end),
        object_integrity={name: estimate(rates) for name, rates in integrity.items()},
        end_object_integrity={name: estimate(rates[:, -end:]) for name, rates in integrity.items()},
        film_strip=_evenly_spaced(shown),
    )


def replay_image_statistics(job: ReplayJob) -> Float[np.ndarray, "f 2"]:
    """Take actions in the reference simulator, and return its frames' sharpness and level."""
    simulator = simulator_of(job.definition)
    begin_at(simulator, job.start, job.state, job.seed)
    statistics = []
    for action in job.actions:  # frame by frame: a long stream is large
        frame = simulator.step(action)
        statistics.append(sharpness_and_level(frame[None]))
    simulator.close()
    return np.concatenate(statistics)


def _integrity_by_stream(
    context: EvaluationContext, shown: Frames
) -> dict[str, Float[np.ndarray, "n f"]]:
    streams, frames = shown.shape[:2]
    flat = shown.reshape(-1, *shown.shape[2:])
    objects = context.reference.evaluation.objects
    assert objects is not None
    integrity = objects(flat)
    return {name: rates.reshape(streams, frames) for name, rates in integrity.items()}


def _held_random_actions(count: int, streams: int, frames: int, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    actions = []
    for _ in range(streams):
        stream: list[int] = []
        while len(stream) < frames:
            action, num_frames = draw_held_action(rng, count)
            stream += [action] * num_frames
        actions.append(stream[:frames])
    return actions


def _real_image_statistics(
    context: EvaluationContext, actions: list[list[int]], workers: int, seed: int
) -> Float[np.ndarray, "n f 2"]:
    jobs = [
        ReplayJob(
            definition=context.reference,
            start=context.commonest_start,
            state=state,
            actions=stream,
            seed=seed,
        )
        for state, stream in zip(context.first_states, actions, strict=False)
    ]
    bar = tqdm(total=len(jobs), desc="reference simulator", unit="stream", leave=False)
    return np.stack(map_in_processes(replay_image_statistics, jobs, workers, bar))


def _drift_ratio(
    generated: Float[np.ndarray, "n f"], real: Float[np.ndarray, "n f"], end: int
) -> DriftRatio:
    columns = []
    for statistic in (generated, real):
        columns.append(statistic[:, -end:].mean(1))
        columns.append(statistic[:, :end].mean(1))
    ends = np.stack(columns, -1)
    return DriftRatio(
        generated=estimate(ends[:, :2], ratio),
        real=estimate(ends[:, 2:], ratio),
        generated_over_real=estimate(ends, _ratio_of_ratios),
    )


def _ratio_of_ratios(ends: Float[np.ndarray, "n 4"]) -> float:
    generated = ratio(ends[:, :2])
    real = ratio(ends[:, 2:])
    return generated / real


def _evenly_spaced(shown: Frames) -> np.ndarray:
    first_stream = shown[0]
    last = len(first_stream) - 1
    frames = np.linspace(0, last, FILM_FRAMES).astype(int)
    return first_stream[frames]
