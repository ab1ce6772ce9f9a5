"""A small world with continuous actions: a dot that is pushed sideways and up, on a plain ground.

Its definition is registered by tests alone; its bundle has random weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from conftest import make_table, wake

from streamdit_gym import registry
from streamdit_gym.actions import Menu, SpokenBox, num_action_numbers
from streamdit_gym.definition import EnvironmentTask, StepOutcome, Task, WorldDefinition
from streamdit_gym.envs.registration import IDS, ids_of
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.readout import Readout, ReadoutConfig
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.transition_readout import TransitionReadout, TransitionReadoutConfig
from streamdit_gym.presets import preset
from streamdit_gym.world import Starts, World

SIZE = 64
RADIUS = 5
SPEED = 3.0  # px a frame at full push
MARGIN = 8
HOLE = 4.0  # px around the middle, where an episode ends
NEVER = -30.0  # a logit

BOX = SpokenBox(
    {"x": ("far left", "left", "still", "right", "far right"), "y": ("up", "still", "down")},
    low=(-1.0, -0.5),
    high=(1.0, 0.5),
)


class PushedDot:
    """The simulator: rows of a picture, from the top."""

    def reset(self, rng: np.random.Generator, start: str) -> np.ndarray:
        """Put the dot anywhere but into the middle."""
        self._earned = StepOutcome(0.0, False)
        while True:
            self._place = rng.uniform(MARGIN, SIZE - MARGIN, 2)
            if self._distance() > 2 * HOLE:
                return self._draw()

    def step(self, action: np.ndarray) -> np.ndarray:
        """Push it, within the picture."""
        last_distance = self._distance()
        push = SPEED * np.asarray(action, dtype=np.float64)
        self._place = np.clip(self._place + push, MARGIN, SIZE - MARGIN)
        distance = self._distance()
        self._earned = StepOutcome(float(last_distance - distance), bool(distance < HOLE))
        return self._draw()

    def outcome(self) -> StepOutcome:
        """Reward: how much nearer the middle is; the end: in the middle."""
        return self._earned

    def state(self) -> np.ndarray:
        """Where the dot is."""
        return self._place.astype(np.float32)

    def scores(self) -> np.ndarray:
        """How near the middle is, and whether the dot is in it."""
        distance = self._distance()
        return np.array([-distance, float(distance < HOLE)], dtype=np.float32)

    def save(self) -> dict[str, Any]:
        """Return the place and what the last step has earned."""
        return {"place": self._place.tolist(), "earned": list(self._earned)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back."""
        self._place = np.array(saved["place"])
        self._earned = StepOutcome(*saved["earned"])

    def close(self) -> None:
        """Free nothing."""

    def _distance(self) -> float:
        return float(np.hypot(*(self._place - SIZE / 2)))

    def _draw(self) -> np.ndarray:
        rows, columns = np.ogrid[:SIZE, :SIZE]
        x, y = self._place
        frame = np.full((SIZE, SIZE, 3), 230, dtype=np.uint8)
        frame[(columns - x) ** 2 + (rows - y) ** 2 < RADIUS**2] = (200, 40, 40)
        return frame


DEFINITION = WorldDefinition(
    name="PushedDot",
    frame_size=(SIZE, SIZE),
    fps=10.0,
    actions=BOX,
    state_names=("x_px", "y_px"),
    score_names=("nearness", "success_middle"),
    tasks={
        "middle": Task(
            potential="nearness",
            success="success_middle",
            scale=1.0,
            bonus=10.0,
            threshold=0.5,
            horizon=64,
            about="to the middle",
        ),
        "own": EnvironmentTask(horizon=64, about="the simulator's own reward"),
    },
    make_simulator=PushedDot,
)
DOT_IDS = list(ids_of(DEFINITION))


def make_dot_world(size: str = "tiny", definition: WorldDefinition = DEFINITION) -> World:
    """Return a world with random weights in which nothing ever ends.

    Args:
        size: preset of its networks.
        definition: of the world; another one has other actions.
    """
    torch.manual_seed(1)
    sizes = preset(size)
    assert sizes.codec is not None
    spec = definition.spec
    language = spec.actions
    networks = (
        StreamDiT(sizes.model),
        ConvCodec(sizes.codec),
        Readout(ReadoutConfig(state_names=spec.state_names, score_names=spec.score_names, width=8)),
        TransitionReadout(TransitionReadoutConfig(actions=num_action_numbers(language), width=8)),
    )
    for network in networks:
        wake(network)
        network.eval().requires_grad_(False)
    model, codec, readout, transitions = networks
    readout.out.bias.data[-1] = NEVER
    transitions.out.bias.data[-1] = NEVER
    phrases = language.clauses if isinstance(language, SpokenBox) else spec.menu
    return World(
        spec=spec,
        model=model,
        codec=codec,
        readout=readout,
        table=make_table([each if isinstance(each, str) else each[0] for each in phrases]),
        starts=Starts(
            latents=torch.randn(6, 8, 8, 8), states=torch.randn(6, len(spec.state_names))
        ),
        facts={"license": "Apache-2.0"},
        transitions=transitions,
    )


def write_dot_file(folder: Path) -> Path:
    """Write a definition file of the world, and a bundle of random weights that it names."""
    bundle = folder / "bundle"
    make_dot_world().save_pretrained(bundle)
    file = folder / "pushed_dot_world.py"
    lines = [
        "import sys",
        "from dataclasses import replace",
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})",
        "from support.pushed_dot import DEFINITION",
        "from streamdit_gym import register_world",
        f"register_world(replace(DEFINITION, weights={str(bundle)!r}))",
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def nine_pushes() -> WorldDefinition:
    """Return the definition of a world of the same size with a menu."""
    pushes = [f"push {number}" for number in range(9)]
    return replace(DEFINITION, name="PushedDotMenu", actions=Menu(*pushes))


@contextmanager
def registered_dot(folder: Path, **changes: Any) -> Iterator[WorldDefinition]:
    """Register the world, with a bundle in a folder, and forget it afterwards.

    Args:
        folder: for the bundle.
        changes: of the definition.
    """
    with registered_with_bundle(folder, replace(DEFINITION, **changes)) as definition:
        yield definition


@contextmanager
def registered_with_bundle(folder: Path, definition: WorldDefinition) -> Iterator[WorldDefinition]:
    """Register any world, with a bundle of random weights in a folder, and forget it afterwards."""
    bundle = folder / "world"
    make_dot_world(definition=definition).save_pretrained(bundle)
    definition = registry.register_world(replace(definition, weights=str(bundle)))
    try:
        yield definition
    finally:
        del registry._WORLDS[definition.name]
        for name in ids_of(definition):
            del IDS[name]
            del gymnasium.registry[name]
        shared_world.cache_clear()
