"""Many episodes of reaching goals by several policies, written down one by one, and their table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from streamdit_gym.agents.goal_reaching import (
    GoalPlanner,
    GoalProtocol,
    ReplayPolicy,
    check_has_goals,
    draw_goal,
    pursue,
)
from streamdit_gym.agents.policies.policy import Policy
from streamdit_gym.agents.policies.random_policy import HeldRandomPolicy
from streamdit_gym.definition import WorldDefinition
from streamdit_gym.errors import StorageError
from streamdit_gym.evaluate.statistics import proportion
from streamdit_gym.files import atomic_write, folder_lock, write_json, writing_to
from streamdit_gym.world import World

RESULTS = "goals.json"
SHOWN_EPISODES = 8  # whose pictures are kept
POLICIES = ("recorded", "planner", "random", "still")
MAKE_ROOM = "make room, or give another --out, and run the same command again"
Strip = UInt8[np.ndarray, "3 h w 3"]  # start, goal and where the planner's episode ended


@dataclass(frozen=True, kw_only=True)
class GoalRun:
    """Which world plans to which goals.

    Attributes:
        world: plans are made in it.
        definition: has its reference simulator.
        protocol: starts, goals and planner.
        episodes: how many.
        out: folder of the results; a run that ended early goes on there.
    """

    world: World
    definition: WorldDefinition
    protocol: GoalProtocol
    episodes: int
    out: Path


@dataclass(frozen=True, kw_only=True)
class GoalRow:
    """What a policy reached.

    Attributes:
        policy: its name.
        episode: number of the episode.
        reached_after: steps until the goal was reached; None: it was not.
        seconds: that each of its plans took.
    """

    policy: str
    episode: int
    reached_after: int | None
    seconds: list[float]


def reach_goals(run: GoalRun) -> list[GoalRow]:
    """Play the episodes that are missing, and return the rows of all.

    Raises:
        DefinitionError: see `check_has_goals` and `draw_goal`.
        StorageError: if the folder holds results of other settings, or cannot be written.
        BusyError: if another process works there.
    """
    check_has_goals(run.definition)
    with writing_to(run.out, MAKE_ROOM), folder_lock(run.out):
        rows = _rows_so_far(run)
        done = {row.episode for row in rows}
        missing = [number for number in range(run.episodes) if number not in done]
        bar = tqdm(missing, initial=len(done), total=run.episodes, desc="goals", unit="episode")
        for number in bar:
            new_rows, strip = _episode(run, number)
            rows += new_rows
            if number < SHOWN_EPISODES:
                with atomic_write(strip_path(run.out, number)) as part:
                    np.save(part, strip)
            write_json(run.out / RESULTS, {**_settings(run), "rows": [asdict(row) for row in rows]})
    return rows


def strip_path(out: Path, number: int) -> Path:
    """Return the file of an episode's pictures."""
    return out / f"strip-{number}.npy"


def shown_strips(out: Path) -> UInt8[np.ndarray, "e 3 h w 3"]:
    """Return start, goal and the planner's end of the first episodes."""
    paths = [strip_path(out, number) for number in range(SHOWN_EPISODES)]
    return np.stack([np.load(path) for path in paths if path.is_file()])


def _settings(run: GoalRun) -> dict[str, Any]:
    protocol = json.loads(json.dumps(asdict(run.protocol)))
    return {"world": run.definition.name, "bundle": run.world.digest, "protocol": protocol}


def _rows_so_far(run: GoalRun) -> list[GoalRow]:
    path = run.out / RESULTS
    if not path.is_file():
        return []
    stored = json.loads(path.read_text())
    rows = [GoalRow(**row) for row in stored.pop("rows")]
    if stored != _settings(run):
        raise StorageError(
            "results of other settings are here",
            given=path,
            allowed=f"results of {_settings(run)}",
            remedy="give an empty --out",
        )
    return [row for row in rows if row.episode < run.episodes]


def _episode(run: GoalRun, number: int) -> tuple[list[GoalRow], Strip]:
    """Return what every policy reached, and pictures of the planner's episode."""
    episode = draw_goal(run.definition, run.protocol, number)
    planner = GoalPlanner(run.world, episode, run.protocol.planning)
    policies: dict[str, Policy] = {
        "recorded": ReplayPolicy(episode.actions_to_goal),
        "planner": planner,
        "random": HeldRandomPolicy(),
        "still": ReplayPolicy(run.definition.actions.idle[None]),
    }
    results = {
        name: pursue(run.definition, episode, policy, run.protocol.budget)
        for name, policy in policies.items()
    }
    rows = [
        GoalRow(
            policy=name,
            episode=number,
            reached_after=result.reached_after,
            seconds=planner.seconds if name == "planner" else [],
        )
        for name, result in results.items()
    ]
    strip = np.stack([episode.frames[-1], episode.goal, results["planner"].last_frame])
    return rows, strip


def table_lines(rows: Iterable[GoalRow]) -> list[str]:
    """Return a table of policies: goals reached, with 95 % intervals, steps, seconds per plan."""
    rows = list(rows)
    lines = [f"{'policy':<10} {'goals reached, %':<22} {'steps':>6} {'s a plan':>9}"]
    for name in POLICIES:
        own = [row for row in rows if row.policy == name]
        after = [row.reached_after for row in own if row.reached_after is not None]
        seconds = [plan for row in own for plan in row.seconds]
        share = proportion(len(after), len(own))
        percent = f"{100 * share.value:.0f} [{100 * share.low:.0f}, {100 * share.high:.0f}]"
        steps = f"{np.median(after):.0f}" if after else "-"
        duration = f"{np.median(seconds):.1f}" if seconds else "-"
        lines.append(f"{name:<10} {percent:<22} {steps:>6} {duration:>9}")
    return lines
