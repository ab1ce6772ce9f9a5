"""The walk through examples/own_world: its README's commands, one after another, made small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.definition_files import forgotten_worlds as forgotten_worlds
from test_command_line import quick_evaluation as quick_evaluation
from test_example_world import ROOT
from test_example_world import site as site

from streamdit_gym.cli import main
from streamdit_gym.registry import load_entry_points

README = ROOT / "examples" / "own_world" / "README.md"
COMMAND = re.compile(r"^    streamdit-gym (rl \w+|\S+)", re.MULTILINE)
# in place of the README's own options
SMALL_OPTIONS = {
    "check": "Puck",
    "record": "Puck --shards 3 --set episodes=4 steps=24 workers=1",
    "train": "Puck --recipe tiny --steps 2",
    "evaluate": "Puck --quick",
    "play": "Puck --script prompts.jsonl --film film.mp4",
    "generate": "Puck --episodes 2 --steps 8 --out runs/puck_data",
    "rl train": "--env StreamDiT/Puck-v0 --steps 64"
    " --set num_envs=2 n_steps=16 batch_size=32 episodes=2",
}
WRITTEN = {
    "check": "runs/Puck/starts.png",
    "record": "recorded/Puck/meta.json",
    "train": "runs/Puck/world/config.json",
    "evaluate": "runs/evaluate/Puck/page.html",
    "play": "film.mp4",
    "generate": "runs/puck_data/lerobot/meta/info.json",
    "rl train": "runs/agent",
}


@pytest.mark.slow
@pytest.mark.usefixtures("quick_evaluation")
def test_the_commands_of_the_walk_make_a_world_of_nothing(
    site: Path, forgotten_worlds: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    load_entry_points()
    Path("prompts.jsonl").write_text('{"at": 0.0, "prompt": "sideways hard left"}\n')
    commands = COMMAND.findall(README.read_text())
    assert set(commands) == set(SMALL_OPTIONS)
    for command in commands:
        assert main([*command.split(), *SMALL_OPTIONS[command].split()]) == 0, command
        assert Path(WRITTEN[command]).exists(), command
