"""Distillation: the student aims where the teacher ends, on its own streams, and gets there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_table, make_tiny_world, wake
from test_train import TINY, moving_square

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.recorder import RecordConfig, record
from streamdit_gym.distill.decoder import distill_decoder, shallower
from streamdit_gym.distill.multistep import Distillation, Distiller, distill
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.errors import ArgumentError, DatasetError, PartitionError, StreamDiTError
from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.model.precision import learns_in_bfloat16
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.moving_buffer import MovingBuffer
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.noise_levels import sampling_times
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.session import Session
from streamdit_gym.train.train_codec import CodecTraining
from streamdit_gym.train.train_streamdit import StreamDiTTrainer, StreamDiTTraining

REACTIVE, TWICE, PIPELINED, PAIRS = (
    Partition.parse(text) for text in ("K4N1c1s1", "K4N1c1s2", "K4N4c1s1", "K4N2c2s1")
)


def teacher_of(guidance: float = 1.0) -> StreamDiT:
    torch.manual_seed(0)
    model = StreamDiT(replace(TINY, guidance=guidance))
    wake(model)
    return model.eval().requires_grad_(False)


def distiller_of(
    partition: Partition = REACTIVE, guidance: float = 1.0, **more: object
) -> Distiller:
    teacher = teacher_of(guidance)
    config = Distillation(partitions=(partition,), **{"streams": 6, "teacher_steps": 4, **more})  # type: ignore[arg-type]
    student = StreamDiT(
        TINY if config.temperature is None else replace(TINY, temperature=config.temperature)
    )
    student.load_state_dict(teacher.state_dict())
    return Distiller(
        teacher, student.train(), moving_square(), make_table(["right", "left"]), config, "cpu"
    )


@pytest.mark.parametrize("partition", [REACTIVE, PIPELINED, PAIRS], ids=str)
def test_the_chunk_that_leaves_weighs_most(partition: Partition) -> None:
    distiller = distiller_of(partition, oldest=3.0, moving=0.0)
    streams = distiller._next(partition)
    frames = torch.zeros(6, partition.frames, *streams.references.shape[2:])
    weights = distiller._weight(streams, frames, partition)[0, :, 0, 0, 0]
    c = partition.chunk_frames
    assert weights.mean() == pytest.approx(1)
    if partition.chunks > 1:
        torch.testing.assert_close(weights[:c], 3 * weights[-c:])


def test_some_streams_are_damaged_where_teacher_and_student_look_back_to() -> None:
    distiller = distiller_of(PIPELINED, damaged=0.5)
    streams = distiller._next(PIPELINED)
    before = streams.references.clone()
    assert distiller._damaged(streams) is streams, "nothing to damage with"
    distiller.damage = lambda latents: latents + 1  # type: ignore[assignment]
    changed = [
        (distiller._damaged(streams).references - before).mean((1, 2, 3, 4)) for _ in range(20)
    ]
    assert set(torch.cat(changed).round(decimals=4).tolist()) == {0.0, 1.0}
    assert torch.equal(streams.references, before)
    assert torch.equal(distiller._damaged(streams).buffer.latents, streams.buffer.latents)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler has many of its own
def test_compiled_distillation_is_distillation() -> None:
    losses = []
    for compiled in (False, True):
        distiller = distiller_of(PIPELINED, one_by_one=True, compile=compiled)
        torch.manual_seed(3)
        losses.append([distiller.step(0.5) for _ in range(3)])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize("partition", [REACTIVE, TWICE, PIPELINED, PAIRS], ids=str)
def test_the_teacher_goes_where_a_stream_of_it_goes(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "streamdit_gym.stream.sampler.MAX_ABS_LATENT", torch.inf
    )  # random weights draw what is that far
    distiller = distiller_of(partition, guidance=1.7)
    distiller.move()
    streams = distiller._next(partition)
    c = partition.chunk_frames
    index = streams.place[:, None] + torch.arange(c)
    prompts = distiller.episodes.prompts[streams.episode[:, None], index]
    prompts[:] = prompts[:, :1]  # an engine gives a chunk one prompt
    noise = torch.randn(6, c, 8, 8, 8)
    buffer = streams.buffer.push(noise, prompts)
    begun = buffer
    for k in range(partition.micro_steps):
        buffer = buffer.with_latents(distiller._teach(streams, buffer, k))
    expected, _, _ = buffer.pop()
    narrow = learns_in_bfloat16(torch.device("cpu"))
    engine = Engine(
        distiller.teacher,
        distiller.table,
        replace(partition, micro_steps=4),
        cached=False,
        autocast=narrow,
    )
    session = Session(
        references=streams.references,
        reference_prompts=streams.reference_prompts,
        buffer=begun,
        cache=None,
        noise=Noise.seeded(range(6)),
    )
    engine.sampler.denoise(session)
    torch.testing.assert_close(session.buffer.pop()[0], expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("partition", [REACTIVE, TWICE, PIPELINED], ids=str)
def test_a_student_that_is_its_teacher_has_nothing_to_learn(partition: Partition) -> None:
    heard = {"teacher_steps": partition.micro_steps, "prompt_noise": 0.0, "prompt_hidden": 0.0}
    same, guided = distiller_of(partition, **heard), distiller_of(partition, guidance=2.0, **heard)
    for _ in range(3):
        # not quite nothing: a teacher's attention is fused, and rounds to bfloat16 elsewhere
        assert same.move().item() < 0.002 * guided.move().item()
    assert distiller_of(partition, teacher_steps=partition.micro_steps).move().item() > 0.1, (
        "a student hears with noise"
    )


@pytest.mark.parametrize("partition", [REACTIVE, PIPELINED, PAIRS], ids=str)
def test_a_teacher_that_draws_one_by_one_draws_what_its_stream_of_one_chunk_does(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "streamdit_gym.stream.sampler.MAX_ABS_LATENT", torch.inf
    )  # random weights draw what is that far
    distiller = distiller_of(partition, guidance=1.7, one_by_one=True, teacher_steps=2)
    distiller.move()
    streams = distiller._next(partition)
    c, n = partition.chunk_frames, partition.chunks
    prompts = torch.tensor([[i % 2] * (n * c) for i in range(6)])
    buffer = streams.buffer.push(torch.zeros(6, c, 8, 8, 8), prompts[:, :c])
    buffer = replace(buffer, prompts=prompts)
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)  # the same noise for both
    monkeypatch.setattr(
        Session, "draw", lambda session, frames: torch.ones_like(session.references[:, :frames])
    )
    drawn = distiller._draw(streams, buffer)
    narrow = learns_in_bfloat16(torch.device("cpu"))
    engine = Engine(
        distiller.teacher,
        distiller.table,
        replace(partition, chunks=1, micro_steps=2),
        cached=False,
        autocast=narrow,
    )
    empty = replace(
        streams.buffer,
        latents=streams.buffer.latents[:, :0],
        prompts=prompts[:, :0],
        partition=engine.partition,
    )
    session = Session(
        references=streams.references,
        reference_prompts=streams.reference_prompts,
        buffer=empty,
        cache=None,
        noise=Noise.seeded(range(6)),
    )
    expected = torch.cat([engine.tick(session, prompts[:, i * c]) for i in range(n)], 1)
    torch.testing.assert_close(drawn, expected, atol=0.02, rtol=0.02)


def test_noise_of_a_scale_below_zero_is_refused() -> None:
    with pytest.raises(ArgumentError, match="temperature"):
        Distillation(partitions=(PIPELINED,), temperature=-0.5)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_a_students_chunks_begin_with_noise_of_its_temperature(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "streamdit_gym.distill.multistep.euler_step", lambda begun, found, way: begun
    )  # begun chunks stay what they are
    distiller = distiller_of(PIPELINED, temperature=temperature)
    times = sampling_times(PIPELINED, 0)[:3, None, None, None]
    streams = distiller._next(PIPELINED)
    clean, _ = distiller.episodes.clips(streams.episode, streams.place - 3, 3)
    noise = (streams.buffer.latents - times * clean) / (1 - times)
    assert noise.std().item() == pytest.approx(temperature, rel=0.1)
    distiller.move()
    assert distiller.streams[PIPELINED].buffer.latents[:, -1].std().item() == pytest.approx(
        temperature, rel=0.1
    )


@pytest.mark.parametrize("partition", [TWICE, PIPELINED, PAIRS], ids=str)
def test_a_student_that_draws_what_its_teacher_draws_has_nothing_to_learn(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    distiller = distiller_of(partition, one_by_one=True)
    ends = torch.randn(6, partition.frames, 8, 8, 8)
    monkeypatch.setattr(distiller, "_draw", lambda streams, buffer: ends)

    def straight(
        model: object, streams: object, buffer: MovingBuffer, cut: Partition, k: int
    ) -> torch.Tensor:
        return (ends - buffer.latents) / (1 - sampling_times(cut, k))[:, None, None, None]

    monkeypatch.setattr(distiller, "_velocity", straight)
    assert distiller.move().item() < 1e-6
    torch.testing.assert_close(
        distiller.streams[partition].references[:, -1],
        ends[:, partition.chunk_frames - 1],
        atol=1e-4,
        rtol=1e-4,
    )
    monkeypatch.setattr(distiller, "_draw", lambda streams, buffer: -ends)
    assert distiller.move().item() > 0.1


def test_partitions_are_learned_in_turn_on_streams_of_their_own() -> None:
    distiller = distiller_of(REACTIVE)
    distiller.config = replace(distiller.config, partitions=(REACTIVE, PIPELINED))
    for _ in range(2):
        distiller.move()
    assert {cut: streams.buffer.latents.shape[1] for cut, streams in distiller.streams.items()} == {
        REACTIVE: 0,
        PIPELINED: 3,
    }
    before = dict(distiller.streams)
    distiller.move()
    assert distiller.streams[PIPELINED] is before[PIPELINED]
    assert distiller.streams[REACTIVE] is not before[REACTIVE]


def test_streams_follow_their_episodes_and_begin_anew_at_the_end() -> None:
    distiller = distiller_of(goes_on=1.0)
    length = distiller.episodes.latents.shape[1]
    distiller.move()
    deepest = 0
    for _ in range(length):
        before = distiller.streams[REACTIVE]
        distiller.move()
        now = distiller.streams[REACTIVE]
        on = (now.episode == before.episode) & (now.place == before.place + 1)
        assert (on | (before.place == length)).all(), "only an episode's end ends a stream"
        torch.testing.assert_close(now.references[on, :-1], before.references[on, 1:])
        said = distiller.episodes.prompts[now.episode, now.place - 1]
        assert (now.reference_prompts[:, -1] == said).all()
        deepest += int(on.all())
    assert deepest > 3
    never = distiller_of(goes_on=0.0)
    for _ in range(3):
        never.move()
        streams, real = never.streams[REACTIVE], never.episodes.latents.float()
        for row in range(6):
            episode, place = int(streams.episode[row]), int(streams.place[row])
            assert (streams.references[row, :3] == real[episode, place - 4 : place - 1]).all()


@pytest.mark.slow
def test_a_student_comes_closer_to_its_teacher_and_resumes(tmp_path: Path) -> None:
    teacher, episodes, table = teacher_of(), moving_square(), make_table(["right", "left"])
    taught = StreamDiTTraining(
        steps=150, clips=8, clip_frames=4, partitions=(), micro_steps=2, matrix_rate=1e-2
    )
    trainer = StreamDiTTrainer(teacher.train().requires_grad_(True), episodes, table, taught, "cpu")
    for i in range(150):
        trainer.step(i / 150)
    teacher.eval().requires_grad_(False)
    teacher.config = replace(teacher.config, guidance=2.0)
    config = Distillation(
        partitions=(REACTIVE,),
        teacher_steps=2,
        steps=240,
        streams=16,
        rate=1.0,
        decay=0.9,
        kernel=10.0,
    )

    def error(student: StreamDiT) -> float:
        torch.manual_seed(1)
        judge = Distiller(teacher, student, episodes, table, replace(config, streams=64), "cpu")
        return sum(judge.move().item() for _ in range(3))

    unlearned = StreamDiT(TINY)
    unlearned.load_state_dict(teacher.state_dict())
    first = error(unlearned)
    distill(teacher, teacher, episodes, table, config, tmp_path, "cpu", minutes=0.0)
    student = distill(teacher, teacher, episodes, table, config, tmp_path, "cpu")
    assert student.config.guidance == 1
    assert error(student) < 0.8 * first, (
        "what is left is the teacher's noise, which a student of one evaluation does not see"
    )
    again = distill(teacher, teacher, episodes, table, config, tmp_path, "cpu")
    assert all(
        torch.equal(a, b)
        for a, b in zip(student.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_a_smaller_decoder_is_the_larger_one_without_its_last_blocks() -> None:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=3, decoder_blocks=2)).eval()
    wake(codec)
    made = shallower(codec, 1)
    assert made.config == replace(codec.config, decoder_blocks=1)
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    latents = codec.encode_pixels(pixels)
    assert torch.equal(made.encode_pixels(pixels), latents)
    for layer in codec.decoder[2], codec.decoder[6]:
        for weight in layer.second.parameters():
            weight.data.zero_()  # adds nothing, as if it were not there
    assert torch.equal(made.decode_latents(latents), codec.decode_latents(latents))
    assert shallower(made, 1).config == made.config, "all of it, to train it on"
    for blocks in (-1, 2):
        with pytest.raises(StreamDiTError, match="0 to 1"):
            shallower(made, blocks)


def test_decoders_that_cannot_be_trained(tmp_path: Path) -> None:
    world = make_tiny_world()
    settings = RecordConfig(shards=2, episodes=2, steps=1)
    record(world.spec, PushTSimulator, {"uniform": 1.0}, tmp_path / "short", settings)
    record(
        world.spec, PushTSimulator, {"uniform": 1.0}, tmp_path / "data", replace(settings, steps=3)
    )
    recipe, dataset = CodecTraining(steps=1, batch=6), Dataset(tmp_path / "data")
    with pytest.raises(DatasetError, match="too short"):
        distill_decoder(world, Dataset(tmp_path / "short"), tmp_path / "run", 0, recipe, "cpu")
    painted = ConvCodec(ConvCodecConfig(width=16, blocks=1, channels=14, palette_channels=6))
    with pytest.raises(StreamDiTError, match="palette"):
        distill_decoder(replace(world, codec=painted), dataset, tmp_path / "run", 0, recipe, "cpu")
    assert distill_decoder(world, dataset, tmp_path / "run", 0, recipe, "cpu") is not None
    other = replace(world, codec=ConvCodec(world.codec.config))
    with pytest.raises(StreamDiTError, match="another"):
        distill_decoder(other, dataset, tmp_path / "run", 0, recipe, "cpu")


def test_a_loss_that_is_not_finite_does_not_reach_the_student(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    distiller = distiller_of()
    before = [p.clone() for p in distiller.student.parameters()]
    whole = Distiller.move
    monkeypatch.setattr(Distiller, "move", lambda self: whole(self) * float("nan"))
    distiller.step(0.5)
    assert all(
        torch.equal(a, b) for a, b in zip(before, distiller.student.parameters(), strict=True)
    )


def test_recipes_that_cannot_be() -> None:
    with pytest.raises(PartitionError, match="divide"):
        Distillation(partitions=(TWICE,), teacher_steps=3)
    with pytest.raises(PartitionError, match="references"):
        Distillation(partitions=(REACTIVE, Partition.parse("K0N8c2s1")))
    with pytest.raises(PartitionError, match="nothing to learn"):
        Distillation(partitions=())
