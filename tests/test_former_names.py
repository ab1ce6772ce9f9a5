"""Former names of agents and policies work for one release, with a warning."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from streamdit_gym.agents.agent_envs import make_venv
from streamdit_gym.agents.policies.scripted_policy import ScriptedPolicy
from streamdit_gym.agents.policy_scores import EvaluationSettings, score_policy
from streamdit_gym.cli import main
from streamdit_gym.envs.worlds import shared_world

REAL = "StreamDiT/PushT-Reach-Real-v0"


@pytest.mark.parametrize(
    ("module", "name", "new_module", "new_name"),
    [
        ("policies", "Learned", "policies.policy_file", "TrainedAgent"),
        ("policies", "load_agent", "policies.policy_file", "load_agent"),
        ("policies", "load_policy_file", "policies.policy_file", ""),
        ("policies", "save_policy", "policies.policy_file", "save_policy"),
        ("training", "AgentTraining", "agent_config", "AgentTraining"),
        ("training", "load_agent", "policies.policy_file", "load_agent"),
        ("training", "make_venv", "agent_envs", "make_venv"),
        ("training", "train_agent", "train_agent", "train_agent"),
        ("training", "twin_of", "agent_envs", "reference_id"),
        ("training", "surprise", "", ""),
    ],
)
def test_a_name_that_moved_is_found_with_a_warning(
    module: str, name: str, new_module: str, new_name: str
) -> None:
    former = importlib.import_module(f"streamdit_gym.agents.{module}")
    if not new_name:
        with pytest.raises(AttributeError):
            getattr(former, name)
        return
    current = importlib.import_module(f"streamdit_gym.agents.{new_module}")
    with pytest.warns(DeprecationWarning, match=f"{name} is now"):
        assert getattr(former, name) is getattr(current, new_name)


def test_former_functions_of_match_do_the_same() -> None:
    from streamdit_gym.agents.match import random_player, scores_of, scripted_player

    settings = EvaluationSettings(episodes=2, seed=3, num_envs=2)
    with pytest.warns(DeprecationWarning, match="score_policy"):
        score = scores_of("random", REAL, 2, 3, num_envs=2)
    assert np.array_equal(score.returns, score_policy("random", REAL, settings).returns)
    venv = make_venv(REAL, 2, observation="frame")
    frames = venv.reset()
    with pytest.warns(DeprecationWarning, match="RandomPolicy"):
        assert random_player(venv, 0)(frames, np.ones(2, bool)).shape == (2,)
    with pytest.warns(DeprecationWarning, match="ScriptedPolicy"):
        former = scripted_player("PushT", "reach", 0.3, 5)
    world = shared_world("PushT", "cpu")
    policy = ScriptedPolicy(world, "reach", 0.3)
    policy.reset(2, world.spec.actions, np.random.default_rng(5))
    act = partial(policy.act, frames, np.ones(2, bool))
    assert np.array_equal(former(frames, np.ones(2, bool)), act())
    venv.close()


def test_former_modules_run_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from streamdit_gym.agents import evaluate, train

    out = str(tmp_path / "out")
    with pytest.warns(DeprecationWarning, match="streamdit-gym rl train"):
        status = train.main(["--num-envs", "0", "--set", "n_epochs=5", "--out", out])
    assert status == 2
    assert "num_envs cannot be used" in capsys.readouterr().err
    arguments = ["random", "--env", REAL, "--episodes", "2", "--num-envs", "2", "--out", out]
    with pytest.warns(DeprecationWarning, match="streamdit-gym rl evaluate"):
        assert evaluate.main(arguments) == 0
    assert "random" in capsys.readouterr().out
    assert (tmp_path / "out" / "scores.json").is_file()


def test_former_options_are_settings_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", "PushT", "--format", "mkv", "--steps", "2", "--out", str(tmp_path)]
    assert main([*command, "--episodes", "2", "--batch", "1", "--set", "dtype=float32"]) == 0
    assert "--batch is now called --set batch=" in capsys.readouterr().err
    assert len(list(tmp_path.glob("shard-*.npz"))) == 2
    assert main([*command, "--episodes", "2", "--set", "bach=1"]) == 2
    assert "did you mean 'batch'" in capsys.readouterr().err
