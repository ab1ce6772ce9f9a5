"""The planner expects what the world does, and begins the best of its plans."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streamdit_gym.actions import SpokenBox
from streamdit_gym.agents.plan_objectives import GoalDistance
from streamdit_gym.agents.plan_proposals import BoxProposals, MenuProposals
from streamdit_gym.agents.planner import Planner, Planning
from streamdit_gym.agents.policies.planner_policy import PlannerPolicy
from streamdit_gym.agents.policy_scores import EvaluationSettings, score_policy
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import ArgumentError, ShapeError, UnknownNameError

LITTLE = Planning(horizon=6, hold=2, candidates=5, iterations=2, elites=2, replan_every=2)


def planner_of(task: str = "reach", planning: Planning = LITTLE, seed: int = 0) -> Planner:
    return Planner(shared_world("PushT", "cpu"), task, planning, seed=seed)


def first_frames(n: int = 2) -> np.ndarray:
    env = StreamDiTVectorEnv(n, task="reach")
    return env.reset(seed=3)[0]


@pytest.mark.parametrize("task", ["reach", "push"])
def test_a_plan_is_worth_the_reward_that_the_world_pays_for_it(task: str) -> None:
    frames, plans = first_frames(), np.random.default_rng(0).integers(9, size=(2, 3, 12))
    planner = planner_of(task, Planning(gamma=0.9))
    latents = planner.world.codec.encode(torch.from_numpy(np.repeat(frames[:, None], 5, 1)))
    returns = planner.returns(latents, np.zeros((2, 5), dtype=int), plans)
    for row, m in np.ndindex(2, 3):
        env = StreamDiTVectorEnv(1, task=task, autoreset_mode="DISABLED")
        env.reset(options={"init": frames[row]})
        total, weight = 0.0, 1.0
        for action in plans[row, m]:
            _, reward, terminated, _, _ = env.step(np.array([action]))
            total, weight = total + weight * reward[0], 0.9 * weight
            if terminated[0]:
                break
        assert returns[row, m] == pytest.approx(total, abs=0.02)


def test_the_best_plan_of_all_rounds_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = planner_of()
    rounds: list[tuple[np.ndarray, np.ndarray]] = []
    original = Planner.returns

    def recorded(
        self: Planner, latents: torch.Tensor, actions: np.ndarray, plans: np.ndarray
    ) -> np.ndarray:
        returns = original(self, latents, actions, plans)
        rounds.append((plans, returns))
        return returns

    monkeypatch.setattr(Planner, "returns", recorded)
    frames = first_frames()
    first, state = planner.predict(frames)
    assert len(rounds) == LITTLE.iterations
    plans = np.concatenate([plans for plans, _ in rounds], axis=1)
    returns = np.concatenate([returns for _, returns in rounds], axis=1)
    best = plans[np.arange(2), returns.argmax(1)]
    assert (best[:, 0::2] == best[:, 1::2]).all(), "actions are held"
    assert (first == best[:, 0]).all()
    second, state = planner.predict(frames, state)
    assert (second == best[:, 1]).all(), "two frames of a plan are played"
    assert len(rounds) == LITTLE.iterations
    planner.predict(frames, state)
    assert len(rounds) == 2 * LITTLE.iterations


def test_a_planner_remembers_its_frames_and_forgets_them_with_the_episode() -> None:
    planner = planner_of()
    frames = first_frames()
    other_frames = 255 - frames
    first, state = planner.predict(frames)
    second, state = planner.predict(other_frames, state)
    assert (state.frames[:, -1] == other_frames).all()
    assert (state.frames[:, -2] == frames).all()
    assert (state.actions[:, -2] == first).all(), "the action that led to the newest frame"
    assert (state.actions[:, -1] == second).all()
    _, state = planner.predict(frames, state, np.array([True, False]))
    assert (state.frames[0] == frames[0]).all()
    assert (state.actions[0, :-1] == 0).all()
    assert (state.frames[1, -2] == other_frames[1]).all()


def test_a_menus_proposals_become_the_elites_frequencies() -> None:
    proposals = MenuProposals(4, (2, 3), uniform_share=0.2)
    candidates = proposals.draw(np.random.default_rng(0), 4000)
    assert np.bincount(candidates.ravel()) / candidates.size == pytest.approx(0.25, abs=0.01)
    proposals.fit(candidates[:, :5])
    for row, part in np.ndindex(2, 3):
        counts = np.bincount(candidates[row, :5, part], minlength=4)
        expected = 0.8 * counts / 5 + 0.2 / 4
        assert proposals.probabilities[row, part] == pytest.approx(expected)


def test_a_boxs_proposals_become_the_elites_mean_and_deviation() -> None:
    box = SpokenBox(x=("left", "right"), y=("low", "high"), low=(-1, 0), high=(1, 4))
    proposals = BoxProposals(box, (2, 3), uniform_share=0.0)
    rng = np.random.default_rng(0)
    candidates = proposals.draw(rng, 50)
    assert candidates.shape == (2, 50, 3, 2)
    assert (candidates[:, 0] == (0, 2)).all(), "the mean is a candidate"
    assert (candidates >= box.low).all()
    assert (candidates <= box.high).all()
    elites = np.full((2, 5, 3, 2), (0.5, 3.0), dtype=np.float32)
    proposals.fit(elites)
    assert proposals.draw(rng, 4) == pytest.approx(np.full((2, 4, 3, 2), (0.5, 3.0)))
    uniform = BoxProposals(box, (1, 1), uniform_share=1.0)
    uniform.fit(elites[:1, :, :1])
    assert uniform.draw(rng, 2000)[0, 1:, 0].std(0) == pytest.approx((0.58, 1.15), rel=0.05)


def test_the_planner_heads_for_the_picture_of_a_goal() -> None:
    world = shared_world("PushT-Continuous", "cpu")
    env = StreamDiTVectorEnv(1, world="PushT-Continuous", task="reach")
    first, _ = env.reset(seed=3)
    for _ in range(4):
        goal, *_ = env.step(np.array([[0.8, 0.0]], np.float32))
    planning = Planning(
        horizon=4, hold=4, candidates=16, iterations=3, elites=4, replan_every=4, uniform_share=0.0
    )
    planner = Planner(world, GoalDistance(world, goal[0]), planning)
    actions, state = planner.predict(first)
    assert actions.dtype == np.float32
    assert actions[0] == pytest.approx((0.8, 0.0), abs=0.25)
    assert len(state.plans[0]) == 3


@pytest.mark.slow
def test_a_planner_reaches_the_block_without_training() -> None:
    settings = EvaluationSettings(episodes=4, seed=5)
    score = score_policy("planner", "StreamDiT/PushT-Reach-Real-v0", settings)
    assert score.successes.mean() >= 0.75
    assert score.lengths.mean() < 40


def test_what_a_planner_cannot_do_is_told() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        planner_of("raech")
    with pytest.raises(ArgumentError, match="replan_every <= horizon"):
        Planning(horizon=2, replan_every=3)
    for wrong in ({"gamma": 1.1}, {"uniform_share": -0.1}, {"hold": 0}, {"iterations": True}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            Planning(**wrong)
    with pytest.raises(ShapeError, match="needs frames"):
        planner_of().predict(np.zeros((2, 10), np.float32))
    with pytest.raises(ShapeError, match="a goal is a frame"):
        GoalDistance(shared_world("PushT", "cpu"), np.zeros((32, 32, 3), np.uint8))


def test_former_names_of_a_plans_settings_work_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="Planning") as warned:
        former = Planning(rounds=3, spread=0.5, play=2)
    assert len(warned) == 3
    assert former == Planning(iterations=3, uniform_share=0.5, replan_every=2)


def test_a_planner_is_a_policy() -> None:
    frames = first_frames()
    policy = PlannerPolicy(planner_of(seed=9))
    policy.reset(2, 9, np.random.default_rng(4))
    actions = policy.act(frames, np.ones(2, bool))
    expected, state = planner_of(seed=4).predict(frames)
    assert np.array_equal(actions, expected)
    assert len(state.plans[0]) == LITTLE.replan_every - 1
