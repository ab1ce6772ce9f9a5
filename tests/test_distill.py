"""Distillation: the student aims where the teacher ends, on its own streams, and gets there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import wake
from support.training import PROMPTS, TINY, moving_square, take_steps

from streamdit_gym.distill.distill_world import train_student
from streamdit_gym.distill.distiller import DistillationData, Distiller
from streamdit_gym.distill.student_streams import StudentStreams
from streamdit_gym.model.precision import learns_in_bfloat16
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.recipes.distillation_settings import Distillation
from streamdit_gym.recipes.stage_settings import DynamicsTraining
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.moving_buffer import MovingBuffer
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.noise_levels import sampling_times
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.session import Session
from streamdit_gym.train.dynamics_trainer import DynamicsTrainer, dynamics_optimizers
from streamdit_gym.train.optimization import Optimizers
from streamdit_gym.train.stage_context import RunOptions
from streamdit_gym.train.stages.dynamics_stage import compile_blocks

REACTIVE, TWO_STEPS, PIPELINED, PAIRS = (
    Partition.parse(text) for text in ("K4N1c1s1", "K4N1c1s2", "K4N4c1s1", "K4N2c2s1")
)
DATA = DistillationData(episodes=moving_square(), table=PROMPTS)


def tiny_teacher(guidance: float = 1.0) -> StreamDiT:
    torch.manual_seed(0)
    model = StreamDiT(replace(TINY, guidance=guidance))
    wake(model)
    return model.eval().requires_grad_(False)


def distiller_of(
    partition: Partition = REACTIVE, guidance: float = 1.0, **changes: Any
) -> Distiller:
    """Return a distiller whose student begins with its teacher's weights."""
    teacher = tiny_teacher(guidance)
    values: dict[str, Any] = {"streams": 6, "teacher_steps": 4}
    settings = Distillation(partitions=(partition,), **(values | changes))
    config = TINY
    if settings.temperature is not None:
        config = replace(TINY, temperature=settings.temperature)
    student = StreamDiT(config)
    student.load_state_dict(teacher.state_dict())
    return Distiller(teacher, student.train(), DATA, settings, "cpu")


def move(distiller: Distiller, step: int = 0) -> float:
    """Move the streams of a step's partition by a chunk and return the loss."""
    return distiller.loss(step, 0.0).item()


@pytest.fixture
def no_latent_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine keep latents of any size: random weights draw what is that far."""
    monkeypatch.setattr("streamdit_gym.stream.sampler.MAX_ABS_LATENT", torch.inf)


def engine_of(distiller: Distiller, partition: Partition) -> Engine:
    """Return an engine that streams with the teacher, in the precision of training."""
    is_narrow = learns_in_bfloat16(torch.device("cpu"))
    return Engine(distiller.teacher, distiller.table, partition, autocast=is_narrow)


def session_of(streams: StudentStreams, buffer: MovingBuffer) -> Session:
    return Session(
        references=streams.references,
        reference_prompts=streams.reference_prompts,
        buffer=buffer,
        cache=None,
        noise=Noise.seeded(range(6)),
    )


@pytest.mark.parametrize("partition", [REACTIVE, PIPELINED, PAIRS], ids=str)
def test_the_chunk_that_leaves_weighs_most(partition: Partition) -> None:
    distiller = distiller_of(partition, leaving_weight=3.0, motion_weight=0.0)
    streams = distiller.sampler.next(partition, None)
    frames = torch.zeros(6, partition.frames, *streams.references.shape[2:])
    weights = distiller.frame_weight(streams, frames, partition)[0, :, 0, 0, 0]
    assert weights.mean() == pytest.approx(1)
    if partition.chunks > 1:
        chunk = partition.chunk_frames
        torch.testing.assert_close(weights[:chunk], 3 * weights[-chunk:])


def test_without_a_corruption_streams_stay_as_they_are() -> None:
    distiller = distiller_of(PIPELINED, corruption_probability=0.5)
    streams = distiller.sampler.next(PIPELINED, None)
    assert distiller.sampler.corrupted(streams) is streams


def test_references_of_some_streams_are_corrupted_and_nothing_else() -> None:
    sampler = distiller_of(PIPELINED, corruption_probability=0.5).sampler
    sampler.corruption = lambda latents: latents + 1
    streams = sampler.next(PIPELINED, None)
    before = streams.references.clone()
    changes: set[float] = set()
    for _ in range(20):
        corrupted = sampler.corrupted(streams)
        difference = (corrupted.references - before).mean((1, 2, 3, 4))
        changes.update(difference.round(decimals=4).tolist())
        assert torch.equal(corrupted.buffer.latents, streams.buffer.latents)
    assert changes == {0.0, 1.0}
    assert torch.equal(streams.references, before)


@pytest.mark.usefixtures("no_machine_code")
@pytest.mark.filterwarnings("ignore")  # the compiler has many of its own
def test_compiled_distillation_is_distillation() -> None:
    losses: list[list[float]] = []
    for is_compiled in (False, True):
        distiller = distiller_of(PIPELINED, autoregressive_teacher=True)
        if is_compiled:
            compile_blocks(distiller.teacher)
            compile_blocks(distiller.student)
        torch.manual_seed(3)
        losses.append([move(distiller) for _ in range(3)])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.usefixtures("no_latent_bound")
@pytest.mark.parametrize("partition", [REACTIVE, TWO_STEPS, PIPELINED, PAIRS], ids=str)
def test_the_teacher_ends_where_a_stream_of_it_ends(partition: Partition) -> None:
    distiller = distiller_of(partition, guidance=1.7)
    move(distiller)
    streams = distiller.sampler.next(partition, None)
    prompts = distiller.sampler.prompts(streams, partition.chunk_frames)
    prompts[:] = prompts[:, :1]  # an engine gives a chunk one prompt
    noise = torch.randn(6, partition.chunk_frames, 8, 8, 8)
    start = streams.buffer.push(noise, prompts)
    end = start
    for micro_step in range(partition.micro_steps):
        end = end.with_latents(distiller.teacher_end(streams, end, micro_step))
    session = session_of(streams, start)
    engine_of(distiller, replace(partition, micro_steps=4)).sampler.denoise(session)
    torch.testing.assert_close(session.buffer.pop()[0], end.pop()[0], atol=0.02, rtol=0.02)


@pytest.mark.parametrize("partition", [REACTIVE, TWO_STEPS, PIPELINED], ids=str)
def test_a_student_that_is_its_teacher_has_nothing_to_learn(partition: Partition) -> None:
    clean = {
        "teacher_steps": partition.micro_steps,
        "prompt_noise": 0.0,
        "token_dropout": 0.0,
    }
    same = distiller_of(partition, **clean)
    guided = distiller_of(partition, guidance=2.0, **clean)
    for _ in range(3):
        # not quite nothing: a teacher's attention is fused, and rounds to bfloat16 elsewhere
        assert move(same) < 0.002 * move(guided)


def test_a_students_prompts_are_noisy() -> None:
    assert move(distiller_of(teacher_steps=1)) > 0.1


@pytest.mark.usefixtures("no_latent_bound")
@pytest.mark.parametrize("partition", [REACTIVE, PIPELINED, PAIRS], ids=str)
def test_an_autoregressive_teacher_draws_what_its_stream_of_one_chunk_does(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    distiller = distiller_of(partition, 1.7, autoregressive_teacher=True, teacher_steps=2)
    move(distiller)
    streams = distiller.sampler.next(partition, None)
    chunk = partition.chunk_frames
    prompts = torch.tensor([[row % 2] * partition.frames for row in range(6)])
    buffer = streams.buffer.push(torch.zeros(6, chunk, 8, 8, 8), prompts[:, :chunk])
    buffer = replace(buffer, prompts=prompts)
    # the same noise for both
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    monkeypatch.setattr(
        Session, "draw", lambda session, frames: torch.ones_like(session.references[:, :frames])
    )
    drawn = distiller.teacher_frames(streams, buffer)
    engine = engine_of(distiller, replace(partition, chunks=1, micro_steps=2))
    empty = replace(
        streams.buffer,
        latents=streams.buffer.latents[:, :0],
        prompts=prompts[:, :0],
        partition=engine.partition,
    )
    session = session_of(streams, empty)
    chunks = [engine.tick(session, prompts[:, i * chunk]) for i in range(partition.chunks)]
    torch.testing.assert_close(drawn, torch.cat(chunks, 1), atol=0.02, rtol=0.02)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_a_students_chunks_start_from_noise_of_its_temperature(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(  # chunks in flight stay what they are
        "streamdit_gym.distill.distiller.euler_step", lambda latents, _velocity, _dt: latents
    )
    distiller = distiller_of(PIPELINED, temperature=temperature)
    streams = distiller.sampler.next(PIPELINED, None)
    distiller.streams[PIPELINED] = streams
    rows = streams.episode[:, None]
    recorded = DATA.episodes.latents[rows, streams.place[:, None] + torch.arange(-3, 0)].float()
    times = sampling_times(PIPELINED, 0)[:3, None, None, None]
    noise = (streams.buffer.latents - times * recorded) / (1 - times)
    assert noise.std().item() == pytest.approx(temperature, rel=0.1)
    move(distiller)
    newest = distiller.streams[PIPELINED].buffer.latents[:, -1]
    assert newest.std().item() == pytest.approx(temperature, rel=0.1)


@pytest.mark.parametrize("partition", [TWO_STEPS, PIPELINED, PAIRS], ids=str)
def test_a_student_that_draws_what_its_teacher_draws_has_nothing_to_learn(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    distiller = distiller_of(partition, autoregressive_teacher=True)
    ends = torch.randn(6, partition.frames, 8, 8, 8)

    def straight_velocity(
        _model: object, _streams: object, buffer: MovingBuffer, cut: Partition, micro_step: int
    ) -> torch.Tensor:
        remaining = 1 - sampling_times(cut, micro_step)
        return (ends - buffer.latents) / remaining[:, None, None, None]

    monkeypatch.setattr(distiller, "velocity", straight_velocity)
    monkeypatch.setattr(distiller, "teacher_frames", lambda _streams, _buffer: ends)
    assert move(distiller) < 1e-6
    torch.testing.assert_close(
        distiller.streams[partition].references[:, -1],
        ends[:, partition.chunk_frames - 1],
        atol=1e-4,
        rtol=1e-4,
    )
    monkeypatch.setattr(distiller, "teacher_frames", lambda _streams, _buffer: -ends)
    assert move(distiller) > 0.1


def test_partitions_are_learned_in_turn_on_streams_of_their_own() -> None:
    distiller = distiller_of()
    distiller.settings = replace(distiller.settings, partitions=(REACTIVE, PIPELINED))
    for step in range(2):
        move(distiller, step)
    in_flight = {cut: streams.buffer.latents.shape[1] for cut, streams in distiller.streams.items()}
    assert in_flight == {REACTIVE: 0, PIPELINED: 3}
    before = dict(distiller.streams)
    move(distiller, step=2)
    assert distiller.streams[PIPELINED] is before[PIPELINED]
    assert distiller.streams[REACTIVE] is not before[REACTIVE]


def test_streams_follow_their_episodes_and_restart_at_the_end() -> None:
    distiller = distiller_of(continue_probability=1.0)
    length = DATA.episodes.length
    move(distiller)
    moves_of_all = 0
    for _ in range(length):
        before = distiller.streams[REACTIVE]
        move(distiller)
        now = distiller.streams[REACTIVE]
        goes_on = (now.episode == before.episode) & (now.place == before.place + 1)
        assert (goes_on | (before.place == length)).all(), "only an episode's end ends a stream"
        torch.testing.assert_close(now.references[goes_on, :-1], before.references[goes_on, 1:])
        prompts = DATA.episodes.prompts[now.episode, now.place - 1]
        assert (now.reference_prompts[:, -1] == prompts).all()
        moves_of_all += int(goes_on.all())
    assert moves_of_all > 3


def test_restarted_streams_have_recorded_references() -> None:
    distiller = distiller_of(continue_probability=0.0)
    latents = DATA.episodes.latents.float()
    for _ in range(3):
        move(distiller)
        streams = distiller.streams[REACTIVE]
        for row in range(6):
            episode = int(streams.episode[row])
            place = int(streams.place[row])
            recorded = latents[episode, place - 4 : place - 1]
            assert torch.equal(streams.references[row, :3], recorded)


def trained_teacher() -> StreamDiT:
    """Return a teacher of two micro steps, guided, that has learned the moving square."""
    settings = DynamicsTraining(
        steps=150, clips=8, clip_frames=4, partitions=(), micro_steps=2, muon_rate=1e-2
    )
    teacher = tiny_teacher().train().requires_grad_(True)
    trainer = DynamicsTrainer(teacher, moving_square(), PROMPTS, settings, "cpu")
    take_steps(trainer, 150, total=150)
    teacher.config = replace(teacher.config, guidance=2.0)
    return teacher.eval().requires_grad_(False)


@pytest.mark.slow
def test_a_student_comes_closer_to_its_teacher_and_resumes(tmp_path: Path) -> None:
    teacher = trained_teacher()
    settings = Distillation(
        teacher_steps=2,
        steps=240,
        streams=16,
        rate_scale=1.0,
        average_decay=0.9,
        robust_scale=10.0,
    )

    def error(student: StreamDiT) -> float:
        torch.manual_seed(1)
        measured = Distiller(teacher, student, DATA, replace(settings, streams=64), "cpu")
        return sum(move(measured) for _ in range(3))

    untrained = StreamDiT(TINY)
    untrained.load_state_dict(teacher.state_dict())
    first = error(untrained)
    options = RunOptions(folder=tmp_path)
    train_student(teacher, teacher, DATA, settings, replace(options, minutes=0.0))
    student = train_student(teacher, teacher, DATA, settings, options)
    assert student.config.guidance == 1
    # what is left is the teacher's noise, which a student of one evaluation does not see
    assert error(student) < 0.8 * first
    again = train_student(teacher, teacher, DATA, settings, options)
    pairs = zip(student.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_loss_that_is_not_finite_does_not_reach_the_student() -> None:
    distiller = distiller_of()
    before = [parameter.clone() for parameter in distiller.student.parameters()]
    parts = dynamics_optimizers(distiller.student, DynamicsTraining())
    optimizers = Optimizers(distiller.student, parts)
    optimizers.prepare(1.0)
    optimizers.step(distiller.loss(0, 0.0) * float("nan"))
    pairs = zip(before, distiller.student.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
