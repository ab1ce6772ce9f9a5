"""What can be imported under the package's name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python elsewhere, with the source checkout on its path."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("module", ["tests", "docs", "examples"])
def test_folders_beside_the_package_are_no_part_of_it(module: str, tmp_path: Path) -> None:
    done = run(f"import streamdit_gym.{module}", tmp_path)
    assert "ModuleNotFoundError" in done.stderr


def test_a_source_checkout_finds_environments_and_agents(tmp_path: Path) -> None:
    code = (
        "import streamdit_gym.envs.registration as module, streamdit_gym.agents\n"
        "print(module.__file__)"
    )
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).resolve() == ROOT / "envs" / "registration.py"


def test_the_world_class_is_loaded_when_it_is_asked_for(tmp_path: Path) -> None:
    code = (
        "import sys, streamdit_gym\n"
        "assert 'torch' not in sys.modules\n"
        "print(streamdit_gym.World.__name__, 'torch' in sys.modules)"
    )
    assert run(code, tmp_path).stdout.split() == ["World", "True"]


def test_a_name_that_there_is_not_is_an_attribute_error(tmp_path: Path) -> None:
    done = run("import streamdit_gym; streamdit_gym.Wurld", tmp_path)
    assert "has no attribute 'Wurld'" in done.stderr
