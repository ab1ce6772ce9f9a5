"""World bundles: written, read back, and refused when something is wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_tiny_world
from support.bundles import write_content

from streamdit_gym.buffer.partition import Partition
from streamdit_gym.envs.pusht import SPEC
from streamdit_gym.errors import BundleError, PartitionError, UnknownNameError
from streamdit_gym.presets import PRESETS, partition, preset
from streamdit_gym.world import WEIGHTS, World, shipped_worlds


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_tiny_world().save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_world_comes_back_in_half_precision(bundle: Path) -> None:
    world, again = make_tiny_world(), World.from_pretrained(bundle)
    assert again.spec == world.spec
    assert again.table.phrases == world.table.phrases
    for part in ("model", "codec", "heads"):
        for key, value in getattr(again, part).state_dict().items():
            given = getattr(world, part).state_dict()[key]
            assert (value == (given.half().float() if given.is_floating_point() else given)).all(), key
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
    replace(plain, longer=other.model).save_pretrained(tmp_path)
    again = World.from_pretrained(tmp_path)
    assert again.longer is not None
    assert torch.equal(again.longer.embed.weight, other.model.embed.weight.half().float())
    assert torch.equal(again.model.embed.weight, plain.model.embed.weight.half().float())
    for cut, streamed in (("K4N1c1s1", again.model), ("K4N1c4s2", again.model), ("K4N2c1s1", again.longer), ("K2N4c2s1", again.longer)):
        assert again.model_for(Partition.parse(cut)) is streamed
        assert plain.model_for(Partition.parse(cut)) is plain.model
    path = tmp_path / "longer.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BundleError, match=f"cut(.|\n)*{path.name}"):
        World.from_pretrained(tmp_path)
    plain.save_pretrained(tmp_path)
    assert World.from_pretrained(tmp_path).longer is None


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
