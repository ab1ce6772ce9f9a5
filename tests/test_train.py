"""Training: it learns, it resumes, Ctrl-C loses nothing, and the loss is what it says."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_table, wake
from test_damage import harm

from streamdit_gym.errors import DatasetError, StreamDiTError
from streamdit_gym.model.precision import training_precision
from streamdit_gym.model.streamdit import StreamDiT, StreamDiTConfig
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.views import teacher_view
from streamdit_gym.train import run
from streamdit_gym.train.latents import LatentEpisodes
from streamdit_gym.train.muon import Muon, orthogonal
from streamdit_gym.train.run import Average, Budget, Stage
from streamdit_gym.train.train_streamdit import StreamDiTTrainer, StreamDiTTraining, train_streamdit

TINY = StreamDiTConfig(width=64, depth=2, heads=2)
FAST = StreamDiTTraining(steps=30, clips=4, clip_frames=4, own_ramp=1e-6)


def moving_square(episodes: int = 16, length: int = 24) -> LatentEpisodes:
    """A world so simple that it must be learned: a bright cell that goes right with prompt 0 and
    left with prompt 1.
    """
    rng = np.random.default_rng(0)
    latents = torch.zeros(episodes, length, 8, 8, 8)
    prompts = torch.from_numpy(rng.integers(2, size=(episodes, length)))
    for e in range(episodes):
        place = int(rng.integers(8))
        for f in range(length):
            if f:
                place = (place + (1 if prompts[e, f] == 0 else -1)) % 8
            latents[e, f, :, 4, place] = 2.0
    prompts[:, 0] = -1
    states = torch.zeros(episodes, length, 1)
    return LatentEpisodes(
        latents=latents.half(),
        prompts=prompts,
        states=states,
        scores=states,
        astray=torch.zeros(episodes, dtype=torch.long),
    )


def trainer_of(config: StreamDiTTraining = FAST, seed: int = 0) -> StreamDiTTrainer:
    torch.manual_seed(seed)
    model = StreamDiT(TINY)
    wake(model)
    return StreamDiTTrainer(model, moving_square(), make_table(["right", "left"]), config, "cpu")


def test_the_transformer_can_learn_a_world() -> None:
    trainer = trainer_of(
        replace(
            FAST, clips=8, partitions=(), prompt_dropout=0.0, own_references=0.0, matrix_rate=1e-2
        )
    )
    first = np.mean([trainer.step(i / 150) for i in range(5)])
    last = np.mean([trainer.step(i / 150) for i in range(5, 150)][-10:])
    assert last < 0.25 * first


@pytest.mark.parametrize("cut", ["K4N2c1s1", "K4N4c1s1", "K0N1c8s1", "K4N2c2s1"])
def test_every_partition_has_a_loss_with_gradients(cut: str) -> None:
    trainer = trainer_of()
    trainer.buffer_loss(Partition.parse(cut)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trainer.model.parameters())


QUIET = replace(
    FAST,
    prompt_dropout=0.0,
    prompt_noise=0.0,
    prompt_hidden=0.0,
    reference_noise=0.0,
    start_share=1.0,
)


@pytest.mark.parametrize("micro_steps", [1, 2])
def test_own_references_are_a_rollout_told_frame_by_frame(micro_steps: int) -> None:
    """A window's own frames are what the sampler makes of its references,
    and the next window's references.
    """
    trainer = trainer_of(
        replace(
            QUIET, own_references=1.0, own_depth=3, own_lost=1e9, clips=16, micro_steps=micro_steps
        )
    )
    f, given, deepest = trainer.config.clip_frames, None, torch.zeros(16, dtype=torch.bool)
    for depth in (0, 1, 2, 0):
        for k in range(micro_steps):
            trainer.next_frame_loss()
            own = trainer.own
            assert own is not None
            assert own.micro_step == k + 1
            if k == 0 and given is not None and depth:
                on = (own.depth == depth).nonzero()[:, 0]  # the others came to their episode's end
                assert len(on) > 4
                torch.testing.assert_close(own.references[on], given[on], atol=1e-3, rtol=1e-3)
            if k == 0:
                begun = own.frames
        assert (own.depth[deepest] == 0).all(), "fresh clips once the depth is reached"
        if micro_steps == 2:
            _, index = trainer._cut(own.episode, own.start, f + 1)
            prompts = trainer._prompts(torch.cat([index[:, :-1], index[:, 1:]], 1))
            view = teacher_view(
                own.references,
                own.reference_times,
                begun,
                torch.full(begun.shape[:2], 0.5),
                limit=4,
            )
            with torch.no_grad(), training_precision("cpu"):
                clean, _ = trainer.model.predict_clean(view, prompts)
            assert (own.frames - clean).abs().mean() < 0.01
        given, deepest = own.frames, own.depth == 2
        assert deepest.any() or depth != 2


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_truth_tells_own_references_nothing(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for truth in (0.0, 1.0):
        torch.manual_seed(0)
        trainer = trainer_of(
            replace(QUIET, own_references=1.0, own_lost=1e9, clips=16, start_share=share)
        )
        f, cut = trainer.config.clip_frames, trainer._cut

        def other(
            episode: torch.Tensor,
            start: torch.Tensor,
            frames: int,
            cut: Any = cut,
            f: int = f,
            truth: float = truth,
        ) -> Any:
            clips, prompts = cut(episode, start, frames)
            return (
                (torch.cat([clips[:, :f], clips[:, f:] + truth], 1), prompts)
                if frames == f + 1
                else (clips, prompts)
            )

        monkeypatch.setattr(trainer, "_cut", other)
        for _ in range(4):
            trainer.next_frame_loss()
        made.append(trainer.own)
    if share == 0:
        assert made == [None, None], "no rollout goes through noise levels anywhere"
    else:
        torch.testing.assert_close(made[0].frames, made[1].frames)
        assert (made[0].depth > 0).any()


def test_own_references_end_with_the_episode_and_begin_in_their_time() -> None:
    trainer = trainer_of(
        replace(
            QUIET, own_references=1.0, own_depth=1000, own_lost=1e9, own_ramp=1e9, micro_steps=1
        )
    )
    for _ in range(3):
        trainer.next_frame_loss(progress=0.4)
        assert trainer.own is not None
        assert (trainer.own.depth == 0).all(), "real references before their time has come"
    trainer.config = replace(trainer.config, own_ramp=1e-6)
    f, length, deepest = trainer.config.clip_frames, trainer.episodes.latents.shape[1], 0
    for _ in range(length):
        trainer.next_frame_loss()
        assert (trainer.own.start + f + 1 <= length).all()
        deepest = max(deepest, int(trainer.own.depth.max()))
    assert 1 < deepest < length


def test_clips_begin_anew_one_by_one_and_when_they_are_lost() -> None:
    trainer = trainer_of(replace(QUIET, own_references=0.5, own_lost=1e9, clips=64, micro_steps=1))
    for _ in range(6):
        trainer.next_frame_loss()
    assert trainer.own is not None
    assert len(trainer.own.depth.unique()) > 2
    trainer.config = replace(trainer.config, own_references=1.0, own_lost=0.0)
    trainer.next_frame_loss()
    assert (trainer.own.depth == 0).all()


def test_nothing_is_learned_from_a_truth_that_tells_another_story() -> None:
    trainer = trainer_of(replace(QUIET, own_references=1.0, clips=8, own_lost=1e9))
    trainer.next_frame_loss()
    first = trainer.own
    assert first is not None
    after = trainer._cut(first.episode, first.start, trainer.config.clip_frames + 1)[0][:, 1:]
    middling = (first.frames - after).square().mean((2, 3, 4))[:, -1].median().item() * 1.001
    trainer.config = replace(trainer.config, own_lost=middling)
    trainer.next_frame_loss()
    own = trainer.own
    assert own is not None
    assert own.trusted[own.depth == 0].all()
    assert (own.depth > 0).any()
    truth = trainer._cut(own.episode, own.start, trainer.config.clip_frames)[0]
    for clip in (own.depth > 0).nonzero()[:, 0]:
        for frame in range(trainer.config.clip_frames):
            error = (own.references[clip, frame] - truth[clip, frame]).square().mean().item()
            assert own.trusted[clip, frame].item() == (error < middling), (
                "each frame is trusted by its own error"
            )
    trainer.own = replace(own, trusted=torch.zeros_like(own.trusted), micro_step=0)
    loss = trainer.next_frame_loss()
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in trainer.model.parameters())


def test_references_are_damaged_as_often_as_asked_for_and_the_truth_is_not() -> None:
    def references(chance: float) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        config = replace(QUIET, clips=40, damaged=chance)
        damage = harm(bend=3.0, piece=8.0)
        trainer = StreamDiTTrainer(
            StreamDiT(TINY), moving_square(), make_table(["right", "left"]), config, "cpu", damage
        )
        trainer.next_frame_loss()
        assert trainer.own is not None
        return trainer.own.references, trainer._cut(trainer.own.episode, trainer.own.start, 4)[0]

    given, truth = references(0.0)
    assert torch.allclose(given, truth, atol=1e-3)
    given, truth = references(0.5)
    hit = (given - truth).abs().amax((1, 2, 3, 4)) > 1e-2
    assert 10 < hit.sum() < 30
    assert torch.allclose(given[~hit], truth[~hit], atol=1e-3)


def test_clips_are_drawn_from_everywhere() -> None:
    empty = torch.zeros(2, 12, 1)
    episodes = LatentEpisodes(
        latents=torch.zeros(2, 12, 8, 8, 8),
        prompts=torch.zeros(2, 12),
        states=empty,
        scores=empty,
        astray=torch.tensor([0, 0]),
    )
    episode, start = episodes.draw(400, 4, torch.Generator().manual_seed(0))
    assert 150 < episode.sum() < 250
    assert start.unique().tolist() == list(range(9)), (
        "a clip of four frames can begin with the first to the ninth"
    )
    with pytest.raises(DatasetError, match="shorter than a clip"):
        episodes.draw(4, 13, torch.Generator())


def test_where_a_world_went_astray_clips_begin_with_its_frames() -> None:
    empty = torch.zeros(2, 12, 1)
    episodes = LatentEpisodes(
        latents=torch.zeros(2, 12, 8, 8, 8),
        prompts=torch.zeros(2, 12),
        states=empty,
        scores=empty,
        astray=torch.tensor([0, 3]),
    )
    episode, start = episodes.draw(400, 4, torch.Generator().manual_seed(0))
    assert start[episode == 0].unique().tolist() == list(range(9))
    assert start[episode == 1].unique().tolist() == [1, 2], "the later half of its frames"
    real = episodes.real(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 2]), 4)
    assert real.tolist() == [[True] * 4, [False] * 3 + [True], [False] + [True] * 3]


def test_joined_episodes_are_as_long_as_the_shorter_ones() -> None:
    short = replace(moving_square(3, 9), astray=torch.full((3,), 4))
    joined = moving_square(2, 12).joined(short)
    assert joined.latents.shape[:2] == joined.prompts.shape == (5, 9)
    assert joined.astray.tolist() == [0, 0, 4, 4, 4]
    assert torch.equal(joined.latents[2:], short.latents)


@pytest.mark.parametrize("cut", ["", "K2N2c1s1", "K4N4c1s1"])
def test_a_worlds_own_frames_are_looked_at_and_nobodys_target(
    cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Give every clip targets of its own: only where they are the simulator's may another target
    change the loss.
    """
    trainer, astray = trainer_of(replace(QUIET, micro_steps=1, clips=8)), 10
    trainer.episodes = replace(
        trainer.episodes, astray=torch.full((len(trainer.episodes),), astray)
    )
    real_loss, starts, checked = trainer._loss, [], set()
    draw = trainer.episodes.draw
    monkeypatch.setattr(
        LatentEpisodes, "draw", lambda self, *rest: starts.append(draw(*rest)) or starts[-1]
    )

    def loss(
        view: object,
        prompts: object,
        target: torch.Tensor,
        noise: torch.Tensor,
        before: torch.Tensor,
        trusted: torch.Tensor,
    ) -> object:
        first = starts[-1][1] + (Partition.parse(cut).references if cut else 1)
        for clip in range(len(target)):
            for frame in range(target.shape[1]):
                assert trusted[clip, frame].item() == (first[clip] + frame >= astray)
        value = real_loss(view, prompts, target, noise, before, trusted)
        torch.testing.assert_close(
            value[0],
            real_loss(
                view,
                prompts,
                target + 5.0 * ~trusted[:, :, None, None, None],
                noise,
                before,
                trusted,
            )[0],
        )
        checked.update(trusted.flatten().tolist())
        return value

    monkeypatch.setattr(trainer, "_loss", loss)
    for _ in range(4):
        (
            trainer.buffer_loss(Partition.parse(cut)) if cut else trainer.next_frame_loss(0.0)
        ).backward()
    assert checked == {True, False}


def test_dropped_prompts_and_rows_are_right() -> None:
    trainer = trainer_of(replace(FAST, prompt_noise=0.0, prompt_hidden=0.0, prompt_dropout=0.0))
    index = torch.tensor([[-1, 1, 0], [1, 1, -1]])
    found = trainer._prompts(index)
    given = trainer.table.pooled[found.index.clamp_min(0)]
    expected = trainer.table.pooled[index.clamp_min(0)]
    assert ((given == expected).all(-1) | (index < 0)).all()
    assert ((found.index < 0) == (index < 0)).all()
    dropped = trainer_of(replace(FAST, prompt_dropout=1.0))._prompts(index)
    assert (dropped.index < 0).all()


def test_every_prompt_of_a_batch_may_be_dropped() -> None:
    trainer = trainer_of(replace(FAST, prompt_dropout=1.0, partitions=()))
    trainer.next_frame_loss().backward()


def test_hidden_tokens_are_hidden_at_random_and_never_all() -> None:
    trainer = trainer_of(replace(FAST, prompt_dropout=0.0, prompt_hidden=1.0))
    index = torch.arange(len(trainer.table.phrases))[None]
    masks = torch.stack([trainer._prompts(index).mask for _ in range(200)])
    given = trainer.table.mask
    assert masks[:, :, 0].all(), "the first token stays"
    assert not masks[:, ~given].any(), "what was never there does not appear"
    rest = given.clone()
    rest[:, 0] = False
    assert 0.7 < masks[:, rest].float().mean() < 0.8
    assert masks[:, rest].all(-1).float().mean() > 0.4, "half of the time nothing is hidden"


def test_moving_latents_weigh_more() -> None:
    trainer = trainer_of(replace(FAST, moving=3.0))
    before = torch.zeros(1, 1, 8, 8, 8)
    after = before.clone()
    after[..., 2, 5] = 1.0
    weight = trainer._weight(after, before)
    assert weight[0, 0, 0, 2, 5] == 4
    assert weight.sum() == 63 + 4


def test_the_loss_prefers_one_of_two_places_to_their_mean() -> None:
    trainer = trainer_of(replace(FAST, square=0.02, kernel=0.3, moving=0.0))
    target, noise = torch.ones(2, 1, 8, 8, 8), torch.zeros(2, 1, 8, 8, 8)
    target[1] = -1
    trainer._bounded = lambda _view, target, _noise: target  # type: ignore[method-assign]

    def loss(place: float) -> float:
        trainer._velocity = lambda *_: torch.full_like(target, place)  # type: ignore[method-assign]
        return trainer._loss(None, None, target, noise, target, torch.ones(2, 1, dtype=torch.bool))[
            0
        ].item()  # type: ignore[arg-type]

    assert loss(0.0) == pytest.approx(0.09 * np.log1p(1 / 0.09) + 0.02)
    assert loss(1.0) == pytest.approx((0.09 * np.log1p(4 / 0.09) + 0.02 * 4) / 2)
    assert loss(1.0) < loss(0.5) < loss(0.0)


def test_muon_is_torchs_muon_on_all_matrices_of_a_shape_at_once() -> None:
    pairs = []
    for make in (
        lambda p: Muon(p, lr=1e-2),
        lambda p: torch.optim.Muon(p, lr=1e-2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
    ):
        torch.manual_seed(0)
        matrices = [
            torch.nn.Parameter(torch.randn(*shape)) for shape in ((8, 16), (16, 8), (8, 16), (4, 4))
        ]
        optimizer = make(matrices[:3])
        for _ in range(4):
            for matrix in matrices[:3]:
                matrix.grad = torch.randn_like(matrix)
            optimizer.step()
        pairs.append([matrix.detach() for matrix in matrices])
    for own, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-3, rtol=1e-2)


def test_orthogonal_matrices_have_singular_values_near_one() -> None:
    values = torch.linalg.svdvals(orthogonal(torch.randn(3, 24, 10)).float())
    assert values.min() > 0.5
    assert values.max() < 1.5


@pytest.mark.filterwarnings("ignore")  # the compiler has many of its own
def test_compiled_training_is_training() -> None:
    """Blocks are compiled for the common layout alone; everything else runs as it is written."""
    steps = [
        trainer_of(replace(QUIET, compile=compiled, own_references=0.0))
        for compiled in (False, True)
    ]
    for trainer in steps:
        trainer.generator.manual_seed(5)
        torch.manual_seed(5)
    plain, compiled = (trainer.next_frame_loss().item() for trainer in steps)
    assert compiled == pytest.approx(plain, rel=0.02)
    assert steps[1].buffer_loss(Partition.parse("K4N2c1s1")).isfinite()


def test_a_resumed_training_takes_the_rate_it_is_given(tmp_path: Path) -> None:
    for steps, rate in ((2, 1.0), (3, 0.1)):
        config = replace(FAST, steps=steps, rate=rate)
        train_streamdit(
            StreamDiT(TINY), moving_square(), make_table(["right", "left"]), config, tmp_path, "cpu"
        )
        saved = torch.load(tmp_path / "streamdit.checkpoint.pt", weights_only=True)
        assert [saved[name]["param_groups"][0]["peak"] for name in ("matrices", "others")] == [
            pytest.approx(rate * FAST.matrix_rate),
            pytest.approx(rate * FAST.other_rate),
        ]


def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    arguments = (moving_square(), make_table(["right", "left"]))
    model = StreamDiT(TINY)
    train_streamdit(model, *arguments, replace(FAST, steps=6), tmp_path, "cpu")
    other = StreamDiT(TINY)
    train_streamdit(other, *arguments, replace(FAST, steps=6), tmp_path, "cpu")
    for key, value in model.state_dict().items():
        assert (value == other.state_dict()[key]).all(), "a finished stage is only read back"
    train_streamdit(other, *arguments, replace(FAST, steps=9), tmp_path, "cpu")
    assert torch.load(tmp_path / "streamdit.checkpoint.pt", weights_only=True)["step"] == 9
    assert list((tmp_path / "curves" / "streamdit").iterdir())
    with pytest.raises(StreamDiTError, match="another run folder"):
        train_streamdit(StreamDiT(replace(TINY, width=32)), *arguments, FAST, tmp_path, "cpu")


def test_ctrl_c_keeps_the_step_at_hand(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    stage = Stage(tmp_path, "stage", {"layer": layer})
    with pytest.raises(KeyboardInterrupt):
        for step in stage.steps(Budget(steps=100)):
            layer.weight.data.fill_(float(step))
            if step == 4:
                os.kill(os.getpid(), signal.SIGINT)
    again = torch.nn.Linear(2, 2)
    resumed = Stage(tmp_path, "stage", {"layer": again})
    assert resumed.step == 5
    assert not resumed.finished
    assert (again.weight == 4).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_minutes_end_a_call_and_leave_the_stage_unfinished(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "stage", {})
    assert len(list(stage.steps(Budget(steps=1000, minutes=0.0)))) == 1
    assert not stage.finished


def test_progress_follows_the_steps_or_the_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(run.time, "monotonic", lambda: clock[0])

    def progress(stage: Stage, budget: Budget) -> list[float]:
        found = []
        for _ in stage.steps(budget):
            found.append(stage.progress)
            clock[0] += 6.0  # a tenth of a minute
        return found

    assert progress(Stage(tmp_path / "steps", "stage", {}), Budget(steps=4, minutes=9.0)) == [
        0.0,
        0.25,
        0.5,
        0.75,
    ]
    hurried = Stage(tmp_path / "minutes", "stage", {})
    found = progress(hurried, Budget(steps=10**6, minutes=1.0, by_minutes=True))
    assert found == pytest.approx([0.0, *(i / 9 for i in range(10))], abs=1e-5), (
        "it ends with the minutes, and the first step, which compiles, takes no part"
    )
    again = progress(hurried, Budget(steps=22, minutes=2.0, by_minutes=True))
    assert again == pytest.approx([(11 + i) / 22 for i in range(11)], abs=1e-5), (
        "what was done counts, and the nearer end rules"
    )


def test_the_learning_rate_ends_with_the_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(
        run.time, "monotonic", lambda: clock.__setitem__(0, clock[0] + 1.0) or clock[0]
    )
    for by_minutes in (True, False):
        folder = tmp_path / str(by_minutes)
        config = replace(FAST, steps=10_000, by_minutes=by_minutes)
        train_streamdit(
            StreamDiT(TINY),
            moving_square(),
            make_table(["right", "left"]),
            config,
            folder,
            "cpu",
            minutes=0.5,
        )
        saved = torch.load(folder / "streamdit.checkpoint.pt", weights_only=True)
        group = saved["matrices"]["param_groups"][0]
        assert 10 < saved["step"] < 40
        warm_up = 100 * ((saved["step"] - 1) / 10_000 + 1e-4)
        assert group["lr"] / group["peak"] == pytest.approx(
            0.0 if by_minutes else warm_up, abs=0.2 if by_minutes else 1e-6
        )


def test_the_average_follows_the_weights() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(0.0)
    average = Average(layer, 0.9)
    layer.weight.data.fill_(1.0)
    slow = 0.0
    for i in range(1, 30):
        average.update(layer)
        slow += (1 - slow) * (1 - min(0.9, (1 + i) / (10 + i)))
    average.copy_to(layer)
    assert layer.weight.item() == pytest.approx(slow, abs=1e-5)
