"""A bundle names the generator of its phrases, and lists only those whose embeddings it carries."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import make_tiny_world
from support.bundles import read_content, write_content

from streamdit_gym import phrase_generators
from streamdit_gym.actions import Menu
from streamdit_gym.bundle.files import update_facts
from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.errors import BundleError
from streamdit_gym.phrase_generators import register_phrases
from streamdit_gym.world import SHIPPED, World, shipped_worlds

PUSHT = "streamdit_gym.envs.pusht.definition:SPEC"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_tiny_world().save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def generators(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A copy of the known generators, to change."""
    known = dict(phrase_generators._GENERATORS)
    monkeypatch.setattr(phrase_generators, "_GENERATORS", known)
    return known


def test_a_spec_names_its_generator_and_comes_back_with_all_phrases(bundle: Path) -> None:
    stored = read_content(bundle)["spec"]
    assert stored["phrases"] == {"generator": "PushT", "version": 1}
    assert "also" not in stored
    carried = read_content(bundle)["phrases"]
    assert [text for phrases in stored["menu"] for text in phrases] == carried
    assert World.from_pretrained(bundle).spec == SPEC


def test_a_spec_with_phrases_of_its_own_lists_them(tmp_path: Path) -> None:
    world = make_tiny_world()
    menu = tuple(phrases[:3] for phrases in world.spec.menu)
    other = replace(world, spec=replace(world.spec, actions=Menu(*menu)))
    other.save_pretrained(tmp_path)
    assert "phrases" not in read_content(tmp_path)["spec"]
    assert World.from_pretrained(tmp_path).spec == other.spec


def test_an_older_bundle_that_lists_all_phrases_is_the_same_bundle(bundle: Path) -> None:
    content = read_content(bundle)
    spec = content["spec"]
    del spec["phrases"]
    spec["menu"] = [list(phrases) for phrases in SPEC.menu]
    spec["also"] = []
    (bundle / "config.json").write_text(json.dumps(content))  # with the digest as it was
    world = World.from_pretrained(bundle)
    assert world.spec == SPEC
    update_facts(bundle, world.facts)
    assert "phrases" in read_content(bundle)["spec"]
    assert World.from_pretrained(bundle).digest == world.digest


@pytest.mark.parametrize("known", [False, True], ids=["no generator", "another version"])
def test_without_its_generator_a_world_keeps_the_phrases_that_it_carries(
    bundle: Path, generators: dict[str, Any], known: bool
) -> None:
    digest = World.from_pretrained(bundle).digest
    if known:
        register_phrases("PushT", version=2, location=PUSHT)
    else:
        generators.clear()
    world = World.from_pretrained(bundle)
    assert [len(phrases) for phrases in world.spec.menu] == [2] * 9
    assert world.digest == digest


def test_phrases_that_changed_without_a_new_version_are_noticed(
    bundle: Path, generators: dict[str, Any]
) -> None:
    register_phrases("PushT", version=1, location="streamdit_gym.envs.pusht_looks.definition:SPEC")
    with pytest.raises(BundleError, match="damaged"):
        World.from_pretrained(bundle)


@pytest.mark.parametrize(
    "entry", [None, "PushT", {"generator": "PushT"}, {"generator": "PushT", "version": -1}]
)
def test_an_entry_that_names_no_generator_is_refused(bundle: Path, entry: Any) -> None:
    content = read_content(bundle)
    content["spec"]["phrases"] = entry
    write_content(bundle, content)
    with pytest.raises(BundleError, match=r"spec\.phrases"):
        World.from_pretrained(bundle)


@pytest.mark.parametrize("name", shipped_worlds())
def test_a_shipped_configuration_is_small(name: str) -> None:
    assert (SHIPPED / name / "config.json").stat().st_size < 64 * 1024
