"""Imports point downward only, and heavy packages stay in the rooms that own them."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOORS = [
    {"types", "errors", "forks", "phrase_generators", "actions"},
    {"definition"},
    {"checks", "files", "threads", "frame_sizes"},
    {"device"},
    {"data", "text", "model"},
    {"stream", "registry"},
    {"bundle"},
    {"world_folders"},
    {"world", "open_weights"},
    {"presets"},
    {"recipes"},
    {"train"},
    {"evaluate", "distill", "open_training"},
    {"envs"},
    {"agents"},
    {"generate", "live", "bench"},
    {"reproduce", "export"},
    {"cli"},
    {"__main__"},
]


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def floor_of(room: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def imports() -> list[tuple[str, str, str]]:
    found = []
    for folder, prefix in (
        (ROOT / "streamdit_gym", "streamdit_gym"),
        (ROOT / "envs", "streamdit_gym.envs"),
        (ROOT / "agents", "streamdit_gym.agents"),
    ):
        for path in folder.rglob("*.py"):
            module = ".".join([prefix, *path.relative_to(folder).with_suffix("").parts])
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module:
                    found.append((str(path), module, node.module))
                elif isinstance(node, ast.Import):
                    found += [(str(path), module, alias.name) for alias in node.names]
    return found


def test_imports_point_downward() -> None:
    for path, importer, imported in imports():
        if not imported.startswith("streamdit_gym.") or importer == "streamdit_gym.__init__":
            continue
        here, there = room_of(importer), room_of(imported)
        if here == there:
            continue
        assert floor_of(there) < floor_of(here), f"{path}: {here} must not import {there}"


def test_only_the_rooms_that_own_them_know_gymnasium_and_sb3() -> None:
    for path, importer, imported in imports():
        top, room = imported.split(".")[0], room_of(importer)
        if top == "gymnasium":
            assert room in {"envs", "agents"}, path
        if top == "stable_baselines3":
            assert room == "agents", path


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_importing_the_package_is_light() -> None:
    heavy = ("torch", "stable_baselines3", "transformers", "diffusers")
    code = f"import sys, streamdit_gym; print([m for m in {heavy} if m in sys.modules])"
    result = run_python(code)
    assert result.stdout.strip() == "[]", result.stderr


def test_training_needs_neither_simulators_nor_sb3() -> None:
    absent = ["gym_pusht", "stable_baselines3", "cv2", "gymnasium"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}));"
        "import streamdit_gym.train.pipeline, streamdit_gym.data.dataset; print('fine')"
    )
    result = run_python(code)
    assert result.stdout.strip() == "fine", result.stderr


def test_every_package_and_its_files_are_installed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = set()
    for folder in ("streamdit_gym", "envs", "agents"):
        prefix = "" if folder == "streamdit_gym" else "streamdit_gym."
        for path in (ROOT / folder).rglob("__init__.py"):
            found.add(prefix + ".".join(path.parent.relative_to(ROOT).parts))
    assert listed == found
    data = config["options.package_data"]
    for package, folder in (
        ("streamdit_gym", ROOT / "streamdit_gym"),
        ("streamdit_gym.agents", ROOT / "agents"),
    ):
        carried = {
            path
            for pattern in data[package].split()
            for path in folder.glob(pattern)
            if path.is_file()
        }
        wanted = {
            path
            for path in folder.rglob("*")
            if path.is_file() and path.suffix in {".safetensors", ".json", ".yml", ".zip", ".md"}
        }
        assert wanted <= carried


def library_files() -> list[Path]:
    folders = ("streamdit_gym", "envs", "agents")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


# Exceptions. These lists may only become shorter.
SHARED_NAMES = {"files"}
LONG_MODULES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()
FILES_THAT_NAME_THE_PALETTE = {
    "definition.py",
    "model/appearance.py",
    "model/optional_modules.py",
    "train/pipeline.py",
    "train/stages/appearance_stage.py",
}


def test_two_modules_never_share_a_name() -> None:
    """Every world's folder in envs is made alike, and its modules count as one world's."""
    modules = [path for path in library_files() if path.parent.parent != ROOT / "envs"]
    names = Counter(path.stem for path in modules)
    shared = {name for name, count in names.items() if count > 1}
    shared -= {"__init__", "__main__"}
    assert shared <= SHARED_NAMES, "give one of the two a name of its own"


def test_modules_are_short() -> None:
    long = {path.stem for path in library_files() if len(path.read_text().splitlines()) > 400}
    assert long <= LONG_MODULES, "split what has more than 400 lines by subject"


def test_functions_are_short() -> None:
    long = set()
    for path in library_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > 50:
                    long.add(node.name)
    assert long <= LONG_FUNCTIONS, "a function has at most 50 lines"


def test_the_formatter_is_never_switched_off() -> None:
    folders = ("streamdit_gym", "envs", "agents", "tests", "examples")
    switch = re.compile(r"#\s*fmt:\s*(skip|off)")
    switched_off = [
        str(path)
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if switch.search(path.read_text())
    ]
    assert switched_off == []


def test_few_engine_files_know_the_palette() -> None:
    """To all others its channels are global channels, whatever these mean.

    Names on disk (``"looks"``) do not count: formats outlive modules.
    """
    package = ROOT / "streamdit_gym"
    rooms = ("bench", "bundle", "data", "distill", "model", "stream", "text", "train")
    words = (
        "palette",
        "appearance",
        r"\.looks\b(?!\")",
        r"\blooks\s*[=:]",
        r"\bpaints?\b",
        "channels? for colour",
    )
    word = re.compile("|".join(words), re.IGNORECASE)
    paths = [path for room in rooms for path in (package / room).rglob("*.py")]
    paths += package.glob("*.py")
    naming = {str(path.relative_to(package)) for path in paths if word.search(path.read_text())}
    assert naming <= FILES_THAT_NAME_THE_PALETTE


def test_environments_do_not_import_the_evaluation() -> None:
    for path, importer, imported in imports():
        if room_of(importer) == "envs":
            assert not imported.startswith("streamdit_gym.evaluate"), path


def test_the_evaluation_does_not_import_the_trainer() -> None:
    for path, importer, imported in imports():
        if room_of(importer) == "evaluate":
            assert not imported.startswith("streamdit_gym.train"), path


def test_files_are_replaced_in_one_place() -> None:
    """`files` alone writes beside a file and replaces it; a bundle moves several files at once."""
    calls = re.compile(r"os\.(replace|rename)\(|mkdtemp\(|mkstemp\(|NamedTemporaryFile\(")
    allowed = {ROOT / "streamdit_gym/files.py", ROOT / "streamdit_gym/bundle/files.py"}
    by_hand = [
        str(path)
        for path in library_files()
        if path not in allowed and calls.search(path.read_text())
    ]
    assert by_hand == [], "use streamdit_gym.files.atomic_write"
