"""Clips drawn at once: plain flow matching on whole clips, from noise or behind first frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_table, wake
from support.pushed_dot import make_dot_world
from support.streams import CONFIG, engine_of
from torch import Tensor

from streamdit_gym.errors import ArgumentError, PartitionError, ShapeError
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.stream.clip import Clip, ClipSampler, PromptedFrames
from streamdit_gym.stream.flow import point
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.sampler import MAX_ABS_LATENT, Sampler
from streamdit_gym.types import BufferView
from streamdit_gym.world import World

STEPS = 3
FRAME = (8, 8, 8)
CONFIGS = {
    "plain": CONFIG,
    "guided": replace(CONFIG, guidance=2.0),
    "sees its noise, half of it": replace(CONFIG, sees_noise=True, temperature=0.5),
    "not causal": replace(CONFIG, causal=False),
    "windows": replace(CONFIG, window=(2, 2, 2), causal=False),
}


def clip_sampler(
    config: StreamDiTConfig = CONFIG, frames: int = 4, steps: int = STEPS
) -> ClipSampler:
    torch.manual_seed(0)
    model = StreamDiT(config)
    wake(model)
    table = make_table([f"phrase {i}" for i in range(6)])
    any_partition = Partition(references=0)
    sampler = Sampler(model.eval(), table, any_partition, autocast=False, compiled=False)
    return ClipSampler(sampler, clip_frames=frames, micro_steps=steps)


def prompts_of(rows: int, frames: int) -> Tensor:
    return torch.arange(rows * frames).reshape(rows, frames) % 6


def start_of(rows: int, frames: int) -> PromptedFrames:
    latents = torch.randn(rows, frames, *FRAME, generator=torch.Generator().manual_seed(5))
    return PromptedFrames(latents=latents, prompts=prompts_of(rows, frames) * 0)


def view_by_hand(references: list[Tensor], frames: list[Tensor], time: float, causal: bool) -> Any:
    """Return what the model sees of one stream, frame by frame."""
    shown = [*references, *frames]
    times = [1.0] * len(references) + [time] * len(frames)
    limit = CONFIG.references
    mask = torch.ones(len(shown), len(shown), dtype=torch.bool)
    for row in range(len(references)):
        for column in range(len(shown)):
            mask[row, column] = column <= row and row - column < limit
    return BufferView(
        latents=torch.stack(shown)[None],
        times=torch.tensor([times]),
        before=torch.stack([torch.zeros(FRAME), *shown[:-1]])[None],
        before_times=torch.tensor([[0.0, *times[:-1]]]),
        positions=torch.arange(len(shown)),
        mask=mask if causal else None,
        context=len(references),
    )


@torch.no_grad()
def slow_clip(
    sampler: ClipSampler, prompts: Tensor, noise: Tensor, before: list[Tensor], told: Tensor
) -> list[Tensor]:
    """Return the frames of one stream's clip: flow matching, every frame at the same time."""
    model = sampler.sampler.model
    frames = list(model.config.temperature * noise)
    conditioning = sampler.sampler.source.conditioning(torch.cat([told, prompts])[None])
    for step in range(sampler.micro_steps):
        view = view_by_hand(before, frames, step / sampler.micro_steps, model.config.causal)
        velocity = model(view, conditioning)[0][0]
        for i in range(len(frames)):
            moved = frames[i] + velocity[i] / sampler.micro_steps
            frames[i] = moved.clamp(-MAX_ABS_LATENT, MAX_ABS_LATENT)
    return frames


@pytest.mark.parametrize("references", [0, 1, 3])
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_clip_is_plain_flow_matching(kind: str, references: int) -> None:
    sampler = clip_sampler(CONFIGS[kind])
    prompts = prompts_of(2, 4)
    start = start_of(2, references) if references else None
    clips = sampler.draw(prompts, Noise.seeded([1, 2]), start)
    assert clips.shape == (2, 4, *FRAME)
    for row in range(2):
        noise = Noise.seeded([1 + row]).draw((4, *FRAME))[0]
        before = list(start.latents[row]) if start else []
        told = start.prompts[row] if start else prompts[row, :0]
        slow = slow_clip(sampler, prompts[row], noise, before, told)
        torch.testing.assert_close(clips[row], torch.stack(slow), atol=1e-4, rtol=1e-4)


def test_more_frames_are_clips_behind_the_last_frames_of_those_before() -> None:
    sampler = clip_sampler(frames=3)
    prompts = prompts_of(1, 8)
    start = start_of(1, 2)
    drawn = sampler.draw(prompts, Noise.seeded([7]), start)
    noise = Noise.seeded([7])
    history = list(start.latents[0])
    told = start.prompts[0].tolist()
    for first in (0, 3, 6):
        of_clip = prompts[0, first : first + 3]
        of_noise = noise.draw((len(of_clip), *FRAME))[0]
        last = history[-CONFIG.references :]
        frames = slow_clip(
            sampler, of_clip, of_noise, last, torch.tensor(told[-CONFIG.references :])
        )
        history += frames
        told += of_clip.tolist()
    torch.testing.assert_close(drawn[0], torch.stack(history[2:]), atol=1e-4, rtol=1e-4)


def test_a_row_depends_on_neither_the_batch_nor_its_place_in_it() -> None:
    sampler = clip_sampler(replace(CONFIG, reference_time=0.9), frames=2)
    prompts = prompts_of(3, 5)
    start = start_of(3, 2)
    together = sampler.draw(prompts, Noise.seeded([4, 5, 6]), start)
    for row in (2, 0):
        own = slice(row, row + 1)
        alone = sampler.draw(
            prompts[own],
            Noise.seeded([4 + row]),
            PromptedFrames(latents=start.latents[own], prompts=start.prompts[own]),
        )
        torch.testing.assert_close(alone, together[own], atol=1e-4, rtol=1e-4)
    assert not torch.equal(together, sampler.draw(prompts, Noise.seeded([7, 8, 9]), start))


def test_what_is_drawn_next_from_the_same_noise_is_new() -> None:
    sampler = clip_sampler()
    noise = Noise.seeded([1])
    first = sampler.draw(prompts_of(1, 4), noise)
    assert (noise.drawn > 0).all()
    assert not torch.equal(first, sampler.draw(prompts_of(1, 4), noise))


def test_references_get_the_noise_that_the_model_is_told() -> None:
    clean = clip_sampler()
    noisy = clip_sampler(replace(CONFIG, reference_time=0.9))
    start = start_of(1, 2)
    (clip,) = noisy.clips(prompts_of(1, 4), Noise.seeded([1]), start)
    noise = Noise.seeded([1]).draw((2, *FRAME))
    expected = point(start.latents, noise, torch.full((1, 2), 0.9))
    assert torch.equal(clip.references.latents, expected)
    (clip,) = clean.clips(prompts_of(1, 4), Noise.seeded([1]), start)
    assert torch.equal(clip.references.latents, start.latents)


def test_every_frame_obeys_its_own_prompt_and_sees_the_frames_behind_it() -> None:
    sampler = clip_sampler()
    prompts = prompts_of(1, 4)
    first = sampler.draw(prompts, Noise.seeded([1]))
    other = prompts.clone()
    other[0, 3] = 5
    change = (sampler.draw(other, Noise.seeded([1])) - first).abs().amax((2, 3, 4))[0]
    assert (change > 1e-4).all(), "the last prompt acts on the first frame, too"


def test_the_self_consistency_error_is_that_of_streams() -> None:
    engine = engine_of("K4N1c1s1", replace(CONFIG, sees_noise=True))
    session = engine.start(
        torch.randn(2, 5, *FRAME), torch.zeros(2, 5, dtype=torch.long), Noise.seeded([1, 2])
    )
    clip = Clip(
        frames=PromptedFrames(
            latents=session.references[:, -1:], prompts=session.reference_prompts[:, -1:]
        ),
        references=PromptedFrames(
            latents=session.references[:, :4], prompts=session.reference_prompts[:, :4]
        ),
    )
    error = ClipSampler(engine.sampler).self_consistency_error(clip)
    torch.testing.assert_close(error, engine.self_consistency_error(session))
    assert (error > 1e-3).all()


@pytest.mark.parametrize(
    ("prompts", "seeds", "start", "kind"),
    [
        (torch.zeros(2, 0, dtype=torch.long), [1, 2], None, ShapeError),
        (torch.zeros(2, dtype=torch.long), [1, 2], None, ShapeError),
        (torch.zeros(2, 4, 1, dtype=torch.long), [1, 2], None, ShapeError),
        (prompts_of(2, 4), [1], None, ShapeError),
        (prompts_of(2, 4), [1, 2], start_of(1, 1), ShapeError),
        (prompts_of(2, 4), [1, 2], start_of(2, 5), PartitionError),
    ],
    ids=["no frame", "no axis", "an axis more", "noise", "rows", "references"],
)
def test_what_does_not_fit_is_refused(
    prompts: Tensor, seeds: list[int], start: PromptedFrames | None, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="allowed"):
        clip_sampler().draw(prompts, Noise.seeded(seeds), start)


def test_a_model_without_references_draws_single_clips() -> None:
    sampler = clip_sampler(replace(CONFIG, references=0, causal=False))
    assert sampler.draw(prompts_of(1, 4), Noise.seeded([1])).shape[1] == 4
    with pytest.raises(PartitionError, match="references"):
        sampler.draw(prompts_of(1, 5), Noise.seeded([1]))
    with pytest.raises(PartitionError):
        clip_sampler(frames=0)
    with pytest.raises(PartitionError):
        clip_sampler(steps=65)


def test_a_world_draws_clips_from_texts(tiny_world: World) -> None:
    clips = tiny_world.draw_clip(["move left", "stay"], seed=3, micro_steps=2)
    assert clips.shape == (2, 8, 64, 64, 3)
    assert clips.dtype == torch.uint8
    again = tiny_world.draw_clip(["stay"], seed=4, micro_steps=2)
    assert (again[0].int() - clips[1].int()).abs().max() <= 1, "neither batch nor row matters"
    assert not torch.equal(clips, tiny_world.draw_clip(["move left", "stay"], micro_steps=2))
    per_frame = tiny_world.draw_clip([["move left"] * 8, ["stay"] * 8], seed=3, micro_steps=2)
    assert torch.equal(per_frame, clips)
    assert tiny_world.draw_clip([["stay", "move left"]], micro_steps=1).shape[1] == 2


def test_many_clips_are_decoded_piece_by_piece(
    tiny_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = tiny_world.draw_clip(["move left", "stay"], micro_steps=1)
    counts: list[int] = []
    decode = tiny_world.codec.decode

    def counting_decode(latents: torch.Tensor) -> torch.Tensor:
        counts.append(latents.shape[0] * latents.shape[1])
        return decode(latents)

    monkeypatch.setattr(tiny_world.codec, "decode", counting_decode)
    monkeypatch.setattr("streamdit_gym.world.DECODED_AT_ONCE", 3)
    in_pieces = tiny_world.draw_clip(["move left", "stay"], micro_steps=1)
    assert counts == [3, 3, 3, 3, 3, 1]
    assert (in_pieces.int() - at_once.int()).abs().max() <= 1


def test_a_world_goes_on_from_first_frames(tiny_world: World) -> None:
    black = torch.zeros(1, 1, 64, 64, 3, dtype=torch.uint8)
    clip = tiny_world.draw_clip(["stay"], 3, init=black, micro_steps=1)
    assert clip.shape == (1, 3, 64, 64, 3)
    assert torch.equal(clip, tiny_world.draw_clip(["stay"], 3, init=black.numpy(), micro_steps=1))
    assert not torch.equal(clip, tiny_world.draw_clip(["stay"], 3, init=255 - black, micro_steps=1))


def test_a_world_with_continuous_actions_draws_values_between_its_words() -> None:
    world = make_dot_world()
    texts = ["x left; y up", "x still; y up", "x -0.25; y up"]
    clips = [world.draw_clip([text], micro_steps=1) for text in texts]
    assert not torch.equal(clips[0], clips[1])
    actions = np.array([[-0.25, -0.5]])
    assert torch.equal(world.prompts.of_texts(texts[2:]), world.action_prompts(actions))
    assert not torch.equal(clips[2], clips[1])


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"prompts": "stay"}, ArgumentError),
        ({"prompts": []}, ArgumentError),
        ({"prompts": [5]}, ArgumentError),
        ({"prompts": [[]]}, ArgumentError),
        ({"prompts": [""]}, ArgumentError),
        ({"prompts": [["stay"], ["stay", "stay"]]}, ArgumentError),
        ({"prompts": [["stay"]], "frames": 2}, ArgumentError),
        ({"frames": 0}, ArgumentError),
        ({"frames": True}, ArgumentError),
        ({"frames": 10**9}, ArgumentError),
        ({"seed": -1}, ArgumentError),
        ({"seed": 2**63}, ArgumentError),
        ({"micro_steps": 0}, PartitionError),
        ({"micro_steps": 65}, PartitionError),
        ({"init": torch.zeros(64, 64, 3, dtype=torch.uint8)}, ShapeError),
        ({"init": torch.zeros(1, 1, 64, 64, 3)}, ShapeError),
        ({"init": torch.zeros(2, 1, 64, 64, 3, dtype=torch.uint8)}, ShapeError),
        ({"init": torch.zeros(1, 0, 64, 64, 3, dtype=torch.uint8)}, ShapeError),
        ({"init": torch.zeros(1, 5, 64, 64, 3, dtype=torch.uint8)}, PartitionError),
        ({"init": "frame.png"}, ShapeError),
    ],
    ids=str,
)
def test_clips_that_make_no_sense_are_refused(
    arguments: dict[str, Any], kind: type[Exception], tiny_world: World
) -> None:
    with pytest.raises(kind, match="allowed"):
        tiny_world.draw_clip(**{"prompts": ["stay"], **arguments})
