"""Step every shipped world for a long time, and disturb it on the way.

``make soak`` takes a million environment steps. Worlds and partitions take turns, so every round
begins with another environment. In a round rows are reset by masks, streams are saved and restored,
and a NaN is put into one row. Three things must hold, and how long a step takes is reported:

- a row that is not finite ends at once, and all other rows are, bit for bit, what they would be
  without it;
- a restored batch goes on as it went on before, bit for bit, and a NaN does not outlive it;
- the memory of the process does not grow.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
from support.envs import random_actions, spoil
from tqdm import tqdm

import streamdit_gym  # noqa: F401  (registers the ids)
from streamdit_gym.envs.registration import SHIPPED_WORLDS
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.registry import find_definition

NUM_ENVS = 16
ROUND_STEPS = 100
CHECK_EVERY = 20  # steps between two disturbances
RESET_SHARE = 0.02  # of running rows, which are reset in the middle of an episode
MAX_GROWTH = 0.01  # of memory, from the first cycle's end to the last one's
PAGE_BYTES = resource.getpagesize()


@dataclass(frozen=True)
class Place:
    """What a round steps: a world under a partition."""

    world: str
    partition: str

    def __str__(self) -> str:
        return f"{self.world} {self.partition}"


@dataclass
class Report:
    """What came of it.

    Attributes:
        env_steps: steps of single environments.
        resets: rows that a mask has reset.
        restores: batches that were restored.
        faults: rows that were disturbed.
        spread: rows that changed although another one was disturbed.
        unequal: restored batches that went on otherwise.
        missed: disturbed rows that did not end at once.
        memory: resident bytes after each cycle over all places.
        step_seconds: median time of a batch's step, by place, for every round.
    """

    env_steps: int = 0
    resets: int = 0
    restores: int = 0
    faults: int = 0
    spread: int = 0
    unequal: int = 0
    missed: int = 0
    memory: list[int] = field(default_factory=list)
    step_seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def growth(self) -> float:
        """Share by which memory grew after the first cycle, in which worlds are loaded."""
        if len(self.memory) < 2:
            return 0.0
        return self.memory[-1] / self.memory[0] - 1

    @property
    def slowdown(self) -> float:
        """Median step of the later rounds over that of the earlier ones, at the worst place."""
        ratios = [1.0]
        for seconds in self.step_seconds.values():
            middle = len(seconds) // 2
            if middle:
                ratios.append(np.median(seconds[-middle:]) / np.median(seconds[:middle]))
        return float(max(ratios))

    @property
    def is_clean(self) -> bool:
        """Whether everything held; time is reported, and not judged, since machines are shared."""
        has_failed = self.spread or self.unequal or self.missed
        return self.faults > 0 and not has_failed and self.growth <= MAX_GROWTH


def places() -> list[Place]:
    """Return every shipped world, with each kind of partition that its weights were trained for."""
    result = []
    for module in SHIPPED_WORLDS:
        name = sys.modules[module].WORLD.name
        result.append(Place(name, "reactive"))
        if shared_world(name, "cpu").pipelined_model is not None:
            result.append(Place(name, "pipelined"))
    return result


def soak_place(place: Place, steps: int, rng: np.random.Generator, report: Report) -> None:
    """Step a batch of one world, with resets by mask and a disturbance now and then."""
    env = StreamDiTVectorEnv(
        NUM_ENVS,
        world=place.world,
        task=find_definition(place.world).spec.default_task,
        partition=place.partition,
        autoreset_mode="DISABLED",
    )
    env.reset(seed=int(rng.integers(2**31)))
    actions = random_actions(env, steps, seed=int(rng.integers(2**31)))
    seconds = []
    done = np.zeros(NUM_ENVS, dtype=bool)
    for step in range(steps):
        mask = done | (rng.random(NUM_ENVS) < RESET_SHARE)
        if mask.any():
            env.reset(options={"reset_mask": mask})
            report.resets += int(mask.sum())
        if step % CHECK_EVERY == CHECK_EVERY - 1:
            _disturb(env, actions[step], rng, report)
        started_at = time.perf_counter()
        _, _, terminated, truncated, _ = env.step(actions[step])
        seconds.append(time.perf_counter() - started_at)
        done = terminated | truncated
        report.env_steps += NUM_ENVS
    env.close()
    report.step_seconds.setdefault(str(place), []).append(float(np.median(seconds)))


def _disturb(
    env: StreamDiTVectorEnv, actions: np.ndarray, rng: np.random.Generator, report: Report
) -> None:
    """Take one step three times from the same state: as it is, with a NaN, and restored."""
    state = env.save_state()
    intact = env.step(actions)
    env.restore_state(state)
    row = int(rng.integers(NUM_ENVS))
    spoil(env, row, rng)
    disturbed = env.step(actions)
    others = np.arange(NUM_ENVS) != row
    report.faults += 1
    report.missed += int(not disturbed[4]["world_fault"][row])
    report.spread += _count_differences(intact, disturbed, others)
    env.restore_state(state)
    again = env.step(actions)
    report.restores += 2
    report.unequal += int(_count_differences(intact, again, np.ones(NUM_ENVS, dtype=bool)) > 0)
    env.restore_state(state)
    report.env_steps += 3 * NUM_ENVS


def _count_differences(first: tuple, second: tuple, rows: np.ndarray) -> int:
    """Return how many rows have other frames, rewards or ends."""
    differs = np.zeros(NUM_ENVS, dtype=bool)
    for one, other in zip(first[:4], second[:4], strict=True):
        unequal = np.asarray(one) != np.asarray(other)
        differs |= unequal.reshape(NUM_ENVS, -1).any(1)
    return int(differs[rows].sum())


def resident_bytes() -> int:
    """Return how much memory the process holds."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * PAGE_BYTES


def rounds(limit: int, report: Report) -> Iterator[Place]:
    """Yield places in turn until there are enough steps, and note memory after each cycle."""
    turns = places()
    for number, place in enumerate(cycle(turns)):
        if number and number % len(turns) == 0:
            report.memory.append(resident_bytes())
            if report.env_steps >= limit:
                return
        yield place


def soak(limit: int, steps: int = ROUND_STEPS, seed: int = 0) -> Report:
    """Step until every place had its turn and there are `limit` steps; Ctrl-C ends it early."""
    report = Report()
    rng = np.random.default_rng(seed)
    with tqdm(total=limit, unit="env step") as bar:
        try:
            for place in rounds(limit, report):
                bar.set_description(str(place))
                before = report.env_steps
                soak_place(place, steps, rng, report)
                bar.update(report.env_steps - before)
        except KeyboardInterrupt:
            print("interrupted: what follows is of the steps so far")
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="environment steps in all")
    parser.add_argument("--out", type=Path, help="file for the report, JSON")
    arguments = parser.parse_args()
    report = soak(arguments.steps)
    summary = {**asdict(report), "growth": report.growth, "slowdown": report.slowdown}
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(summary, indent=1))
    print(
        f"{report.env_steps:,} env steps, {report.resets:,} rows reset, {report.restores:,} batches"
        f" restored, {report.faults:,} rows disturbed: {report.spread} faults spread,"
        f" {report.missed} missed, {report.unequal} batches restored otherwise; memory grew by"
        f" {report.growth:.1%} over {len(report.memory)} cycles, a step took {report.slowdown:.2f}"
        " times as long in the second half, at the worst place"
    )
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
