"""The planner: what it expects is what the world does, and it begins what it found best."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from streamdit_gym.agents.match import scores_of
from streamdit_gym.agents.planner import Planner, Planning, planner_player
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import ShapeError, UnknownNameError

LITTLE = Planning(horizon=6, hold=2, candidates=5, rounds=2, elites=2, play=2)


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
    found = planner.returns(latents, np.zeros((2, 5), dtype=int), plans)
    for row, m in np.ndindex(2, 3):
        env = StreamDiTVectorEnv(1, task=task, autoreset_mode="DISABLED")
        env.reset(options={"init": frames[row]})
        total, weight = 0.0, 1.0
        for action in plans[row, m]:
            _, reward, terminated, _, _ = env.step(np.array([action]))
            total, weight = total + weight * reward[0], 0.9 * weight
            if terminated[0]:
                break
        assert found[row, m] == pytest.approx(total, abs=0.02)


def test_the_best_plan_of_all_rounds_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    planner, tried = planner_of(), []
    returns = Planner.returns

    def listen(
        self: Planner, latents: torch.Tensor, actions: np.ndarray, plans: np.ndarray
    ) -> np.ndarray:
        found = returns(self, latents, actions, plans)
        tried.append((plans, found))
        return found

    monkeypatch.setattr(Planner, "returns", listen)
    frames = first_frames()
    chosen, seen = planner.predict(frames)
    assert len(tried) == LITTLE.rounds
    plans, found = (np.concatenate(part, axis=1) for part in zip(*tried, strict=True))
    best = plans[np.arange(2), found.argmax(1)]
    assert (best[:, 0::2] == best[:, 1::2]).all(), "actions are held"
    assert (chosen == best[:, 0]).all()
    again, seen = planner.predict(frames, seen)
    assert (again == best[:, 1]).all(), "two frames of a plan are played"
    assert len(tried) == LITTLE.rounds
    planner.predict(frames, seen)
    assert len(tried) == 2 * LITTLE.rounds


def test_a_planner_remembers_its_frames_and_forgets_them_with_the_episode() -> None:
    planner, frames = planner_of(), first_frames()
    other = 255 - frames
    chosen, seen = planner.predict(frames)
    next_chosen, seen = planner.predict(other, seen)
    assert (seen.frames[:, -1] == other).all()
    assert (seen.frames[:, -2] == frames).all()
    assert (seen.actions[:, -2] == chosen).all(), "the action that led to the frame on its way"
    assert (seen.actions[:, -1] == next_chosen).all()
    _, seen = planner.predict(frames, seen, np.array([True, False]))
    assert (seen.frames[0] == frames[0]).all()
    assert (seen.actions[0, :-1] == 0).all()
    assert (seen.frames[1, -2] == other[1]).all()


@pytest.mark.slow
def test_a_planner_reaches_the_block_without_training() -> None:
    score = scores_of("planner", "StreamDiT/PushT-Reach-Real-v0", 4, 5)
    assert score.successes.mean() >= 0.75
    assert score.lengths.mean() < 40


def test_what_a_planner_cannot_do_is_told() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        planner_of("raech")
    with pytest.raises(ShapeError, match="play <= horizon"):
        Planning(horizon=2, play=3)
    with pytest.raises(ShapeError, match="looks at frames"):
        planner_of().predict(np.zeros((2, 10), np.float32))
    venv = gymnasium.make_vec("StreamDiT/PushT-Reach-v0", num_envs=2)
    assert planner_player(planner_of())(venv.reset(seed=0)[0], np.ones(2, bool)).shape == (2,)
