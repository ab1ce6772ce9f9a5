"""How far an environment's actions move the picture, in pixels of a frame."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.data.motion import MIN_DISPLACEMENT_PX, displacement_px
from streamdit_gym.data.random_actions import HeldExploration
from streamdit_gym.envs.gym_simulator import GymSettings, GymSimulator

Frames = UInt8[np.ndarray, "n h w 3"]

FRAME_SKIPS = (1, 2, 3, 4, 6)
NUM_EPISODES = 3
NUM_STEPS = 48
MIN_EPISODE_STEPS = 8  # of the world, even if its steps are short


def proposed_frame_skip(settings: GymSettings) -> int:
    """Return how many steps of an environment move things by more than a pixel.

    Args:
        settings: of the simulator, whose own `frame_skip` does not count.
    """
    simulator = GymSimulator(replace(settings, frame_skip=1))
    rng = np.random.default_rng(0)
    episodes = [explored_frames(simulator, rng) for _ in range(NUM_EPISODES)]
    simulator.close()
    shortest = min(len(frames) for frames in episodes)
    fitting = [number for number in FRAME_SKIPS if shortest // number >= MIN_EPISODE_STEPS]
    for frame_skip in fitting:
        motions = [motion_px(frames[::frame_skip]) for frames in episodes]
        if np.median(np.concatenate(motions)) > MIN_DISPLACEMENT_PX:
            return frame_skip
    return fitting[-1] if fitting else FRAME_SKIPS[0]


def explored_frames(simulator: GymSimulator, rng: np.random.Generator) -> Frames:
    """Return the frames of an episode of random actions, each held for some frames."""
    language = simulator.settings.actions
    assert language is not None
    exploration = HeldExploration(language)
    frames = [simulator.reset(rng, "any")]
    for _ in range(NUM_STEPS):
        frames.append(simulator.step(exploration.next(rng)))
        if simulator.outcome().terminated:
            break
    return np.stack(frames)


def motion_px(frames: Frames) -> Float[np.ndarray, " n-1"]:
    """Return how far things move from each frame to the next, by optical flow; 0: nothing moves."""
    return np.array([displacement_px(before, after) for before, after in pairwise(frames)])
