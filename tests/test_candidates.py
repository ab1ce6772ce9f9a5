"""A trained world as a candidate: its frames stand beside the prompts that they obey."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_tiny_world
from support.replayed_worlds import (
    random_frames,
)

from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.errors import PartitionError, StreamDiTError
from streamdit_gym.evaluate.candidate import (
    WorldCandidate,
    teacher_of,
)


def test_the_evaluator_takes_one_frame_a_chunk() -> None:
    with pytest.raises(PartitionError, match="action by action"):
        WorldCandidate(make_tiny_world(), "K4N2c2s1")


@pytest.mark.parametrize(
    ("partition", "extra_latency"),
    [("K4N1c1s1", 0), ("K4N1c1s2", 0), ("K4N4c1s1", 0), ("K4N1c1s1", 3), ("K4N2c1s1", 2)],
)
def test_a_candidates_frames_match_its_prompts(partition: str, extra_latency: int) -> None:
    """With a buffer of N the frames come N - 1 later; the evaluator sees them where they belong."""
    candidate = WorldCandidate(make_tiny_world(), partition, extra_latency)
    prompts = [SPEC.menu[i % 9][0] for i in range(6)]
    others = [*prompts[:3], SPEC.menu[8][0], *prompts[4:]]
    frames, other_frames = (
        candidate.roll_out(random_frames(1, 1), [episode]).frames[0].astype(int)
        for episode in (prompts, others)
    )
    assert frames.shape == (6, 64, 64, 3)
    changed = np.abs(frames - other_frames).max((1, 2, 3)) > 0
    assert not changed[:3].any()
    assert changed[3]


def test_a_candidate_with_extra_latency_idles_first() -> None:
    world = make_tiny_world()
    prompts = [SPEC.menu[i][0] for i in range(1, 5)]
    late = WorldCandidate(world, extra_latency=3)
    plain = WorldCandidate(world)
    frames = late.roll_out(random_frames(1, 1), [prompts]).frames
    after_idling = plain.roll_out(random_frames(1, 1), [[SPEC.menu[0][0]] * 3 + prompts]).frames
    assert np.array_equal(frames, after_idling[:, 3:])
    assert late.latency_frames == 3
    assert late.partition_name == "K4N1c1s1, 3 frames later"


def test_extra_latency_is_not_negative() -> None:
    with pytest.raises(PartitionError, match="before a prompt arrives"):
        WorldCandidate(make_tiny_world(), extra_latency=-1)


def test_streams_are_rolled_out_in_parts_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = WorldCandidate(make_tiny_world(), "K4N4c1s1")  # in which noise shows
    first = random_frames(3, 1)
    prompts = [[SPEC.menu[i + j][0] for i in range(4)] for j in range(3)]
    together = candidate.roll_out(first, prompts, seed=5)
    monkeypatch.setattr("streamdit_gym.evaluate.candidate.CPU_BATCH", 2)
    apart = candidate.roll_out(first, prompts, seed=5)
    assert np.abs(apart.frames.astype(int) - together.frames).max() <= 1
    np.testing.assert_allclose(apart.scores, together.scores, atol=1e-5)
    other_noise = candidate.roll_out(first, prompts, seed=6)
    assert np.abs(other_noise.scores - together.scores).max() > 1e-3


def test_a_teacher_is_as_late_as_its_student() -> None:
    world = make_tiny_world()
    student = WorldCandidate(world, "K4N4c1s1", extra_latency=1)
    assert teacher_of(student, world).latency_frames == 4
    assert teacher_of(student, world, "K4N2c1s1").extra_latency == 3


def test_a_teacher_is_never_later_than_its_student() -> None:
    world = make_tiny_world()
    with pytest.raises(PartitionError, match=r"(?s)later than its student.*extra_latency=3"):
        teacher_of(WorldCandidate(world), world, "K4N4c1s1")


def test_a_teacher_is_of_the_same_world() -> None:
    world = make_tiny_world()
    with pytest.raises(StreamDiTError, match="no teacher of this world"):
        teacher_of(WorldCandidate(world), replace(world, spec=replace(SPEC, name="another")))


def test_context_frames_are_not_generated_again() -> None:
    candidate = WorldCandidate(make_tiny_world())
    prompts = [[SPEC.menu[i][0] for i in range(4)] + [SPEC.menu[5][0]] * 2] * 2
    rollout = candidate.roll_out(random_frames(2, 5), prompts)
    assert rollout.frames.shape == (2, 2, 64, 64, 3)
    assert rollout.scores.shape == (2, 2, 4)
