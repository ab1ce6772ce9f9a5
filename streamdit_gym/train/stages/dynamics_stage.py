"""Train the transformer on latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.expand_channels import expand_model
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.text.prompt_protocol import PromptSource
from streamdit_gym.train import parallel
from streamdit_gym.train.average import averaged_weights
from streamdit_gym.train.context_corruption import ContextCorruption
from streamdit_gym.train.dynamics_trainer import DynamicsTrainer, dynamics_optimizers, eager
from streamdit_gym.train.film_strip import film_strip
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.loop import TrainingLoop
from streamdit_gym.train.optimization import linear_cooldown
from streamdit_gym.train.readback import ReadbackCheck
from streamdit_gym.train.stage_context import RunOptions, StageContext

SEED = 1
PICTURE_EVERY = 1000
Picture = Callable[[StreamDiT], np.ndarray]
Check = Callable[[TrainingLoop, StreamDiT], None]


@dataclass(frozen=True, kw_only=True)
class DynamicsData:
    """What the transformer learns from.

    Attributes:
        codec: the autoencoder, for corruptions and pictures.
        episodes: training episodes, relabelled ones among them.
        held_out: episodes for pictures.
        prompts: embeddings of the data set's prompts.
    """

    codec: ConvCodec
    episodes: LatentEpisodes
    held_out: LatentEpisodes
    prompts: PromptSource


def initial_model(context: StageContext) -> StreamDiT:
    """Return the transformer that training starts from, configured as it will be sampled."""
    settings = context.recipe.dynamics
    if context.base_world is not None and context.recipe.keeps_transformer:
        model = expand_model(context.base_world.model, context.recipe.added_channels)
    else:
        model = StreamDiT(context.sizes.model)
    model.config = replace(
        model.config,
        sees_noise=settings.objective == "flow",
        micro_steps=settings.micro_steps,
        guidance=settings.guidance,
        temperature=1.0 if settings.objective == "flow" else model.config.temperature,
    )
    return model


def run(context: StageContext, model: StreamDiT, data: DynamicsData) -> None:
    """Train the transformer in place, as far as the call's minutes reach."""
    settings = context.recipe.dynamics
    corruption = ContextCorruption(codec=data.codec) if settings.corruption == "warp" else None
    trainer = DynamicsTrainer(
        model,
        data.episodes.to(context.device),
        data.prompts,
        settings,
        context.device,
        corruption,
    )

    def picture(trained: StreamDiT) -> np.ndarray:
        return film_strip(trained, data.codec, data.prompts, data.held_out, context.device)

    check: Check | None = None
    if settings.readback_deadline:
        check = ReadbackCheck(
            data.episodes,
            data.held_out,
            data.prompts,
            context.inputs.spec.actions,
            settings.readback_deadline,
        )
    train_dynamics(trainer, context.stage_options(), picture, check=check)
    _interpolate_weights(context, model)


def train_dynamics(
    trainer: DynamicsTrainer,
    options: RunOptions,
    picture: Picture | None = None,
    picture_every: int = PICTURE_EVERY,
    check: Check | None = None,
) -> bool:
    """Train a transformer in place, and return whether all steps are done.

    Args:
        trainer: the model and its loss.
        options: of the run.
        picture: draws a sample picture with the averaged weights.
        picture_every: steps between pictures.
        check: called after every step; what it raises ends the training.
    """
    model = trainer.model
    settings = trainer.settings
    model.to(options.device).train()
    if options.compile:
        compile_blocks(model)

    def after_step(loop: TrainingLoop, step: int) -> None:
        steps_done = step + 1
        if check is not None:
            with eager():
                check(loop, model)
        if picture is not None and steps_done % picture_every == 0:
            _draw(model, loop, picture, f"{steps_done:06d}")

    loop = TrainingLoop(
        name="streamdit",
        state_name="model",
        module=model,
        trainer=trainer,
        optimizers=dynamics_optimizers(model, settings),
        schedule=linear_cooldown(settings.cooldown),
        average_decay=settings.average_decay,
        seed=SEED,
        steps=settings.steps,
        end_with_minutes=settings.end_with_minutes,
        options=options,
        after_step=after_step,
    )
    return loop.run()


def compile_blocks(model: StreamDiT) -> None:
    """Compile a transformer's blocks, one by one."""
    for block in model.blocks:
        block.compile()


def _draw(model: StreamDiT, loop: TrainingLoop, picture: Picture, name: str) -> None:
    """Draw a picture in the first process, with the averaged weights."""
    if parallel.rank():
        return
    with averaged_weights(model, loop.average), eager():
        loop.stage.picture(name, picture(model))


def _interpolate_weights(context: StageContext, model: StreamDiT) -> None:
    """Move a trained transformer back towards the one that training continued from."""
    continuation = context.recipe.continue_from
    if context.base_world is None or continuation is None:
        return
    if not continuation.weight_interpolation:
        return
    with torch.no_grad():
        for name, weight in context.base_world.model.dynamics_parameters():
            trained = model.get_parameter(name)
            trained.lerp_(weight.to(context.device), continuation.weight_interpolation)
