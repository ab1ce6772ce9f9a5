"""A world of one's own: a puck that glides on ice, and a ring that it has to reach."""

from puck_world.simulator import SIZE, PuckSimulator
from streamdit_gym import EnvironmentTask, SpokenBox, WorldDefinition

WORLD = WorldDefinition(
    name="Puck",
    frame_size=(SIZE, SIZE),
    fps=10.0,
    actions=SpokenBox(
        sideways=("hard left", "left", "still", "right", "hard right"),
        upwards=("hard down", "down", "still", "up", "hard up"),
    ),
    state_names=("puck_x_px", "puck_y_px", "ring_x_px", "ring_y_px"),
    tasks={"ring": EnvironmentTask(horizon=64, about="glide into the ring")},
    make_simulator=PuckSimulator,
)
