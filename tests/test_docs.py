"""What documentation and messages say: commands, options, links and extras exist."""

from __future__ import annotations

import configparser
import dataclasses
import re
import shlex
from pathlib import Path

import pytest
import tyro

from streamdit_gym.cli.deprecated import current_arguments
from streamdit_gym.cli.main import COMMANDS
from streamdit_gym.cli.rl_command import RlEvaluate, RlTrain

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples" / "own_world" / "README.md",
]
OTHER_PROGRAMS = ("torchrun", "pip", "pytest", "python", "docker", "git", "ray")
MAX_README_LINES = 120
PACKAGES = {"PIL.Image": "pillow", "h5py": "minari", "torch.utils.tensorboard": "tensorboard"}


def documented_commands() -> list[str]:
    """Return the command lines in indented blocks of the documentation."""
    commands = []
    for page in PAGES:
        for line in page.read_text().replace("\\\n", " ").splitlines():
            if not line.startswith("    "):
                continue
            code = line.split("#")[0]
            for part in re.split(r"&&|\|", code):
                if part.strip().startswith("streamdit-gym "):
                    commands.append(part.strip())
    return list(dict.fromkeys(commands))


@pytest.mark.parametrize("command", documented_commands())
def test_a_documented_command_can_be_parsed(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, *words = shlex.split(command)
    parsed = tyro.extras.subcommand_cli_from_dict(COMMANDS, args=current_arguments(words))
    parsed.check_options()
    assert capsys.readouterr().err == "", "the documentation uses current names"


def options_of(command: type) -> set[str]:
    """Return a command's options as they are typed."""
    return {"--" + field.name.replace("_", "-") for field in dataclasses.fields(command)}


def documented_options(page: Path) -> set[str]:
    """Return the options of our own commands that a page's running text names."""
    text = page.read_text()
    options = set()
    for code in re.findall(r"`([^`\n]+)`", text):
        if not code.startswith(OTHER_PROGRAMS):
            options |= set(re.findall(r"(?<!\S)--[a-z][a-z-]*", code))
    return options


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_documented_options_exist(page: Path) -> None:
    commands = [*COMMANDS.values(), RlTrain, RlEvaluate]
    known = {"--help"}
    for command in commands:
        if dataclasses.is_dataclass(command):
            known |= options_of(command)
    assert documented_options(page) - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def required_modules() -> list[tuple[str, str]]:
    """Return the optional modules that the code asks for by name, each with the extra it names."""
    calls = set()
    for folder in ("streamdit_gym", "envs", "agents"):
        for path in (ROOT / folder).rglob("*.py"):
            calls |= set(re.findall(r'require\("([\w.]+)", "(\w+)"', path.read_text()))
    return sorted(calls)


@pytest.mark.parametrize(("module", "extra"), required_modules())
def test_the_extra_that_a_message_names_has_the_package(module: str, extra: str) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packages = config["options.extras_require"][extra] + config["options"]["install_requires"]
    package = PACKAGES.get(module, module.split(".")[0])
    assert re.search(rf"^{package}\b", packages, re.MULTILINE), f"{extra} lacks {package}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README_LINES
