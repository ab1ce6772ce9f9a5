"""What Take Cover is: what of the picture is shown, the actions, the task and the state."""

from __future__ import annotations

from typing import Any

from streamdit_gym.actions import Menu
from streamdit_gym.definition import EnvironmentTask, WorldSpec
from streamdit_gym.envs.gym_crop import Crop

ENV_ID = "vizdoom.gymnasium_wrapper:VizdoomTakeCover-v1"
TICS_A_SECOND = 35
FRAME_SKIP = 4  # tics of the game for a frame
UNDECIDED_STEPS = 6  # after a reset, in which no frame depends on the seed
MAX_TICS = 2100  # of an episode, as in Ha and Schmidhuber, 2018

FRAME_SIZE = (32, 128)  # px
CROP: Crop = (88 / 240, 168 / 240, 0.0, 1.0)  # below it is floor, above it ceiling

# in the order of the environment's buttons
ACTIONS = Menu(
    ("stay", "do not move", "hold still"),
    ("step right", "move right", "dodge to the right"),
    ("step left", "move left", "dodge to the left"),
)

SPEC = WorldSpec(
    name="TakeCover",
    frame_size=FRAME_SIZE,
    fps=TICS_A_SECOND / FRAME_SKIP,
    actions=ACTIONS,
    state_names=("across", "health"),
    tasks={
        "survive": EnvironmentTask(
            horizon=MAX_TICS // FRAME_SKIP,
            about="step aside from fireballs; a tic alive earns 1",
            draws_ends=True,  # no frame shows the player's health, and the last one is black
        )
    },
)


def state(env: Any) -> dict[str, float]:
    """Return where the player stands across the room, in map units, and its health from 0 to 100.

    Args:
        env: the environment, unwrapped.
    """
    from vizdoom import GameVariable

    game = env.game
    return {
        "across": game.get_game_variable(GameVariable.POSITION_Y),
        "health": game.get_game_variable(GameVariable.HEALTH),
    }
