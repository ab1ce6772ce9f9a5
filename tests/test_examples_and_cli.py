"""The examples run; the command line says what is wrong and survives Ctrl-C;
the README's code runs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamdit_gym.agents.train import main as train_agents
from streamdit_gym.cli import main
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.evaluate.evaluator_models import EvaluatorTraining
from streamdit_gym.evaluate.judge import EvaluationConfig

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str, cwd: Path = ROOT, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def test_the_example_that_streams_frames(tmp_path: Path) -> None:
    out = run(
        "examples/stream_frames.py", "--steps", "2", "--out", str(tmp_path / "strip.png")
    ).stdout
    assert "'move right'" in out
    assert (tmp_path / "strip.png").stat().st_size > 1000


def test_the_example_that_paints(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    out = run(
        "examples/paint_world.py",
        "--world",
        "PushT",
        "--out",
        str(tmp_path / "painted.png"),
        "a red T, a black table",
    ).stdout
    assert "1 appearances" in out
    assert (tmp_path / "painted.png").stat().st_size > 1000


def test_the_example_that_steps_16_worlds() -> None:
    assert "(16, 64, 64, 3) uint8" in run("examples/step_many_worlds.py", "--steps", "3").stdout


def test_the_example_in_plain_pytorch() -> None:
    assert (
        "512 steps, return of the last"
        in run("examples/torch_ppo.py", "--steps", "512", "--envs", "8").stdout
    )


def test_the_example_that_trains(tmp_path: Path) -> None:
    out = run(
        "examples/train_ppo.py", "--steps", "64", "--episodes", "2", "--out", str(tmp_path)
    ).stdout
    assert out.count("return") == 0
    assert len(re.findall(r"random|PPO", out)) == 4
    assert (tmp_path / "agent.zip").is_file()


@pytest.mark.slow
def test_record_train_agent_evaluate_and_bench_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    data, out, world, scores, strip = (
        tmp_path / name for name in ("data", "run", "run/world", "scores.json", "strip.png")
    )
    assert (
        main(f"record PushT --out {data} --shards 2 --episodes 2 --steps 12 --workers 1".split())
        == 0
    )
    train = f"train PushT --recipe tiny --steps 2 --data {data} --out {out}".split()
    assert main(train) == 0
    assert main(train) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*train, "--resume"]) == 0
    student = tmp_path / "student"
    distill = f"distill {world} --recipe tiny --steps 2 --data {data} --out {student}"
    assert main(distill.split()) == 0
    assert main(f"evaluate {world} --late 3 --card".split()) == 2
    assert "only frames can be late" in capsys.readouterr().err
    agent = tmp_path / "agent" / "seed-0"
    less = "--steps 64 --episodes 2 --num-envs 2 --check-every 0 --set n_steps=32 batch_size=64"
    assert train_agents(f"--world {world} --out {agent.parent} {less}".split()) == 0
    little = EvaluationConfig(
        episodes=2,
        horizons=(1, 8),
        evaluator_training=EvaluatorTraining(episodes=2, probe_steps=3, inverse_steps=3),
        drift_frames=16,
        short_episodes=2,
    )
    monkeypatch.setattr("streamdit_gym.evaluate.judge.QUICK", little)
    page = tmp_path / "page.html"
    judged = f"evaluate {world} --quick --json {scores} --picture {strip} --html {page} --card --teacher {student / 'world'}".split()
    judged += ["--policies", "random", "scripted:0.5", str(agent)]
    assert main(judged) == 0
    found = json.loads(scores.read_text())
    assert {
        "fidelity",
        "obedience",
        "free_text",
        "drift",
        "reaction",
        "reward",
        "policies",
        "speed",
        "promises",
        "faults",
    } <= set(found)
    assert set(found["policies"]["players"]) == {"random", "scripted:0.5", str(agent)}
    assert strip.stat().st_size > 1000
    assert page.read_text().startswith("<!doctype html>")
    assert "| frames | generated, dB |" in (world / "README.md").read_text()
    assert "scores" in json.loads((world / "config.json").read_text())["facts"]
    judged_text = capsys.readouterr().out
    assert "beside its teacher" in judged_text
    assert "beside" not in json.loads((world / "config.json").read_text())["facts"]["scores"]
    assert {"about", "share", "kept"} <= set(found["beside"]["shares"][0])
    assert (
        main(
            f"bench {world} --envs 1 2 --steps 2 --preset tiny --json-file {tmp_path / 'bench.json'}".split()
        )
        == 0
    )
    said = judged_text + capsys.readouterr().out
    for part in ("action read-back", "env steps/s", "weights (random)", "real simulator"):
        assert part in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["record", "PusT"], "did you mean 'PushT'"),
        (["train", "PushT", "--data", "nowhere", "--out", "/tmp/none"], "streamdit-gym record"),
        (["evaluate", "PushTT"], "did you mean 'PushT'"),
        (["evaluate", "PushT", "--policies", "randm"], "did you mean 'random'"),
        (["bench", "--preset", "paper"], "did you mean"),
        (
            [
                "distill",
                "PushT",
                "--partition",
                "K4N1c1s2",
                "--teacher-steps",
                "3",
                "--out",
                "/tmp/none",
            ],
            "a multiple of 2",
        ),
        (
            ["distill", "PushT", "--decoder-blocks", "1", "--guidance", "2", "--out", "/tmp/none"],
            "--decoder-blocks with --guidance",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else v[0],
)
def test_bad_input_gets_one_clear_error(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--envs", "1", "--steps", "1"] if arguments[0] == "bench" else []
    assert main([*arguments, *small]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_ctrl_c_while_recording_keeps_whole_shards_and_says_how_to_go_on(tmp_path: Path) -> None:
    record = f"record PushT --out {tmp_path} --shards 500 --episodes 1 --steps 5 --workers 2"
    command = [sys.executable, "-W", "ignore", "-m", "streamdit_gym.cli", *record.split()]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    for _ in range(600):
        if list(tmp_path.glob("shard-*.npz")):
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Go on with: streamdit-gym record PushT" in error
    assert Dataset(tmp_path).shard(0).frames.shape == (1, 6, 64, 64, 3)


def test_the_readmes_python_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        run("-c", block)


def test_the_makefile_has_what_the_readme_promises() -> None:
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {
        "install",
        "demo",
        "test",
        "check",
        "format",
        "type",
        "gpu-train",
        "gpu-test",
        "gpu-bench",
        "wheelhouse",
    } <= verbs
    used = set(re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert used <= verbs
