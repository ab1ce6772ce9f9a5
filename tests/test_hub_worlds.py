"""Worlds on the Hub: pushed, taken at a revision, pinned by their digest. No network is asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_tiny_world

pytest.importorskip("huggingface_hub")

from support.hub import LocalHub, local_hub

import streamdit_gym.world
import streamdit_gym.world_folders
from streamdit_gym import registry
from streamdit_gym.bundle.config import content_digest, file_names
from streamdit_gym.cli import main
from streamdit_gym.envs.pusht.world import WORLD as PUSHT
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import (
    ArgumentError,
    BundleError,
    DefinitionError,
    StorageError,
    UnknownNameError,
)
from streamdit_gym.registry import register_world
from streamdit_gym.world import World

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "somebody/tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    return local_hub(tmp_path / "cache", monkeypatch)


def other_world() -> World:
    world = make_tiny_world()
    with torch.no_grad():
        world.model.embed.weight += 1
    return world


def push(world: World, folder: Path) -> str:
    """Push a world and return its digest."""
    world.push_to_hub(REPOSITORY, folder=folder)
    return World.from_pretrained(folder).digest


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where weights are read."""

    def fail(*_: Any) -> None:
        pytest.fail("weights are read")

    monkeypatch.setattr(streamdit_gym.world, "read_network", fail)
    monkeypatch.setattr(streamdit_gym.world, "read_tensors", fail)


def test_a_pushed_world_comes_back_and_nothing_else_goes(hub: LocalHub, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "README.md").write_text("a card")
    (folder / "diary.txt").write_text("private")
    (folder / "agents").mkdir()
    (folder / "agents" / "agent.zip").write_text("a program")
    world = make_tiny_world()
    address = world.push_to_hub(REPOSITORY, folder=folder, private=True)
    assert REPOSITORY in address
    assert hub.private == {REPOSITORY: True}
    assert set(hub.files(REPOSITORY)) == {"README.md", "config.json", *file_names(longer=False)}
    again = World.from_pretrained(REPOSITORY)
    assert again.digest == World.from_pretrained(folder).digest
    assert torch.equal(again.model.embed.weight, world.model.embed.weight.half().float())


def test_a_file_that_a_world_has_no_more_goes(hub: LocalHub, tmp_path: Path) -> None:
    plain = make_tiny_world()
    push(replace(plain, pipelined_model=other_world().model), tmp_path / "bundle")
    assert "longer.safetensors" in hub.files(REPOSITORY)
    push(plain, tmp_path / "bundle")
    assert "longer.safetensors" not in hub.files(REPOSITORY)
    assert World.from_pretrained(REPOSITORY).pipelined_model is None


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: LocalHub, tmp_path: Path) -> None:
    old = push(make_tiny_world(), tmp_path / "bundle")
    commit = hub.head(REPOSITORY)
    hub.tag(REPOSITORY, "v1", commit)
    new = push(other_world(), tmp_path / "bundle")
    assert old != new
    assert World.from_pretrained(REPOSITORY).digest == new
    assert World.from_pretrained(REPOSITORY, revision="main").digest == new
    for revision in ("v1", commit):
        assert World.from_pretrained(REPOSITORY, revision=revision).digest == old
        assert World.from_pretrained(f"{REPOSITORY}@{revision}").digest == old
        env = StreamDiTVectorEnv(1, world=f"{REPOSITORY}@{revision}")
        env.reset(seed=0)
        env.close()
    assert World.from_pretrained(f"{REPOSITORY}@v1", revision="v1").digest == old
    with pytest.raises(ArgumentError, match="two revisions"):
        World.from_pretrained(f"{REPOSITORY}@v1", revision="main")


@pytest.mark.parametrize("revision", ["v2", "0" * 40])
def test_an_unknown_revision_is_told_with_those_that_there_are(
    hub: LocalHub, tmp_path: Path, revision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    push(make_tiny_world(), tmp_path / "bundle")
    hub.tag(REPOSITORY, "v1", hub.head(REPOSITORY))
    with pytest.raises(UnknownNameError, match="has no such revision") as error:
        World.from_pretrained(REPOSITORY, revision=revision)
    assert error.value.given == repr(revision)
    assert {"main", "v1", hub.head(REPOSITORY)} <= set(error.value.allowed.split(", "))
    assert main(["evaluate", f"{REPOSITORY}@{revision}"]) == 2
    assert "has no such revision" in capsys.readouterr().err


@pytest.mark.usefixtures("hub")
def test_a_world_that_the_hub_does_not_give_is_told_with_its_answer() -> None:
    with pytest.raises(UnknownNameError, match=r"somebody/nothing(.|\n)*Hub answered(.|\n)*disk"):
        World.from_pretrained("somebody/nothing")


def test_half_a_download_is_no_world(hub: LocalHub, tmp_path: Path) -> None:
    push(make_tiny_world(), tmp_path / "bundle")
    (hub.snapshot(REPOSITORY, hub.head(REPOSITORY)) / "codec.safetensors").unlink()
    with pytest.raises((UnknownNameError, BundleError), match=r"codec\.safetensors"):
        World.from_pretrained(REPOSITORY)


def test_a_damaged_blob_is_told(hub: LocalHub, tmp_path: Path) -> None:
    push(make_tiny_world(), tmp_path / "bundle")
    blob = (hub.snapshot(REPOSITORY, hub.head(REPOSITORY)) / "model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(BundleError, match=r"foreign(.|\n)*model\.safetensors"):
        World.from_pretrained(REPOSITORY)


def test_a_world_of_the_right_digest_is_loaded(hub: LocalHub, tmp_path: Path) -> None:
    digest = push(make_tiny_world(), tmp_path / "bundle")
    for name in (REPOSITORY, tmp_path / "bundle"):
        assert World.from_pretrained(name, digest=digest).digest == digest
        assert World.from_pretrained(name, digest=digest.upper()).digest == digest


@pytest.mark.usefixtures("unread")
def test_a_world_of_another_digest_is_refused_before_any_weights_are_read(
    hub: LocalHub, tmp_path: Path
) -> None:
    make_tiny_world().push_to_hub(REPOSITORY, folder=tmp_path / "bundle")
    for name in (REPOSITORY, tmp_path / "bundle", "PushT"):
        with pytest.raises(BundleError, match=r"another one than was asked for(.|\n)*0000"):
            World.from_pretrained(name, digest="0" * 64)
    for digest in ("", "0" * 63, "g" * 64, 5, b"0" * 64):
        with pytest.raises(ArgumentError, match="digest"):
            World.from_pretrained(REPOSITORY, digest=digest)  # type: ignore[arg-type]


def test_exchanged_weights_have_another_digest(hub: LocalHub, tmp_path: Path) -> None:
    """Whoever writes both the weights and all hashes cannot keep the digest."""
    digest = push(make_tiny_world(), tmp_path / "bundle")
    push(other_world(), tmp_path / "other")
    snapshot = hub.snapshot(REPOSITORY, hub.head(REPOSITORY))
    assert World.from_pretrained(REPOSITORY).digest != digest
    with pytest.raises(BundleError, match="another one than was asked for"):
        World.from_pretrained(REPOSITORY, digest=digest)
    config = json.loads((snapshot / "config.json").read_text())
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_text(json.dumps({**config, "digest": digest}))
    with pytest.raises(BundleError, match="is damaged, or was changed by hand"):
        World.from_pretrained(REPOSITORY, digest=digest)


@pytest.mark.usefixtures("unread")
def test_a_digest_that_cannot_be_computed_pins_nothing(tmp_path: Path) -> None:
    """A bundle may name phrases of a generator that is not known here, and any digest with it."""
    make_tiny_world().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["spec"]["phrases"] = {"generator": "Elsewhere", "version": 1}
    digest = content_digest({**config, "spec": {"name": "what was asked for"}})
    (tmp_path / "config.json").write_text(json.dumps({**config, "digest": digest}))
    with pytest.raises(BundleError, match="cannot be checked"):
        World.from_pretrained(tmp_path, digest=digest)


def test_a_definition_pins_its_weights(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_WORLDS", dict(registry._WORLDS))
    digest = push(make_tiny_world(), tmp_path / "bundle")
    hub.tag(REPOSITORY, "v1", hub.head(REPOSITORY))
    definition = replace(
        PUSHT, name="Pinned", weights=f"{REPOSITORY}@v1", weights_digest=digest, starts={"any": 1.0}
    )
    register_world(definition)
    push(other_world(), tmp_path / "bundle")
    assert World.from_pretrained("Pinned").digest == digest
    register_world(replace(definition, weights=REPOSITORY))
    with pytest.raises(BundleError, match="another one than was asked for"):
        World.from_pretrained("Pinned")
    with pytest.raises(BundleError, match="another one than was asked for"):
        StreamDiTVectorEnv(1, world="Pinned")
    for wrong in ({"weights_digest": "5"}, {"weights": None}):
        with pytest.raises(DefinitionError, match="digest"):
            register_world(replace(definition, **wrong))


def test_a_folder_of_its_name_does_not_pass_for_a_pinned_world(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_WORLDS", dict(registry._WORLDS))
    digest = push(make_tiny_world(), tmp_path / "bundle")
    register_world(replace(PUSHT, name="Pinned", weights=REPOSITORY, weights_digest=digest))
    monkeypatch.chdir(tmp_path)
    other_world().save_pretrained("Pinned")
    with pytest.raises(BundleError, match="another one than was asked for"):
        World.from_pretrained("Pinned")
    assert World.from_pretrained(Path("Pinned")).digest != digest, "whoever says so gets it"
    shutil.rmtree("Pinned")
    assert World.from_pretrained("Pinned").digest == digest


def test_a_shipped_world_may_move_to_the_hub(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package then holds a repository and a digest, and no weights."""
    digest = push(make_tiny_world(), tmp_path / "bundle")
    hub.tag(REPOSITORY, "v1", hub.head(REPOSITORY))
    moved = replace(PUSHT, weights=f"{REPOSITORY}@v1", weights_digest=digest)
    monkeypatch.setattr(registry, "_WORLDS", {**registry._WORLDS, "PushT": moved})
    assert World.from_pretrained("PushT").digest != digest, "the package's own comes first"
    (tmp_path / "no worlds").mkdir()
    monkeypatch.setattr(streamdit_gym.world_folders, "SHIPPED", tmp_path / "no worlds")
    monkeypatch.chdir(tmp_path)
    assert World.from_pretrained("PushT").digest == digest


@pytest.mark.parametrize("repository", ["tiny", "a/b/c", "", "somebody/tiny@v1", 5, None], ids=repr)
@pytest.mark.usefixtures("hub")
def test_what_is_no_repository_is_refused_before_anything_is_written(
    repository: Any, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError):
        make_tiny_world().push_to_hub(repository, folder=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_hub_that_takes_nothing_leaves_the_bundle(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("401 Unauthorized")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(StorageError, match=r"401 Unauthorized(.|\n)*hf auth login"):
        make_tiny_world().push_to_hub(REPOSITORY, folder=tmp_path / "bundle")
    World.from_pretrained(tmp_path / "bundle")


@pytest.mark.slow
def test_another_process_reads_the_cache_offline(hub: LocalHub, tmp_path: Path) -> None:
    """With the Hub's own environment variables, and a network that refuses everything."""
    digest = push(make_tiny_world(), tmp_path / "bundle")
    code = f"""
import socket
def refuse(*_): raise AssertionError("the network is asked")
socket.socket.connect = refuse
from streamdit_gym import World
print(World.from_pretrained({REPOSITORY!r}, revision="main", digest={digest!r}).digest)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(hub.cache)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.stdout.strip() == digest, result.stderr
