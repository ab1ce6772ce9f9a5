"""Partition, noise levels and the moving buffer, against a slow list-based model."""

from __future__ import annotations

import itertools

import pytest
import torch

from streamdit_gym.errors import PartitionError, ShapeError
from streamdit_gym.stream.flow import euler_step, point, velocity
from streamdit_gym.stream.moving_buffer import MovingBuffer
from streamdit_gym.stream.noise_levels import sampling_times, slot_starts, training_times
from streamdit_gym.stream.partition import Partition

CUTS = [
    Partition(references=k, chunks=n, chunk_frames=c, micro_steps=s)
    for k, n, c, s in itertools.product((0, 2), (1, 2, 4), (1, 3), (1, 2, 3))
]


def empty(cut: Partition, rows: int = 2) -> MovingBuffer:
    return MovingBuffer(
        partition=cut,
        latents=torch.zeros(rows, 0, 3, 2, 2),
        prompts=torch.zeros(rows, 0, dtype=torch.long),
    )


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_a_slot_ends_a_move_where_the_slot_before_it_began(cut: Partition) -> None:
    last = sampling_times(cut, cut.micro_steps - 1) + 1 / (cut.micro_steps * cut.chunks)
    starts = slot_starts(cut).repeat_interleave(cut.chunk_frames)
    torch.testing.assert_close(last[: cut.chunk_frames], torch.ones(cut.chunk_frames))
    torch.testing.assert_close(last[cut.chunk_frames :], starts[: -cut.chunk_frames])
    assert starts[-1] == 0


def test_one_chunk_without_references_is_plain_flow_matching() -> None:
    cut = Partition(references=0, chunks=1, chunk_frames=8, micro_steps=4)
    times = [sampling_times(cut, k) for k in range(4)]
    for k, now in enumerate(times):
        torch.testing.assert_close(now, torch.full((8,), k / 4))


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_the_buffer_equals_a_list_of_frames_with_their_own_clocks(cut: Partition) -> None:
    """The slow model keeps a list of frames, each with its own time, and moves them one by one."""
    clean, c = torch.randn(2, 40, 3, 2, 2), cut.chunk_frames
    noise = torch.randn_like(clean)
    field = velocity(clean, noise)  # constant along the path, so Euler must land on the clean frame
    slow_frames: list[dict] = []
    buffer, born, popped_frames = empty(cut), 0, 0
    moves = cut.chunks + 4
    for move in range(moves):
        fresh = slice(born, born + c)
        buffer = buffer.push(noise[:, fresh], torch.full((2, c), move))
        slow_frames += [
            {"x": noise[:, i], "t": 0.0, "id": i, "prompt": move} for i in range(born, born + c)
        ]
        born += c
        behind = cut.frames - buffer.latents.shape[1]
        ids = torch.arange(popped_frames, born)
        for k in range(cut.micro_steps):
            dt = 1 / (cut.micro_steps * cut.chunks)
            times = sampling_times(cut, k)[behind:]
            torch.testing.assert_close(times, torch.tensor([f["t"] for f in slow_frames]))
            buffer = buffer.with_latents(euler_step(buffer.latents, field[:, ids], dt))
            for frame in slow_frames:
                frame["x"], frame["t"] = frame["x"] + dt * field[:, frame["id"]], frame["t"] + dt
        for place, frame in enumerate(slow_frames):
            torch.testing.assert_close(buffer.latents[:, place], frame["x"])
            assert buffer.prompts[0, place] == frame["prompt"]
        if buffer.chunks == cut.chunks:
            chunk, prompts, buffer = buffer.pop()
            front, slow_frames = slow_frames[:c], slow_frames[c:]
            assert all(abs(frame["t"] - 1) < 1e-5 for frame in front), "a popped chunk is at t = 1"
            torch.testing.assert_close(
                chunk, clean[:, popped_frames : popped_frames + c], atol=1e-4, rtol=1e-4
            )
            assert prompts.unique().tolist() == [front[0]["prompt"]]
            popped_frames += c
    assert popped_frames == (moves - cut.chunks + 1) * c


def test_the_path_begins_at_noise_and_ends_at_data() -> None:
    clean, noise = torch.randn(1, 2, 3, 2, 2), torch.randn(1, 2, 3, 2, 2)
    torch.testing.assert_close(point(clean, noise, torch.zeros(1, 2)), noise)
    torch.testing.assert_close(point(clean, noise, torch.ones(1, 2)), clean, atol=1e-4, rtol=1e-4)
    half = point(clean, noise, torch.full((1, 2), 0.5))
    torch.testing.assert_close(half + 0.5 * velocity(clean, noise), clean, atol=1e-4, rtol=1e-4)


def test_training_times_stay_in_their_segments_and_are_shared_by_a_chunk() -> None:
    cut = Partition(references=0, chunks=4, chunk_frames=2)
    times = training_times(cut, 500)
    low = slot_starts(cut).repeat_interleave(2)
    assert (times >= low).all()
    assert (times < low + 0.25).all()
    assert (times[:, ::2] == times[:, 1::2]).all()
    drawn = times[:, ::2] - slot_starts(cut)
    assert drawn.std(0).min() > 0.05, "they are drawn, not fixed"
    assert abs(torch.corrcoef(drawn.T)[0, 1]) < 0.2, "and drawn apart for every chunk"
    assert (training_times(cut, 50, start_share=1.0) == low).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"references": -1},
        {"references": 1, "chunks": 0},
        {"references": 1, "micro_steps": 1.5},
        {"references": True},
    ],
)
def test_impossible_partitions_are_refused(bad: dict) -> None:
    with pytest.raises(PartitionError, match="allowed"):
        Partition(**bad)


def test_the_short_form_is_read_back() -> None:
    for cut in CUTS:
        assert Partition.parse(str(cut)) == cut
    with pytest.raises(PartitionError, match="K4N2c1s1"):
        Partition.parse("4,2,1,1")


def test_a_buffer_refuses_half_a_chunk() -> None:
    cut = Partition(references=1, chunks=2, chunk_frames=2)
    with pytest.raises(ShapeError, match="whole chunks"):
        empty(cut).push(torch.zeros(2, 3, 3, 2, 2), torch.zeros(2, 3, dtype=torch.long))
