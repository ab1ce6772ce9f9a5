"""A save is the old bundle or the new one, whatever stops it."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.breaking import Killed, failing
from support.bundles import make_short_world, read_content
from support.kills import KILLS
from support.scores import recorded_scores

from streamdit_gym.bundle.config import file_names, read_config
from streamdit_gym.bundle.files import find_file, update_facts, write_bundle
from streamdit_gym.errors import ArgumentError, BusyError, StorageError
from streamdit_gym.evaluate import card
from streamdit_gym.evaluate.schema import Scores
from streamdit_gym.files import folder_lock
from streamdit_gym.world import World

MOST_CHANGES = 200  # of files in one save
OTHERS = {"README.md": "a card", "agents/reach/agent.json": "{}"}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def old_world() -> World:
    world = make_short_world()
    return replace(world, pipelined_model=world.model)


def new_world() -> World:
    world = make_short_world()
    with torch.no_grad():
        for network in (world.model, world.codec, world.readout):
            for weight in network.parameters():
                weight += 1
    starts = replace(world.starts, latents=world.starts.latents + 1)
    return replace(world, starts=starts, facts={"license": "MIT"})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle in a folder that holds other files, too."""
    folder = tmp_path / "tiny"
    old_world().save_pretrained(folder)
    for name, text in OTHERS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def check_others_are_there(folder: Path) -> None:
    for name, text in OTHERS.items():
        assert (folder / name).read_text() == text


def digest_of(world: World, folder: Path) -> str:
    world.save_pretrained(folder)
    return World.from_pretrained(folder).digest


def stop_everywhere(change: Callable[[], None], check: Callable[[], None], *, killed: bool) -> int:
    """Stop a change of files at each of its steps; return how many steps there are."""
    for nth in range(MOST_CHANGES):
        with failing(nth, killed=killed) as failed:
            try:
                change()
            except (Killed, StorageError):
                assert failed()
        if not failed():
            return nth
        check()
    raise AssertionError("it never ends")


class Writing:
    """Writes bundles whose weights files hold one number each: it can be stopped often."""

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self.folder = folder
        others = ("files", "digest")
        self.content = {key: value for key, value in content.items() if key not in others}

    def save(self, number: int, *, longer: bool) -> None:
        content = dict(self.content)
        if not longer:
            del content["longer"]
        parts = [name.removesuffix(".safetensors") for name in file_names(longer)]
        tensors = {part: {"x": torch.full((1,), number)} for part in parts}
        write_bundle(self.folder, tensors, content)

    def digest(self) -> str:
        """Return the digest of the bundle, whose files are all there."""
        config = read_config(self.folder)
        for name, entry in config.files.items():
            find_file(self.folder, name, entry)
        return config.digest


@pytest.fixture
def writing(bundle: Path) -> Writing:
    return Writing(bundle, read_content(bundle))


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "disk full"])
def test_a_save_that_is_stopped_anywhere_leaves_the_old_bundle_or_the_new_one(
    writing: Writing,
    killed: bool,
) -> None:
    writing.save(2, longer=False)
    new = writing.digest()
    writing.save(1, longer=True)
    old = writing.digest()
    seen = []

    def check() -> None:
        seen.append(writing.digest())
        check_others_are_there(writing.folder)
        writing.save(1, longer=True)  # goes on where that one was stopped
        assert writing.digest() == old
        assert files_in(writing.folder) == {"config.json", *file_names(longer=True), *OTHERS}

    steps = stop_everywhere(lambda: writing.save(2, longer=False), check, killed=killed)
    assert steps > 20
    assert set(seen) == {old, new}, "it was stopped before and after the one move that counts"
    assert writing.digest() == new
    assert files_in(writing.folder) == {"config.json", *file_names(longer=False), *OTHERS}


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "disk full"])
def test_a_first_save_that_is_stopped_leaves_no_bundle_or_a_whole_one(
    writing: Writing,
    tmp_path: Path,
    killed: bool,
) -> None:
    first = Writing(tmp_path / "first", writing.content)

    def check() -> None:
        if (first.folder / "config.json").exists():
            assert first.digest()
        shutil.rmtree(first.folder, ignore_errors=True)

    stop_everywhere(lambda: first.save(1, longer=True), check, killed=killed)
    assert first.digest()


def test_a_stopped_save_is_loaded(bundle: Path, tmp_path: Path) -> None:
    new = digest_of(new_world(), tmp_path / "new")
    moves = itertools.count()
    replace_file = os.replace

    def stop_after_the_config(source: Path, target: Path) -> None:
        if Path(target).name == "model.safetensors" and next(moves) == 0:
            raise Killed
        replace_file(source, target)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", stop_after_the_config)
        new_world().save_pretrained(bundle)
    assert (bundle / "model.safetensors.new").is_file()
    world = World.from_pretrained(bundle)
    assert world.digest == new
    assert torch.equal(world.starts.latents, World.from_pretrained(tmp_path / "new").starts.latents)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "disk full"])
def test_new_facts_that_are_stopped_leave_the_bundle_whole(bundle: Path, killed: bool) -> None:
    digest = World.from_pretrained(bundle).digest

    def check() -> None:
        world = World.from_pretrained(bundle)
        assert world.digest == digest
        assert world.facts in ({"license": "Apache-2.0"}, {"license": "MIT"})

    stop_everywhere(lambda: update_facts(bundle, {"license": "MIT"}), check, killed=killed)
    update_facts(bundle, {"license": "MIT"})
    assert World.from_pretrained(bundle).facts == {"license": "MIT"}
    assert files_in(bundle) == {"config.json", *file_names(longer=True), *OTHERS}


def test_a_card_that_cannot_be_written_leaves_bundle_and_card(
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World.from_pretrained(bundle)
    monkeypatch.setattr(card, "card", lambda world, scores: "new card")
    scores = recorded_scores("PushT-pipelined")

    def check() -> None:
        assert World.from_pretrained(bundle).digest == world.digest
        assert (bundle / "README.md").read_text() in ("a card", "new card")

    stop_everywhere(lambda: save_card(bundle, world, scores), check, killed=False)
    assert (bundle / "README.md").read_text() == "new card"
    facts = World.from_pretrained(bundle).facts
    assert Scores.from_dict(facts["scores"]) == replace(scores, comparison=None)


def save_card(bundle: Path, world: World, scores: Scores) -> None:
    card.write_card(bundle, world, scores)


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        old_world().save_pretrained(tmp_path / "tiny")
        update_facts(tmp_path / "tiny", {})
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tiny").iterdir()}
    assert modes == dict.fromkeys(["config.json", *file_names(longer=True)], 0o644)


def test_weights_that_are_not_finite_are_not_saved(bundle: Path) -> None:
    before = World.from_pretrained(bundle).digest
    world = new_world()
    with torch.no_grad():
        world.readout.out.bias[0] = torch.nan
    with pytest.raises(ArgumentError, match=r"heads: out\.bias"):
        world.save_pretrained(bundle)
    assert World.from_pretrained(bundle).digest == before


def test_numbers_too_large_for_half_precision_are_kept(tmp_path: Path) -> None:
    world = make_short_world()
    states = world.starts.states + 123_456
    replace(world, starts=replace(world.starts, states=states)).save_pretrained(tmp_path)
    assert torch.equal(World.from_pretrained(tmp_path).starts.states, states)


@pytest.mark.parametrize(
    "facts",
    [{"a": object()}, {"license": 5}, {"a": "\ud800"}, [1]],
    ids=range(4),
)
def test_facts_that_no_bundle_can_hold_are_not_saved(bundle: Path, facts: dict) -> None:
    before = read_content(bundle)
    with pytest.raises(ArgumentError):
        update_facts(bundle, facts)
    with pytest.raises(ArgumentError):
        replace(new_world(), facts=facts).save_pretrained(bundle)
    assert read_content(bundle) == before


def test_facts_that_are_not_finite_become_null(bundle: Path) -> None:
    update_facts(bundle, {"scores": {"r": float("nan")}, "other": [float("inf"), 1.5]})
    assert World.from_pretrained(bundle).facts == {"scores": {"r": None}, "other": [None, 1.5]}


def test_two_processes_do_not_save_at_once(bundle: Path) -> None:
    with folder_lock(bundle), pytest.raises(BusyError):
        new_world().save_pretrained(bundle)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/tiny"):
        new_world().save_pretrained(tmp_path / "file" / "tiny")


SAVE_AGAIN_AND_AGAIN = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from test_bundle_saves import new_world, old_world
worlds = [old_world(), new_world()]
print("ready", flush=True)
while True:
    for world in worlds:
        world.save_pretrained(sys.argv[2])
"""


@pytest.mark.slow
def test_killed_saves_leave_a_whole_bundle(bundle: Path, tmp_path: Path) -> None:
    digests = {World.from_pretrained(bundle).digest, digest_of(new_world(), tmp_path / "new")}
    command = [sys.executable, "-c", SAVE_AGAIN_AND_AGAIN, str(Path(__file__).parent), str(bundle)]
    for seed in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.Random(seed).uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert World.from_pretrained(bundle).digest in digests
        check_others_are_there(bundle)


def test_a_card_needs_no_facts() -> None:
    bare = card.card(replace(old_world(), facts={}), recorded_scores())
    assert "Trained on some frames" in bare


def test_a_card_states_what_training_measured() -> None:
    errors = {"heads_on_held_out_real_frames": {"x_px": None, "y_px": 0.25}}
    world = replace(old_world(), facts={**errors, "training_frames": 5000})
    text = card.card(world, recorded_scores())
    assert "Trained on 5,000 frames" in text
    assert "| x_px | - |" in text
    assert "| y_px | 0.250 |" in text
