"""Whether frames show PushT's things in given colours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from streamdit_gym.definition import AppearanceEvaluation
from streamdit_gym.envs.pusht.geometry import FRAME_PX, GOAL_MIDDLE_PX
from streamdit_gym.envs.pusht_looks.palette import COLOURS, THINGS, UNSEEN_APPEARANCES
from streamdit_gym.envs.pusht_looks.phrases import colour_phrase

# Least and greatest areas in pixels, edges left out.
AREAS = {
    "table": (2000, 4096),
    "T": (60, 200),
    "goal": (25, 200),
    "pusher": (5, 40),
}
GOAL_RADIUS_PX = 16
MAX_GOAL_SPECKS = 20  # pixels in the goal's colour that are not at the goal
MIN_COVERED_PX = 40  # pixels of the T at the goal from which the goal may be hidden


def _goal_region() -> Bool[np.ndarray, "64 64"]:
    pixels = np.indices((FRAME_PX, FRAME_PX)) + 0.5
    rows_and_columns = GOAL_MIDDLE_PX[::-1, None, None]
    return np.hypot(*(pixels - rows_and_columns)) < GOAL_RADIUS_PX


GOAL_REGION = _goal_region()


def shows_appearance(
    frames: UInt8[np.ndarray, "n h w 3"], appearance: Mapping[str, str]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return for each thing whether each frame shows it in its colour: 1 or 0.

    A thing has its colour if about as many pixels have it as the thing has; the goal's must be in
    its place. A goal that the T may hide is NaN.

    Args:
        frames: pixels.
        appearance: all four things' colours.
    """
    names = list(COLOURS)
    nearest = _nearest_colours(frames)
    masks = {thing: nearest == names.index(appearance[thing]) for thing in THINGS}
    results = {}
    for thing in THINGS:
        least, most = AREAS[thing]
        area = masks[thing].sum((1, 2))
        is_right = (area >= least) & (area <= most)
        results[thing] = is_right.astype(float)
    num_specks = (masks["goal"] & ~GOAL_REGION).sum((1, 2))
    goal = results["goal"]
    goal *= num_specks <= MAX_GOAL_SPECKS
    hidden_area = (masks["T"] & GOAL_REGION).sum((1, 2))
    may_be_hidden = hidden_area > MIN_COVERED_PX
    goal[may_be_hidden & (goal == 0)] = np.nan
    return results


def _nearest_colours(frames: UInt8[np.ndarray, "n h w 3"]) -> Int[np.ndarray, "n h w"]:
    """Return for each pixel the number of the nearest colour."""
    colours = np.array(list(COLOURS.values()), np.float32)
    pixels = frames[..., None, :].astype(np.float32)
    offsets = pixels - colours
    distances = (offsets**2).sum(-1)
    return distances.argmin(-1)


APPEARANCE_EVALUATION = AppearanceEvaluation(
    unseen=tuple(UNSEEN_APPEARANCES), describe=colour_phrase, shows=shows_appearance
)
