"""What Reacher is: the camera, the actions, the task and the numbers of its true state."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from streamdit_gym.actions import SpokenBox
from streamdit_gym.definition import EnvironmentTask, WorldSpec

ENV_ID = "Reacher-v5"
FPS = 50.0  # one step of the environment a frame
HORIZON = 50  # steps of an episode, as the environment's own

EDGE = 64  # px, of a square frame
CAMERA_DISTANCE = 0.6  # m above the plane
FIELD_OF_VIEW = math.radians(45)  # MuJoCo's free camera, from edge to edge
PIXELS_PER_METRE = EDGE / 2 / (CAMERA_DISTANCE * math.tan(FIELD_OF_VIEW / 2))
TARGET_RADIUS = 0.018  # m; the environment's own, 0.009, is hidden below the arm's tip
CAMERA = {"distance": CAMERA_DISTANCE, "elevation": -90, "lookat": [0.0, 0.0, 0.0]}

# a positive torque turns to the left
TORQUES = ("hard right", "right", "still", "left", "hard left")
ACTIONS = SpokenBox(shoulder=TORQUES, elbow=TORQUES)
TIP = ("tip_x_px", "tip_y_px")
TARGET = ("target_x_px", "target_y_px")

SPEC = WorldSpec(
    name="Reacher",
    frame_size=(EDGE, EDGE),
    fps=FPS,
    actions=ACTIONS,
    state_names=("shoulder_cos", "shoulder_sin", "elbow_cos", "elbow_sin", *TIP, *TARGET),
    tasks={
        "reach": EnvironmentTask(horizon=HORIZON, about="move the tip of the arm to the target")
    },
)


def enlarge_target(env: Any) -> None:
    """Draw the target so large that it is seen around the tip that reaches it; it touches nothing.

    Args:
        env: the environment, unwrapped.
    """
    env.model.geom("target").size[0] = TARGET_RADIUS


def state(env: Any) -> dict[str, float]:
    """Return the numbers of the true state: both joints, and where tip and target are drawn.

    Args:
        env: the environment, unwrapped.
    """
    tip = env.get_body_com("fingertip")
    target = env.get_body_com("target")
    places = (*pixels(tip[0], tip[1]), *pixels(target[0], target[1]))
    joints = {"shoulder_rad": env.data.qpos[0], "elbow_rad": env.data.qpos[1]}
    return joints | dict(zip((*TIP, *TARGET), places, strict=True))


def pixels(x: float, y: float) -> tuple[float, float]:
    """Return the place in a frame of a point of the plane, in metres from the shoulder."""
    return EDGE / 2 + PIXELS_PER_METRE * x, EDGE / 2 - PIXELS_PER_METRE * y


def is_goal_reached(state: Float[np.ndarray, " 8"], goal: Float[np.ndarray, " 8"]) -> bool:
    """Return whether the tip is where a goal has it, to within the radius of the target."""
    tip = SPEC.state_names.index(TIP[0])
    distance = np.linalg.norm(state[tip : tip + 2] - goal[tip : tip + 2])
    return bool(distance < PIXELS_PER_METRE * TARGET_RADIUS)
