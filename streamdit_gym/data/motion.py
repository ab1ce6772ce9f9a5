"""How far actions move the picture, which decides how much time a frame should span.

Where an action moves things by a fraction of a pixel, the likeliest next frame is the last one, and
a world trained on such frames stands still. So one frame should span so many of them that what
moves does so by more than a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from streamdit_gym.data.episode import Episode, add_frame, explore
from streamdit_gym.data.trial_episodes import simulator_of
from streamdit_gym.definition import WorldDefinition

NUM_EPISODES = 4
NUM_STEPS = 32
SPANS = (1, 2, 3, 4, 6, 8)  # in frames
MIN_DISPLACEMENT_PX = 1.0
MIN_DIFFERENCE = 12  # grey levels between two frames, where something has moved
MOVED_QUANTILE = 0.9  # of the pixels where something has moved; what moves has slower parts, too
MIN_PAIRS = 8  # of frames, to tell how far things move
# of the optical flow
PYRAMID_SCALE = 0.5
PYRAMID_LEVELS = 3
WINDOW_PX = 9
ITERATIONS = 3
NEIGHBOURHOOD_PX = 5
SMOOTHING_PX = 1.1


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How far actions move the picture.

    Attributes:
        changed_share: share of the pixels that change from frame to frame, on average.
        displacement_px: how far what moves does so from frame to frame, on average over actions
            that are not idle; NaN: cannot be told.
        frame_skip: how many times as long a frame should be for that to be more than a pixel; 0:
            no span that was tried is long enough.
    """

    changed_share: float
    displacement_px: float
    frame_skip: int

    def stored(self) -> dict[str, Any]:
        """Return the measurement as ``meta.json`` holds it."""
        values = asdict(self)
        is_known = math.isfinite(self.displacement_px)
        values["changed_share"] = round(self.changed_share, 5)
        values["displacement_px"] = round(self.displacement_px, 3) if is_known else None
        return values

    @property
    def report(self) -> str:
        """What people should know."""
        share = f"{self.changed_share:.1%} of the pixels change from frame to frame"
        if not math.isfinite(self.displacement_px):
            return f"{share}; nothing moves far enough to be measured"
        moved = f"{share}; what moves does so by {self.displacement_px:.1f} px on average"
        if self.frame_skip == 1:
            return moved
        if not self.frame_skip:
            return (
                f"{moved}, and hardly by more in {SPANS[-1]} frames. Is the frame too small, or "
                "the action too weak? A world trained on this may stand still."
            )
        return (
            f"{moved}. A world learns little from less than {MIN_DISPLACEMENT_PX:g} px: let a "
            f"frame span {self.frame_skip} times as many steps of the simulator "
            f"(frame_skip of gym_world x {self.frame_skip}), and record anew."
        )


def measure_motion(definition: WorldDefinition) -> Motion:
    """Measure how far the actions of exploration move the picture, in trial episodes."""
    rng = np.random.default_rng(0)
    simulator = simulator_of(definition)
    episodes = []
    for _ in range(NUM_EPISODES):
        start = str(rng.choice(list(definition.starts), p=list(definition.starts.values())))
        episode = Episode()
        add_frame(definition, episode, simulator, simulator.reset(rng, start))
        episodes.append(explore(definition, simulator, rng, episode, NUM_STEPS))
    simulator.close()
    return motion_of(episodes, definition.actions.idle)


def motion_of(episodes: Sequence[Episode], idle: Any) -> Motion:
    """Return how far the picture moves in recorded episodes.

    Args:
        episodes: the episodes.
        idle: the action that moves nothing.
    """
    shares = [
        changed_pixels(before, after).mean()
        for episode in episodes
        for before, after in zip(episode.frames, episode.frames[1:], strict=False)
    ]
    return Motion(
        changed_share=float(np.mean(shares)),
        displacement_px=_displacement(episodes, idle, 1),
        frame_skip=_long_enough_span(episodes, idle),
    )


def changed_pixels(
    before: UInt8[np.ndarray, "h w 3"], after: UInt8[np.ndarray, "h w 3"]
) -> Bool[np.ndarray, "h w"]:
    """Return which pixels differ between two frames."""
    difference = grey_levels(after).astype(np.int16) - grey_levels(before)
    changed: Bool[np.ndarray, "h w"] = np.abs(difference) >= MIN_DIFFERENCE
    return changed


def displacement_px(before: UInt8[np.ndarray, "h w 3"], after: UInt8[np.ndarray, "h w 3"]) -> float:
    """Return how far what moves between two frames does so; 0 where nothing changes."""
    changed = changed_pixels(before, after)
    if not changed.any():
        return 0.0
    distance = np.linalg.norm(_optical_flow(before, after), axis=-1)
    return float(np.quantile(distance[changed], MOVED_QUANTILE))


def grey_levels(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """Return a frame without its colours."""
    import cv2  # hundreds of milliseconds, and only measuring motion needs it

    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _long_enough_span(episodes: Sequence[Episode], idle: Any) -> int:
    for span in SPANS:
        if _displacement(episodes, idle, span) >= MIN_DISPLACEMENT_PX:
            return span
    return 0


def _displacement(episodes: Sequence[Episode], idle: Any, span: int) -> float:
    """Return the mean displacement over so many frames of one held action that is not idle."""
    distances = []
    for episode in episodes:
        for start in range(0, len(episode.actions) - span + 1, span):
            held = episode.actions[start : start + span]
            is_held = all(np.array_equal(action, held[0]) for action in held)
            if not is_held or np.array_equal(held[0], idle):
                continue
            end = episode.frames[start + span]
            distances.append(displacement_px(episode.frames[start], end))
    return float(np.mean(distances)) if len(distances) >= MIN_PAIRS else math.nan


def _optical_flow(
    before: UInt8[np.ndarray, "h w 3"], after: UInt8[np.ndarray, "h w 3"]
) -> Float[np.ndarray, "h w 2"]:
    """Return every pixel's displacement (x, y), by Farneback's method."""
    import cv2

    initial = np.zeros((*before.shape[:2], 2), dtype=np.float32)
    flow = cv2.calcOpticalFlowFarneback(
        grey_levels(before),
        grey_levels(after),
        initial,
        PYRAMID_SCALE,
        PYRAMID_LEVELS,
        WINDOW_PX,
        ITERATIONS,
        NEIGHBOURHOOD_PX,
        SMOOTHING_PX,
        0,
    )
    return np.asarray(flow, dtype=np.float32)
