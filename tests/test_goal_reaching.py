"""Goals that pictures show: where they come from, who reaches them, and what is written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.pushed_dot import DEFINITION, PushedDot, registered_dot

from streamdit_gym.agents.goal_reaching import (
    GoalPlanner,
    GoalProtocol,
    ReplayPolicy,
    check_has_goals,
    draw_goal,
    pursue,
    simulator_at_start,
)
from streamdit_gym.agents.goal_run import (
    RESULTS,
    GoalRun,
    reach_goals,
    shown_strips,
    table_lines,
)
from streamdit_gym.agents.planner import Planner, Planning
from streamdit_gym.cli.main import main
from streamdit_gym.definition import EvaluationAdapter, WorldDefinition
from streamdit_gym.envs.pusht.definition import is_goal_reached
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import DefinitionError, StorageError
from streamdit_gym.evaluate.statistics import proportion
from streamdit_gym.world import World

LITTLE = Planning(horizon=4, hold=2, candidates=3, iterations=2, elites=2, replan_every=2)
PROTOCOL = GoalProtocol(planning=LITTLE, goal_steps=6, budget=8)
BLOCK_AT_GOAL = np.array([8.0, 8.0, 30.0, 30.0, 1.0, 0.0])


def is_near(state: np.ndarray, goal: np.ndarray) -> bool:
    return bool(np.abs(state - goal).max() < 1e-3)


WITH_RULE = replace(DEFINITION, evaluation=EvaluationAdapter(reached=is_near))


@pytest.fixture(scope="module")
def dot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldDefinition]:
    folder = tmp_path_factory.mktemp("dot")
    with registered_dot(folder, evaluation=WITH_RULE.evaluation) as definition:
        yield definition


def run_of(dot: WorldDefinition, out: Path, episodes: int) -> GoalRun:
    return GoalRun(
        world=World.from_pretrained("PushedDot"),
        definition=dot,
        protocol=PROTOCOL,
        episodes=episodes,
        out=out,
    )


def test_an_episode_stands_at_its_start_and_its_actions_lead_to_its_goal() -> None:
    for number in range(5):
        episode = draw_goal(WITH_RULE, PROTOCOL, number)
        assert len(episode.frames) == len(episode.actions) + 1
        assert len(episode.actions_to_goal) == PROTOCOL.goal_steps
        simulator = simulator_at_start(WITH_RULE, episode)
        assert isinstance(simulator, PushedDot)
        assert np.array_equal(simulator._draw(), episode.frames[-1])
        for action in episode.actions_to_goal:
            frame = simulator.step(action)
        assert np.array_equal(frame, episode.goal)
        assert np.array_equal(simulator.state(), episode.goal_state)
        again = draw_goal(WITH_RULE, PROTOCOL, number)
        assert np.array_equal(again.goal, episode.goal)
        assert np.array_equal(again.frames, episode.frames)


def test_the_recorded_actions_reach_the_goal_and_idle_ones_do_not() -> None:
    episode = draw_goal(WITH_RULE, PROTOCOL, 0)
    recorded = ReplayPolicy(episode.actions_to_goal)
    for _ in range(2):  # a policy begins anew
        result = pursue(WITH_RULE, episode, recorded, budget=8)
        assert result.reached_after == PROTOCOL.goal_steps
        assert np.array_equal(result.last_frame, episode.goal)
    result = pursue(WITH_RULE, episode, ReplayPolicy(np.zeros((1, 2))), budget=8)
    assert result.reached_after is None
    assert np.array_equal(result.last_frame, episode.frames[-1])
    result = pursue(WITH_RULE, episode, recorded, budget=5)
    assert result.reached_after is None, "a budget is kept"


def test_an_episode_that_ends_is_over() -> None:
    episode = draw_goal(WITH_RULE, PROTOCOL, 0)
    recorded = ReplayPolicy(episode.actions_to_goal)
    ending = replace(WITH_RULE, make_simulator=Short)
    result = pursue(ending, episode, recorded, budget=8)
    assert result.reached_after is None
    assert not np.array_equal(result.last_frame, episode.goal)


def test_a_planner_remembers_the_frames_up_to_the_start(dot: WorldDefinition) -> None:
    world = World.from_pretrained("PushedDot")
    episode = draw_goal(dot, PROTOCOL, 0)
    start = np.array([True])
    policy = GoalPlanner(world, episode, LITTLE)
    policy.act(episode.frames[-1:], start)
    state = policy._state
    count = policy.planner.engine.partition.references + 1
    assert np.array_equal(state.frames[0], episode.frames[-count:])
    assert np.array_equal(state.actions[0, :-1], episode.actions[-count + 1 :])
    assert len(policy.seconds) == 1
    short = replace(episode, frames=episode.frames[-2:], actions=episode.actions[-1:])
    policy = GoalPlanner(world, short, LITTLE)
    policy.act(episode.frames[-1:], start)
    state = policy._state
    assert np.array_equal(state.frames[0, -2:], episode.frames[-2:])
    assert np.array_equal(state.actions[0, -2], episode.actions[-1])
    assert (state.frames[0, :-2] == episode.frames[-2]).all(), "the oldest stands still"


def test_a_plan_is_worth_the_rewards_that_the_environment_pays_for_it(dot: WorldDefinition) -> None:
    world = World.from_pretrained("PushedDot")
    planner = Planner(world, "own", replace(LITTLE, gamma=0.9))
    env = StreamDiTVectorEnv(2, world="PushedDot", task="own", autoreset_mode="DISABLED")
    frames, _ = env.reset(seed=3)
    rng = np.random.default_rng(0)
    plans = rng.uniform(-0.5, 0.5, (2, 1, 6, 2)).astype(np.float32)
    history = np.repeat(frames[:, None], 5, 1)
    state = planner._with_frames(None, frames, np.ones(2, dtype=bool))
    assert np.array_equal(state.frames, history)
    env.reset(options={"init": frames[:, None]})
    expected = np.zeros(2)
    for step in range(6):
        _, rewards, terminated, _, _ = env.step(plans[:, 0, step])
        assert not terminated.any()
        expected += 0.9**step * rewards
    pixels = planner.world.codec.encode(torch.from_numpy(history))
    returns = planner.returns(pixels, state.actions, plans)
    assert returns[:, 0] == pytest.approx(expected, abs=0.02)


def test_episodes_are_written_one_by_one_and_a_run_goes_on(
    dot: WorldDefinition, tmp_path: Path
) -> None:
    rows = reach_goals(run_of(dot, tmp_path, 2))
    assert len(rows) == 8
    strips = shown_strips(tmp_path)
    assert strips.shape == (2, 3, *dot.frame_shape)
    later_rows = reach_goals(run_of(dot, tmp_path, 3))
    assert later_rows[:8] == rows
    assert len(later_rows) == 12
    assert np.array_equal(shown_strips(tmp_path)[:2], strips), "pictures of before are kept"
    fresh_rows = reach_goals(run_of(dot, tmp_path / "fresh", 3))
    assert [row.reached_after for row in fresh_rows] == [row.reached_after for row in later_rows]
    run = run_of(dot, tmp_path, 3)
    other_protocol = replace(run, protocol=replace(PROTOCOL, budget=9))
    other_weights = replace(run, world=replace(run.world, digest="other"))
    for other in (other_protocol, other_weights):
        with pytest.raises(StorageError, match="results of other settings"):
            reach_goals(other)
    assert len(json.loads((tmp_path / RESULTS).read_text())["rows"]) == 12
    lines = table_lines(later_rows)
    assert lines[1].split()[:2] == ["recorded", "100"]
    assert float(lines[2].split()[-1]) >= 0, "seconds a plan"


@pytest.mark.usefixtures("dot")
def test_the_command_prints_the_table_and_saves_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "PushedDot", "--out", str(tmp_path), "--set", "episodes=1"]
    settings = ["horizon=4", "candidates=4", "elites=2", "iterations=1", "replan_every=4"]
    assert main([*words, *settings, "goal_steps=5", "budget=6"]) == 0
    printed = capsys.readouterr().out
    assert "recorded   100" in printed
    assert (tmp_path / "goals.png").is_file()
    stored = json.loads((tmp_path / RESULTS).read_text())
    assert stored["protocol"]["planning"]["candidates"] == 4
    assert stored["protocol"]["goal_steps"] == 5


class Forgetful(PushedDot):
    """Draws where the dot is pushed to, whatever its seed."""

    def step(self, action: np.ndarray) -> np.ndarray:
        return super().step(np.random.default_rng().uniform(-1, 1, 2))


class Short(PushedDot):
    """Ends every episode at its first step."""

    def step(self, action: np.ndarray) -> np.ndarray:
        frame = super().step(action)
        self._earned = self._earned._replace(terminated=True)
        return frame


def test_worlds_without_goals_are_told() -> None:
    with pytest.raises(DefinitionError, match="nobody has said when a goal is reached"):
        check_has_goals(DEFINITION)
    with pytest.raises(DefinitionError, match="this world has no simulator"):
        check_has_goals(replace(WITH_RULE, make_simulator=None))
    check_has_goals(WITH_RULE)
    forgetful = replace(WITH_RULE, make_simulator=Forgetful)
    with pytest.raises(DefinitionError, match="does not repeat what it did"):
        simulator_at_start(forgetful, draw_goal(forgetful, PROTOCOL, 0))
    with pytest.raises(DefinitionError, match="episodes end before a goal"):
        draw_goal(replace(WITH_RULE, make_simulator=Short), PROTOCOL, 0)


@pytest.mark.parametrize(
    ("offset", "degrees", "is_reached"),
    [
        ((2.4, 0, 0, 0), 0, True),
        ((2.6, 0, 0, 0), 0, False),
        ((1.8, 0, 1.8, 0), 0, False),  # together farther than 20 of 512 units
        ((0, 0, 0, 0), 19, True),
        ((0, 0, 0, 0), -21, False),
        ((0, 0, 0, 0), 359, True),
    ],
)
def test_pusht_counts_a_goal_as_stable_worldmodel_does(
    offset: tuple[float, ...], degrees: float, is_reached: bool
) -> None:
    angle = np.radians(degrees)
    state = np.array([*(BLOCK_AT_GOAL[:4] + offset), np.cos(angle), np.sin(angle)])
    assert is_goal_reached(state, BLOCK_AT_GOAL) is is_reached


@pytest.mark.parametrize(
    ("successes", "low", "high"), [(0, 0.0, 0.2775), (5, 0.2366, 0.7634), (10, 0.7225, 1.0)]
)
def test_a_share_has_wilsons_interval(successes: int, low: float, high: float) -> None:
    share = proportion(successes, 10)
    assert share.value == successes / 10
    assert (share.low, share.high) == pytest.approx((low, high), abs=1e-4)
