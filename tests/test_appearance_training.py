"""Training the appearance module, and everything else that leaves appearance alone."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_table, wake
from support.painted import PAINTED, painted
from support.training import FAST, optimizers_of

from streamdit_gym.distill.distiller import DistillationData, Distiller
from streamdit_gym.model.appearance import PromptedPalette
from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.recipes.distillation_settings import Distillation
from streamdit_gym.recipes.stage_settings import AppearanceTraining
from streamdit_gym.train.context_corruption import ContextCorruption
from streamdit_gym.train.dynamics_trainer import DynamicsTrainer
from streamdit_gym.train.stage_context import RunOptions
from streamdit_gym.train.stages.appearance_stage import (
    AppearanceTrainer,
    Palettes,
    train_appearance,
)

PROMPTS = make_table(["stay", "red", "green", "grey"])
TRAINING = AppearanceTraining(steps=400, batch=64, adamw_rate=3e-3, prompt_noise=0.0)


def palettes() -> Palettes:
    return Palettes(painted(), PAINTED.spatial_channels)


def trainer() -> AppearanceTrainer:
    module = PromptedPalette(2, 384, width=64)
    return AppearanceTrainer(module, palettes(), PROMPTS, TRAINING, "cpu")


def test_frames_that_change_their_palette_are_those_that_a_search_finds() -> None:
    episodes = painted()
    episodes.num_generated[3] = 12
    latents = episodes.latents.float()
    expected: list[list[int]] = []
    for episode in range(len(episodes)):
        for frame in range(1, episodes.length):
            change = (latents[episode, frame] - latents[episode, frame - 1]).abs().max()
            if change > 0 and frame > episodes.num_generated[episode]:
                expected.append([episode, frame])
    assert len(expected) > 40
    found = Palettes(episodes, PAINTED.spatial_channels)
    assert found.changes.tolist() == expected
    assert len(found.frames) == 70 * 19 - 12, "nothing is learned from generated frames"


def test_half_of_a_sample_changes_its_palette() -> None:
    before, target, prompts = palettes().sample(40, torch.Generator().manual_seed(0))
    changed = (before != target).any(-1).any(-1)
    assert changed[20:].all()
    assert not changed[:20].all()
    assert (prompts[changed] > 0).all()


def test_prompts_are_learned_and_all_else_is_copied(tmp_path: Path) -> None:
    torch.manual_seed(0)
    learned = trainer()
    assert train_appearance(learned, RunOptions(folder=tmp_path))
    named = learned.module.encode(PROMPTS.tokens, PROMPTS.mask)
    before = torch.randn(5, 2, 3).clamp(-1, 1)
    after = learned.module.paint(before, named)
    # row 0 is no prompt, row 1 "stay"
    for row, painted_things in ((0, []), (1, []), (2, [0]), (3, [0]), (4, [1])):
        for thing in range(2):
            is_copied = torch.equal(after[row, thing], before[row, thing])
            assert is_copied == (thing not in painted_things)
    assert torch.allclose(after[2, 0], torch.tensor([1.0, 0.0, -1.0]), atol=0.15)
    assert torch.allclose(after[4, 1], torch.tensor([0.5, 0.5, 0.5]), atol=0.15)


def test_training_resumes_and_a_finished_one_is_only_read_back(tmp_path: Path) -> None:
    assert not train_appearance(trainer(), RunOptions(folder=tmp_path, minutes=0.0005))
    first = trainer()
    assert train_appearance(first, RunOptions(folder=tmp_path))
    again = trainer()
    assert train_appearance(again, RunOptions(folder=tmp_path))
    parameters = zip(first.module.parameters(), again.module.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in parameters)


def test_colors_count_nothing_in_distillation(monkeypatch: pytest.MonkeyPatch) -> None:
    # in bfloat16 a teacher, whose attention is fused, rounds elsewhere than a student
    monkeypatch.setattr(
        "streamdit_gym.distill.distiller.training_precision", lambda _device: nullcontext()
    )
    torch.manual_seed(0)
    teacher = StreamDiT(PAINTED)
    wake(teacher)
    student = StreamDiT(PAINTED)
    student.load_state_dict(teacher.state_dict())
    settings = Distillation(streams=6, teacher_steps=1, prompt_noise=0.0, token_dropout=0.0)
    data = DistillationData(episodes=painted(), table=make_table(["a", "b", "c", "d"]))
    teacher.eval().requires_grad_(False)
    distiller = Distiller(teacher, student.train(), data, settings, "cpu")
    assert distiller.loss(0, 0.0).item() < 1e-4
    with torch.no_grad():
        student.global_predictor.out[1].bias.add_(10.0)  # type: ignore[union-attr, index, operator]
    assert distiller.loss(1, 0.0).item() < 1e-4


def test_a_student_leaves_the_appearance_module_alone() -> None:
    student = StreamDiT(PAINTED)
    data = DistillationData(episodes=painted(), table=PROMPTS)
    Distiller(StreamDiT(PAINTED), student, data, Distillation(streams=2), "cpu")
    assert not any(p.requires_grad for p in student.global_predictor.parameters())
    assert all(p.requires_grad for _, p in student.dynamics_parameters())


def test_corruption_changes_spatial_channels_only() -> None:
    torch.manual_seed(0)
    config = ConvCodecConfig(width=16, blocks=1, channels=14, global_channels=6)
    codec = ConvCodec(config).eval()
    wake(codec)
    latents = torch.randn(2, 3, 14, 8, 8)
    corrupted = ContextCorruption(codec=codec)(latents)
    assert torch.equal(corrupted[:, :, 8:], latents[:, :, 8:])
    assert not torch.equal(corrupted[:, :, :8], latents[:, :, :8])


def test_learning_text_only_leaves_what_draws_alone() -> None:
    torch.manual_seed(0)
    model = StreamDiT(PAINTED)
    wake(model)
    settings = replace(FAST, text_only=True)
    text_only = DynamicsTrainer(model, painted(), make_table(["a", "b", "c", "d"]), settings, "cpu")
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizers = optimizers_of(text_only)
    for step in range(4):
        optimizers.prepare(1.0)
        optimizers.step(text_only.loss(step, step / 8))
    changed = {
        name for name, value in model.named_parameters() if not torch.equal(value, before[name])
    }
    for name in changed:
        is_text_module = name.split(".")[0] in ("text", "pooled", "no_prompt")
        assert is_text_module or ".cross.key_value" in name
    assert {name.split(".")[0] for name in changed} == {"text", "pooled", "no_prompt", "blocks"}
