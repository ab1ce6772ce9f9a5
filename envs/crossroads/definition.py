"""What Crossroads is: its picture, its actions, and the odds that it draws with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streamdit_gym.actions import Menu
from streamdit_gym.definition import EnvironmentTask, WorldSpec

LEFT_AT_POST = 0.3  # chance that a ball rolls off the post to the left
LEFT_AT_SCREEN = 0.6  # chance that a hidden ball comes out below the screen's left end
CHANGE_ODDS = 0.05  # chance in every frame that the ball changes its colour

HEIGHT = 64  # px
WIDTH = 64


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle of a frame, in pixels.

    Attributes:
        x: middle.
        y: middle.
        half_width: to the left and to the right of it.
        half_height: up and down.
    """

    x: float
    y: float
    half_width: float
    half_height: float

    def at(self, x: float) -> Box:
        """Return the box moved sideways."""
        return replace(self, x=x)


BALL_RADIUS = 4.0
POST = Box(x=32, y=19, half_width=2, half_height=3)
SCREEN = Box(x=18, y=37, half_width=13, half_height=7)
PADDLE = Box(x=32, y=60, half_width=8, half_height=2)
PADDLE_STEPS = (0.0, -3.0, 3.0)  # px a frame, by action

GROUND = (236, 232, 222)
BALL_COLOURS = ((214, 48, 49), (32, 90, 220))  # red, blue
COLOUR_NAMES = ("red", "blue")
POST_COLOUR = (60, 60, 60)
SCREEN_COLOUR = (150, 150, 150)
PADDLE_COLOUR = (20, 130, 70)

SPEC = WorldSpec(
    name="Crossroads",
    frame_size=(HEIGHT, WIDTH),
    fps=10.0,
    actions=Menu(
        ("stay", "do not move", "hold still"),
        ("move left", "slide left", "go to the left"),
        ("move right", "slide right", "go to the right"),
    ),
    state_names=("paddle_x_px",),
    tasks={"catch": EnvironmentTask(horizon=64, about="catch the falling balls")},
)
