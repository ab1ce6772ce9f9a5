"""What we change in gym-pusht's physics: walls that hold, and a pusher that stops at the T.

gym-pusht's walls are lines, through which its pusher, whom nothing stops, can press the T out of
the picture for good.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamdit_gym.envs.pusht.geometry import (
    BLOCK_CENTRE_UNITS,
    DENT_UNITS,
    PUSHER_RADIUS_UNITS,
    TABLE_UNITS,
    WALL_DEPTH_UNITS,
    WALL_FACE_UNITS,
)


def gym_pusht_state(pusher: Any, block: Any, angle: float) -> list[float]:
    """Return the state from which gym-pusht's reset puts things where they should be.

    gym-pusht sets the block's angle after its place, which turns it about its centre of gravity.
    The returned place undoes that shift.
    """
    x, y = block
    lever_x, lever_y = BLOCK_CENTRE_UNITS
    x += np.cos(angle) * lever_x - np.sin(angle) * lever_y - lever_x
    y += np.sin(angle) * lever_x + np.cos(angle) * lever_y - lever_y
    return [*pusher, x, y, angle]


def add_thick_walls(space: Any) -> None:
    """Put thick walls into a pymunk space where gym-pusht's thin ones are."""
    import pymunk

    for line in space.static_body.shapes:
        line.sensor = True  # visible, but it stops nothing
    # gym-pusht draws no radius, so these walls stay out of the picture
    inner = -4.0
    outer = -WALL_DEPTH_UNITS
    corners = [
        (outer, outer),
        (inner, outer),
        (inner, TABLE_UNITS - outer),
        (outer, TABLE_UNITS - outer),
    ]
    for _ in range(4):
        wall = pymunk.Poly(space.static_body, corners, radius=WALL_FACE_UNITS - inner)
        space.add(wall)
        corners = [(TABLE_UNITS - y, x) for x, y in corners]


class BlockMotion:
    """Moves the T, keeps it between the walls, and stops a pusher that would sink into it.

    Args:
        env: gym-pusht's environment, of which it reads the bodies at every call.
    """

    def __init__(self, env: Any) -> None:
        self._env = env

    def __call__(self, block: Any, dt: float) -> None:
        """Move the T by one step of the physics; pymunk calls this for its body."""
        import pymunk

        pymunk.Body.update_position(block, dt)
        # gym-pusht's own list: a body's shapes are a set, whose order changes from run to run
        shapes = self._env._block_shapes
        _push_between_walls(block, shapes)
        pusher = self._env.agent  # pymunk has moved it before the block
        for shape in shapes:
            shape.cache_bb()
            _stop_pusher(pusher, shape)


def _push_between_walls(block: Any, shapes: list[Any]) -> None:
    boxes = [shape.cache_bb() for shape in shapes]
    right = _overlap([box.left for box in boxes], [box.right for box in boxes])
    down = _overlap([box.bottom for box in boxes], [box.top for box in boxes])
    block.position += (right, down)


def _overlap(least: list[float], greatest: list[float]) -> float:
    """Return by how much things between the two walls of an axis must move, to be inside both."""
    into_first_wall = max(0.0, WALL_FACE_UNITS - min(least))
    into_second_wall = max(0.0, max(greatest) - (TABLE_UNITS - WALL_FACE_UNITS))
    return into_first_wall - into_second_wall


def _stop_pusher(pusher: Any, shape: Any) -> None:
    """Move a pusher that is too deep in a shape out of it, and take its speed inwards away."""
    nearest = shape.point_query(pusher.position)
    too_deep = PUSHER_RADIUS_UNITS - DENT_UNITS - nearest.distance
    if too_deep <= 0:
        return
    is_outside = nearest.distance > 0
    outwards = (pusher.position - nearest.point).normalized() * (1 if is_outside else -1)
    pusher.position += outwards * too_deep
    pusher.velocity -= outwards * min(0.0, pusher.velocity.dot(outwards))
