"""The adapter, the eyes, scores, and whether PPO can learn through them."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import VecFrameStack, VecMonitor

from streamdit_gym.agents.features import LatentFeatures
from streamdit_gym.agents.film import panel, plot_curve, side_by_side, write_mp4
from streamdit_gym.agents.match import match, places, twin_of
from streamdit_gym.agents.ppo import AgentTraining, load_agent, make_venv, player_of, train_agent
from streamdit_gym.agents.sb3_vec_env import SB3VecEnv
from streamdit_gym.agents.scores import play, random_player
from streamdit_gym.data.dataset import read_video
from streamdit_gym.errors import BundleError, ShapeError, UnknownNameError

REACH, REAL = "StreamDiT/PushT-Reach-v0", "StreamDiT/PushT-Reach-Real-v0"


def adapter(env: str = REACH, n: int = 3, **settings: object) -> SB3VecEnv:
    return SB3VecEnv(gymnasium.make_vec(env, num_envs=n, **settings))


@pytest.mark.parametrize("env", [REACH, REAL])
def test_ended_episodes_are_told_as_sb3_wants_it(env: str) -> None:
    venv = adapter(env, horizon=3)
    venv.seed(next(s for s in range(0, 300, 3) if (_reset(venv, s) < -8).all()))
    venv.reset()
    for step in range(3):
        observation, rewards, dones, infos = venv.step(np.zeros(3, dtype=int))
        assert rewards.dtype == np.float32
        assert dones.tolist() == [step == 2] * 3
    for row, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is True
        assert info["terminal_observation"].shape == (64, 64, 3)
        assert not (info["terminal_observation"] == observation[row]).all()
        assert isinstance(info["prompt"], str)
        assert info["is_success"] is False
    kept = [info["terminal_observation"].copy() for info in infos]
    venv.step(np.zeros(3, dtype=int))
    assert all((a == info["terminal_observation"]).all() for a, info in zip(kept, infos, strict=True)), "own copies"


def _reset(venv: SB3VecEnv, seed: int) -> np.ndarray:
    venv.seed(seed)
    venv.reset()
    return np.array([info["potential"] for info in venv.reset_infos])


def test_success_is_no_time_limit() -> None:
    venv = adapter(REAL, n=8, horizon=64)
    venv.seed(0)
    venv.reset()
    rng = np.random.default_rng(0)
    for _ in range(200):
        _, rewards, dones, infos = venv.step(rng.integers(9, size=8))
        for row in np.flatnonzero(dones):
            if infos[row]["is_success"]:
                assert infos[row]["TimeLimit.truncated"] is False
                assert rewards[row] > 0.5, "the bonus"
                return
    raise AssertionError("no random episode touched the block")


def test_seeds_and_options_are_used_once() -> None:
    venv = adapter()
    venv.seed(5)
    first = venv.reset()
    assert not (venv.reset() == first).all()
    venv.seed(5)
    assert (venv.reset() == first).all()


def test_attributes_methods_and_images_reach_the_batch() -> None:
    venv = adapter(render_mode="rgb_array")
    venv.reset()
    assert venv.get_attr("latency_frames") == [0, 0, 0]
    assert len(venv.env_method("save_state")) == 3
    assert [image.shape for image in venv.get_images()] == [(64, 64, 3)] * 3
    assert venv.env_is_wrapped(VecMonitor) == [False] * 3
    with pytest.raises(ShapeError, match="share one environment"):
        venv.set_attr("x", 1, indices=[0])


def test_other_autoreset_modes_are_refused() -> None:
    with pytest.raises(ShapeError, match="SAME_STEP"):
        adapter(autoreset_mode="NEXT_STEP")


def test_sb3_algorithms_run_on_frames() -> None:
    PPO("CnnPolicy", VecMonitor(adapter(n=2)), n_steps=8, batch_size=8, n_epochs=1).learn(16)
    DQN("CnnPolicy", VecFrameStack(adapter(n=2), 2), learning_starts=4, buffer_size=50).learn(12)


@pytest.mark.parametrize("env", [REACH, REAL])
def test_sb3_learns_on_latents(env: str) -> None:
    venv = VecMonitor(adapter(env, n=2, observation="latent"))
    agent = PPO("MlpPolicy", venv, n_steps=8, batch_size=8, n_epochs=1, policy_kwargs={"features_extractor_class": LatentFeatures})
    before = agent.policy.features_extractor.body[0].weight.clone()
    agent.learn(16)
    assert not (agent.policy.features_extractor.body[0].weight == before).all()


@pytest.mark.parametrize("env", [REACH, REAL])
def test_eyes_see_the_same_in_the_observation_and_in_the_terminal_one(env: str) -> None:
    venv = make_venv(env, 2, horizon=2)
    observation = venv.reset()
    assert observation.shape == (2, 10)
    assert observation.dtype == np.float32
    for _ in range(4):
        observation, _, dones, infos = venv.step(np.array([3, 3]))
        for row in np.flatnonzero(dones):
            assert infos[row]["terminal_observation"].shape == (10,)
            assert "episode" in infos[row]
    assert np.isfinite(observation).all()


def test_play_gives_every_row_the_same_number_of_episodes() -> None:
    venv = make_venv(REAL, 4, horizon=5)
    score = play(venv, random_player(venv, 0), 10, seed=0)
    assert len(score.returns) == 12
    assert score.lengths.max() <= 5
    again = play(venv, random_player(venv, 0), 10, seed=0)
    assert (again.returns == score.returns).all()
    assert score.interval > 0


@pytest.mark.slow
def test_ppo_learns_to_reach_in_the_twin(tmp_path: Path) -> None:
    """Can it learn? 6,000 steps lift the mean return well above the random player's."""
    _, points = train_agent(AgentTraining(env=REAL, steps=6000), tmp_path, progress=False)
    agent = load_agent(tmp_path)
    venv = make_venv(REAL, 16)
    trained, floor = play(venv, player_of(agent), 32, 7), play(venv, random_player(venv, 7), 32, 7)
    assert trained.mean - trained.interval > floor.mean + floor.interval
    assert points
    assert json.loads((tmp_path / "agent.json").read_text())["trained_steps"] >= 6000


def test_a_match_writes_its_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = match(REACH, tmp_path, steps=64, seeds=1, episodes=2, num_envs=2)
    assert [row["player"] for row in result["scores"]] == ["random", "random", "PPO seed 0", "PPO seed 0"]
    assert json.loads((tmp_path / "scores.json").read_text()) == result
    assert "real simulator" in capsys.readouterr().out
    with pytest.raises(UnknownNameError, match="did you mean"):
        match("StreamDiT/PushT-Reach-v1", tmp_path, steps=0, seeds=1, episodes=2, num_envs=2)
    with pytest.raises(BundleError, match="no agent here"):
        load_agent(tmp_path / "nowhere")


def test_twins_are_found() -> None:
    assert twin_of(REACH) == REAL == twin_of(REAL)
    assert list(places(REAL)) == ["real simulator"]


def test_films_and_curves_are_written(tmp_path: Path) -> None:
    frames = [side_by_side([panel(np.full((64, 64, 3), 40 * i, np.uint8), "left", "move up")] * 2) for i in range(5)]
    write_mp4(tmp_path / "film.mp4", frames, fps=10)
    back = read_video(tmp_path / "film.mp4")
    assert back.shape == (5, 432, 648, 3)
    assert abs(back[3, 200, 100].astype(int) - 120).max() < 10
    assert b"avc1" in (tmp_path / "film.mp4").read_bytes()
    plot_curve(tmp_path / "curve.png", [(i, float(i)) for i in range(30)], 1.0, "title", "return")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
