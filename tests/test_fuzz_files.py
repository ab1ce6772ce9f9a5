"""Random names, texts, files and command lines: read, or refused with one of our typed errors."""

from __future__ import annotations

import json
import os
import string
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import Pair, fuzz, junk, texts

from streamdit_gym.checks import MAX_PROMPT_CHARS, check_prompt
from streamdit_gym.cli import main
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.presets import partition
from streamdit_gym.world import World

REFERENCE = "StreamDiT/PushT-Reach-Real-v0"


@fuzz(200)
@given(
    given_partition=junk
    | st.from_regex(r"K\d{1,3}N\d{1,3}c\d{1,2}s\d{1,2}", fullmatch=True)
    | st.text("KNcs0123456789", max_size=10)
)
def test_partitions_are_read_or_refused(given_partition: Any) -> None:
    try:
        cut = partition(given_partition)
    except StreamDiTError:
        return
    assert cut.chunks >= 1
    assert str(cut) == given_partition or given_partition in ("reactive", "pipelined")


@fuzz(500)
@given(text=texts | junk | st.text(string.printable, max_size=250))
def test_prompts_are_taken_or_refused(text: Any) -> None:
    try:
        prompt = check_prompt(text)
    except StreamDiTError:
        return
    assert 1 <= len(prompt) <= MAX_PROMPT_CHARS
    assert prompt == check_prompt(prompt)
    prompt.encode()


@pytest.fixture(scope="module")
def by_text(tiny_bundle: str) -> Pair:
    return Pair(world=tiny_bundle, actions="text", autoreset_mode="SAME_STEP")


@fuzz(80)
@given(
    chosen=st.lists(texts | junk | st.sampled_from(["move up", " stay "]), min_size=1, max_size=3)
    | junk
)
def test_text_actions_are_taken_if_and_only_if_the_space_holds_them(
    by_text: Pair, chosen: Any
) -> None:
    pytest.importorskip("transformers")
    space = by_text.env.single_action_space
    refused = by_text.unchanged_by(lambda env: env.step(chosen))
    rows = list(chosen) if isinstance(chosen, (list, tuple)) else []
    if refused:
        assert len(rows) != 2 or not all(space.contains(row) for row in rows)
    else:
        assert len(rows) == 2
        assert all(space.contains(row) for row in rows)


@fuzz(100)
@given(
    name=texts | junk | st.sampled_from(["pusht", "/", "/dev/null", "a/b/c", ".", "PushT/", "~"])
)
def test_worlds_are_found_or_refused(name: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    if name in ("PushT", "PushT/") or (isinstance(name, str) and name.count("/") == 1):
        return  # loads the shipped world; asks the Hub
    with pytest.raises(StreamDiTError):
        World.from_pretrained(name)


@pytest.fixture(scope="module")
def edited_bundle(tiny_bundle: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the tiny bundle's weights as links,
    and a configuration that tests replace.
    """
    folder = tmp_path_factory.mktemp("edited") / "tiny"
    folder.mkdir()
    for path in Path(tiny_bundle).iterdir():
        if path.name != "config.json":
            (folder / path.name).symlink_to(path)
    return folder


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@fuzz(200)
@given(
    path=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    value=json_values,
    delete=st.booleans(),
)
def test_edited_configurations_are_read_or_refused(
    tiny_bundle: str, edited_bundle: Path, path: list[int], value: Any, delete: bool
) -> None:
    config = json.loads((Path(tiny_bundle) / "config.json").read_text())
    holder: Any = config
    for place in path[:-1]:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        inner = holder[keys[place % len(keys)]]
        if not isinstance(inner, (dict, list)) or not inner:
            break
        holder = inner
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    key = keys[path[-1] % len(keys)]
    if delete:
        del holder[key]
    else:
        holder[key] = value
    (edited_bundle / "config.json").write_text(json.dumps(config))
    try:
        world = World.from_pretrained(edited_bundle)
    except StreamDiTError:
        return
    frames = world.codec.decode(world.starts.latents[:1, None])
    assert frames.shape == (1, 1, *world.spec.frame_shape)
    states, scores = world.readout(world.starts.latents[:1, None])
    assert torch.isfinite(states).all()
    assert torch.isfinite(scores).all()


COMMANDS = [
    "record",
    "relabel",
    "train",
    "distill",
    "evaluate",
    "generate",
    "inspect",
    "play",
    "bench",
    "demo",
]
FLAGS = [
    "--shards",
    "--steps",
    "--episodes",
    "--seed",
    "--workers",
    "--out",
    "--data",
    "--device",
    "--minutes",
    "--fps",
    "--port",
    "--rate",
    "--clips",
    "--partition",
    "--strength",
    "--batch",
    "--task",
    "--keep-if",
    "--format",
    "--envs",
    "--preset",
    "--world",
    "--images",
    "--script",
    "--guidance",
    "--temperature",
    "--corrections",
    "--continue-from",
    "--teacher",
    "--late",
    "--dtype",
    "--policy",
    "--proxy",
    "--set",
]
values = st.sampled_from(
    [
        "-1",
        "nan",
        "inf",
        "1e400",
        "10" * 20,
        "",
        "\0",
        "gpu",
        "x",
        "/proc/none/x",
        "K0N0c0s0",
        "{}",
        "-",
        "ä\udcff",
    ]
)


@fuzz(60)
@given(
    command=st.sampled_from(COMMANDS),
    world=st.sampled_from(["no-such-world", "/no/such/folder", "", "..", "PushT\0", "\udcff"]),
    flags=st.lists(st.tuples(st.sampled_from(FLAGS), values), max_size=3),
)
def test_command_lines_end_in_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, command: str, world: str, flags: list[tuple[str, str]]
) -> None:
    """Whatever else is said, the world does not exist: no command may do anything,
    or end in a traceback.
    """
    line = [command, *(["--world", world] if command in ("bench", "demo") else [world])]
    line += [part for flag in flags for part in flag]
    folder = tmp_path_factory.mktemp("command")
    before = Path.cwd()
    os.chdir(folder)
    try:
        status: Any = main(line)
    except SystemExit as parsed:  # tyro could not read it
        status = parsed.code
    finally:
        os.chdir(before)
    assert status == 2
    assert list(folder.iterdir()) == []
