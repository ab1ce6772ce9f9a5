"""The shapes that annotations of `model`, `stream` and `types` promise hold while they run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
MODULES = [
    "test_model.py",
    "test_palettes.py",
    "test_buffer.py",
    "test_noise.py",
    "test_stream.py",
    "test_stream_cache.py",
]
# compiled code cannot be checked, refused calls break their annotations on purpose, and shipped
# weights run the same lines as tiny ones
LEFT_OUT = "not compiled and not refused and not trained"


def run_checked(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own: the check must be there before the modules are."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "support.shapes", "-m", "not slow"]
    return subprocess.run(
        [*command, *arguments], cwd=TESTS, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_every_call_of_model_and_stream_has_the_shapes_that_its_annotations_say() -> None:
    done = run_checked([*MODULES, "-k", LEFT_OUT])
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


def test_a_call_with_other_shapes_is_noticed(tmp_path: Path) -> None:
    wrong = tmp_path / "test_wrong.py"
    wrong.write_text(
        "import torch\n"
        "from streamdit_gym.stream.flow import velocity\n"
        "def test_wrong():\n"
        "    velocity(torch.zeros(1, 2, 8, 4, 4), torch.zeros(1, 1, 8, 4, 4))\n"
    )
    done = run_checked([str(wrong)])
    assert "TypeCheckError" in done.stdout
