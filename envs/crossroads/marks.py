"""What can be read off frames of Crossroads: the ball, its colour, and which way it went.

The ball is found by analysis by synthesis. A frame is held against an empty one with a ball drawn
into it, for both colours and for all places half a pixel apart; what the best of them leaves
unexplained tells whether the frame shows exactly one whole ball. Post, screen and paddle are left
out: a ball that is partly hidden there, or cut by the frame's edge, is judged by what is to be seen
of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from streamdit_gym.definition import UNCLEAR
from streamdit_gym.envs.crossroads.definition import (
    BALL_COLOURS,
    BALL_RADIUS,
    GROUND,
    HEIGHT,
    PADDLE,
    POST,
    SCREEN,
    WIDTH,
    Box,
)

MARGIN = 1.0  # px around post, screen and paddle that soft edges reach
MIN_COVER = 0.15  # less of a ball's colour in a pixel is the noise of a decoder
MIN_BALL = 2.0  # px of a ball's colour, squared; less is no ball
MAX_UNEXPLAINED = 0.1  # share of the ball's pixels that the best drawing leaves unexplained
MAX_UNEXPLAINED_PX = 0.5  # more of it, for a ball of which little is to be seen
PHASES = (0.0, 0.5)  # px, of the places that are tried
TEMPLATE_RADIUS = 5  # px

# Where a ball is, in pixels.
ABOVE_POST_Y = 13.5
AT_POST = 1.5  # to the left and right of its middle
TURNED = 3.0
TURNED_Y = 24.0
ABOVE_SCREEN_Y = (22.0, 36.0)
BELOW_SCREEN_Y = 41.5
LEFT_LANE = 3.5  # to the left and right of the screen's middle
NEW_BALL_Y = 8.0
LAST_Y = 46.0  # from where a new ball may replace one
MAX_STEP = 8.0  # px a frame; real balls go 3, and one that is half hidden is found a bit off
MAX_BROKEN_FRAMES = 2  # in a row, without losing the ball
MAX_HIDDEN_FRAMES = 4  # of real balls: 3

Frames = UInt8[np.ndarray, "n 64 64 3"]
Window = tuple[slice, slice]
NO_BALL = (np.nan, np.nan, -1.0, np.nan)
GROUND_LEVELS = np.array(GROUND, np.float32)


@dataclass(frozen=True, kw_only=True)
class Balls:
    """The ball in every frame.

    Attributes:
        x: its middle, px; NaN where no ball is to be seen.
        y: the same.
        colour: number of its colour in `COLOUR_NAMES`; -1 where none is to be seen.
        is_whole: 1 where exactly one whole ball is to be seen, 0 where something else is, NaN where
            there is none: behind the screen, or lost.
    """

    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    colour: Int[np.ndarray, " n"]
    is_whole: Float[np.ndarray, " n"]


def find_balls(frames: Frames) -> Balls:
    """Return the ball in every frame, each by itself."""
    found = [_find_ball(frame) for frame in frames]
    x, y, colour, is_whole = np.array(found, dtype=float).reshape(-1, 4).T
    return Balls(x=x, y=y, colour=colour.astype(int), is_whole=is_whole)


def ball_integrity(frames: Frames) -> dict[str, Float[np.ndarray, " n"]]:
    """Return whether frames show exactly one whole ball: 1 or 0; NaN: none is to be seen."""
    return {"ball": find_balls(frames).is_whole}


def ball_outcome(frames: Frames) -> str:
    """Return what chance has decided first in some consecutive frames.

    Returns:
        ``right``, or ``left`` with the end of the screen at which the ball came out, if it did
        within these frames; the end alone, of a ball that had turned before; ``no turn`` if nothing
        was decided; `UNCLEAR` if the ball cannot be followed.
    """
    balls = find_balls(frames)
    if not _can_be_followed(balls):
        return UNCLEAR
    events = list(_events(balls))
    if not events:
        return "no turn"
    if events[0] == "left" and len(events) > 1 and events[1].startswith("out"):
        return f"left, {events[1]}"
    return events[0]


def _find_ball(frame: UInt8[np.ndarray, "64 64 3"]) -> tuple[float, float, float, float]:
    """Return x, y, colour, and whether it is one whole ball."""
    offsets = (frame - GROUND_LEVELS) * IS_OPEN[..., None]
    is_coloured = (offsets**2).sum(-1) > MIN_COVER**2 * BALL_CONTRAST**2
    if not is_coloured.any():
        return NO_BALL
    window = _window(is_coloured)
    scaled = (offsets * is_coloured[..., None])[window] / BALL_CONTRAST
    energy = float((scaled**2).sum())
    if energy < MIN_BALL:
        return NO_BALL
    best = NO_BALL
    least_unexplained = np.inf
    for colour, direction in enumerate(DIRECTIONS):
        x, y, gain, size = _best_place(scaled @ direction, window)
        unexplained = energy - gain
        if unexplained < least_unexplained:
            least_unexplained = unexplained
            allowed = MAX_UNEXPLAINED * size + MAX_UNEXPLAINED_PX
            best = (x, y, float(colour), float(unexplained <= allowed))
    return best


def _window(is_coloured: Bool[np.ndarray, "64 64"]) -> Window:
    """Return the part of a frame in which a ball's middle may lie."""
    rows = np.flatnonzero(is_coloured.any(1))
    columns = np.flatnonzero(is_coloured.any(0))
    return (
        slice(max(0, rows[0] - TEMPLATE_RADIUS), rows[-1] + TEMPLATE_RADIUS + 1),
        slice(max(0, columns[0] - TEMPLATE_RADIUS), columns[-1] + TEMPLATE_RADIUS + 1),
    )


def _best_place(
    cover: Float[np.ndarray, "h w"], window: Window
) -> tuple[float, float, float, float]:
    """Return x and y of the best drawing, how much it explains, and how much of it is to be seen.

    With c the cover and t the drawing, the sum of (c - t)² is that of c² less 2 ct - t².
    """
    top, left = (part.start for part in window)
    best = (np.nan, np.nan, -np.inf, 0.0)
    for phase_x, phase_y, template, sizes in TEMPLATES:
        product = cv2.filter2D(cover, cv2.CV_32F, template, borderType=cv2.BORDER_CONSTANT)
        size = sizes[window]
        gain = 2 * product - size
        row, column = divmod(int(gain.argmax()), gain.shape[1])
        if gain[row, column] > best[2]:
            x = left + column + 0.5 + phase_x
            y = top + row + 0.5 + phase_y
            best = (x, y, float(gain[row, column]), float(size[row, column]))
    return best


def _can_be_followed(balls: Balls) -> bool:
    """Return whether there is one ball all the time, which moves as balls do."""
    is_broken = balls.is_whole == 0
    is_gone = np.isnan(balls.is_whole)
    if _longest_run(is_broken) > MAX_BROKEN_FRAMES or _longest_run(is_gone) > MAX_HIDDEN_FRAMES:
        return False
    last: int | None = None
    for frame in np.flatnonzero(balls.is_whole == 1).tolist():
        if last is not None and not _is_possible(balls, last, frame):
            return False
        last = frame
    return last is not None


def _is_possible(balls: Balls, before: int, after: int) -> bool:
    """Return whether a ball that was seen in one frame may be where one was seen next."""
    if balls.y[after] <= NEW_BALL_Y and balls.y[before] >= LAST_Y:
        return True
    if np.isnan(balls.is_whole[before + 1 : after]).any():
        return _is_above_screen(balls, before) and _is_below_screen(balls, after)
    across = balls.x[after] - balls.x[before]
    down = balls.y[after] - balls.y[before]
    return bool(np.hypot(across, down) <= MAX_STEP * (after - before))


def _events(balls: Balls) -> Iterator[str]:
    """Yield what chance has decided where the ball goes, in order."""
    falls_on_post = False
    is_hidden = False
    for frame in range(len(balls.x)):
        if np.isnan(balls.is_whole[frame]):
            is_hidden = True
        if balls.is_whole[frame] != 1:
            continue
        from_middle = balls.x[frame] - POST.x
        if abs(from_middle) <= AT_POST and balls.y[frame] <= ABOVE_POST_Y:
            falls_on_post = True
        elif falls_on_post and abs(from_middle) >= TURNED and balls.y[frame] <= TURNED_Y:
            falls_on_post = False
            yield "left" if from_middle < 0 else "right"
        if _is_above_screen(balls, frame):
            is_hidden = True
        elif is_hidden and _is_below_screen(balls, frame):
            is_hidden = False
            yield "out on the left" if balls.x[frame] < SCREEN.x else "out on the right"


def _is_above_screen(balls: Balls, frame: int) -> bool:
    least, most = ABOVE_SCREEN_Y
    is_in_lane = abs(balls.x[frame] - SCREEN.x) <= LEFT_LANE
    return bool(is_in_lane and least <= balls.y[frame] <= most)


def _is_below_screen(balls: Balls, frame: int) -> bool:
    return bool(balls.y[frame] >= BELOW_SCREEN_Y and balls.x[frame] < POST.x)


def _longest_run(values: Bool[np.ndarray, " n"]) -> int:
    longest = 0
    run = 0
    for value in values:
        run = run + 1 if value else 0
        longest = max(longest, run)
    return longest


def _is_outside(box: Box) -> Bool[np.ndarray, "64 64"]:
    """Return which pixels a box and its soft edges leave free."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    across = abs(columns - box.x) - box.half_width
    along = abs(rows - box.y) - box.half_height
    return np.maximum(across, along) >= MARGIN


def _open_pixels() -> Bool[np.ndarray, "64 64"]:
    """Return the pixels that show nothing but ground and ball."""
    rows = np.arange(HEIGHT)[:, None] + 0.5
    is_above_paddle = rows < PADDLE.y - PADDLE.half_height - MARGIN
    return _is_outside(POST) & _is_outside(SCREEN) & is_above_paddle


def _templates() -> list[tuple[float, float, np.ndarray, np.ndarray]]:
    """Return for every phase a drawn ball, and for every place how much of it is to be seen."""
    offsets = np.arange(-TEMPLATE_RADIUS, TEMPLATE_RADIUS + 1, dtype=np.float32)
    templates = []
    for phase_x in PHASES:
        for phase_y in PHASES:
            distance = np.hypot(offsets[None] - phase_x, offsets[:, None] - phase_y)
            template = np.clip(BALL_RADIUS - distance + 0.5, 0, 1)
            size = cv2.filter2D(IS_OPEN, cv2.CV_32F, template**2, borderType=cv2.BORDER_CONSTANT)
            templates.append((phase_x, phase_y, template, size))
    return templates


IS_OPEN = _open_pixels().astype(np.float32)
# From the ground's colour to a ball's; both are about as far.
BALL_OFFSETS = np.array(BALL_COLOURS, np.float32) - GROUND_LEVELS
BALL_CONTRAST = float(np.linalg.norm(BALL_OFFSETS, axis=1).mean())
DIRECTIONS = BALL_OFFSETS / np.linalg.norm(BALL_OFFSETS, axis=1, keepdims=True)
TEMPLATES = _templates()
