"""Open video models behind the engine: equal to diffusers, to slow loops, and to themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_wan import (
    GRID,
    TEXT_LENGTH,
    embed,
    make_autoencoder,
    make_backbone,
    make_model,
    make_prompts,
    make_transformer,
)

from streamdit_gym.errors import ArgumentError, NotReadyError, PartitionError, ShapeError
from streamdit_gym.open_weights.open_streams import OpenStreams
from streamdit_gym.open_weights.wan_codec import WanCodec
from streamdit_gym.stream.clip import ClipSampler
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.noise_levels import shifted
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.views import stream_view

KINDS = ("WanTransformer3DModel", "SkyReelsV2Transformer3DModel")
PROMPTS = ["a cat runs", "rain falls on stone"]
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def latents_of(frames: int, seed: int = 3, streams: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(streams, frames, 16, *GRID, generator=generator)


def padded(texts: list[str]) -> torch.Tensor:
    """Return embeddings as Wan's pipeline makes them: with zeros behind the sentence."""
    rows = torch.zeros(len(texts), TEXT_LENGTH, 32)
    for row, tokens in zip(rows, embed(texts), strict=True):
        row[: len(tokens)] = tokens
    return rows


def velocity(backbone: Any, latents: torch.Tensor, times: torch.Tensor, rows: Any) -> torch.Tensor:
    prompts = make_prompts()
    prompts.of_texts(PROMPTS)
    no_latents, no_times = latents[:, :0], times[:, :0]
    view = stream_view(no_latents, no_times, latents, times, causal=False, chunk_frames=1, limit=4)
    return backbone(view, prompts.conditioning(torch.as_tensor(rows)))[0]


@pytest.mark.parametrize("shift", [1.0, 5.0])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_uniform_partition_is_diffusers_own_pipeline(shift: float, guidance: float) -> None:
    from support.tiny_wan import diffusers

    steps, frames = 5, 3
    package = diffusers()

    class EqualSteps(package.FlowMatchEulerDiscreteScheduler):  # type: ignore[name-defined,misc]
        """Wan's own schedule: equal steps, then the shift."""

        def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
            equal = torch.linspace(1, 0, num_inference_steps + 1)[:-1]
            super().set_timesteps(sigmas=equal.numpy(), device=device)

    pipeline = package.WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=make_autoencoder(),
        transformer=make_transformer(),
        scheduler=EqualSteps(shift=shift),
    )
    pipeline.set_progress_bar_config(disable=True)
    backbone = make_backbone(time_shift=shift, guidance=guidance)
    prompts = make_prompts()
    rows = prompts.of_texts(PROMPTS)[:, None].expand(-1, frames)
    engine = Engine(backbone, prompts, Partition.parse("K1N1c1s1"))
    sampler = ClipSampler(engine.sampler, clip_frames=frames, micro_steps=steps)
    ours = sampler.draw(rows, Noise.seeded([7, 8]))
    noise = Noise.seeded([7, 8]).draw((frames, 16, *GRID))
    theirs = pipeline(
        prompt_embeds=padded(PROMPTS),
        negative_prompt_embeds=backbone.no_prompt[None].expand(2, -1, -1),
        guidance_scale=guidance,
        num_inference_steps=steps,
        height=8 * GRID[0],
        width=8 * GRID[1],
        num_frames=4 * frames - 3,
        latents=noise.transpose(1, 2),
        output_type="latent",
        return_dict=False,
    )[0]
    torch.testing.assert_close(ours, theirs.transpose(1, 2), **CLOSE)


def test_both_kinds_of_transformer_are_the_same_model() -> None:
    latents = latents_of(3)
    times = torch.tensor([[0.8, 0.5, 0.1], [0.9, 0.3, 0.0]])
    rows = [[1, 1, 1], [2, 2, 2]]
    wan, skyreels = (velocity(make_backbone(kind), latents, times, rows) for kind in KINDS)
    torch.testing.assert_close(wan, skyreels, **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_one_time_are_the_transformer_itself(kind: str) -> None:
    latents = latents_of(3)
    times = torch.full((2, 3), 0.4)
    ours = velocity(make_backbone(kind), latents, times, [[1, 1, 1], [2, 2, 2]])
    model = make_transformer(kind)
    videos = latents.transpose(1, 2)
    theirs = model(videos, torch.full((2,), 600.0), padded(PROMPTS), return_dict=False)[0]
    torch.testing.assert_close(ours, -theirs.transpose(1, 2), **CLOSE)


def test_skyreels_is_told_the_frame_rate_where_it_asks_for_it() -> None:
    backbone = make_backbone(KINDS[1], inject_sample_info=True)
    latents = latents_of(3)
    times = torch.tensor([[0.8, 0.5, 0.1]] * 2)
    ours = velocity(backbone, latents, times, [[1, 1, 1], [2, 2, 2]])
    theirs = backbone.transformer(
        latents[:1].transpose(1, 2),
        1000 * (1 - times[:1]),
        padded(PROMPTS[:1]),
        enable_diffusion_forcing=True,
        fps=[1],
        return_dict=False,
    )[0]
    torch.testing.assert_close(ours[:1], -theirs.transpose(1, 2), **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_for_each_frame_is_the_prompt_where_all_are_equal(kind: str) -> None:
    backbone = make_backbone(kind)
    latents = latents_of(3)
    times = torch.tensor([[0.8, 0.5, 0.1]] * 2)
    one = velocity(backbone, latents, times, [[1, 1, 1], [1, 1, 1]])
    mixed = velocity(backbone, latents, times, [[1, 1, 1], [1, 2, 1]])
    torch.testing.assert_close(mixed[0], one[0], **CLOSE)
    assert (mixed[1] - one[1]).abs().max() > 1e-3


@pytest.mark.parametrize("text", ["K2N2c1s2", "K0N3c1s1", "K1N2c2s1"])
@pytest.mark.parametrize("shift", [1.0, 8.0])
def test_a_staircase_of_times_is_a_slow_loop_over_single_frames(text: str, shift: float) -> None:
    partition = Partition.parse(text)
    backbone = make_backbone(time_shift=shift, reference_time=0.98)
    prompts = make_prompts()
    rows = prompts.of_texts(PROMPTS)
    engine = Engine(backbone, prompts, partition)
    history = latents_of(4)
    session = engine.start(history, rows[:, None].expand(-1, 4), Noise.seeded([1, 2]))
    slow = slow_tick(engine, session, rows)
    fast = engine.tick(session, rows)
    torch.testing.assert_close(fast, slow, **CLOSE)


def slow_tick(engine: Engine, session: Any, rows: torch.Tensor) -> torch.Tensor:
    """Return the clean chunk of a tick, each frame moved on its own by hand."""
    partition, backbone = engine.partition, engine.model
    clones = engine.start(  # the same streams; their noise is drawn again below
        session.references, session.reference_prompts, session.noise
    )
    clones.load_state_dict(session.state_dict())
    chunk, steps, chunks = partition.chunk_frames, partition.micro_steps, partition.chunks
    noise = clones.draw(chunk)
    frames = list(torch.cat([clones.buffer.latents, noise], 1).unbind(1))
    new = rows[:, None].expand(-1, chunk)
    buffer_rows = torch.cat([clones.buffer.prompts, new], 1)
    count = partition.references
    first = clones.references.shape[1] - count
    references = clones.references[:, first:]
    all_rows = torch.cat([clones.reference_prompts[:, first:], buffer_rows], 1)
    conditioning = engine.table.conditioning(all_rows)
    for step in range(steps):
        done = [
            (chunks - 1 - j // chunk) / chunks + step / (steps * chunks) for j in range(len(frames))
        ]
        times = [float(shifted(torch.tensor(each), backbone.time_shift)) for each in done]
        later = [
            float(shifted(torch.tensor(each + 1 / (steps * chunks)), backbone.time_shift))
            for each in done
        ]
        reference_times = torch.full((2, count), backbone.config.reference_time)
        view = stream_view(
            references,
            reference_times,
            torch.stack(frames, 1),
            torch.tensor([times, times]),
            causal=False,
            chunk_frames=chunk,
            limit=4,
        )
        moved, _ = backbone.forward(view, conditioning)
        for number in range(len(frames)):
            frames[number] = frames[number] + (later[number] - times[number]) * moved[:, number]
    return torch.stack(frames[:chunk], 1)


def test_a_shift_of_one_changes_nothing_and_more_stays_longer_in_noise() -> None:
    times = torch.linspace(0, 1, 9)
    assert shifted(times, 1.0) is times
    bent = shifted(times, 3.0)
    assert bent[0] == 0
    assert bent[-1] == 1
    assert (bent.diff() > 0).all()
    assert (bent[1:-1] < times[1:-1]).all()


def test_streamed_decoding_is_whole_decoding() -> None:
    codec = WanCodec(make_autoencoder())
    latents = latents_of(5)
    scaled = latents * codec.deviation + codec.mean
    whole = codec.autoencoder.decode(scaled.transpose(1, 2), return_dict=False)[0]
    whole = ((whole + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 4, 1)
    memory = codec.new_memory()
    parts = []
    for chunk in (latents[:, :1], latents[:, 1:3], latents[:, 3:]):
        frames, memory = codec.decode(chunk, memory)
        parts.append(frames)
    assert [part.shape[1] for part in parts] == [1, 8, 8]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_encoding_undoes_the_scale_of_latents() -> None:
    codec = WanCodec(make_autoencoder())
    frames = torch.randint(0, 256, (2, 5, 32, 48, 3), dtype=torch.uint8)
    latents = codec.encode(frames)
    assert latents.shape == (2, 2, 16, *GRID)
    pixels = frames.permute(0, 4, 1, 2, 3) / 127.5 - 1
    raw = codec.autoencoder.encode(pixels).latent_dist.mode().transpose(1, 2)
    torch.testing.assert_close(latents * codec.deviation + codec.mean, raw, **CLOSE)


def frames_of(streams: OpenStreams, steps: int, prompts: list[str] = PROMPTS) -> torch.Tensor:
    return torch.cat([streams.step(prompts[: len(streams)]) for _ in range(steps)], 1)


def test_streams_show_a_clip_and_then_four_frames_for_every_latent() -> None:
    streams = OpenStreams(make_model("K2N2c1s2"))
    first = streams.start(PROMPTS, [1, 2])
    assert first.shape == (2, 1 + 4 * 2, 32, 48, 3)
    assert first.dtype == torch.uint8
    assert frames_of(streams, 2).shape == (2, 8, 32, 48, 3)


def test_many_streams_of_a_batch_are_as_many_single_ones() -> None:
    batch = OpenStreams(make_model())
    together = torch.cat([batch.start(PROMPTS, [1, 2]), frames_of(batch, 2)], 1)
    for row, prompt in enumerate(PROMPTS):
        single = OpenStreams(make_model())
        first = single.start([prompt], [row + 1])
        alone = torch.cat([first, frames_of(single, 2, [prompt])], 1)
        difference = alone[0].int() - together[row].int()
        assert difference.abs().max() <= 1  # a rounding to bytes


def test_saved_restored_and_branched_streams_are_bit_equal(tmp_path: Path) -> None:
    streams = OpenStreams(make_model())
    streams.start(PROMPTS, [1, 2])
    frames_of(streams, 1)
    torch.save(streams.save(), tmp_path / "streams.pt")
    saved = torch.load(tmp_path / "streams.pt", weights_only=True)
    went_on = frames_of(streams, 2)
    streams.restore(saved)
    assert torch.equal(frames_of(streams, 2), went_on)
    streams.restore(saved)
    other = OpenStreams(make_model())
    other.start(["fire burns", "a boat"], [5, 6])
    other.restore(saved)
    assert torch.equal(frames_of(other, 2), went_on)
    branch = streams.branch([1, 1], [9, 9])
    ends = frames_of(branch, 2, [PROMPTS[1]] * 2)
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], went_on[1]), "noise of its own"
    assert torch.equal(frames_of(streams, 2), went_on), "the streams that it left are untouched"


@pytest.mark.parametrize("scope", ["buffer", "chunk"])
def test_a_prompt_conditions_the_whole_buffer_at_once_or_new_chunks(scope: Any) -> None:
    streams = OpenStreams(make_model("K2N3c1s1"), prompt_scope=scope)
    streams.start(PROMPTS, [1, 2])
    streams.step(["fire burns", "fire burns"])
    session = streams.save()["session"]
    fire = streams.model.prompts.texts.index("fire burns")
    old = streams.model.prompts.of_texts(PROMPTS).tolist()
    oldest = [fire, fire] if scope == "buffer" else old
    assert session["buffer_prompts"].T.tolist() == [oldest, [fire, fire]]


def test_the_whole_buffer_is_steered_at_once() -> None:
    streams = OpenStreams(make_model("K2N3c1s1"), prompt_scope="buffer")
    streams.start(PROMPTS, [1, 2])
    saved = streams.save()
    same = frames_of(streams, 1)
    streams.restore(saved)
    assert not torch.equal(frames_of(streams, 1, ["fire burns", "fire burns"]), same)


@pytest.mark.parametrize("shift", [1.0, 8.0])
def test_frames_to_draw_over_have_the_noise_that_the_model_is_told(shift: float) -> None:
    backbone = make_backbone(time_shift=shift)
    prompts = make_prompts()
    rows = prompts.of_texts(PROMPTS)
    engine = Engine(backbone, prompts, Partition.parse("K2N1c1s1"))
    session = engine.start(latents_of(3), rows[:, None].expand(-1, 3), Noise.seeded([1, 2]))
    clean = 5 * torch.ones(2, 1, 16, *GRID)
    levels: list[torch.Tensor] = []
    evaluate = engine.sampler.evaluate

    def recorded(view: Any, *more: Any) -> Any:
        levels.append(torch.stack([view.times[:, -1], view.latents[:, -1].mean((1, 2, 3)) / 5]))
        return evaluate(view, *more)

    engine.sampler.evaluate = recorded
    engine.tick(session, rows, init_latents=clean, strength=0.5)
    time, signal = levels[0].tolist()
    assert time == pytest.approx([float(shifted(torch.tensor(0.5), shift))] * 2)
    assert signal == pytest.approx(time, abs=0.03)


def test_a_stream_begins_with_a_picture_or_a_clip() -> None:
    generator = torch.Generator().manual_seed(0)
    clip = torch.randint(0, 256, (2, 9, 32, 48, 3), dtype=torch.uint8, generator=generator)
    model = make_model("K2N2c1s2")
    for count in (1, 5, 9):
        streams = OpenStreams(model)
        first = streams.start(PROMPTS, [1, 2], clip[:, :count])
        known, _ = model.codec.decode(model.codec.encode(clip[:, :count]), model.codec.new_memory())
        assert torch.equal(first[:, :count], known)
        assert first.shape[1] == max(9, count)
        assert frames_of(streams, 1).shape[1] == 4


def test_a_buffer_without_references_begins_with_a_picture() -> None:
    streams = OpenStreams(make_model("K0N3c1s1"))
    picture = torch.zeros(2, 1, 32, 48, 3, dtype=torch.uint8)
    assert streams.start(PROMPTS, [1, 2], picture).shape[1] == 5, "two latents at least"
    assert frames_of(streams, 1).shape[1] == 4


def test_a_step_that_fails_leaves_streams_where_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = OpenStreams(make_model())
    streams.start(PROMPTS, [1, 2])
    saved = streams.save()
    expected = frames_of(streams, 1)
    streams.restore(saved)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(WanCodec, "decode", interrupted)
        streams.step(PROMPTS)
    assert torch.equal(frames_of(streams, 1), expected)


def test_states_of_other_streams_are_refused() -> None:
    streams = OpenStreams(make_model())
    streams.start(PROMPTS, [1, 2])
    saved = streams.save()
    single = OpenStreams(make_model())
    single.start(PROMPTS[:1], [1])
    with pytest.raises(ShapeError, match="does not fit"):
        single.restore(saved)
    with pytest.raises(ShapeError, match="decoder of a saved state"):
        streams.restore({**saved, "decoder": saved["decoder"][1:]})


def test_what_streams_cannot_do_is_told() -> None:
    streams = OpenStreams(make_model())
    with pytest.raises(NotReadyError, match="have not begun"):
        streams.step(PROMPTS)
    with pytest.raises(ShapeError, match="a prompt and a seed"):
        streams.start(PROMPTS, [1])
    with pytest.raises(ShapeError, match="an empty prompt"):
        streams.start(["  ", "cat"], [1, 2])
    with pytest.raises(ArgumentError, match="longer than the model takes"):
        streams.start(["a b c d e f g h i", "cat"], [1, 2])
    with pytest.raises(ShapeError, match="do not fit Wan's autoencoder"):
        streams.start(PROMPTS, [1, 2], torch.zeros(2, 2, 32, 48, 3, dtype=torch.uint8))
    streams.start(PROMPTS, [1, 2])
    with pytest.raises(ShapeError, match="each stream needs a prompt"):
        streams.step(PROMPTS[:1])
    texts = list(streams.model.prompts.texts)
    with pytest.raises(ArgumentError, match="longer than the model takes"):
        streams.step(["a b c d e f g h i", "cat"])
    assert streams.model.prompts.texts == texts, "nothing is added"
    with pytest.raises(PartitionError, match="does not fit the model"):
        OpenStreams(make_model("K5N1c1s1"))
