"""What PushT is, apart from its simulator: actions, phrases, tasks and starts.

A round pusher, a T-shaped block and the T's goal, seen from above in a frame of 64 x 64 pixels.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from streamdit_gym.actions import Menu
from streamdit_gym.definition import Task, WorldSpec
from streamdit_gym.envs.pusht.geometry import FRAME_PX, UNITS_PER_PX
from streamdit_gym.envs.pusht.phrases import phrases

# Stay, then the eight directions clockwise from up: (x, y), y pointing down the picture.
MOVES: tuple[tuple[int, int], ...] = (
    (0, 0),
    (0, -1),
    (1, -1),
    (1, 0),
    (1, 1),
    (0, 1),
    (-1, 1),
    (-1, 0),
    (-1, -1),
)


def _unit_vector(x: int, y: int) -> tuple[float, float]:
    length = max(1.0, math.hypot(x, y))
    return x / length, y / length


# A menu action as numbers, for data sets whose readers act in real numbers: the direction of the
# move, of length 1 or 0.
ACTION_NAMES = ("x", "y")
ACTION_VECTORS = tuple(_unit_vector(x, y) for x, y in MOVES)

PUSH = Task(
    potential="potential_push",
    success="success_push",
    scale=0.2,
    bonus=5.0,
    threshold=0.7,
    horizon=128,
    about=(
        "push the T onto its goal; "
        "potential: minus the mean distance of the T's corners to their goal, px"
    ),
)
REACH = Task(
    potential="potential_reach",
    success="success_reach",
    scale=0.1,
    bonus=1.0,
    threshold=0.9,
    horizon=64,
    about=(
        "drive the pusher until it touches the T; potential: minus the gap between pusher and T, px"
    ),
)

SPEC = WorldSpec(
    name="PushT",
    frame_size=(FRAME_PX, FRAME_PX),
    fps=10.0,
    actions=Menu(*(phrases(action) for action in range(len(MOVES)))),
    state_names=(
        "pusher_x_px",
        "pusher_y_px",
        "block_x_px",
        "block_y_px",
        "block_cos",
        "block_sin",
    ),
    simulator_version=2,  # in version 1 a pressed T sank into the walls
    score_names=("potential_reach", "potential_push", "success_reach", "success_push"),
    tasks={"push": PUSH, "reach": REACH},
)

# What the evaluation looks at: the thing that obeys prompts, and the thing that it moves.
ACTOR = ("pusher_x_px", "pusher_y_px")
BODY = ("block_x_px", "block_y_px", "block_cos", "block_sin")
EVALUATOR_VERSION = 1  # raise it whenever real frames look or move otherwise

# How episodes start, with their shares; see `start_states.draw_start_state`.
STARTS = {"uniform": 0.45, "near_goal": 0.25, "anywhere": 0.3}
# How some more episodes of the training data start, and their share. A T that is pressed against
# walls is rare otherwise.
HARD_START = "cornered"
HARD_START_SHARE = 0.25

# Stable-worldmodel's rule for reached goals.
MAX_GOAL_UNITS = 20.0  # between the places of pusher and block together and the goal's
MAX_GOAL_RADIANS = math.pi / 9  # between the block's angle and the goal's


def is_goal_reached(state: Float[np.ndarray, " 6"], goal: Float[np.ndarray, " 6"]) -> bool:
    """Return whether pusher and block are where a goal has them."""
    distance = UNITS_PER_PX * np.linalg.norm(state[:4] - goal[:4])
    cosine = state[4] * goal[4] + state[5] * goal[5]
    sine = state[5] * goal[4] - state[4] * goal[5]
    angle = abs(math.atan2(sine, cosine))
    return bool(distance < MAX_GOAL_UNITS and angle < MAX_GOAL_RADIANS)
