"""Training what prompts say about looks, on palettes of recorded frames.

Takes: latent episodes and the phrase table.  Gives: a trained `PromptedPalette`.  Knows nothing of: pixels,
    places, the transformer.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from streamdit_gym.checks import check_fields
from streamdit_gym.model.appearance import PromptedPalette
from streamdit_gym.text.prompt_table import PromptTable
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
from streamdit_gym.types import Conditioning

# change of a palette's number, in thirds of a colour's range, from which something is painted anew
REPAINTED = 0.3


@dataclass(frozen=True, kw_only=True)
class LooksTraining:
    """How the words for looks are learned.

    Attributes:
        steps: optimizer steps.
        batch: frames per step, half of them painted anew.
        learning_rate: peak of AdamW's; warmed up over 100 steps and brought to zero by a cosine.
        prompt_noise: noise on the embeddings, in their standard deviations.
    """

    steps: int = 6000
    batch: int = 256
    learning_rate: float = 1e-3
    prompt_noise: float = 0.5

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={"steps": (0, MAX_STEPS), "batch": (1, MAX_BATCH)},
            reals={"learning_rate": (0, 10), "prompt_noise": (0, MAX_WEIGHT)},
        )


class Palettes:
    """The palettes of every recorded frame, and which frames are painted anew.

    Args:
        episodes: the episodes.
        local: their channels that are no palette.
    """

    def __init__(self, episodes: LatentEpisodes, local: int) -> None:
        self.colours = rearrange(
            episodes.latents[:, :, local:, 0, 0].float(), "e g (k rgb) -> e g k rgb", rgb=3
        )
        self.prompts = episodes.prompts
        every = torch.cartesian_prod(
            torch.arange(len(episodes)), torch.arange(1, self.prompts.shape[1])
        )
        self.every = every[episodes.real(every[:, 0], every[:, 1] - 1, 1)[:, 0]]
        now, before = (self.colours[self.every[:, 0], self.every[:, 1] - back] for back in (0, 1))
        self.repaints = self.every[(now - before).abs().amax((1, 2)) > REPAINTED]

    def draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n k 3"], Float[Tensor, "n k 3"], Int[Tensor, " n"]]:
        """Return the palettes before some frames, and of them, and what was said;
        half of the frames are painted anew, if any is.
        """
        places = [frames for frames in (self.every, self.repaints) if len(frames)]
        drawn = [
            frames[torch.randint(len(frames), (count // len(places),), generator=generator)]
            for frames in places
        ]
        episode, frame = torch.cat(drawn).unbind(1)
        return (
            self.colours[episode, frame - 1],
            self.colours[episode, frame],
            self.prompts[episode, frame],
        )


def train_looks(
    looks: PromptedPalette,
    palettes: Palettes,
    table: PromptTable,
    config: LooksTraining,
    folder: Path,
    device: str,
    minutes: float | None = None,
) -> bool:
    """Train in place, resuming from the run folder; it ends up holding the averaged weights.

    Args:
        looks: what is trained.
        palettes: of the training episodes.
        table: embeddings of the data set's phrases.
        config: the recipe.
        folder: run folder.
        device: where to train.
        minutes: stop this call after so long.

    Returns:
        Whether all steps are done.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    looks.to(device).train()
    table = table.to(device, torch.float32)
    noise = config.prompt_noise * table.tokens[table.mask].std()
    optimizer = torch.optim.AdamW(looks.parameters(), lr=config.learning_rate, weight_decay=1e-2)
    parallel.share(looks)
    average = Average(looks, 0.998)
    choose_threads_for_stage(device, partial(_practise, looks, palettes, table, noise, config))
    stage = Stage(folder, "looks", {"looks": looks, "optimizer": optimizer, "average": average})
    generator = torch.Generator().manual_seed(parallel.seed(3 + stage.step))
    torch.manual_seed(parallel.seed(3 + stage.step))
    for step in stage.steps(Budget(steps=config.steps, minutes=minutes)):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * one_cycle(step, config.steps, warmup=100)
        before, target, index = (part.to(device) for part in palettes.draw(config.batch, generator))
        loss = looks_loss(looks, before, target, table.distinct(index[:, None]), noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parallel.average_gradients(looks.parameters())
        nn.utils.clip_grad_norm_(looks.parameters(), 1.0)
        optimizer.step()
        average.update(looks)
        if step % 50 == 0:
            stage.log(loss=loss.item())
    average.copy_to(looks)
    looks.eval()
    return stage.finished


def looks_loss(
    looks: PromptedPalette,
    before: Float[Tensor, "n k 3"],
    target: Float[Tensor, "n k 3"],
    prompts: Conditioning,
    noise: Tensor,
) -> Tensor:
    """Return the mean squared error of palettes painted by prompts."""
    tokens = prompts.tokens + noise * torch.randn_like(prompts.tokens)
    named = looks.prepare(tokens, prompts.mask)[prompts.index[:, 0] + 1]
    painted = torch.lerp(
        before, named[..., :3], named[..., 3:].sigmoid()
    )  # while it learns, all are named a little
    return (painted - target).square().mean()


def _practise(
    looks: PromptedPalette,
    palettes: Palettes,
    table: PromptTable,
    noise: Tensor,
    config: LooksTraining,
) -> None:
    """Do what a step does, on a copy of what is trained."""
    before, target, index = palettes.draw(config.batch, torch.Generator().manual_seed(0))
    looks_loss(
        copy.deepcopy(looks), before, target, table.distinct(index[:, None]), noise
    ).backward()
