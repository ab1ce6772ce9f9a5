"""Play agents: ``python -m streamdit_gym.agents.evaluate random scripted runs/agent/seed-0
--episodes 100``.

Takes: players by name.  Gives: a table on the screen, scores on disk.  Knows nothing of: how frames
    are made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from streamdit_gym.agents.match import Row, match, print_table, write_scores
from streamdit_gym.errors import StreamDiTError, exit_status
from streamdit_gym.files import writing_to


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Play players in a world and in its twin."""

    players: Annotated[tuple[str, ...], tyro.conf.Positional] = ("random", "scripted")
    """random; scripted or scripted:0.3 (share of random moves); planner; an agent's folder,
    or a file in its checkpoints/
    """
    ceiling: tuple[str, ...] = ()
    """agents trained in the twin: how far from the random player to them do the others get?"""
    env: str = "StreamDiT/PushT-Reach-v0"
    """id to play in; its twin is played as well"""
    world: str | None = None
    """world other than the id's own: shipped name, folder or Hub id"""
    episodes: int = 100
    """episodes per score"""
    num_envs: int = 16
    """environments in one batch"""
    out: Path | None = None
    """folder for scores.json"""
    trust_agents: bool = False
    """also play agents that are only there as agent.zip; such a file is a program,
    and can do whatever you can
    """


def main(arguments: list[str] | None = None) -> int:
    """Play and return the exit status: 0 done, 2 a clear error, 130 stopped by Ctrl-C."""
    command = tyro.cli(Evaluate, prog="python -m streamdit_gym.agents.evaluate", args=arguments)
    return exit_status(lambda: evaluate(command), "")


def evaluate(command: Evaluate) -> None:
    """Play everybody, print the table, and say how far from the floor to the ceiling they get."""
    chosen = list(
        dict.fromkeys(
            [*(["random"] if command.ceiling else []), *command.players, *command.ceiling]
        )
    )
    label = labels(chosen)
    climbers = {
        label[name] for name in command.players if name != "random" and name not in command.ceiling
    }
    if command.ceiling and not climbers:
        raise StreamDiTError(
            "nobody is on the way to the ceiling",
            given=command.players,
            allowed="players beside random",
            remedy="name some",
        )
    rows = match(
        [(label[name], name) for name in chosen],
        command.env,
        episodes=command.episodes,
        num_envs=command.num_envs,
        world=command.world,
        trust_agents=command.trust_agents,
    )
    print_table(rows)
    if command.ceiling:
        middle, low, high = way_up(rows, climbers, {label[name] for name in command.ceiling})
        print(
            f"\nfrom floor to ceiling, in the twin: {100 * middle:.0f} % of the way [{100 * low:.0f}, {100 * high:.0f}]"
        )
    if command.out is not None:
        with writing_to(command.out, "make room, or give another --out"):
            write_scores(command.out, command.env, rows)


def labels(names: list[str]) -> dict[str, str]:
    """Return the players' names for the table: of paths as many of the last parts, two at least,
    as tell them apart.
    """
    for parts in range(2, 2 + max(len(Path(name).parts) for name in names)):
        short = {name: "/".join(Path(name).parts[-parts:]) for name in names}
        if len(set(short.values())) == len(names):
            break
    return short


def way_up(
    rows: list[Row], climbers: set[str], top: set[str], draws: int = 2000
) -> tuple[float, float, float]:
    """Return how far from the random player's mean return to the ceiling's the climbers get, with
    its 95 % interval (bootstrap).

    Seeds and episodes are drawn anew, seeds first, since agents of different seeds differ more than
    episodes explain.
    """
    real = {player: score.returns for player, place, score in rows if place == "real simulator"}
    rng = np.random.default_rng(0)

    def mean(names: list[str]) -> float:
        drawn = [real[names[i]] for i in rng.integers(len(names), size=len(names))]
        return float(
            np.mean(
                [returns[rng.integers(len(returns), size=len(returns))].mean() for returns in drawn]
            )
        )

    def share(floor: float, found: float, ceiling: float) -> float:
        return (found - floor) / (ceiling - floor)

    ways = [
        share(mean(["random"]), mean(sorted(climbers)), mean(sorted(top))) for _ in range(draws)
    ]
    exact = share(
        real["random"].mean(),
        *(float(np.mean([real[name].mean() for name in group])) for group in (climbers, top)),
    )
    low, high = np.quantile(ways, (0.025, 0.975))
    return exact, float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
