"""The examples run, and so does the README's code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.tiny_wan import diffusers, write_folder

from streamdit_gym.data.video import read_video

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


def test_the_example_that_compares_long_streams() -> None:
    out = run(
        "examples/long_streams.py",
        "Crossroads",
        "K1N1c8s2",
        "K0N4c1s1",
        "--frames",
        "16",
        "--streams",
        "1",
    ).stdout
    names = [line.split()[0] for line in out.splitlines()]
    assert names == ["simulator", "K1N1c8s2", "K0N4c1s1"]
    assert out.count("px a frame") == 6


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


def test_the_moving_picture_shows_both(tmp_path: Path) -> None:
    picture = tmp_path / "picture.gif"
    printed = run("examples/moving_picture.py", "--steps", "3", "--out", str(picture)).stdout
    assert f"3 frames: {picture}" in printed
    with Image.open(picture) as frames:
        assert frames.n_frames == 3
        assert frames.info["duration"] == 120, "of 125 ms; a GIF counts hundredths of a second"


def test_the_readmes_python_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        run("-c", re.sub(r"\.learn\([\d_]+\)", ".learn(1)", block))


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


def test_open_stream_films_a_tiny_model(tmp_path: Path) -> None:
    diffusers()
    model = write_folder(tmp_path / "model")
    film = tmp_path / "film.mp4"
    words = ["a cat", "rain falls", "--seconds", "1", "--size", "32", "48", "--steps", "2"]
    words += ["--fps", "16", "--partition", "K2N2c1s1", "--dtype", "float32", "--out", str(film)]
    printed = run("examples/open_stream.py", f"wan:{model}", *words).stdout
    assert f"16 frames: {film}" in printed
    assert read_video(film).shape == (16, 32, 48, 3)
