"""What Fetch is: the camera, the actions, the tasks, the true state and its scores."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from streamdit_gym.actions import SpokenBox
from streamdit_gym.definition import Task, WorldSpec

# in FetchPush the fingers have no motors; here they do, and the rest of the scene is the same
ENV_ID = "gymnasium_robotics:FetchPickAndPlace-v4"
FPS = 25.0  # one step of the environment a frame
HORIZON = 50  # steps of an episode, as the environment's own

EDGE = 96  # px, of a square frame
FIELD_OF_VIEW = math.radians(45)  # MuJoCo's free camera, from edge to edge
# the robot is seen from the front: its forward is down in the picture
CAMERA_DISTANCE = 0.82  # m from the point that it looks at
CAMERA_ELEVATION = math.radians(-55)
LOOKS_AT = (1.31, 0.75, 0.45)  # m, the middle of what the gripper reaches
CAMERA = {
    "distance": CAMERA_DISTANCE,
    "azimuth": 180.0,
    "elevation": math.degrees(CAMERA_ELEVATION),
    "lookat": np.array(LOOKS_AT),
}

# left and right are those of the picture
ACTIONS = SpokenBox(
    depth=("far back", "back", "still", "forward", "far forward"),
    side=("far left", "left", "still", "right", "far right"),
    height=("far down", "down", "still", "up", "far up"),
    fingers=("close fast", "close", "still", "open", "open fast"),
)
GRIPPER = ("gripper_x_px", "gripper_y_px")
BLOCK = ("block_x_px", "block_y_px")
GOAL = ("goal_x_px", "goal_y_px")

SUCCESS_DISTANCE = 0.05  # m, the environment's own
GOAL_RADIUS = 0.035  # m; the environment's own, 0.02, is hidden by the block that lies on it
# red, green, blue, opacity: block and goal have colours of their own, and the robot hides neither
GOAL_COLOUR = (1.0, 0.0, 0.0, 0.5)
BLOCK_COLOUR = (0.0, 0.5, 0.1, 1.0)
GRIPPER_COLOUR = (0.1, 0.35, 1.0, 0.5)
ROBOT_OPACITY = 0.25

REACH = Task(
    potential="potential_reach",
    success="success_reach",
    scale=0.2,
    bonus=5.0,
    threshold=0.7,
    horizon=HORIZON,
    about=(
        "bring the gripper to the goal, within 5 cm; potential: minus the distance between them, cm"
    ),
)
PUSH = replace(
    REACH,
    potential="potential_push",
    success="success_push",
    about="push the block to the goal, within 5 cm; potential: minus their distance, cm",
)

SPEC = WorldSpec(
    name="Fetch",
    frame_size=(EDGE, EDGE),
    fps=FPS,
    actions=ACTIONS,
    state_names=(*GRIPPER, *BLOCK, *GOAL),
    score_names=("potential_reach", "potential_push", "success_reach", "success_push"),
    tasks={"reach": REACH, "push": PUSH},
)


def prepare(env: Any) -> None:
    """Put every goal on the table, draw it around the block, and let both shine through the robot.

    The thin lines that mark where the gripper is pulled to are not drawn.

    Args:
        env: the environment, unwrapped.
    """
    env.target_in_the_air = False
    model = env.model
    for geom in map(model.geom, range(model.ngeom)):
        body = model.body(geom.bodyid[0]).name
        if body == "robot0:mocap":
            geom.rgba[:] = 0
        elif "gripper" in body:
            geom.rgba[:] = GRIPPER_COLOUR
        elif body.startswith("robot0:"):
            geom.rgba[3] = ROBOT_OPACITY
    model.geom("object0").rgba[:] = BLOCK_COLOUR
    goal = model.site("target0")
    goal.size[0] = GOAL_RADIUS
    goal.rgba[:] = GOAL_COLOUR


def places(env: Any) -> tuple[Float[np.ndarray, " 3"], ...]:
    """Return where the gripper, the block and the goal are, in metres.

    Args:
        env: the environment, unwrapped.
    """
    data = env.data
    return data.site("robot0:grip").xpos, data.site("object0").xpos, env.goal


def state(env: Any) -> dict[str, float]:
    """Return the numbers of the true state: where gripper, block and goal are drawn.

    Args:
        env: the environment, unwrapped.
    """
    places_px = np.concatenate([pixels(place) for place in places(env)])
    return dict(zip((*GRIPPER, *BLOCK, *GOAL), places_px.tolist(), strict=True))


def task_scores(env: Any) -> Float[np.ndarray, " 4"]:
    """Return the potentials and successes of both tasks.

    Args:
        env: the environment, unwrapped.
    """
    gripper, block, goal = places(env)
    distances = np.array([np.linalg.norm(gripper - goal), np.linalg.norm(block - goal)])
    successes = distances < SUCCESS_DISTANCE
    return np.concatenate([-100 * distances, successes]).astype(np.float32)


def pixels(place: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 2"]:
    """Return where a point of the room, in metres, is drawn: pixels from the upper left corner."""
    forward, left, up = np.asarray(place) - LOOKS_AT
    # the camera looks against the robot's forward, and down
    sine = math.sin(-CAMERA_ELEVATION)
    cosine = math.cos(CAMERA_ELEVATION)
    depth = CAMERA_DISTANCE - forward * cosine - up * sine
    below = forward * sine - up * cosine
    scale = EDGE / 2 / math.tan(FIELD_OF_VIEW / 2) / depth
    return np.array([EDGE / 2 + scale * left, EDGE / 2 + scale * below])
