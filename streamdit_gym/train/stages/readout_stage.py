"""Train the readout of states, rewards and successes on real frames."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.precision import training_precision
from streamdit_gym.model.readout import Readout, ReadoutConfig
from streamdit_gym.recipes.stage_settings import ReadoutTraining
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.loop import TrainingLoop
from streamdit_gym.train.losses import readout_loss
from streamdit_gym.train.optimization import Optimizers, adamw_only, cosine_schedule
from streamdit_gym.train.stage_context import (
    RunOptions,
    StageContext,
    has_global_channels,
    require_finished,
)

AVERAGE_DECAY = 0.998
WEIGHT_DECAY = 1e-2
SEED = 2
MIN_STD = 1e-3
EPISODES_AT_ONCE = 8


def run(context: StageContext, codec: ConvCodec, episodes: LatentEpisodes) -> Readout:
    """Return the readout: the continued world's, trained on, or a new one."""
    readout = inherited(context) or _new(context, codec)
    settings = context.recipe.readout
    require_finished(train_readout(readout, episodes, settings, context.stage_options()))
    return readout


def inherited(context: StageContext) -> Readout | None:
    """Return a copy of the continued world's readout, if it still applies.

    It does where spatial channels keep their meaning, and states and scores their names.
    """
    world = context.base_world
    if world is None:
        return None
    tells_colours = has_global_channels(world.codec) or bool(context.recipe.added_channels)
    is_aligned = tells_colours and context.inputs.dataset.has_base_frames
    keeps_latents = is_aligned or not context.adapts_autoencoder
    spec = context.inputs.spec
    config = world.readout.config
    same_states = config.state_names == spec.state_names
    same_scores = config.score_names == spec.score_names
    if not (keeps_latents and same_states and same_scores):
        return None
    return copy.deepcopy(world.readout).requires_grad_(True)


def check(context: StageContext) -> None:
    """Refuse a recipe without a readout.

    Raises:
        StreamDiTError: if there is none to train and none to keep.
    """
    if not context.recipe.readout.steps and inherited(context) is None:
        raise StreamDiTError(
            "there is no readout to keep",
            given="readout.steps 0",
            allowed="1 or more, or continuing from a world whose latents and scores stay",
            remedy="leave readout.steps out of the recipe",
        )


def train_readout(
    readout: Readout, episodes: LatentEpisodes, settings: ReadoutTraining, options: RunOptions
) -> bool:
    """Train a readout in place, resuming from the run folder; with no steps it stays as it is.

    Returns:
        Whether all steps are done.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    if not settings.steps:
        readout.to(options.device).eval()
        return True
    trainer = ReadoutTrainer(readout, episodes, settings, options.device)
    trainer.standardise()
    readout.to(options.device).train()
    parts = adamw_only(readout, settings.adamw_rate, WEIGHT_DECAY)
    loop = TrainingLoop(
        module=readout,
        name="heads",
        state_name="heads",
        folder=options.folder,
        device=options.device,
        optimizers=Optimizers(readout, parts, max_gradient_norm=None),
        schedule=cosine_schedule(settings.steps),
        budget=options.budget(settings.steps),
        average_decay=AVERAGE_DECAY,
        seed=SEED,
        rehearsal=trainer.rehearse,
    )
    trainer.generator.manual_seed(loop.run_seed)
    finished = loop.run(trainer.loss)
    readout.eval()
    return finished


class ReadoutTrainer:
    """The loss of a step.

    Args:
        readout: what learns.
        episodes: training episodes.
        settings: how.
        device: where.
    """

    def __init__(
        self, readout: Readout, episodes: LatentEpisodes, settings: ReadoutTraining, device: str
    ) -> None:
        self.readout = readout
        self.settings = settings
        self.device = device
        self.latents = episodes.latents.flatten(0, 1)
        self.truth = torch.cat([episodes.states, episodes.scores], -1).flatten(0, 1).float()
        self.generator = torch.Generator()

    def standardise(self) -> None:
        """Set the readout's scale to that of the data; successes have none."""
        readout = self.readout
        success = readout.is_success.cpu()
        mean = self.truth.mean(0)
        std = self.truth.std(0).clamp_min(MIN_STD)
        readout.centre.copy_(torch.where(success, 0.0, mean))
        readout.spread.copy_(torch.where(success, 1.0, std))

    def loss(self, _step: int, _progress: float) -> Tensor:
        """Return the loss of some frames, with noise on their latents."""
        settings = self.settings
        device = self.device
        rows = torch.randint(len(self.latents), (settings.batch,), generator=self.generator)
        latents = self.latents[rows, None]
        latents = latents.to(device, torch.float32)
        deviation = torch.rand(len(latents), 1, 1, 1, 1, device=device)
        noise = settings.latent_noise * deviation * torch.randn_like(latents)
        with training_precision(device):
            raw = self.readout.raw(latents + noise)
        first_frame = raw[:, 0].float()
        truth = self.truth[rows].to(device)
        return readout_loss(self.readout, first_frame, truth)

    def rehearse(self) -> None:
        """Do a piece of a step, on a copy of the readout."""
        scratch = copy.deepcopy(self.readout)
        latents = self.latents[: self.settings.batch, None].to(self.device, torch.float32)
        with training_precision(self.device):
            raw = scratch.raw(latents)
        raw.float().square().mean().backward()


@torch.no_grad()
def readout_errors(readout: Readout, held_out: LatentEpisodes, device: str) -> dict[str, float]:
    """Return the mean absolute error per number and the accuracy per success on real frames."""
    parts = [
        torch.cat(readout(latents.to(device, torch.float32)), -1).cpu()
        for latents in held_out.latents.split(EPISODES_AT_ONCE)
    ]
    predictions = torch.cat(parts)
    truth = torch.cat([held_out.states, held_out.scores], -1)
    names = (*readout.config.state_names, *readout.config.score_names)
    errors: dict[str, float] = {}
    for i, name in enumerate(names):
        predicted = predictions[..., i]
        true = truth[..., i]
        if name.startswith("success_"):
            errors[f"{name}_accuracy"] = _accuracy(predicted, true)
        else:
            errors[f"{name}_error"] = _mean_absolute_error(predicted, true)
    return errors


def _mean_absolute_error(predictions: Float[Tensor, "e g"], truth: Float[Tensor, "e g"]) -> float:
    difference = predictions - truth
    return difference.abs().mean().item()


def _accuracy(predictions: Float[Tensor, "e g"], truth: Float[Tensor, "e g"]) -> float:
    predicted = predictions > 0.5
    true = truth > 0.5
    is_right = predicted == true
    return is_right.float().mean().item()


def _new(context: StageContext, codec: ConvCodec) -> Readout:
    spec = context.inputs.spec
    return Readout(
        ReadoutConfig(
            channels=codec.spatial_channels,
            grid=codec.grid,
            state_names=spec.state_names,
            score_names=spec.score_names,
        )
    )
