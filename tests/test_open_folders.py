"""Open models on disk: what a folder holds and needs, loading it, and what can be wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_wan import diffusers, write_folder

from streamdit_gym.cli.main import main
from streamdit_gym.errors import ArgumentError, BundleError, ShapeError
from streamdit_gym.open_weights import load_open_model as loading
from streamdit_gym.open_weights.load_open_model import OpenSettings, load_open_model, text_encoder
from streamdit_gym.open_weights.open_streams import OpenStreams
from streamdit_gym.open_weights.wan_codec import WanCodec
from streamdit_gym.open_weights.wan_folder import MEMORY_PER_PIXEL, find_wan_folder, needs_of

SMALL = OpenSettings(
    frame_size=(32, 48),
    partition="K2N2c1s1",
    clip_steps=2,
    guidance=3.0,
    dtype="float32",
    device="cpu",
    idle="a cat",
    negative_prompt="rain",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    diffusers()
    return write_folder(tmp_path_factory.mktemp("wan"))


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("kind", ["WanTransformer3DModel", "SkyReelsV2Transformer3DModel"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_folder_is_loaded_and_streams(kind: str, dtype: str, tmp_path: Path) -> None:
    diffusers()
    settings = replace(SMALL, dtype=dtype)
    model = load_open_model(f"wan:{write_folder(tmp_path, kind)}", settings)
    assert model.backbone.config.reference_time == (1.0 if kind.startswith("Wan") else 0.98)
    assert model.backbone.time_shift == (3.0 if kind.startswith("Wan") else 8.0)
    streams = OpenStreams(model)
    assert streams.start(["a cat runs"], [1]).shape == (1, 9, 32, 48, 3)
    assert streams.step(["fire burns"]).shape == (1, 4, 32, 48, 3)


def test_sentences_are_embedded_as_wans_pipeline_embeds_them(folder: Path) -> None:
    package = diffusers()
    parts = loading.load_parts(find_wan_folder(str(folder)), "cpu", "float32")
    pipeline = package.WanPipeline(**parts, scheduler=package.FlowMatchEulerDiscreteScheduler())
    texts = ["a cat runs", "rain  falls"]
    theirs = pipeline._get_t5_prompt_embeds(texts, max_sequence_length=16)
    for row, tokens in zip(theirs, text_encoder(*encoder_of(parts))(texts), strict=True):
        torch.testing.assert_close(tokens, row[: len(tokens)].float())
        assert not row[len(tokens) :].any()


def encoder_of(parts: dict[str, Any]) -> tuple[Any, Any]:
    return parts["text_encoder"], parts["tokenizer"]


def test_what_a_model_needs_grows_with_frames_and_weights(folder: Path) -> None:
    model = find_wan_folder(str(folder))
    small = needs_of(model, (32, 48), 4, "bfloat16")
    assert small.tokens == 4 * 2 * 3
    twice = needs_of(model, (64, 48), 4, "bfloat16")
    assert twice.tokens == 2 * small.tokens
    assert twice.device_bytes > small.device_bytes
    weights = sum(
        parameter.numel()
        for part in ("transformer", "vae")
        for parameter in loading.load_parts(model, "cpu", "float32")[part].parameters()
    )
    token_bytes = 2 * (10 * 24 + 32)
    memory_bytes = 2 * 2 * 32 * 48 * 24.7 * 3
    expected = 2 * weights + small.tokens * token_bytes + memory_bytes
    assert small.device_bytes == pytest.approx(expected, abs=1)


def test_text_encoder_and_model_share_the_memory_of_a_cpu(folder: Path) -> None:
    needs = needs_of(find_wan_folder(str(folder)), (32, 48), 4, "bfloat16")
    both = needs.device_bytes + needs.host_bytes
    assert needs.fit("cpu", both, both)
    assert not needs.fit("cpu", both - 1, both - 1)
    assert needs.fit("cuda", needs.device_bytes, needs.host_bytes)
    assert not needs.fit("cuda", both, needs.host_bytes - 1)


def test_what_the_decoder_remembers_is_as_much_as_is_counted() -> None:
    autoencoder = diffusers().AutoencoderKLWan(base_dim=4).eval()
    codec = WanCodec(autoencoder)
    memory = codec.new_memory()
    for _ in range(3):
        _, memory = codec.decode(torch.zeros(1, 1, 16, 4, 4), memory)
    numbers = sum(part.numel() for part in memory.features if isinstance(part, torch.Tensor))
    assert numbers / 32**2 == pytest.approx(MEMORY_PER_PIXEL * 4, rel=0.02)


def test_doctor_says_what_fits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "free:" in capsys.readouterr().out
    assert main(["doctor", f"wan:{folder}", "--set", "frame_size=32,48"]) == 0
    printed = capsys.readouterr().out
    assert "WanTransformer3DModel" in printed
    assert printed.count("fits") == 2


def edit_index(folder: Path, part: str, kind: Any) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    index[part] = kind
    (folder / "model_index.json").write_text(json.dumps(index))


def edit_config(folder: Path, part: str, name: str, value: Any) -> None:
    path = folder / part / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))


def shard_index(folder: Path) -> None:
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("part-1.safetensors"))
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    weights.with_name(weights.name + ".index.json").write_text(json.dumps(index))


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another family": (
        lambda folder: edit_index(folder, "transformer", ["diffusers", "LTXVideo"]),
        "another family",
    ),
    "no autoencoder": (lambda folder: edit_index(folder, "vae", None), "another family"),
    "a foreign autoencoder": (lambda folder: edit_config(folder, "vae", "z_dim", 48), "do not fit"),
    "image channels": (
        lambda folder: edit_config(folder, "transformer", "in_channels", 36),
        "do not fit",
    ),
    "a foreign text encoder": (
        lambda folder: edit_config(folder, "text_encoder", "d_model", 64),
        "do not fit",
    ),
    "no index": (lambda folder: (folder / "model_index.json").unlink(), "is missing"),
    "no weights": (
        lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink(),
        "is missing",
    ),
    "a missing shard": (shard_index, "1 of 2 files"),
    "no tokenizer": (lambda folder: shutil.rmtree(folder / "tokenizer"), "is missing"),
    "two transformers": (
        lambda folder: edit_index(folder, "transformer_2", ["diffusers", "WanTransformer3DModel"]),
        "another generation",
    ),
    "an autoencoder of patches": (
        lambda folder: edit_config(folder, "vae", "patch_size", 2),
        "another generation",
    ),
    "no JSON": (
        lambda folder: (folder / "vae" / "config.json").write_text("{"),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_is_told_before_anything_is_loaded(
    name: str, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, message = BROKEN[name]
    change(copied)
    monkeypatch.setattr(loading, "load_parts", lambda *_: pytest.fail("something is loaded"))
    with pytest.raises(BundleError, match=message):
        load_open_model(str(copied), SMALL)


@pytest.mark.parametrize("command", [["play"], ["generate", "--set", "prompt=a cat"]])
@pytest.mark.parametrize(
    ("name", "message"),
    [("another family", "another family"), ("a missing shard", "1 of 2 files")],
)
def test_commands_tell_of_a_broken_folder(
    command: list[str],
    name: str,
    message: str,
    copied: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    BROKEN[name][0](copied)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load_parts", lambda *_: pytest.fail("something is loaded"))
    assert main([command[0], f"wan:{copied}", *command[1:]]) == 2
    assert message in capsys.readouterr().err


def test_too_little_memory_and_wrong_sizes_are_told_before_anything_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load_parts", lambda *_: pytest.fail("something is loaded"))
    with pytest.raises(ShapeError, match="no whole tokens"):
        load_open_model(str(folder), OpenSettings(frame_size=(40, 48), device="cpu"))
    monkeypatch.setattr(loading, "free_memory", lambda _: 1000)
    with pytest.raises(ArgumentError, match="more memory than there is"):
        load_open_model(str(folder), SMALL)
    wrong: dict[str, Any] = {"clip_steps": 0, "time_shift": 0.0, "frame_size": (0, 8)}
    for name, value in wrong.items():
        with pytest.raises(ArgumentError, match=name):
            OpenSettings(**{name: value})


def test_a_name_that_is_neither_folder_nor_hub_id_is_told() -> None:
    for name in ("wan:/nowhere", "./nowhere", "wan:one"):
        with pytest.raises(BundleError, match="no open model here"):
            find_wan_folder(name)
