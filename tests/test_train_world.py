"""Training the rooms around the transformer: codec, heads, and a whole world in slices."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_table, make_tiny_world
from test_train import FAST

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.envs.pusht.definition import SPEC, STARTS
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.envs.pusht_looks.definition import SPEC as LOOKS_SPEC
from streamdit_gym.envs.pusht_looks.simulator import PushTLooksSimulator
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import DatasetError, StreamDiTError
from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.model.readout import Readout, ReadoutConfig
from streamdit_gym.train.latents import LatentEpisodes
from streamdit_gym.train.muon import Muon
from streamdit_gym.train.train_codec import (
    CodecTraining,
    ground,
    inner_convolutions,
    rarity,
    rebuild,
    train_codec,
)
from streamdit_gym.train.train_heads import HeadTraining, head_errors, train_heads
from streamdit_gym.train.train_looks import LooksTraining
from streamdit_gym.train.train_world import WorldTraining, beginnings, train_world
from streamdit_gym.world import World


def test_the_ground_is_the_colour_that_most_of_a_frame_has() -> None:
    frames = torch.full((2, 3, 4, 4), 1.0)
    frames[1] = -0.5
    frames[:, :, :2, :2] = 0.3
    assert ground(frames).flatten().tolist() == [1.0] * 3 + [-0.5] * 3


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("recorded")
    record(SPEC, PushTSimulator, STARTS, folder, RecordConfig(shards=2, episodes=4, steps=16))
    return Dataset(folder)


def test_the_codec_can_learn_frames(recorded: Dataset, tmp_path: Path) -> None:
    episodes = recorded.shard(0).frames
    frames = episodes.reshape(-1, 64, 64, 3)
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1))
    config = CodecTraining(steps=60, batch=15, learning_rate=4e-3)

    def error() -> float:
        with torch.no_grad():
            given = torch.from_numpy(frames[::8])[None]
            return (codec.eval().decode(codec.encode(given)).float() - given).abs().mean().item()

    before = error()
    assert train_codec(codec, episodes, frames, config, tmp_path, "cpu")
    assert error() < 0.3 * before


class Plain(ConvCodec):
    """A codec that does nothing, so that what is done between encoding and decoding can be seen."""

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def test_frames_are_rebuilt_in_threes_told_one_by_one() -> None:
    codec, pixels = Plain(ConvCodecConfig(width=16)), torch.randn(12, 3, 8, 8)
    pixels[..., :5, :] = 0.3  # the ground
    for between in (0.0, 1.0):
        found, bend = rebuild(codec, pixels, CodecTraining(noise=0.0, between=between))
        bends = []
        for i in range(0, 12, 3):
            before, middle, after = pixels[i : i + 3]
            expected = (before + after) / 2 if between else middle
            torch.testing.assert_close(found[i : i + 3], torch.stack([before, expected, after]))
            bends.append((before - 2 * middle + after).square().mean())
        torch.testing.assert_close(bend, torch.stack(bends).mean())


def test_nothing_lies_between_two_palettes() -> None:
    latents = torch.randn(6, 5, 8, 8)
    found, bend = rebuild(
        Plain(ConvCodecConfig(width=16, channels=5, palette_channels=3)),
        latents,
        CodecTraining(noise=0.0, looks_noise=0.0, between=1.0),
    )
    assert torch.equal(found[:, 2:], latents[:, 2:])
    for three in (0, 3):
        torch.testing.assert_close(
            found[three + 1, :2], (latents[three, :2] + latents[three + 2, :2]) / 2
        )
    assert bend > 0


def test_noise_on_a_palette_is_the_same_in_every_cell() -> None:
    latents = torch.zeros(6, 5, 8, 8)
    found, _ = rebuild(
        Plain(ConvCodecConfig(width=16, channels=5, palette_channels=3)),
        latents,
        CodecTraining(between=0.0),
    )
    assert torch.equal(found[:, 2:], found[:, 2:, :1, :1].expand(-1, -1, 8, 8))
    assert (found[:, 2:, 0, 0] != 0).all()
    assert (found[:, :2].std((2, 3)) > 0).all(), "elsewhere each cell has its own"


def test_every_colour_weighs_the_same() -> None:
    pixels = -torch.ones(1, 3, 10, 10)
    pixels[..., :2, :] = 1.0
    pixels[..., 0, 0] = torch.tensor([1.0, -1.0, -1.0])
    weight = rarity(pixels)
    assert weight.mean() == pytest.approx(1.0)
    for colour in (
        pixels[:, :1] < 0,
        (pixels[:, :1] > 0) & (pixels[:, 1:2] > 0),
        (pixels[:, :1] > 0) & (pixels[:, 1:2] < 0),
    ):
        assert weight[colour].sum() == pytest.approx(100 / 3, rel=1e-4)


def test_muon_takes_the_inner_convolutions_as_matrices() -> None:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1))
    inner = inner_convolutions(codec)
    assert len(inner) == 10
    assert all(
        weight.ndim == 4 and 3 not in weight.shape[:2] and 48 not in weight.shape[:2]
        for weight in inner
    )
    assert all(
        weight.shape[0] != codec.channels and weight.shape[1] != codec.channels for weight in inner
    )
    kernel = torch.randn(8, 4, 3, 3)
    as_kernel, as_matrix = (
        torch.nn.Parameter(kernel.clone()),
        torch.nn.Parameter(kernel.flatten(1).clone()),
    )
    for weight in (as_kernel, as_matrix):
        optimizer = Muon([weight], lr=1e-2)
        for step in range(3):
            weight.grad = torch.randn(
                kernel.shape, generator=torch.Generator().manual_seed(step)
            ).view_as(weight)
            optimizer.step()
    torch.testing.assert_close(as_kernel.flatten(1), as_matrix)
    assert not torch.equal(as_kernel, kernel)


def test_the_heads_can_learn_the_state(tmp_path: Path) -> None:
    torch.manual_seed(0)
    latents = torch.randn(8, 16, 8, 8, 8)
    states = latents[:, :, :2].mean((3, 4)) * 30 + 5
    scores = torch.stack([states[..., 0], (states[..., 1] > 5).float()], -1)
    nothing = torch.zeros(8, 16, dtype=torch.long)
    episodes = LatentEpisodes(
        latents=latents.half(), prompts=nothing, states=states, scores=scores, astray=nothing[:, 0]
    )
    heads = Readout(
        ReadoutConfig(width=16, state_names=("x", "y"), score_names=("potential_a", "success_a"))
    )
    before = head_errors(heads, episodes, "cpu")["x_error"]
    assert train_heads(
        heads, episodes, HeadTraining(steps=150, batch=64, noise=0.0), tmp_path, "cpu"
    )
    errors = head_errors(heads, episodes, "cpu")
    assert errors["x_error"] < 0.5 * before
    assert errors["success_a_accuracy"] > 0.75


def test_no_environment_begins_where_a_drill_does() -> None:
    assert beginnings({"episodes": 4, "drilled": 1}, 9) == [0, 1, 2, 4, 5, 6, 8]
    assert beginnings({"episodes": 4}, 9) == list(range(9)), "a data set of before"


class NoEncoder:
    """Random but fixed embeddings: the pipeline does not care which encoder it is."""

    name, width = "random", 384

    def encode(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        table = make_table(texts)
        return table.tokens, table.mask, table.pooled


def test_a_whole_world_is_trained_in_slices(recorded: Dataset, tmp_path: Path) -> None:
    config = WorldTraining(
        preset="tiny",
        codec=CodecTraining(steps=3, batch=4),
        streamdit=replace(FAST, steps=3),
        heads=HeadTraining(steps=3, batch=8),
    )
    assert train_world(SPEC, recorded, NoEncoder, tmp_path, config, "cpu", minutes=0.0) is None, (
        "no time even for the codec"
    )
    assert not (tmp_path / "world").exists()
    with pytest.raises(DatasetError, match="too short episodes"):
        train_world(
            SPEC,
            recorded,
            NoEncoder,
            tmp_path,
            replace(config, streamdit=replace(FAST, clip_frames=17)),
            "cpu",
        )
    world = train_world(SPEC, recorded, NoEncoder, tmp_path, config, "cpu")
    assert world is not None
    again = World.from_pretrained(tmp_path / "world")
    assert again.table.phrases[0] == "stay"
    assert len(again.starts.latents) == 4, "the held-out episodes lend no starts"
    assert again.facts["heads_on_held_out_real_frames"]["success_reach_accuracy"] >= 0
    more = train_world(
        SPEC, recorded, NoEncoder, tmp_path / "more", config, "cpu", continue_from=again
    )
    assert more is not None
    for key, value in again.codec.state_dict().items():
        assert (value == more.codec.state_dict()[key]).all(), "the codec is kept"
    unread = replace(config, heads=HeadTraining(steps=0))
    read = train_world(
        SPEC, recorded, NoEncoder, tmp_path / "read", unread, "cpu", continue_from=again
    )
    assert read is not None
    assert all(
        torch.equal(value, read.readout.state_dict()[key])
        for key, value in again.readout.state_dict().items()
    ), "heads are kept"
    for nothing in ({}, {"continue_from": again}):
        with pytest.raises(StreamDiTError, match="no heads to keep"):
            train_world(
                SPEC,
                recorded,
                NoEncoder,
                tmp_path / "unread",
                replace(unread, adapt_codec=True),
                "cpu",
                **nothing,
            )
    more = train_world(
        SPEC,
        recorded,
        NoEncoder,
        tmp_path / "more",
        replace(config, decoder_steps=3),
        "cpu",
        continue_from=again,
    )
    assert more is not None, "the latents made for the same encoder serve"
    changed = {
        key
        for key, value in again.codec.state_dict().items()
        if not torch.equal(value, more.codec.state_dict()[key])
    }
    assert changed
    assert all(key.startswith("decoder.") for key in changed), "what a latent means is kept"
    more = train_world(
        SPEC,
        recorded,
        NoEncoder,
        tmp_path / "other",
        replace(config, adapt_codec=True),
        "cpu",
        continue_from=again,
    )
    assert more is not None
    assert not torch.equal(more.codec.encoder[1].weight, again.codec.encoder[1].weight), (
        "the codec adapts, encoder included"
    )
    with pytest.raises(DatasetError, match="another world"):
        train_world(replace(SPEC, name="Fetch"), recorded, NoEncoder, tmp_path, config, "cpu")


def test_a_painted_world_goes_on_from_a_plain_one(tmp_path: Path) -> None:
    spec = replace(LOOKS_SPEC, also=())  # without painted episodes no colours are named
    record(
        spec,
        PushTLooksSimulator,
        {"uniform": 1.0},
        tmp_path / "data",
        RecordConfig(shards=2, episodes=2, steps=12),
    )
    config = WorldTraining(
        preset="tiny",
        codec=CodecTraining(steps=2, batch=6),
        streamdit=replace(FAST, steps=2),
        heads=HeadTraining(steps=2, batch=8),
        words=LooksTraining(steps=2, batch=8),
        adapt_codec=True,
        looks=3,
    )
    plain, dataset = make_tiny_world(), Dataset(tmp_path / "data")
    world = train_world(
        spec, dataset, NoEncoder, tmp_path / "run", config, "cpu", continue_from=plain
    )
    assert world is not None
    again = World.from_pretrained(tmp_path / "run" / "world")
    assert (
        again.codec.channels,
        again.codec.config.palette_channels,
        again.model.config.channels,
    ) == (
        11,
        3,
        11,
    )
    assert again.starts.latents.shape[1:] == (11, 8, 8)
    assert again.readout.config.channels == 8, "rewards are no matter of colours"
    latents = torch.from_numpy(
        np.load(tmp_path / "run" / "latents" / "latents-00000.npz")["latents"]
    ).float()
    torch.testing.assert_close(
        latents[:, :, :8],
        plain.codec.encode(torch.from_numpy(dataset.base_frames(0))),
        atol=0.05,
        rtol=0.05,
    )
    unread = train_world(
        spec,
        dataset,
        NoEncoder,
        tmp_path / "run",
        replace(config, heads=HeadTraining(steps=0)),
        "cpu",
        continue_from=plain,
    )
    assert unread is not None
    assert all(
        torch.equal(value, unread.readout.state_dict()[key])
        for key, value in plain.readout.state_dict().items()
    )
    longer = replace(config, words=LooksTraining(steps=4, batch=8))
    taught = train_world(
        spec, dataset, NoEncoder, tmp_path / "run", longer, "cpu", continue_from=plain
    )
    assert taught is not None
    assert not torch.equal(taught.model.appearance.queries, world.model.appearance.queries), (
        "learned longer, and not undone"
    )
    kept = train_world(
        spec,
        dataset,
        NoEncoder,
        tmp_path / "run",
        replace(config, keep=0.75),
        "cpu",
        continue_from=plain,
    )
    assert kept is not None
    trained, begun = world.model.embed.weight, plain.model.embed.weight
    assert not torch.equal(trained, begun)
    torch.testing.assert_close(kept.model.embed.weight, 0.25 * trained + 0.75 * begun)
    envs = StreamDiTVectorEnv(2, world=str(tmp_path / "run" / "world"), observation="latent")
    assert envs.reset(seed=0)[0].shape == (2, 11, 8, 8)
    envs.close()
    with pytest.raises(StreamDiTError, match="another run folder"):
        train_world(
            spec,
            dataset,
            NoEncoder,
            tmp_path / "run",
            replace(config, looks=6),
            "cpu",
            continue_from=plain,
        )
    with pytest.raises(StreamDiTError, match="has a palette already"):
        train_world(
            spec, dataset, NoEncoder, tmp_path / "twice", config, "cpu", continue_from=again
        )
    with pytest.raises(DatasetError, match="leave --looks and --adapt-codec out"):
        shutil.rmtree(tmp_path / "data" / "plain")
        train_world(
            spec, dataset, NoEncoder, tmp_path / "other", config, "cpu", continue_from=plain
        )
    alone = replace(config, looks=0, adapt_codec=False, keep=1.0)
    on = train_world(spec, dataset, NoEncoder, tmp_path / "on", alone, "cpu", continue_from=again)
    assert on is not None, "a painted world goes on without the plain frames"
    assert torch.equal(on.model.embed.weight, again.model.embed.weight)
