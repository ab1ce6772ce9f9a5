"""Fine-tuning an open model: what is learned, what is written, and what is refused."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from support.kills import survive_often
from support.open_training import SKYREELS, loss_curve, settings, write_data, write_model
from support.recordings import write_lerobot
from support.tiny_wan import diffusers, make_backbone, make_transformer

from streamdit_gym.actions import Menu, SpokenBox
from streamdit_gym.cli.main import main
from streamdit_gym.errors import (
    ArgumentError,
    BundleError,
    DatasetError,
    MissingExtraError,
    ShapeError,
)
from streamdit_gym.open_training import open_run
from streamdit_gym.open_training.flow_trainer import FlowTrainer
from streamdit_gym.open_training.latent_store import stored_clips
from streamdit_gym.open_training.open_batches import OpenBatches, Sentences
from streamdit_gym.open_training.open_clips import spoken
from streamdit_gym.open_training.open_run import finetune_open_model
from streamdit_gym.open_training.trained_weights import prepare_weights
from streamdit_gym.open_training.training_cost import FEED_FORWARD_BYTES, WIDTH_BYTES, Sizes
from streamdit_gym.open_weights.load_open_model import OpenSettings, load_open_model
from streamdit_gym.open_weights.open_streams import OpenStreams
from streamdit_gym.open_weights.trained_folder import ADAPTER_WEIGHTS, RECORD, read_record
from streamdit_gym.open_weights.wan_folder import find_wan_folder
from streamdit_gym.open_weights.wan_parts import load_transformer
from streamdit_gym.stream.partition import Partition

pytest.importorskip("peft", reason="needs the extra open")
STREAM = OpenSettings(
    frame_size=(32, 48),
    partition="K1N2c1s1",
    clip_steps=2,
    dtype="float32",
    device="cpu",
    idle="a cat",
    negative_prompt="rain",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    diffusers()
    return write_model(tmp_path_factory.mktemp("wan") / "base")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def finetuned(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of sixty steps."""
    out = tmp_path_factory.mktemp("finetuned") / "run"
    long = settings(steps=60, learning_rate=1e-2, clips=4, clips_at_once=4)
    assert finetune_open_model(str(model), data, out, long, "cpu") == out / "model"
    return out


def adapter_of(run: Path) -> Path:
    return run / "model" / ADAPTER_WEIGHTS


def outputs(transformer: Any) -> torch.Tensor:
    """Return what a transformer makes of some latents."""
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(1, 16, 3, 4, 6, generator=generator)
    text = torch.randn(1, 8, 32, generator=generator)
    times = torch.tensor([[20.0, 500.0, 900.0]])
    with torch.no_grad():
        return transformer(latents, times, text, enable_diffusion_forcing=True, return_dict=False)[
            0
        ]


def test_the_loss_falls(finetuned: Path) -> None:
    losses = list(loss_curve(finetuned).values())
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])


def test_a_loaded_adapter_is_the_trained_model(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    write = open_run.write_trained

    def keep(target: Path, learned: Any, transformer: Any, *rest: Any) -> None:
        trained.append(transformer)
        write(target, learned, transformer, *rest)

    monkeypatch.setattr(open_run, "write_trained", keep)
    result = finetune_open_model(str(model), data, tmp_path / "run", settings(), "cpu")
    loaded = load_transformer(find_wan_folder(str(result)), "float32")
    base = load_transformer(find_wan_folder(str(model)), "float32")
    expected = outputs(trained[0].eval())
    torch.testing.assert_close(outputs(loaded), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(outputs(base), expected, atol=1e-3)
    named = find_wan_folder(str(model)).with_adapter(tmp_path / "run" / "model")
    torch.testing.assert_close(outputs(load_transformer(named, "float32")), outputs(loaded))


def test_all_weights_are_written_as_a_model(model: Path, data: Path, tmp_path: Path) -> None:
    changes = {"weights": "full", "average_decay": 0.5, "learning_rate": 1e-3}
    result = finetune_open_model(str(model), data, tmp_path / "run", settings(**changes), "cpu")
    assert result is not None
    folder = find_wan_folder(str(result))
    assert folder.adapters == ()
    assert folder.record is not None
    assert folder.weights != find_wan_folder(str(model)).weights
    base = load_transformer(find_wan_folder(str(model)), "float32")
    assert not torch.allclose(outputs(load_transformer(folder, "float32")), outputs(base))
    assert OpenStreams(load_open_model(str(result), STREAM)).start(["a cat"], [1]).any()


def test_what_was_trained_streams_as_its_base_does(finetuned: Path, model: Path) -> None:
    by_name = load_open_model(f"wan:{finetuned / 'model'}", STREAM)
    adapter = OpenSettings(**{**vars(STREAM), "adapter": str(finetuned / "model")})
    by_setting = load_open_model(str(model), adapter)
    base = load_open_model(str(model), STREAM)
    first, second, other = (
        OpenStreams(each).start(["a cat runs"], [1]) for each in (by_name, by_setting, base)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_it_is_trained_on_again(finetuned: Path, data: Path, tmp_path: Path) -> None:
    again = settings(seed=1, steps=2)
    result = finetune_open_model(str(finetuned / "model"), data, tmp_path / "run", again, "cpu")
    assert result is not None
    folder = find_wan_folder(str(result))
    assert [adapter.parent.name for adapter in folder.adapters] == ["run", "run"]
    load_transformer(folder, "float32")


def test_the_batch_may_be_cut_into_pieces(model: Path, data: Path, tmp_path: Path) -> None:
    curves = []
    for at_once in (1, 4):
        out = tmp_path / str(at_once)
        pieces = settings(steps=4, clips=4, clips_at_once=at_once)
        finetune_open_model(str(model), data, out, pieces, "cpu")
        curves.append(list(loss_curve(out).values()))
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)


def command_line(model: Path, data: Path, out: Path, *more: str) -> list[str]:
    words = ["finetune", f"wan:{model}", "--data", str(data), "--out", str(out), "--set"]
    sizes = ["frame_size=32,48", "partitions=K1N2c1s1,K0N1c3s2", "rank=4", "clips=2", "warmup=1"]
    return [*words, *sizes, "learning_rate=3e-3", "negative_prompt=rain", "device=cpu", *more]


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_losses(model: Path, data: Path, tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        program = [sys.executable, "-m", "streamdit_gym"]
        return [*program, *command_line(model, data, out, "steps=40", "checkpoint_minutes=0")]

    runs = list(survive_often(command, tmp_path))
    curves = [loss_curve(run) for run in runs]
    assert sorted(curves[0]) == list(range(40))
    assert all(curve == curves[0] for curve in curves[1:])
    first, *others = (safetensors.torch.load_file(adapter_of(run)) for run in runs)
    for weights in others:
        assert all(torch.equal(weights[key], first[key]) for key in first)


def test_the_command_says_what_it_takes_and_how_to_go_on(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(command_line(model, data, out, "steps=3", "minutes=0")) == 0
    printed = capsys.readouterr().out
    assert "GiB on cpu" in printed
    assert "GPU hours" in printed
    assert "the same command goes on" in printed
    assert main(command_line(model, data, out, "steps=3")) == 0
    printed = capsys.readouterr().out
    assert f"play wan:{out / 'model'} --set frame_size=32,48" in printed
    assert main(command_line(model, data, out, "steps=3", "scene=a lake")) == 2
    assert "another training is in this run folder" in capsys.readouterr().err
    assert main(["finetune", "PushT", "--data", str(data)]) == 2
    assert "wan:FOLDER" in capsys.readouterr().err


def test_an_adapter_of_another_base_is_refused(finetuned: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other")
    weights = other / "transformer" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-8:] = bytes(8)  # a tensor's first bytes, or those of another of the same sizes
    length = int.from_bytes(content[:8], "little")
    content[8 + length] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(BundleError, match="an adapter of another base"):
        load_open_model(
            str(other), OpenSettings(frame_size=(32, 48), adapter=str(finetuned / "model"))
        )
    with pytest.raises(BundleError, match="no adapter here"):
        load_open_model(str(other), OpenSettings(frame_size=(32, 48), adapter=str(tmp_path)))


def test_a_record_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"format": 2}')
    with pytest.raises(BundleError, match="format 2"):
        read_record(tmp_path)


def test_data_that_cannot_be_trained_on_are_refused(
    model: Path, data: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match="no recordings here"):
        finetune_open_model(str(model), empty, tmp_path / "a", settings(), "cpu")
    long = settings(partitions=("K5N8c2s1",))
    with pytest.raises(DatasetError, match="too short for this partition"):
        finetune_open_model(str(model), data, tmp_path / "b", long, "cpu")
    with pytest.raises(ShapeError, match="whole tokens"):
        finetune_open_model(str(model), data, tmp_path / "c", settings(frame_size=(33, 48)), "cpu")
    with pytest.raises(ArgumentError, match="cannot be shared out"):
        finetune_open_model(
            str(model), data, tmp_path / "d", settings(clips=3, clips_at_once=2), "cpu"
        )


def test_without_peft_it_says_what_to_install(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match="needs the package 'peft'"):
        finetune_open_model(str(model), data, tmp_path / "run", settings(), "cpu")
    assert not (tmp_path / "run").exists()


def test_latents_are_computed_once(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    finetune_open_model(str(model), data, out, settings(minutes=0.0), "cpu")

    def fail(*_: Any) -> None:
        raise AssertionError("it is encoded already")

    monkeypatch.setattr("streamdit_gym.open_weights.wan_codec.WanCodec.encode", fail)
    monkeypatch.setattr(open_run, "load_text_encoder", fail)
    finetune_open_model(str(model), data, out, settings(minutes=0.0), "cpu")
    latents = out / "latents" / "00001.safetensors"
    latents.write_bytes(latents.read_bytes()[:50])  # one that is cut is encoded anew
    with pytest.raises(AssertionError, match="encoded already"):
        finetune_open_model(str(model), data, out, settings(minutes=0.0), "cpu")


def test_actions_become_a_sentence_for_every_latent() -> None:
    box = SpokenBox(arm=("left", "still", "right"))
    values = np.array([-1, -1, -1, -0.8, 0, 0, 0.2, -0.2], dtype=np.float32)[:, None]
    assert spoken(box, values, "a table") == [
        "a table: arm left",
        "a table: arm left",
        "a table: arm still",
    ]
    menu = Menu(("wait", "do nothing"), "go")
    assert spoken(menu, np.array([0, 1, 1, 1]), "") == ["go", "go"]


class OneClip:
    """A clip of numbers."""

    sentences = ("a", "a", "b", "b", "b")

    def __len__(self) -> int:
        return len(self.sentences)

    def latents(self, start: int, count: int) -> torch.Tensor:
        return torch.arange(start, start + count).float()[:, None, None, None].expand(-1, 16, 4, 6)


def one_clip(prompt_dropout: float = 0.0) -> OpenBatches:
    texts = {"a": torch.ones(2, 32), "b": torch.zeros(3, 32)}
    clips: Any = [OneClip()]
    return OpenBatches(clips, Sentences.of(texts, 8), 0, prompt_dropout)


def test_every_chunk_has_a_time_in_its_own_segment() -> None:
    backbone = make_backbone(SKYREELS, time_shift=8.0)
    partition = Partition.parse("K1N2c2s1")
    trainer = FlowTrainer(backbone, one_clip(), settings(), "cpu", ((partition, 1.0),))
    batch = trainer.batches.batch(0, range(64), 5)
    times = trainer.times(batch, partition)
    middle = 1 - 8 * 0.5 / (1 + 7 * 0.5)  # half of the equal steps, bent
    assert (times[:, 0] == times[:, 1]).all()
    assert (times[:, :2] >= middle).all()
    assert (times[:, 2:] <= middle).all()
    assert times[:, :2].std() > 0.05


def test_clips_depend_on_step_and_number_alone() -> None:
    batches = one_clip()
    whole = batches.batch(3, range(4), 3)
    part = batches.batch(3, range(2, 4), 3)
    assert torch.equal(whole.noise[2:], part.noise)
    assert torch.equal(whole.latents[2:], part.latents)
    assert not torch.equal(batches.batch(4, range(4), 3).noise, whole.noise)


def test_a_dropped_prompt_is_the_negative_one() -> None:
    batch = one_clip(prompt_dropout=1.0).batch(0, range(2), 3)
    assert (batch.rows == -1).all()
    kept = one_clip().batch(0, range(2), 5)
    conditioning = one_clip().sentences.conditioning(
        torch.cat([batch.rows, kept.rows[:, :3]]), "cpu"
    )
    assert (conditioning.index[:2] == -1).all()
    assert conditioning.tokens[conditioning.index[2, 0], :2].eq(1).all()


def test_an_adapters_size_is_as_estimated(finetuned: Path, model: Path) -> None:
    stored = safetensors.torch.load_file(adapter_of(finetuned))
    sizes = Sizes.of(find_wan_folder(str(model)), (32, 48))
    assert sum(tensor.numel() for tensor in stored.values()) == sizes.adapter_weights(4)


def kept_bytes(depth: int) -> int:
    """Return what autograd keeps of an evaluation of 768 tokens, without checkpointing."""
    sizes = {"num_attention_heads": 4, "attention_head_dim": 32, "ffn_dim": 256}
    transformer = make_transformer(SKYREELS, **{**sizes, "num_layers": depth})
    prepare_weights(transformer, settings())
    transformer.disable_gradient_checkpointing()
    weights = {weight.untyped_storage().data_ptr() for weight in transformer.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = tensor
        return tensor

    latents = torch.randn(1, 16, 3, 32, 32)
    times = torch.rand(1, 3)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        transformer(latents, times, torch.randn(1, 8, 32), enable_diffusion_forcing=True)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_a_blocks_activations_are_as_estimated() -> None:
    diffusers()
    counted = (kept_bytes(2) - kept_bytes(1)) / 768
    assert counted == pytest.approx(128 * WIDTH_BYTES + 256 * FEED_FORWARD_BYTES, rel=0.3)


def sentences_after(model: Path, data: Path, out: Path, **changes: Any) -> set[str]:
    """Return the sentences of a run's clips."""
    finetune_open_model(str(model), data, out, settings(steps=1, **changes), "cpu")
    parts = sorted((out / "latents").glob("*.safetensors"))
    return {text for clip in stored_clips(out, len(parts)) for text in clip.sentences}


def test_a_robots_recordings_speak_their_actions(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra generate")
    folder = write_lerobot(tmp_path / "lerobot", (24, 30))
    texts = sentences_after(model, folder, tmp_path / "run", scene="a table")
    assert len(texts) > 2
    assert all(text.startswith("a table: shoulder pan ") for text in texts)


def test_a_webdataset_speaks_its_captions(model: Path, data: Path, tmp_path: Path) -> None:
    tars = tmp_path / "tars"
    tars.mkdir()
    with tarfile.open(tars / "0.tar", "w") as tar:
        for number, caption in enumerate(("a cat", "rain falls")):
            (tmp_path / "text").write_text(json.dumps({"caption": caption}))
            tar.add(data / "a.mp4", f"{number}.mp4")
            tar.add(tmp_path / "text", f"{number}.json")
        tar.add(data / "a.mp4", "without caption.mp4")
    texts = sentences_after(model, tars, tmp_path / "run", scene="a lake")
    assert texts == {"a lake: a cat", "a lake: rain falls"}
    (tars / "0.tar").write_bytes(b"no tar")
    with pytest.raises(DatasetError, match="a tar cannot be read"):
        finetune_open_model(str(model), tars, tmp_path / "other", settings(), "cpu")
