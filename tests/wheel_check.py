"""Build the wheel, check its content, install it in an empty environment, run the README there.

``make wheel-test`` runs this. Only core dependencies are installed, as for a new user.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE_FOLDERS = {"streamdit_gym": "streamdit_gym", "envs": "streamdit_gym/envs"}
PACKAGE_FOLDERS |= {"agents": "streamdit_gym/agents"}


def tracked_files() -> list[Path]:
    """Return the files that git knows; the two links in the package count as links."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [Path(name) for name in listing.stdout.split("\0") if name]
    return [path for path in paths if (ROOT / path).exists()]


def copy_sources(target: Path) -> None:
    """Copy what git knows, so that no old build folder gets into the wheel."""
    for path in tracked_files():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target / path, follow_symlinks=False)


def expected_files() -> set[str]:
    """Return every file of the package as the wheel must name it."""
    names = set()
    for path in tracked_files():
        package = PACKAGE_FOLDERS.get(path.parts[0])
        if package is not None and not (ROOT / path).is_symlink():
            names.add(str(Path(package, *path.parts[1:])))
    return names


def check_content(wheel: Path) -> None:
    """Check that the wheel holds every file of the package exactly once, and nothing else."""
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert len(names) == len(set(names)), "a file is in the wheel twice"
    expected = expected_files()
    missing = sorted(expected - set(names))
    foreign = sorted(set(names) - expected)
    assert not missing, f"not in the wheel: {missing}"
    assert not foreign, f"in the wheel, but not in the package: {foreign}"


def first_snippet() -> str:
    """Return the first Python code of the README."""
    match = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert match is not None, "the README begins with Python code"
    return match.group(1)


def main() -> None:
    """Run the whole check."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sources = folder / "sources"
        copy_sources(sources)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        command = [*pip, "wheel", "-q", "--no-deps", "-w", str(folder), str(sources)]
        subprocess.run(command, check=True)
        (wheel,) = folder.glob("*.whl")
        check_content(wheel)
        venv.create(folder / "environment", with_pip=True)
        python = str(folder / "environment" / "bin" / "python")
        install = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), str(wheel)], check=True)
        empty = folder / "elsewhere"
        empty.mkdir()
        subprocess.run([python, "-I", "-c", first_snippet()], cwd=empty, check=True)
        subprocess.run([python, "-I", "-m", "streamdit_gym", "--help"], cwd=empty, check=True)
    print("the wheel holds every file once, and the README's first code runs from it")


if __name__ == "__main__":
    main()
