"""The geometry of PushT's table, its T and its pusher.

Lengths called ``px`` are pixels of the 64-pixel frame. The simulator's own table is 512 units wide,
so 1 px = 8 units. Directions are those of the picture: x points right, y points down.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

FRAME_PX = 64
TABLE_UNITS = 512.0
UNITS_PER_PX = TABLE_UNITS / FRAME_PX

PUSHER_RADIUS_UNITS = 15.0
MARGIN_UNITS = 20.0  # the pusher ignores walls, so its target stays this far inside them
# How far the pusher may sink into the T before it is stopped. Pushing a free T it hardly ever does.
DENT_UNITS = 2.0

# Places on the T, from the T's own origin in the middle of its bar's outer edge.
BLOCK_CENTRE_UNITS = (0.0, 45.0)  # centre of gravity
BLOCK_HULL_UNITS = ((-60, 0), (60, 0), (60, 30), (15, 120), (-15, 120), (-60, 30))
# Bar and stem: least x, least y, greatest x, greatest y.
BLOCK_PARTS_UNITS = ((-60, 0, 60, 30), (-15, 30, 15, 120))

WALL_UNITS = 8.0  # a T that starts at a wall starts this far from the table's edge
WALL_FACE_UNITS = 7.0  # where gym-pusht draws the walls' inner faces
WALL_DEPTH_UNITS = 100.0  # how thick we make the walls

GOAL_MIDDLE_PX = np.array([28.0, 36.0])  # middle of the T at its goal

Point = Float[np.ndarray, " 2"]


def block_middle(position: Point, angle: float) -> Point:
    """Return the centre of gravity of a T with its origin at a position, in units."""
    stem_direction = np.array([-np.sin(angle), np.cos(angle)])
    lever = BLOCK_CENTRE_UNITS[1]
    return position + lever * stem_direction


def block_limits(angle: float) -> tuple[Point, Point]:
    """Return the least and greatest positions, in units, at which a turned T is clear of walls."""
    cosine = np.cos(angle)
    sine = np.sin(angle)
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    hull = np.array(BLOCK_HULL_UNITS)
    turned = hull @ rotation.T
    low = WALL_UNITS - turned.min(0)
    high = TABLE_UNITS - WALL_UNITS - turned.max(0)
    return low, high


def distance_to_block(point: Point, position: Point, angle: float) -> float:
    """Return how far a point is from a T, in units; 0 inside."""
    cosine = np.cos(angle)
    sine = np.sin(angle)
    along = np.array([cosine, sine])
    across = np.array([-sine, cosine])
    offset = point - position
    in_block_frame = np.array([offset @ along, offset @ across])
    distances = []
    for least_x, least_y, greatest_x, greatest_y in BLOCK_PARTS_UNITS:
        nearest = np.clip(in_block_frame, (least_x, least_y), (greatest_x, greatest_y))
        distance = np.linalg.norm(in_block_frame - nearest)
        distances.append(float(distance))
    return min(distances)


def nearest_free_place(pusher: Point, position: Point, angle: float) -> Point:
    """Return the place on the table nearest to the pusher that is not inside a T, in units."""
    least_distance = PUSHER_RADIUS_UNITS - DENT_UNITS
    for place in _places_around(pusher):
        if _on_table(place) and distance_to_block(place, position, angle) >= least_distance:
            return place
    raise AssertionError("the table is larger than the T")


def _places_around(centre: Point) -> Iterator[Point]:
    """Yield places ever further from a centre; the first is the one on the table nearest to it."""
    yield np.clip(centre, MARGIN_UNITS, TABLE_UNITS - MARGIN_UNITS)
    turns = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    for distance in range(2, int(TABLE_UNITS), 2):
        for turn in turns:
            direction = np.array([np.cos(turn), np.sin(turn)])
            yield centre + distance * direction


def _on_table(place: Point) -> bool:
    inside = (place >= MARGIN_UNITS) & (place <= TABLE_UNITS - MARGIN_UNITS)
    return bool(inside.all())
