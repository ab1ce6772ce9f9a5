"""World bundles: written, read back, and refused when something is wrong."""

from __future__ import annotations

import json
import shutil
import sys
import types
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_tiny_world
from support.bundles import write_content

from streamdit_gym.bundle.config import file_names
from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.errors import ArgumentError, BundleError, PartitionError, UnknownNameError
from streamdit_gym.presets import PRESETS, partition, preset
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.world import SHIPPED, WEIGHTS, World, find_world, shipped_worlds


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_tiny_world().save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_world_comes_back_in_half_precision(bundle: Path) -> None:
    world, again = make_tiny_world(), World.from_pretrained(bundle)
    assert again.spec == world.spec
    assert again.table.phrases == world.table.phrases
    for part in ("model", "codec", "readout"):
        for key, value in getattr(again, part).state_dict().items():
            given = getattr(world, part).state_dict()[key]
            assert (
                value == (given.half().float() if given.is_floating_point() else given)
            ).all(), key
    assert again.facts == world.facts


@pytest.mark.parametrize("part", WEIGHTS)
def test_missing_cut_and_foreign_files_are_named(bundle: Path, part: str) -> None:
    path = bundle / f"{part}.safetensors"
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(BundleError, match=f"missing(.|\n)*{path.name}"):
        World.from_pretrained(bundle)
    path.write_bytes(content[:-10])
    with pytest.raises(BundleError, match=f"cut(.|\n)*{path.name}"):
        World.from_pretrained(bundle)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=f"foreign(.|\n)*{path.name}"):
        World.from_pretrained(bundle)


def test_a_world_may_hold_another_transformer_for_longer_buffers(tmp_path: Path) -> None:
    plain, other = make_tiny_world(), make_tiny_world()
    with torch.no_grad():
        other.model.embed.weight += 1
    replace(plain, pipelined_model=other.model).save_pretrained(tmp_path)
    again = World.from_pretrained(tmp_path)
    assert again.pipelined_model is not None
    assert torch.equal(again.pipelined_model.embed.weight, other.model.embed.weight.half().float())
    assert torch.equal(again.model.embed.weight, plain.model.embed.weight.half().float())
    for cut, streamed in (
        ("K4N1c1s1", again.model),
        ("K4N1c4s2", again.model),
        ("K4N2c1s1", again.pipelined_model),
        ("K2N4c2s1", again.pipelined_model),
    ):
        assert again.model_for(Partition.parse(cut)) is streamed
        assert plain.model_for(Partition.parse(cut)) is plain.model
    path = tmp_path / "longer.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BundleError, match=f"cut(.|\n)*{path.name}"):
        World.from_pretrained(tmp_path)
    plain.save_pretrained(tmp_path)
    assert World.from_pretrained(tmp_path).pipelined_model is None


def test_a_broken_or_newer_config_is_refused(bundle: Path) -> None:
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(BundleError, match="newer"):
        World.from_pretrained(bundle)
    path.write_text(json.dumps({k: v for k, v in config.items() if k != "heads"}))
    with pytest.raises(BundleError, match=r"lacks a field(.|\n)*heads"):
        World.from_pretrained(bundle)
    write_content(bundle, {**config, "model": {**config["model"], "depth": 5}})
    with pytest.raises(BundleError, match="weights do not fit"):
        World.from_pretrained(bundle)
    path.write_text(json.dumps({**config, "model": {**config["model"], "novelty": 5}}))
    with pytest.raises(BundleError, match="novelty"):
        World.from_pretrained(bundle)
    path.write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        World.from_pretrained(bundle)
    shutil.rmtree(bundle)
    bundle.mkdir()
    with pytest.raises(BundleError, match="not a world bundle"):
        World.from_pretrained(bundle)


@pytest.mark.parametrize(
    "name",
    [None, 5, b"PushT", "", "  ", "Push\0T", "\ud800", "x" * 5000, ["PushT"], True],
    ids=repr,
)
def test_what_is_no_name_of_a_world_is_refused(name: Any) -> None:
    with pytest.raises(ArgumentError, match=r"allowed:(.|\n)*remedy:"):
        World.from_pretrained(name)


@pytest.mark.parametrize(
    "name", ["no such folder", "../no", "a/b/c", "/no/such", "x" * 300, "a/../b", "user/"]
)
def test_a_name_that_is_nowhere_is_refused_without_asking_the_hub(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises((UnknownNameError, BundleError)):
        World.from_pretrained(name)


def test_a_file_is_no_world(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"config\.json, a file(.|\n)*give its folder"):
        World.from_pretrained(bundle / "config.json")


def test_a_shipped_name_means_the_shipped_world_and_a_path_the_folder(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle.parent)
    bundle.rename(bundle.parent / "PushT")
    assert find_world("PushT") == SHIPPED / "PushT"
    for folder in (Path("PushT"), "./PushT", str(bundle.parent / "PushT")):
        assert find_world(folder).resolve() == bundle.parent / "PushT"
    (bundle.parent / "other").mkdir()
    monkeypatch.chdir(bundle.parent / "other")
    assert find_world(Path("PushT")) == SHIPPED / "PushT"


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", "meta", None, 0, "cpu:x"], ids=repr)
def test_a_device_that_is_not_there_is_refused(bundle: Path, device: Any) -> None:
    with pytest.raises((ArgumentError, UnknownNameError), match=r"device(.|\n)*allowed:"):
        World.from_pretrained(bundle, device=device)


@pytest.mark.parametrize("revision", [5, "", b"main", "main"], ids=repr)
def test_only_the_hub_has_revisions(bundle: Path, revision: Any) -> None:
    with pytest.raises(ArgumentError, match="revision"):
        World.from_pretrained(bundle, revision=revision)


def test_of_a_hub_repository_only_the_bundle_s_files_come(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repository holds code and pickles, too: they are never asked for."""
    repository = bundle.parent / "hub"
    shutil.copytree(bundle, repository)
    (repository / "agents" / "reach").mkdir(parents=True)
    for name in (
        "agents/reach/agent.zip",
        "code.py",
        "config.json.py",
        "other.safetensors",
        "README.md",
        "sub/config.json",
    ):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("x")
    asked = {}

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        """Copy what the real one would download: `fnmatch` of whole paths."""
        asked.update(name=name, revision=revision)
        local = bundle.parent / "snapshot"
        for path in repository.rglob("*"):
            where = path.relative_to(repository)
            if path.is_file() and any(fnmatch(str(where), pattern) for pattern in allow_patterns):
                (local / where).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, local / where)
        return str(local)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    world = World.from_pretrained("user/world", revision="v1")
    assert world.digest == World.from_pretrained(bundle).digest
    assert asked == {"name": "user/world", "revision": "v1"}
    come = {
        str(path.relative_to(bundle.parent / "snapshot"))
        for path in (bundle.parent / "snapshot").rglob("*")
    }
    assert come == {"README.md", "config.json", *file_names(longer=False)}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_torch_s_default_type_changes_nothing(tmp_path: Path, dtype: torch.dtype) -> None:
    world = make_tiny_world()
    world.save_pretrained(tmp_path / "float32")
    torch.set_num_threads(1)
    latents = world.starts.latents[:2, None]
    torch.set_default_dtype(dtype)
    try:
        world.save_pretrained(tmp_path / "other")
        again = World.from_pretrained(tmp_path / "other")
        frames, scores = again.codec.decode(latents), again.readout(latents)
    finally:
        torch.set_default_dtype(torch.float32)
    for name in file_names(longer=False):
        assert (tmp_path / "float32" / name).read_bytes() == (
            tmp_path / "other" / name
        ).read_bytes()
    usual = World.from_pretrained(tmp_path / "float32")
    assert again.digest == usual.digest
    assert torch.equal(frames, usual.codec.decode(latents))
    assert all(map(torch.equal, scores, usual.readout(latents)))
    assert torch.equal(one_tick(again), one_tick(usual))


def one_tick(world: World) -> torch.Tensor:
    engine = Engine(world.model, world.table, partition("reactive"))
    session = engine.start(
        world.starts.latents[:2, None], torch.zeros(2, 1, dtype=torch.long), Noise.seeded([0, 1])
    )
    return engine.tick(session, world.table.rows(["move up", "move left"]))


def test_loading_draws_no_random_numbers(bundle: Path) -> None:
    before = torch.random.get_rng_state()
    World.from_pretrained(bundle)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_unknown_worlds_get_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'PushT'"):
        World.from_pretrained("PushTee")


def test_the_shipped_world_is_whole_small_and_trained() -> None:
    assert "PushT" in shipped_worlds()
    world = World.from_pretrained("PushT")
    folder = Path(__import__("streamdit_gym").__file__).parent / "worlds" / "PushT"
    assert sum(p.stat().st_size for p in folder.iterdir()) < 40e6
    assert (folder / "README.md").is_file()
    assert world.spec == SPEC, "the bundle's tasks and menu are the world file's"
    assert len(world.starts.latents) >= 256
    picture = world.codec.decode(world.starts.latents[:8, None])[:, 0].float()
    blue = (picture[..., 2] - picture[..., 0] > 80).float().sum((1, 2))
    assert (blue > 3).all(), "the pusher survives the codec"


def test_presets_and_partitions_are_found_by_name() -> None:
    assert partition("reactive").latency_frames == 0
    assert partition("pipelined").latency_frames == 3
    assert partition("K2N2c1s3").micro_steps == 3
    with pytest.raises(PartitionError, match="reactive"):
        partition("reactiv")
    with pytest.raises(UnknownNameError, match="did you mean 'tiny'"):
        preset("tinny")


def test_the_large_preset_is_about_four_billion_weights() -> None:
    from streamdit_gym.model.streamdit import StreamDiT

    with torch.device("meta"):
        count = sum(p.numel() for p in StreamDiT(PRESETS["paper-4b"].model).parameters())
    assert 3.5e9 < count < 4.8e9


@pytest.mark.parametrize(
    ("old", "new"), [("heads", "readout"), ("longer", "pipelined_model")], ids=["readout", "model"]
)
def test_an_old_name_of_a_world_s_part_still_works_and_warns(
    tiny_world: World, old: str, new: str
) -> None:
    with pytest.warns(DeprecationWarning, match=f"World.{old} is now World.{new}"):
        part = getattr(tiny_world, old)
    assert part is getattr(tiny_world, new)


def test_a_world_encodes_decodes_and_reads_as_its_networks_do() -> None:
    world = World.from_pretrained("PushT")
    latents = world.starts.latents[:2, None]
    frames = world.decode(latents)
    states, scores = world.read(latents)
    assert torch.equal(frames, world.codec.decode(latents))
    assert torch.equal(world.encode(frames), world.codec.encode(frames))
    assert torch.equal(states, world.readout(latents)[0])
    assert torch.equal(scores, world.readout(latents)[1])
    assert not scores.requires_grad


def test_shipped_worlds_may_share_files_and_others_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    for name in ("One", "Two"):
        make_tiny_world().save_pretrained(shipped / name)
    whole = World.from_pretrained(shipped / "Two")
    (shipped / "Two" / "codec.safetensors").unlink()
    with pytest.raises(BundleError, match=r"(?s)missing.*codec"):
        World.from_pretrained(shipped / "Two")
    monkeypatch.setattr("streamdit_gym.world_folders.SHIPPED", shipped.resolve())
    assert World.from_pretrained(shipped / "Two").digest == whole.digest
    (shipped / "One" / "codec.safetensors").write_bytes(b"foreign")
    with pytest.raises(BundleError, match=r"(?s)missing.*codec"):
        World.from_pretrained(shipped / "Two")
