"""The command ``plan``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.command_outputs import save_picture
from streamdit_gym.cli.option_types import Count, DeviceName, Range, Seed, WorldName
from streamdit_gym.cli.settings_option import Settings
from streamdit_gym.cli.training_options import choose_device
from streamdit_gym.cli.world_argument import bundle_of, definition_of, definition_of_spec

PLANNING_SETTINGS = (
    "horizon",
    "hold",
    "candidates",
    "iterations",
    "elites",
    "uniform_share",
    "replan_every",
)


@dataclass(frozen=True, kw_only=True)
class PlanDetails:
    """The settings of `plan`: those of `Planning`, and of `GoalProtocol`."""

    episodes: Count
    horizon: Count
    hold: Count
    candidates: Count
    iterations: Count
    elites: Count
    uniform_share: Annotated[float, Range(0.0, 1.0)]
    replan_every: Count
    goal_steps: Count
    budget: Count
    seed: Seed
    definition: str


@dataclass(frozen=True, kw_only=True)
class Plan(Command):
    """Plan to pictures of goals in a world, and carry the plans out in its simulator."""

    setting_types: ClassVar[Mapping[str, Any]] = get_type_hints(PlanDetails, include_extras=True)

    world: WorldName
    """name, folder or Hub id; or a Python file that registers the world"""
    protocol: Literal["quick", "swm"] = "quick"
    """quick: 64 candidates, 4 rounds; swm: 300 and 30, the numbers of stable-worldmodel"""
    out: Path | None = None
    """folder of the results, in which the same command goes on; default: runs/plan/NAME-PROTOCOL"""
    set: Settings = ()
    """episodes=50: starts and goals
    horizon=25: frames to look ahead
    hold: frames that an action is held; quick: 5, swm: 1
    candidates: plans per round; quick: 64, swm: 300
    iterations: rounds; quick: 4, swm: 30
    elites: the next round is drawn like so many of the best; quick: 8, swm: 30
    uniform_share=0: share of the actions drawn uniformly in every round
    replan_every: frames of a plan to play before planning anew; quick: 10, swm: 25
    goal_steps=25: steps from the start to the goal
    budget=50: steps within which it must be reached
    seed=0: of starts, goals and candidates
    definition=FILE.py: the Python file that registers the world of a bundle's folder
    """
    device: DeviceName | None = None
    """where the world runs; default: a GPU if there is one"""

    def run(self) -> None:
        """Print the table, and save results and pictures."""
        from streamdit_gym.agents.goal_run import GoalRun, reach_goals, shown_strips, table_lines
        from streamdit_gym.data.film_strips import rows_of_frames
        from streamdit_gym.envs.worlds import shared_world

        settings = {"episodes": 50, **self.settings()}
        episodes = settings.pop("episodes")
        definition_file = settings.pop("definition", None)
        if definition_file:
            definition_of(definition_file)  # registers the world
        world = shared_world(bundle_of(self.world), choose_device(self.device))
        out = self.out or Path("runs") / "plan" / f"{world.spec.name}-{self.protocol}"
        run = GoalRun(
            world=world,
            definition=definition_of_spec(world.spec),
            protocol=_protocol(self.protocol, settings),
            episodes=episodes,
            out=out,
        )
        rows = reach_goals(run)
        print("\n".join(table_lines(rows)))
        strips = shown_strips(out)
        path = out / "goals.png"
        save_picture(path, rows_of_frames(strips))
        print(f"start, goal and end of {len(strips)} episodes: {path}")


def _protocol(name: str, settings: dict[str, Any]) -> Any:
    """Return a protocol with some settings changed."""
    from streamdit_gym.agents.goal_reaching import PROTOCOLS

    of_planning = {key: settings.pop(key) for key in PLANNING_SETTINGS if key in settings}
    protocol = PROTOCOLS[name]
    return replace(protocol, planning=replace(protocol.planning, **of_planning), **settings)
