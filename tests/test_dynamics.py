"""Training the transformer: it learns, on its own rollouts, and the loss is what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.corruption import corruption
from support.training import FAST, QUIET, take_steps, trainer_of

from streamdit_gym.model.precision import training_precision
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.views import teacher_view
from streamdit_gym.train.dynamics_trainer import DynamicsTrainer, LossInputs
from streamdit_gym.train.latent_episodes import ClipIndex
from streamdit_gym.train.losses import motion_weight
from streamdit_gym.train.rollout_windows import MIN_ROLLOUT_ERROR, Rollouts
from streamdit_gym.train.stages.dynamics_stage import compile_blocks

ALWAYS_GO_ON = replace(QUIET, rollout_probability=1.0, max_rollout_error=1e9)


def change_settings(trainer: DynamicsTrainer, **changes: Any) -> None:
    trainer.settings = replace(trainer.settings, **changes)
    trainer.sampler.settings = trainer.settings


def rollouts_of(trainer: DynamicsTrainer) -> Rollouts:
    assert trainer.rollouts is not None
    return trainer.rollouts


def test_the_transformer_can_learn_a_world() -> None:
    trainer = trainer_of(
        replace(
            FAST,
            clips=8,
            partitions=(),
            prompt_dropout=0.0,
            rollout_probability=0.0,
            muon_rate=1e-2,
        )
    )
    losses = take_steps(trainer, 80, total=80)
    assert np.mean(losses[-10:]) < 0.25 * np.mean(losses[:5])


@pytest.mark.parametrize("name", ["K4N2c1s1", "K4N4c1s1", "K0N1c8s1", "K4N2c2s1"])
def test_every_partition_has_a_loss_with_gradients(name: str) -> None:
    trainer = trainer_of()
    trainer.buffer_loss(Partition.parse(name)).backward()
    for parameter in trainer.model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("micro_steps", [1, 2])
def test_predictions_become_the_references_of_the_next_window(micro_steps: int) -> None:
    settings = replace(ALWAYS_GO_ON, max_rollout_depth=3, clips=16, micro_steps=micro_steps)
    trainer = trainer_of(settings)
    predictions = None
    for depth in (0, 1, 2):
        for _ in range(micro_steps):
            trainer.next_frame_loss()
        rollouts = rollouts_of(trainer)
        if predictions is not None:
            # the others came to their episode's end
            going_on = (rollouts.depth == depth).nonzero()[:, 0]
            assert len(going_on) > 4
            torch.testing.assert_close(
                rollouts.references[going_on], predictions[going_on], atol=1e-3, rtol=1e-3
            )
        predictions = rollouts.frames


def test_rollouts_end_at_the_largest_depth() -> None:
    trainer = trainer_of(replace(ALWAYS_GO_ON, max_rollout_depth=3, clips=16))
    for _ in range(3):
        trainer.next_frame_loss()
    deepest = rollouts_of(trainer).depth == 2
    assert deepest.any()
    trainer.next_frame_loss()
    assert (rollouts_of(trainer).depth[deepest] == 0).all()


def test_a_window_is_sampled_as_the_engine_samples_it() -> None:
    trainer = trainer_of(replace(ALWAYS_GO_ON, clips=16, micro_steps=2))
    trainer.next_frame_loss()
    halfway = rollouts_of(trainer).frames
    trainer.next_frame_loss()
    rollouts = rollouts_of(trainer)
    _, rows = trainer.sampler.cut(rollouts.index, trainer.settings.clip_frames + 1)
    prompts = trainer.prompts(torch.cat([rows[:, :-1], rows[:, 1:]], 1))
    times = torch.full(halfway.shape[:2], 0.5)
    view = teacher_view(rollouts.references, rollouts.reference_times, halfway, times, limit=4)
    with torch.no_grad(), training_precision("cpu"):
        clean, _ = trainer.model.predict_clean(view, prompts)
    assert (rollouts.frames - clean).abs().mean() < 0.01


def rollouts_with_shifted_truth(
    shift: float, sampler_time_share: float, monkeypatch: pytest.MonkeyPatch
) -> Rollouts | None:
    """Return rollouts where the frames after the references are others by a constant."""
    torch.manual_seed(0)
    settings = replace(ALWAYS_GO_ON, clips=16, sampler_time_share=sampler_time_share)
    trainer = trainer_of(settings)
    num_references = settings.clip_frames
    cut = trainer.sampler.cut

    def shifted(index: ClipIndex, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        clips, prompts = cut(index, frames)
        if frames == num_references + 1:
            clips = torch.cat([clips[:, :num_references], clips[:, num_references:] + shift], 1)
        return clips, prompts

    monkeypatch.setattr(trainer.sampler, "cut", shifted)
    for _ in range(4):
        trainer.next_frame_loss()
    return trainer.rollouts


@pytest.mark.parametrize("sampler_time_share", [0.5, 1.0])
def test_rollouts_never_see_the_truth(
    sampler_time_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (
        rollouts_with_shifted_truth(shift, sampler_time_share, monkeypatch) for shift in (0.0, 1.0)
    )
    assert first is not None
    assert second is not None
    torch.testing.assert_close(first.frames, second.frames)
    assert (first.depth > 0).any()


def test_no_rollout_goes_through_noise_levels_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rollouts_with_shifted_truth(0.0, 0.0, monkeypatch) is None


def test_references_are_recorded_until_the_ramp_begins() -> None:
    trainer = trainer_of(replace(ALWAYS_GO_ON, rollout_ramp=1e9))
    for _ in range(3):
        trainer.next_frame_loss(progress=0.4)
        assert (rollouts_of(trainer).depth == 0).all()


def test_rollouts_end_with_their_episode() -> None:
    trainer = trainer_of(replace(ALWAYS_GO_ON, max_rollout_depth=1000))
    length = trainer.episodes.length
    deepest = 0
    for _ in range(length):
        trainer.next_frame_loss()
        rollouts = rollouts_of(trainer)
        assert (rollouts.index.start + trainer.settings.clip_frames + 1 <= length).all()
        deepest = max(deepest, int(rollouts.depth.max()))
    assert 1 < deepest < length


def test_clips_restart_one_by_one() -> None:
    trainer = trainer_of(replace(ALWAYS_GO_ON, rollout_probability=0.5, clips=64))
    for _ in range(6):
        trainer.next_frame_loss()
    assert len(rollouts_of(trainer).depth.unique()) > 2


def test_clips_restart_when_they_have_left_the_recorded_future() -> None:
    trainer = trainer_of(replace(ALWAYS_GO_ON, clips=64))
    trainer.next_frame_loss()
    change_settings(trainer, max_rollout_error=0.0)
    trainer.next_frame_loss()
    assert (rollouts_of(trainer).depth == 0).all()


def test_each_frame_is_a_target_by_its_own_error() -> None:
    trainer = trainer_of(replace(ALWAYS_GO_ON, clips=8))
    frames = trainer.settings.clip_frames
    trainer.next_frame_loss()
    first = rollouts_of(trainer)
    recorded = trainer.sampler.cut(first.index, frames + 1)[0][:, 1:]
    error = (first.frames - recorded).square().mean((2, 3, 4))
    threshold = error[:, -1].median().item() * 1.001
    change_settings(trainer, max_rollout_error=threshold)
    trainer.next_frame_loss()
    rollouts = rollouts_of(trainer)
    assert rollouts.is_target[rollouts.depth == 0].all()
    assert (rollouts.depth > 0).any()
    recorded = trainer.sampler.cut(rollouts.index, frames)[0]
    error = (rollouts.references - recorded).square().mean((2, 3, 4))
    going_on = rollouts.depth > 0
    assert torch.equal(rollouts.is_target[going_on], (error < threshold)[going_on])


def test_a_rollout_goes_on_while_it_is_nearer_than_a_frame_that_stands_still() -> None:
    share = 0.5
    trainer = trainer_of(replace(ALWAYS_GO_ON, clips=32))
    for _ in range(3):
        trainer.next_frame_loss()
    before = rollouts_of(trainer)
    change_settings(trainer, max_still_share=share)
    latents = trainer.episodes.latents.float()
    generator = torch.Generator().manual_seed(0)
    is_wrong = torch.rand(before.is_target.shape, generator=generator) < 0.5
    recorded = trainer.sampler.cut(before.index, before.frames.shape[1] + 1)[0][:, 1:]
    frames = torch.where(is_wrong[..., None, None, None], before.frames, recorded)
    found = trainer.sampler._same_future(replace(before, frames=frames))
    for row, (episode, start) in enumerate(
        zip(before.index.episode, before.index.start, strict=True)
    ):
        for frame in range(frames.shape[1]):
            now = latents[episode, start + frame + 1]
            began = latents[episode, start + frame - before.depth[row]]
            error = (frames[row, frame] - now).square().mean()
            still = (began - now).square().mean()
            assert found[row, frame] == (error < max(share * still, MIN_ROLLOUT_ERROR))
    assert found[~is_wrong].all()
    assert not found.all()


def test_nothing_is_learned_from_frames_that_are_no_target() -> None:
    trainer = trainer_of(replace(ALWAYS_GO_ON, clips=8))
    trainer.next_frame_loss()
    rollouts = rollouts_of(trainer)
    nothing = torch.zeros_like(rollouts.is_target)
    trainer.rollouts = replace(rollouts, is_target=nothing, micro_step=0)
    loss = trainer.next_frame_loss()
    loss.backward()
    assert loss.item() == 0
    for parameter in trainer.model.parameters():
        assert parameter.grad is None or parameter.grad.abs().max() == 0


@pytest.mark.parametrize(("probability", "fewest", "most"), [(0.0, 0, 0), (0.5, 11, 29)])
def test_references_are_corrupted_as_often_as_asked_for(
    probability: float, fewest: int, most: int
) -> None:
    settings = replace(QUIET, clips=40, corruption_probability=probability)
    trainer = trainer_of(settings, corruption=corruption(bend=3.0, radius=8.0))
    trainer.next_frame_loss()
    rollouts = rollouts_of(trainer)
    recorded = trainer.sampler.cut(rollouts.index, 4)[0]
    changed = (rollouts.references - recorded).abs().amax((1, 2, 3, 4)) > 1e-2
    assert fewest <= changed.sum() <= most


@pytest.mark.parametrize("name", ["", "K2N2c1s1", "K4N4c1s1"])
def test_generated_frames_are_nobodys_target(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the targets where frames are generated: the loss must stay."""
    trainer = trainer_of(replace(QUIET, micro_steps=1, clips=8))
    num_generated = torch.full((len(trainer.episodes),), 10)
    trainer.sampler.episodes = replace(trainer.episodes, num_generated=num_generated)
    loss_of = trainer.loss_of
    seen: set[bool] = set()

    def checked(inputs: LossInputs) -> tuple[torch.Tensor, torch.Tensor]:
        result = loss_of(inputs)
        ignored = ~inputs.is_target[:, :, None, None, None]
        changed = replace(inputs, target=inputs.target + 5.0 * ignored)
        torch.testing.assert_close(result[0], loss_of(changed)[0])
        seen.update(inputs.is_target.flatten().tolist())
        return result

    monkeypatch.setattr(trainer, "loss_of", checked)
    for _ in range(4):
        if name:
            trainer.buffer_loss(Partition.parse(name))
        else:
            trainer.next_frame_loss(0.0)
    assert seen == {True, False}


def test_prompts_are_dropped_as_often_as_asked_for() -> None:
    rows = torch.tensor([[-1, 1, 0], [1, 1, -1]])
    trainer = trainer_of(replace(QUIET, prompt_dropout=0.0))
    prompts = trainer.prompts(rows)
    pooled = trainer.table.pooled[prompts.index.clamp_min(0)]
    expected = trainer.table.pooled[rows.clamp_min(0)]
    assert ((pooled == expected).all(-1) | (rows < 0)).all()
    assert torch.equal(prompts.index < 0, rows < 0)
    dropped = trainer_of(replace(QUIET, prompt_dropout=1.0)).prompts(rows)
    assert (dropped.index < 0).all()


def test_every_prompt_of_a_batch_may_be_dropped() -> None:
    trainer = trainer_of(replace(FAST, prompt_dropout=1.0, partitions=()))
    trainer.next_frame_loss().backward()


def test_tokens_are_hidden_at_random_and_never_all() -> None:
    trainer = trainer_of(replace(FAST, prompt_dropout=0.0, token_dropout=1.0))
    rows = torch.arange(len(trainer.table.phrases))[None]
    masks = torch.stack([trainer.prompts(rows).mask for _ in range(200)])
    present = trainer.table.mask
    assert masks[:, :, 0].all(), "the first token stays"
    assert not masks[:, ~present].any(), "what was never there does not appear"
    rest = present.clone()
    rest[:, 0] = False
    assert 0.7 < masks[:, rest].float().mean() < 0.8
    assert masks[:, rest].all(-1).float().mean() > 0.4, "half of the time nothing is hidden"


def test_moving_latents_weigh_more() -> None:
    previous = torch.zeros(1, 1, 8, 8, 8)
    frames = previous.clone()
    frames[..., 2, 5] = 1.0
    weight = motion_weight(frames, previous, extra=3.0, channels=8)
    assert weight[0, 0, 0, 2, 5] == 4
    assert weight.sum() == 63 + 4


def test_the_loss_prefers_one_of_two_places_to_their_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = trainer_of(replace(FAST, squared_weight=0.02, robust_scale=0.3, motion_weight=0.0))
    target = torch.ones(2, 1, 8, 8, 8)
    target[1] = -1
    is_target = torch.ones(2, 1, dtype=torch.bool)
    inputs: Any = LossInputs(
        view=None,  # type: ignore[arg-type]
        prompts=None,  # type: ignore[arg-type]
        target=target,
        noise=torch.zeros_like(target),
        previous=target,
        is_target=is_target,
    )
    monkeypatch.setattr(trainer, "bounded_velocity", lambda _view, target, _noise: target)

    def loss(place: float) -> float:
        monkeypatch.setattr(trainer, "velocity", lambda *_: torch.full_like(target, place))
        return trainer.loss_of(inputs)[0].item()

    assert loss(0.0) == pytest.approx(0.09 * np.log1p(1 / 0.09) + 0.02)
    assert loss(1.0) == pytest.approx((0.09 * np.log1p(4 / 0.09) + 0.02 * 4) / 2)
    assert loss(1.0) < loss(0.5) < loss(0.0)


@pytest.mark.usefixtures("no_machine_code")
@pytest.mark.filterwarnings("ignore")  # the compiler has many of its own
def test_compiled_training_is_training() -> None:
    """Blocks are compiled for the common layout alone; everything else runs eagerly."""
    losses: list[float] = []
    for is_compiled in (False, True):
        trainer = trainer_of(replace(QUIET, rollout_probability=0.0))
        if is_compiled:
            compile_blocks(trainer.model)
        trainer.generator.manual_seed(5)
        torch.manual_seed(5)
        losses.append(trainer.next_frame_loss().item())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert trainer.buffer_loss(Partition.parse("K4N2c1s1")).isfinite()
