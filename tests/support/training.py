"""A world so simple that it must be learned, and trainings of it that take seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import make_table, wake

from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.recipes.stage_settings import DynamicsTraining
from streamdit_gym.train.dynamics_trainer import DynamicsTrainer, dynamics_optimizers
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.optimization import Optimizers, linear_cooldown
from streamdit_gym.train.rollout_windows import Corruption
from streamdit_gym.train.stage_context import RunOptions
from streamdit_gym.train.stages.dynamics_stage import train_dynamics

TINY = StreamDiTConfig(width=64, depth=2, heads=2)
FAST = DynamicsTraining(steps=30, clips=4, clip_frames=4, rollout_ramp=1e-6)
QUIET = replace(
    FAST,
    prompt_dropout=0.0,
    prompt_noise=0.0,
    token_dropout=0.0,
    reference_noise=0.0,
    sampler_time_share=1.0,
)
PROMPTS = make_table(["right", "left"])


def no_actions(count: int, length: int) -> dict[str, torch.Tensor]:
    """Return what whole episodes hold in which nobody acts or earns anything."""
    return {
        "actions": torch.zeros(count, length, 1),
        "rewards": torch.zeros(count, length, 0),
        "terminated": torch.zeros(count, length, dtype=torch.bool),
        "lengths": torch.full((count,), length),
        "num_generated": torch.zeros(count, dtype=torch.long),
    }


def moving_square(episodes: int = 16, length: int = 24) -> LatentEpisodes:
    """Return episodes of a bright cell that goes right with prompt 0 and left with prompt 1."""
    rng = np.random.default_rng(0)
    latents = torch.zeros(episodes, length, 8, 8, 8)
    prompts = torch.from_numpy(rng.integers(2, size=(episodes, length)))
    for episode in range(episodes):
        column = int(rng.integers(8))
        for frame in range(length):
            if frame:
                step = 1 if prompts[episode, frame] == 0 else -1
                column = (column + step) % 8
            latents[episode, frame, :, 4, column] = 2.0
    prompts[:, 0] = -1
    states = torch.zeros(episodes, length, 1)
    return LatentEpisodes(
        latents=latents.half(),
        prompts=prompts,
        states=states,
        scores=states,
        **no_actions(episodes, length),
    )


def trainer_of(
    settings: DynamicsTraining = FAST,
    seed: int = 0,
    corruption: Corruption | None = None,
    device: str = "cpu",
) -> DynamicsTrainer:
    """Return a trainer of a tiny transformer, none of whose weights are zero."""
    torch.manual_seed(seed)
    model = StreamDiT(TINY).to(device)
    wake(model)
    return DynamicsTrainer(model, moving_square(), PROMPTS, settings, device, corruption)


def optimizers_of(trainer: DynamicsTrainer) -> Optimizers:
    return Optimizers(trainer.model, dynamics_optimizers(trainer.model, trainer.settings))


def take_steps(trainer: DynamicsTrainer, count: int, total: int) -> list[float]:
    """Take the first steps of a training of so many, and return their losses."""
    optimizers = optimizers_of(trainer)
    schedule = linear_cooldown(trainer.settings.cooldown)
    losses: list[float] = []
    for step in range(count):
        progress = step / total
        optimizers.prepare(schedule(step, progress))
        loss = trainer.loss(step, progress)
        optimizers.step(loss)
        losses.append(loss.item())
    return losses


def train_square(
    folder: Path, model: StreamDiT | None = None, minutes: float | None = None, **settings: Any
) -> StreamDiT:
    """Train a transformer on the moving square in a run folder, and return it."""
    model = StreamDiT(TINY) if model is None else model
    trainer = DynamicsTrainer(model, moving_square(), PROMPTS, replace(FAST, **settings), "cpu")
    train_dynamics(trainer, RunOptions(folder=folder, minutes=minutes))
    return model


class RandomEncoder:
    """Random but fixed embeddings: training does not care which encoder it is."""

    name = "random"
    width = 384

    def encode(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        table = make_table(texts)
        return table.tokens, table.mask, table.pooled


def changed_weights(first: torch.nn.Module, second: torch.nn.Module) -> set[str]:
    """Return the names of the weights in which two networks differ."""
    other = second.state_dict()
    return {
        name for name, value in first.state_dict().items() if not torch.equal(value, other[name])
    }


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    return not changed_weights(first, second)
