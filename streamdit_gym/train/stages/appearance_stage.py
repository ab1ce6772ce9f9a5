"""The optional appearance module: a palette of colours that prompts can change.

A palette has latent channels of its own, the same all over a frame, three to a colour. This stage
learns from pairs of palettes which colours a prompt names; pixels, places and the transformer take
no part in it (docs/decisions/0009).
"""

from __future__ import annotations

import copy

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from streamdit_gym.model.appearance import PromptedPalette
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.recipes.stage_settings import AppearanceTraining
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.train.latent_episodes import ClipIndex, LatentEpisodes
from streamdit_gym.train.loop import TrainingLoop
from streamdit_gym.train.optimization import adamw_only, cosine_schedule
from streamdit_gym.train.stage_context import RunOptions, StageContext, require_finished
from streamdit_gym.types import Conditioning

SEED = 3
# change of a palette's number, in thirds of a colour's range, from which a prompt changed it
MIN_CHANGE = 0.3


def run(
    context: StageContext, model: StreamDiT, episodes: LatentEpisodes, table: PromptTable
) -> PromptedPalette | None:
    """Train a transformer's appearance module and return a copy of it; None if it has none."""
    module = model.global_predictor
    if not isinstance(module, PromptedPalette):
        return None
    palettes = Palettes(episodes, model.config.spatial_channels)
    trainer = AppearanceTrainer(module, palettes, table, context.recipe.appearance, context.device)
    require_finished(train_appearance(trainer, context.stage_options()))
    return copy.deepcopy(module)


def restore(model: StreamDiT, module: PromptedPalette | None) -> None:
    """Put an appearance module back; a transformer's checkpoint may have brought an earlier one."""
    if module is not None:
        model.global_predictor = module


def train_appearance(trainer: AppearanceTrainer, options: RunOptions) -> bool:
    """Train an appearance module in place, and return whether all steps are done."""
    settings = trainer.settings
    loop = TrainingLoop(
        name="looks",
        module=trainer.module,
        trainer=trainer,
        optimizers=adamw_only(trainer.module, settings.adamw_rate),
        schedule=cosine_schedule(),
        seed=SEED,
        steps=settings.steps,
        options=options,
    )
    return loop.run()


class Palettes:
    """The palettes of every recorded frame, and which frames change them.

    Args:
        episodes: the episodes.
        spatial_channels: their channels that are no palette.
    """

    def __init__(self, episodes: LatentEpisodes, spatial_channels: int) -> None:
        channels = episodes.latents[:, :, spatial_channels:, 0, 0].float()
        self.colours = rearrange(channels, "e g (k rgb) -> e g k rgb", rgb=3)
        self.prompts = episodes.prompts
        self.frames = self._recorded_frames(episodes)
        self.changes = self.frames[self._change() > MIN_CHANGE]

    def sample(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n k 3"], Float[Tensor, "n k 3"], Int[Tensor, " n"]]:
        """Return the palettes before some frames, those of them, and their prompts.

        Half of the frames change their palette, if any does.
        """
        groups = [frames for frames in (self.frames, self.changes) if len(frames)]
        samples: list[Tensor] = []
        for frames in groups:
            share = count // len(groups)
            rows = torch.randint(len(frames), (share,), generator=generator)
            samples.append(frames[rows])
        episode, frame = torch.cat(samples).unbind(1)
        before = self.colours[episode, frame - 1]
        after = self.colours[episode, frame]
        return before, after, self.prompts[episode, frame]

    def _recorded_frames(self, episodes: LatentEpisodes) -> Int[Tensor, "n 2"]:
        """Return episode and frame of all frames that follow a recorded one."""
        every_episode = torch.arange(len(episodes))
        every_frame = torch.arange(1, episodes.length)
        frames = torch.cartesian_prod(every_episode, every_frame)
        episode, frame = frames.unbind(1)
        before = ClipIndex(episode=episode, start=frame - 1)
        is_recorded = episodes.is_recorded(before, 1)
        return frames[is_recorded[:, 0]]

    def _change(self) -> Float[Tensor, " n"]:
        episode, frame = self.frames.unbind(1)
        before = self.colours[episode, frame - 1]
        after = self.colours[episode, frame]
        difference = after - before
        return difference.abs().amax((1, 2))


class AppearanceTrainer:
    """The loss of a step.

    Args:
        module: what learns.
        palettes: of the training episodes.
        table: embeddings of the data set's phrases.
        settings: how.
        device: where.
    """

    def __init__(
        self,
        module: PromptedPalette,
        palettes: Palettes,
        table: PromptTable,
        settings: AppearanceTraining,
        device: str,
    ) -> None:
        self.module = module.to(device).train()
        self.palettes = palettes
        self.table = table.to(device, torch.float32)
        self.settings = settings
        self.device = device
        tokens = self.table.tokens[self.table.mask]
        self.noise = settings.prompt_noise * tokens.std()
        self.generator = torch.Generator()

    def seed(self, seed: int, _step: int) -> None:
        """Seed the choice of frames."""
        self.generator.manual_seed(seed)

    def loss(self, _step: int, _progress: float) -> Tensor:
        """Return the loss of some frames."""
        return self._loss(self.module, self.generator)

    def rehearse(self) -> None:
        """Do a piece of a step, on a copy of the module."""
        scratch = copy.deepcopy(self.module)
        loss = self._loss(scratch, torch.Generator())
        loss.backward()

    def _loss(self, module: PromptedPalette, generator: torch.Generator) -> Tensor:
        batch = self.palettes.sample(self.settings.batch, generator)
        before, target, rows = (part.to(self.device) for part in batch)
        prompts = self.table.distinct(rows[:, None])
        return palette_loss(module, before, target, prompts, self.noise)


def palette_loss(
    module: PromptedPalette,
    before: Float[Tensor, "n k 3"],
    target: Float[Tensor, "n k 3"],
    prompts: Conditioning,
    noise: Tensor,
) -> Tensor:
    """Return the mean squared error of palettes changed by prompts."""
    tokens = prompts.tokens + noise * torch.randn_like(prompts.tokens)
    instructions = module.encode(tokens, prompts.mask)
    rows = prompts.index[:, 0] + 1
    named = instructions[rows]
    colour = named[..., :3]
    is_named = named[..., 3:].sigmoid()  # while it learns, all colours are named a little
    after = torch.lerp(before, colour, is_named)
    difference = after - target
    return difference.square().mean()
