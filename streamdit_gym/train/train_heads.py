"""Training the reward head and state probe on real frames.

Takes: latent episodes with true states and scores.  Gives: a trained head, and its error on
    held-out frames.
Knows nothing of: the transformer.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from streamdit_gym.checks import check_fields
from streamdit_gym.model.precision import training_precision
from streamdit_gym.model.readout import Readout
from streamdit_gym.train import parallel
from streamdit_gym.train.latents import LatentEpisodes
from streamdit_gym.train.run import (
    MAX_BATCH,
    MAX_STEPS,
    MAX_WEIGHT,
    Average,
    Budget,
    Stage,
    choose_threads_for_stage,
)
from streamdit_gym.train.train_codec import one_cycle


@dataclass(frozen=True, kw_only=True)
class HeadTraining:
    """How the head is trained.

    Attributes:
        steps: optimizer steps.
        batch: frames per step.
        learning_rate: peak of AdamW's.
        noise: largest deviation of the noise on the latents, so that generated ones are read as
            well.
    """

    steps: int = 6000
    batch: int = 512
    learning_rate: float = 2e-3
    noise: float = 0.1

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={"steps": (0, MAX_STEPS), "batch": (1, MAX_BATCH)},
            reals={"learning_rate": (0, 10), "noise": (0, MAX_WEIGHT)},
        )


def train_heads(
    heads: Readout,
    episodes: LatentEpisodes,
    config: HeadTraining,
    folder: Path,
    device: str,
    minutes: float | None = None,
) -> bool:
    """Train the head in place, resuming from the run folder; with no steps at all it stays as it
    is.

    Args:
        heads: the head.
        episodes: training episodes.
        config: the recipe.
        folder: run folder.
        device: where to train.
        minutes: stop this call after so long.

    Returns:
        Whether all steps are done.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    if not config.steps:
        heads.to(device).eval()
        return True
    latents = episodes.latents.flatten(0, 1)
    truth = torch.cat([episodes.states, episodes.scores], -1).flatten(0, 1).float()
    success = heads.is_success.cpu()
    heads.centre.copy_(torch.where(success, 0.0, truth.mean(0)))
    heads.spread.copy_(torch.where(success, 1.0, truth.std(0).clamp_min(1e-3)))
    heads.to(device).train()
    optimizer = torch.optim.AdamW(heads.parameters(), lr=config.learning_rate, weight_decay=1e-2)
    parallel.share(heads)
    average = Average(heads, 0.998)
    choose_threads_for_stage(
        device,
        partial(_practise, heads, latents[: config.batch, None].to(device, torch.float32), device),
    )
    stage = Stage(folder, "heads", {"heads": heads, "optimizer": optimizer, "average": average})
    generator = torch.Generator().manual_seed(parallel.seed(2 + stage.step))
    torch.manual_seed(parallel.seed(2 + stage.step))
    for step in stage.steps(Budget(steps=config.steps, minutes=minutes)):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * one_cycle(step, config.steps, warmup=100)
        rows = torch.randint(len(latents), (config.batch,), generator=generator)
        x = latents[rows, None].to(device, torch.float32)
        x = x + config.noise * torch.rand(len(x), 1, 1, 1, 1, device=device) * torch.randn_like(x)
        with training_precision(device):
            raw = heads.raw(x)
        loss = head_loss(heads, raw[:, 0].float(), truth[rows].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parallel.average_gradients(heads.parameters())
        optimizer.step()
        average.update(heads)
        if step % 50 == 0:
            stage.log(loss=loss.item())
    average.copy_to(heads)
    heads.eval()
    return stage.finished


def _practise(heads: Readout, latents: Float[Tensor, "n 1 c h w"], device: str) -> None:
    """Do what a step does, on a copy of the heads."""
    scratch = copy.deepcopy(heads)
    with training_precision(device):
        raw = scratch.raw(latents)
    raw.float().square().mean().backward()


def head_loss(heads: Readout, raw: Float[Tensor, "n o"], truth: Float[Tensor, "n o"]) -> Tensor:
    """Return smooth L1 of the standardised numbers plus cross-entropy of the successes."""
    success = heads.is_success
    numbers = functional.smooth_l1_loss(
        raw[:, ~success], ((truth - heads.centre) / heads.spread)[:, ~success], beta=0.1
    )
    return numbers + functional.binary_cross_entropy_with_logits(raw[:, success], truth[:, success])


@torch.no_grad()
def head_errors(heads: Readout, held_out: LatentEpisodes, device: str) -> dict[str, float]:
    """Return the mean absolute error per number and the accuracy per success on real frames."""
    states, scores = zip(
        *(heads(part.to(device, torch.float32)) for part in held_out.latents.split(8)), strict=True
    )
    found = torch.cat([torch.cat(states), torch.cat(scores)], -1).cpu()
    truth = torch.cat([held_out.states, held_out.scores], -1)
    names = (*heads.config.state_names, *heads.config.score_names)
    errors = {}
    for i, name in enumerate(names):
        if name.startswith("success_"):
            errors[f"{name}_accuracy"] = (
                ((found[..., i] > 0.5) == (truth[..., i] > 0.5)).float().mean().item()
            )
        else:
            errors[f"{name}_error"] = (found[..., i] - truth[..., i]).abs().mean().item()
    return errors
