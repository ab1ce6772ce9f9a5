"""What is known of well-known environments: their actions' names, cameras, and packages."""

from __future__ import annotations

import re
from typing import Any

Words = tuple[str, ...]

# Words of a dimension whose meaning nobody knows, from its low to its high end.
SYMMETRIC: Words = ("hard negative", "negative", "zero", "positive", "hard positive")
FROM_ZERO: Words = ("none", "a little", "half", "much", "full")
ANY_RANGE: Words = ("lowest", "low", "middle", "high", "highest")

TURN: Words = (
    "hard right",
    "right",
    "still",
    "left",
    "hard left",
)  # a positive torque turns to the left
SIDEWAYS: Words = ("hard left", "left", "still", "right", "hard right")
BACK_OR_FORTH: Words = ("hard back", "back", "still", "forward", "hard forward")
UP_OR_DOWN: Words = ("hard down", "down", "still", "up", "hard up")
GRIPPER: Words = ("close hard", "close", "hold", "open", "open hard")
FETCH: dict[str, Words] = {"x": BACK_OR_FORTH, "y": TURN, "z": UP_OR_DOWN, "gripper": GRIPPER}
POINT: dict[str, Words] = {"x": SIDEWAYS, "y": UP_OR_DOWN}

# Discrete actions by the environment's name without its version.
ACTIONS: dict[str, Words] = {
    "Acrobot": ("swing right", "let go", "swing left"),
    "CarRacing": ("coast", "steer right", "steer left", "gas", "brake"),
    "CartPole": ("push left", "push right"),
    "FrozenLake": ("go left", "go down", "go right", "go up"),
    "CliffWalking": ("go up", "go right", "go down", "go left"),
    "Taxi": ("go south", "go north", "go east", "go west", "pick up", "drop off"),
    "LunarLander": (
        "do nothing",
        "fire the left engine",
        "fire the main engine",
        "fire the right engine",
    ),
    "MountainCar": ("push left", "coast", "push right"),
}

# Dimensions of a box, with their words from the low to the high end.
DIMENSIONS: dict[str, dict[str, Words]] = {
    "CarRacing": {"steering": SIDEWAYS, "gas": FROM_ZERO, "brake": FROM_ZERO},
    "FetchPickAndPlace": FETCH,
    "FetchPush": FETCH,
    "FetchReach": FETCH,
    "FetchSlide": FETCH,
    "InvertedPendulum": {"cart": SIDEWAYS},
    "InvertedDoublePendulum": {"cart": SIDEWAYS},
    "MountainCarContinuous": {"push": SIDEWAYS},
    "Pendulum": {"torque": TURN},
    "PointMaze": POINT,
    "Reacher": {"shoulder": TURN, "elbow": TURN},
}

# Arguments with which an environment draws what matters large enough to be learned.
MAKE_KWARGS: dict[str, dict[str, Any]] = {
    "Reacher": {
        "default_camera_config": {"distance": 0.6, "elevation": -90, "lookat": [0.0, 0.0, 0.0]}
    },
}

# The modules that register environments, by how their names begin.
MODULES = {
    "ALE/": "ale_py",
    "AdroitHand": "gymnasium_robotics",
    "AntMaze": "gymnasium_robotics",
    "Fetch": "gymnasium_robotics",
    "FrankaKitchen": "gymnasium_robotics",
    "HandManipulate": "gymnasium_robotics",
    "HandReach": "gymnasium_robotics",
    "MiniGrid": "minigrid",
    "MiniWorld": "miniworld",
    "PointMaze": "gymnasium_robotics",
    "Vizdoom": "vizdoom.gymnasium_wrapper",
    "gym_aloha/": "gym_aloha",
    "gym_pusht/": "gym_pusht",
}


def with_module(env_id: str) -> str:
    """Return an id with the module that registers it, where that is known."""
    if ":" in env_id:
        return env_id
    for beginning, module in MODULES.items():
        if env_id.startswith(beginning):
            return f"{module}:{env_id}"
    return env_id


def env_name(env_id: str) -> str:
    """Return an id without namespace, module and version: ``"Reacher"`` of ``"Reacher-v5"``."""
    name = env_id.split(":")[-1].split("/")[-1]
    return re.sub(r"-v\d+$", "", name)
