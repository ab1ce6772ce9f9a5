"""The adapter, observations, scores, and whether PPO can learn through them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from streamdit_gym.agents.agent_config import ALGORITHMS, AgentTraining, training_from_json
from streamdit_gym.agents.agent_envs import make_venv, reference_id
from streamdit_gym.agents.evaluate_run import labels, progress_to_ceiling
from streamdit_gym.agents.film import panel, plot_curve, side_by_side, write_mp4
from streamdit_gym.agents.policies.load_policy import load_policy
from streamdit_gym.agents.policies.policy_file import load_agent
from streamdit_gym.agents.policies.random_policy import RandomPolicy
from streamdit_gym.agents.policies.trained_policy import TrainedPolicy
from streamdit_gym.agents.policy_scores import (
    EvaluationSettings,
    PolicyScore,
    mean_returns,
    places,
    policy_for,
    score_policy,
)
from streamdit_gym.agents.rollouts import film_agent
from streamdit_gym.agents.scores import Score, play_episodes
from streamdit_gym.agents.train_agent import hyperparameters, train_agent
from streamdit_gym.agents.training_callback import ReturnGap
from streamdit_gym.cli import main
from streamdit_gym.cli.settings_option import parse_settings
from streamdit_gym.data.video import read_video
from streamdit_gym.envs.registration import IDS
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import BundleError, StreamDiTError, UnknownNameError
from streamdit_gym.world import find_world

REACH = "StreamDiT/PushT-Reach-v0"
REAL = "StreamDiT/PushT-Reach-Real-v0"
PUSH = "StreamDiT/PushT-Real-v0"


def test_play_gives_every_row_the_same_number_of_episodes() -> None:
    venv = make_venv(REAL, 4, horizon=5)
    score = play_episodes(venv, RandomPolicy(), 10, seed=0)
    assert len(score.returns) == 12
    assert score.lengths.max() <= 5
    again = play_episodes(venv, RandomPolicy(), 10, seed=0)
    assert (again.returns == score.returns).all()
    assert score.half_width > 0
    with pytest.warns(DeprecationWarning, match="half_width"):
        assert score.interval == score.half_width


@pytest.mark.slow
def test_ppo_learns_to_reach_in_the_simulator(tmp_path: Path) -> None:
    """Can it learn? 4,000 steps lift the mean return well above the random policy's."""
    trained, points = train_agent(AgentTraining(env=REAL, steps=4000), tmp_path, progress=False)
    venv = make_venv(REAL, 16)
    score = play_episodes(venv, TrainedPolicy(load_agent(tmp_path)), 16, 7)
    floor = play_episodes(venv, RandomPolicy(), 16, 7)
    assert score.mean - score.half_width > floor.mean + floor.half_width
    assert points
    assert trained.agent.num_timesteps >= 4000


@pytest.mark.parametrize(
    ("algo", "observation"),
    [("ppo", "latent"), ("dqn", "state"), ("sac", "latent"), ("td3", "state")],
)
def test_training_resumes_and_loads_again(tmp_path: Path, algo: str, observation: str) -> None:
    less = {
        "batch_size": 8,
        **(
            {"n_steps": 8}
            if algo == "ppo"
            else {"learning_starts": 8, "buffer_size": 200, "gradient_steps": 1}
        ),
    }
    config = {
        "env": REAL,
        "algo": algo,
        "observation": observation,
        "num_envs": 2,
        "check_every": 16,
        "overrides": less,
    }
    training = AgentTraining(steps=32, **config)  # type: ignore[arg-type]
    train_agent(training, tmp_path, progress=False)
    first = json.loads((tmp_path / "curve.json").read_text())
    more = replace(training, steps=200)  # until an episode ends
    trained, points = train_agent(more, tmp_path, progress=False, resume=True)
    trained_steps = json.loads((tmp_path / "agent.json").read_text())["trained_steps"]
    assert trained.agent.num_timesteps == trained_steps >= 200
    assert [list(point) for point in points[: len(first)]] == first
    assert points[-1][0] > 32
    assert min(int(path.stem) for path in (tmp_path / "checkpoints").glob("*.safetensors")) == 16
    settings = EvaluationSettings(episodes=2, seed=0, num_envs=2)
    assert score_policy(load_agent(tmp_path), REAL, settings).returns.shape == (2,)
    with pytest.raises(StreamDiTError, match="another seed"):
        train_agent(replace(more, seed=1), tmp_path, progress=False, resume=True)


@pytest.mark.slow
def test_training_stops_when_the_world_gives_more_than_the_simulator(tmp_path: Path) -> None:
    config = AgentTraining(
        env=REAL,
        steps=500,
        num_envs=2,
        check_every=100,
        overrides={"n_steps": 8, "batch_size": 8, "n_epochs": 1},
    )

    def trained_with(generated_return: float, folder: Path) -> int:
        comparison = ReturnGap(
            generated=generated_return, generated_interval=0.2, real=0.9, real_interval=0.2
        )
        trained, _ = train_agent(config, folder, progress=False, compare=lambda _: comparison)
        return trained.agent.num_timesteps

    assert trained_with(1.0, tmp_path / "honest") >= 500
    assert 300 <= trained_with(2.0, tmp_path / "optimistic") < 400
    settings = json.loads((tmp_path / "optimistic" / "agent.json").read_text())
    assert "more than the simulator" in settings["stopped"]
    assert len(json.loads((tmp_path / "optimistic" / "gap.json").read_text())) == 3


@pytest.mark.slow
def test_the_commands_that_train_and_evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamdit_gym.agents.train_run.FLOOR_EPISODES", 2)
    settings = "films=1 episodes=2 num_envs=2 check_every=64 check_episodes=2"
    options = f"--steps 64 --out {tmp_path} --set {settings} n_steps=16 batch_size=16"
    arguments = ["rl", "train", *options.split()]
    assert main(arguments) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert [row["player"] for row in scores] == [row["policy"] for row in scores]
    assert [(row["policy"], row["place"]) for row in scores] == [
        (policy, place)
        for policy in ("random", "ppo seed 0")
        for place in ("generated world", "real simulator")
    ]
    folder = tmp_path / "seed-0"
    written = {"agent.zip", "agent.json", "curve.json", "curve.png", "gap.json", "film.mp4"}
    assert written | {"checkpoint.pt", "policy.safetensors", "checkpoints"} <= {
        p.name for p in folder.iterdir()
    }
    assert {"step", "generated", "real", "excess", "exceeds"} == set(
        json.loads((folder / "gap.json").read_text())[0]
    )
    assert main(arguments) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0, "done already: it is scored again"
    checkpoint = next((folder / "checkpoints").iterdir())
    options = f"{folder} {checkpoint} --episodes 2 --out {tmp_path / 'again'}"
    assert main(["rl", "evaluate", *options.split()]) == 0
    output = capsys.readouterr().out
    assert f"checkpoints/{checkpoint.name}" in output
    assert (tmp_path / "again" / "scores.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "StreamDiT/PushT-Rech-v0"], "did you mean 'StreamDiT/PushT-Reach-v0'"),
        (["--set", "n_steps"], "NAME=VALUE"),
        (["--world", "PushTT"], "did you mean 'PushT'"),
        (["--set", "n_epoch=5"], "did you mean 'n_epochs'"),
        (["--set", "n_epochs=5.5"], "n_epochs cannot be used"),
        (["--set", "gamma=.nan"], "gamma cannot be used"),
        (["--set", "n_steps=[1"], "a setting cannot be read"),
        (["--set", "seed=3"], "unknown hyperparameter 'seed'"),
        (["--set", "policy_kwargs={net_arch: [1000000000]}"], "net_arch cannot be used"),
        (
            ["--set", "policy_kwargs={features_extractor_class: os.system}"],
            "unknown argument in policy_kwargs",
        ),
        (["--algo", "sac", "--set", "ent_coef=auto_x"], "ent_coef cannot be used"),
        (["--set", "num_envs=1", "n_steps=1"], "ppo does not take these hyperparameters"),
        (
            ["--env", "StreamDiT/TakeCover-v0", "--set", "observation=frame"],
            "ppo does not take these hyperparameters",
        ),
        (["--set", "num_envs=0"], "num_envs cannot be used"),
        (["--set", "episodes=0"], "episodes cannot be used"),
        (["--set", "observation=pixels"], "observation"),
        (["--set", "penalty=.nan"], "penalty cannot be used"),
    ],
)
def test_bad_arguments_of_the_trainer_get_one_clear_error(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rl", "train", *arguments, "--out", str(tmp_path), "--steps", "16"]) == 2
    assert said in capsys.readouterr().err


def test_policies_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    def load(name: str, **settings: bool) -> object:
        return load_policy(name, partial(shared_world, "PushT", "cpu"), "reach", **settings)

    with pytest.raises(UnknownNameError, match="did you mean 'random'"):
        load("randm")
    with pytest.raises(UnknownNameError, match="share of random actions"):
        load("scripted:2")
    with pytest.raises(BundleError, match="no agent here"):
        load(str(tmp_path))
    with pytest.raises(UnknownNameError, match="policy for streams"):
        load("planner", in_streams=True)
    two_episodes = EvaluationSettings(episodes=2, seed=0)
    with pytest.raises(UnknownNameError, match="did you mean 'StreamDiT/PushT-Reach-v0'"):
        score_policy("random", "StreamDiT/PushT-Rech-v0", two_episodes)
    with pytest.raises(UnknownNameError, match="generated environment"):
        mean_returns(["random"], REAL, two_episodes)


def test_labels_are_the_last_parts_of_paths_that_tell_them_apart() -> None:
    assert labels(["random", "a/0/c/4", "a/1/c/4"]) == {
        "random": "random",
        "a/0/c/4": "0/c/4",
        "a/1/c/4": "1/c/4",
    }


def test_rewards_are_scaled_and_statistics_are_not() -> None:
    plain, scaled = (
        make_venv(REACH, 2, observation="state", reward_scale=scale, horizon=4)
        for scale in (1.0, 0.02)
    )
    for venv in (plain, scaled):
        venv.seed(0)
        venv.reset()
    for _ in range(4):
        _, rewards, _, infos = plain.step(np.array([1, 2]))
        _, small, _, others = scaled.step(np.array([1, 2]))
        np.testing.assert_allclose(small, 0.02 * rewards)
    assert [info["episode"]["r"] for info in infos] == [info["episode"]["r"] for info in others]


def test_an_agent_of_an_earlier_version_saw_plain_states() -> None:
    old = training_from_json({"env": "StreamDiT/TakeCover-v0"})
    assert (old.observation, old.frame_stack, old.reward_scale) == ("state", 1, 1.0)


def test_hyperparameters_know_every_environment() -> None:
    for algo in ALGORITHMS:
        for env in IDS:
            assert hyperparameters(AgentTraining(env=env, algo=algo))["policy"] == "MlpPolicy"
    assert AgentTraining().frame_stack == 1
    assert AgentTraining(env="StreamDiT/Reacher-v0").frame_stack == 3, "one frame shows no speed"
    assert AgentTraining(env="StreamDiT/Reacher-v0", frame_stack=2).frame_stack == 2
    assert AgentTraining().observation == "state"
    for algo in ALGORITHMS:
        cover = AgentTraining(env="StreamDiT/TakeCover-v0", algo=algo)
        assert (cover.observation, cover.frame_stack) == ("latent", 2)
        assert cover.reward_scale == 0.02
    assert AgentTraining(env="StreamDiT/TakeCover-v0", observation="frame").observation == "frame"
    assert hyperparameters(AgentTraining(observation="frame"))["policy"] == "CnnPolicy"
    assert hyperparameters(AgentTraining(overrides={"gamma": 0.5}))["gamma"] == 0.5
    assert hyperparameters(AgentTraining())["learning_rate"](0.5) == pytest.approx(5e-4)
    given = parse_settings(
        ["learning_rate=3e-4", "ent_coef=1e-2", "n_epochs=5", "clip_range_vf=null"]
    )
    assert given == {"learning_rate": 3e-4, "ent_coef": 0.01, "n_epochs": 5, "clip_range_vf": None}
    assert hyperparameters(AgentTraining(overrides=given))["learning_rate"] == 3e-4
    sac = AgentTraining(algo="sac", overrides=parse_settings(["ent_coef=auto"]))
    assert hyperparameters(sac)["ent_coef"] == "auto"


def test_the_script_plays_better_the_less_noise_it_has_in_both_worlds() -> None:
    means = mean_returns(["scripted", "scripted:0.9"], REACH, EvaluationSettings(episodes=8))
    assert list(means) == ["scripted", "scripted:0.9"]
    for place in range(2):
        assert means["scripted"][place] > means["scripted:0.9"][place] + 0.3


def test_the_script_pushes_the_t_towards_its_goal() -> None:
    def mean_return(name: str) -> float:
        policy = policy_for(name, PUSH, EvaluationSettings(episodes=16))
        venv = make_venv(PUSH, 16, horizon=60, observation="frame")
        return play_episodes(venv, policy, 16, seed=3).mean

    assert mean_return("scripted:0.1") > mean_return("random") + 0.2, "0.67 and 0.24, same starts"


def test_the_shipped_agent_plays_in_the_simulator() -> None:
    trained = load_agent(find_world("PushT") / "agents" / "reach")
    settings = EvaluationSettings(episodes=16, seed=3)
    assert score_policy(trained, REAL, settings).successes.mean() > 0.9


def test_from_floor_to_ceiling() -> None:
    def row(policy: str, mean: float) -> PolicyScore:
        returns = mean + np.random.default_rng(0).normal(0, 0.1, 100)
        score = Score(returns=returns, successes=returns > 0, lengths=np.ones(100))
        return PolicyScore(policy=policy, place="real simulator", score=score)

    rows = [row("random", 0.0), row("a", 1.5), row("b", 1.7), row("top", 2.0)]
    progress = progress_to_ceiling(rows, {"a", "b"}, {"top"})
    assert progress.share == pytest.approx(0.8, abs=0.02)
    assert progress.low < progress.share < progress.high


def test_an_agent_on_film(tmp_path: Path) -> None:
    trained, _ = train_agent(
        AgentTraining(
            env=REACH, steps=64, num_envs=2, observation="latent", frame_stack=2, algo="sac"
        ),
        tmp_path,
        progress=False,
    )
    two_latents = np.zeros((1, 16, 8, 8), np.float32)
    assert load_agent(tmp_path).agent.predict(two_latents)[0].shape == (1, 9)
    frames = film_agent(trained, REACH, episodes=1, progress=False)
    assert len(frames) > 8
    assert frames[0].shape == (432, 648, 3)
    assert (frames[0][56:376, :320] == frames[0][56:376, 328:]).mean() > 0.9, "the same first frame"


def test_every_id_has_a_reference() -> None:
    assert reference_id(REACH) == REAL == reference_id(REAL)
    assert list(places(REAL)) == ["real simulator"]


def test_films_and_curves_are_written(tmp_path: Path) -> None:
    frames = [
        side_by_side([panel(np.full((64, 64, 3), 40 * i, np.uint8), "left", "move up")] * 2)
        for i in range(5)
    ]
    write_mp4(tmp_path / "film.mp4", frames, fps=10)
    back = read_video(tmp_path / "film.mp4")
    assert back.shape == (5, 432, 648, 3)
    assert abs(back[3, 200, 100].astype(int) - 120).max() < 10
    assert b"avc1" in (tmp_path / "film.mp4").read_bytes()
    plot_curve(tmp_path / "curve.png", [(i, float(i)) for i in range(30)], 1.0, "title", "return")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
