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
from streamdit_gym.train.optimization import adamw_only, cosine_schedule
from streamdit_gym.train.stage_context import (
    RunOptions,
    StageContext,
    has_global_channels,
    require_finished,
)

SEED = 2
MIN_STD = 1e-3
EPISODES_AT_ONCE = 8


def run(context: StageContext, codec: ConvCodec, episodes: LatentEpisodes) -> Readout:
    """Return the readout: the continued world's, trained on, or a new one."""
    readout = inherited(context) or _new(context, codec)
    settings = context.recipe.readout
    if not settings.steps or not readout.config.output_names:
        return readout.to(context.device).eval()
    trainer = ReadoutTrainer(readout, episodes, settings, context.device)
    require_finished(train_readout(trainer, context.stage_options()))
    return readout


def inherited(context: StageContext) -> Readout | None:
    """Return a copy of the continued world's readout, if it still applies.

    It does where spatial channels keep their meaning, and states and scores their names.
    """
    world = context.base_world
    if world is None:
        return None
    inputs = context.inputs
    spec = inputs.spec
    adds_channels = bool(context.recipe.added_channels)
    tells_colours = has_global_channels(world.codec) or adds_channels
    is_aligned = tells_colours and inputs.dataset.has_base_frames
    keeps_latents = is_aligned or not context.adapts_autoencoder
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


def train_readout(trainer: ReadoutTrainer, options: RunOptions) -> bool:
    """Train a readout in place, and return whether all steps are done."""
    settings = trainer.settings
    loop = TrainingLoop(
        name="heads",
        module=trainer.readout,
        trainer=trainer,
        optimizers=adamw_only(trainer.readout, settings.adamw_rate),
        max_gradient_norm=None,
        schedule=cosine_schedule(),
        seed=SEED,
        steps=settings.steps,
        options=options,
    )
    return loop.run()


class ReadoutTrainer:
    """The loss of a step.

    Args:
        readout: what learns; it takes the scale of the data.
        episodes: training episodes.
        settings: how.
        device: where.
    """

    def __init__(
        self, readout: Readout, episodes: LatentEpisodes, settings: ReadoutTraining, device: str
    ) -> None:
        is_real = episodes.is_real
        truth = torch.cat([episodes.states, episodes.scores], -1)
        self.truth = truth[is_real].float()
        self.latents = episodes.latents[is_real]
        self.settings = settings
        self.device = device
        self.generator = torch.Generator()
        standardise(readout, self.truth)
        self.readout = readout.to(device).train()

    def seed(self, seed: int, _step: int) -> None:
        """Seed the choice of frames."""
        self.generator.manual_seed(seed)

    def loss(self, _step: int, _progress: float) -> Tensor:
        """Return the loss of some frames, with noise on their latents."""
        return self._loss(self.readout, self.generator)

    def rehearse(self) -> None:
        """Do a piece of a step, on a copy of the readout."""
        scratch = copy.deepcopy(self.readout)
        loss = self._loss(scratch, torch.Generator())
        loss.backward()

    def _loss(self, readout: Readout, generator: torch.Generator) -> Tensor:
        settings = self.settings
        rows = torch.randint(len(self.latents), (settings.batch,), generator=generator)
        latents = self.latents[rows, None]
        latents = latents.to(self.device, torch.float32)
        noisy = with_random_noise(latents, settings.latent_noise)
        truth = self.truth[rows]
        truth = truth.to(self.device)
        with training_precision(self.device):
            raw = readout.raw(noisy)
        predictions = raw[:, 0].float()
        return readout_loss(readout, predictions, truth)


def standardise(readout: Readout, truth: Float[Tensor, "n v"]) -> None:
    """Set a readout's scale to that of the data; successes have none."""
    is_success = readout.is_success.cpu()
    mean = truth.mean(0)
    std = truth.std(0)
    std = std.clamp_min(MIN_STD)
    centre = torch.where(is_success, 0.0, mean)
    spread = torch.where(is_success, 1.0, std)
    readout.centre.copy_(centre)
    readout.spread.copy_(spread)


def with_random_noise(
    latents: Float[Tensor, "n g c h w"], max_deviation: float
) -> Float[Tensor, "n g c h w"]:
    """Return latents with noise, whose standard deviation differs from frame to frame."""
    deviation = torch.rand(len(latents), 1, 1, 1, 1, device=latents.device)
    noise = max_deviation * deviation * torch.randn_like(latents)
    return latents + noise


@torch.no_grad()
def readout_errors(readout: Readout, held_out: LatentEpisodes, device: str) -> dict[str, float]:
    """Return the mean absolute error per number and the accuracy per success on real frames."""
    parts: list[Tensor] = []
    for latents in held_out.latents.split(EPISODES_AT_ONCE):
        states, scores = readout(latents.to(device, torch.float32))
        values = torch.cat([states, scores], -1)
        parts.append(values.cpu())
    is_real = held_out.is_real
    predictions = torch.cat(parts)[is_real]
    truth = torch.cat([held_out.states, held_out.scores], -1)[is_real]
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


def _mean_absolute_error(predictions: Float[Tensor, " n"], truth: Float[Tensor, " n"]) -> float:
    difference = predictions - truth
    return difference.abs().mean().item()


def _accuracy(predictions: Float[Tensor, " n"], truth: Float[Tensor, " n"]) -> float:
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
