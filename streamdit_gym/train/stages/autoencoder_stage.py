"""Train the autoencoder so that small moving things survive and move along straight lines.

The transformer predicts latents, and where it is unsure it predicts a mean. So the mean of two
latents should be a picture too: the one between them. Frames are trained in triplets; the latents
of the middle one are drawn to, and half of the time replaced by, the mean of its neighbours'
(docs/decisions/0006; temporal straightness after Henaff et al., 2019).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from streamdit_gym.data.film_strips import pairs_of_rows
from streamdit_gym.errors import DatasetError, StreamDiTError
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.expand_channels import expand_codec
from streamdit_gym.model.precision import training_precision
from streamdit_gym.recipes.stage_settings import AutoencoderTraining
from streamdit_gym.train import parallel
from streamdit_gym.train.loop import TrainingLoop
from streamdit_gym.train.losses import colour_balance, foreground, psnr
from streamdit_gym.train.optimization import OptimizerPart, cosine_schedule, muon_and_adamw
from streamdit_gym.train.pixel_weights import MotionWeight
from streamdit_gym.train.run_files import saving
from streamdit_gym.train.stage_context import (
    RunOptions,
    StageContext,
    require_finished,
)
from streamdit_gym.train.stage_run import StageRun
from streamdit_gym.train.training_frames import TrainingFrames, training_frames

AVERAGE_DECAY = 0.995
WEIGHT_DECAY = 1e-3
SEED = 1
TRIPLET = 3
MAX_REHEARSAL_TRIPLETS = 4
PICTURE_EVERY = 1000
PICTURE_FRAMES = 12
SCALE_FRAMES = 4096  # of which the latents' scale is measured
SCALE_BATCHES = 64


def run(context: StageContext) -> ConvCodec:
    """Return the autoencoder: of this run, of the continued world, or newly trained."""
    codec, settings = _initial(context)
    codec = codec.to(context.device).eval()
    if not settings.steps:
        return codec
    path = context.folder / "codec.safetensors"
    if path.is_file():
        _load(codec, path)
        return codec
    frames = training_frames(context, codec, settings.max_frames)
    trainer = AutoencoderTrainer(codec, frames, settings, context.device)
    options = share_of_minutes(context.options, context.stage_options(), settings)
    finished = train_autoencoder(trainer, options)
    if settings.max_minutes_share == 1:
        require_finished(finished)
    if settings.standardise and frames.aligned is None:
        standardise(codec, frames)
    if not parallel.rank():
        _save(codec, path)
    return codec


def share_of_minutes(
    of_call: RunOptions, left: RunOptions, settings: AutoencoderTraining
) -> RunOptions:
    """Return what is left of a call's minutes, but no more than the autoencoder's share of all."""
    if of_call.minutes is None or left.minutes is None:
        return left
    share = settings.max_minutes_share * of_call.minutes
    return replace(left, minutes=min(left.minutes, share))


def train_autoencoder(trainer: AutoencoderTrainer, options: RunOptions) -> bool:
    """Train an autoencoder in place, and return whether all steps are done."""
    settings = trainer.settings
    loop = TrainingLoop(
        name="codec",
        module=trainer.codec,
        trainer=trainer,
        optimizers=autoencoder_optimizers(trainer.codec, settings),
        schedule=cosine_schedule(),
        average_decay=AVERAGE_DECAY,
        seed=SEED,
        steps=settings.steps,
        end_with_minutes=settings.max_minutes_share < 1,
        options=options,
        after_step=trainer.after_step,
    )
    finished = loop.run()
    parallel.share(trainer.codec)  # running statistics are each process's own
    return finished


def autoencoder_optimizers(
    codec: ConvCodec, settings: AutoencoderTraining
) -> dict[str, OptimizerPart]:
    """Return Muon for the inner convolutions and AdamW for the rest."""
    return muon_and_adamw(
        codec.parameters(),
        inner_convolutions(codec),
        (settings.muon_rate, settings.adamw_rate),
        weight_decay=WEIGHT_DECAY,
        adamw_name="optimizer",
    )


class AutoencoderTrainer:
    """The loss of a step, and what happens after it.

    Args:
        codec: the autoencoder.
        frames: what it learns from.
        settings: how.
        device: where.
    """

    def __init__(
        self,
        codec: ConvCodec,
        frames: TrainingFrames,
        settings: AutoencoderTraining,
        device: str,
    ) -> None:
        self.codec = codec.to(device)
        self.frames = frames
        self.settings = settings
        self.device = device
        self.rng = np.random.default_rng(SEED)
        self.motion_weight: MotionWeight | None = None
        if settings.weighting == "motion":
            self.motion_weight = MotionWeight.measured(
                frames.episodes, settings.foreground_weight, device
            )
        _enable_training(codec, settings)
        # twice as fast on a CPU
        codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def seed(self, _seed: int, step: int) -> None:
        """Seed the choice of frames."""
        self.rng = np.random.default_rng([SEED, step, parallel.rank()])

    def loss(self, _step: int, _progress: float) -> Tensor:
        """Return the loss of some triplets of frames."""
        settings = self.settings
        pixels, plain = self._sample()
        alignment: Tensor | float = 0.0
        with training_precision(self.device):
            latents = self.codec.encode_pixels(pixels).float()
            if plain is not None:
                latents, alignment = self._aligned(latents, plain)
            rebuilt, curvature = rebuild(self.codec, latents, settings)
        difference = rebuilt.float() - pixels
        weighted_error = self._pixel_weight(pixels, plain) * difference.square()
        reconstruction = weighted_error.mean()
        straightness = settings.straightness_weight * curvature
        return reconstruction + straightness + settings.alignment_weight * alignment

    def rehearse(self) -> None:
        """Do a piece of a step, on a copy of the autoencoder."""
        scratch = copy.deepcopy(self.codec)
        frames = self.frames.episodes[:MAX_REHEARSAL_TRIPLETS, :TRIPLET]
        pixels = to_pixels(frames, self.device)
        with training_precision(self.device):
            latents = scratch.encode_pixels(pixels)
            rebuilt, _ = rebuild(scratch, latents.float(), self.settings)
        error = rebuilt.float().square()
        error.mean().backward()

    def after_step(self, loop: TrainingLoop, step: int) -> None:
        """Draw a picture now and then."""
        if step % PICTURE_EVERY == PICTURE_EVERY - 1:
            self._picture(loop.stage)
            _enable_training(self.codec, self.settings)

    def _sample(self) -> tuple[Tensor, Tensor | None]:
        """Return pixels of random triplets, also in plain colours if there are any."""
        episodes = self.frames.episodes
        aligned = self.frames.aligned
        num_starts = episodes.shape[1] - TRIPLET + 1
        count = self.settings.batch // TRIPLET
        episode = self.rng.integers(len(episodes), size=count)
        first = self.rng.integers(num_starts, size=count)
        if self.frames.lengths is not None:
            own_starts = self.frames.lengths[episode] - TRIPLET + 1
            first %= np.maximum(1, own_starts)
        places = first[:, None] + np.arange(TRIPLET)
        triplets = (episode[:, None], places)
        pixels = to_pixels(episodes[triplets], self.device)
        if aligned is None:
            return pixels, None
        plain = aligned.plain[triplets]
        return pixels, to_pixels(plain, self.device)

    def _aligned(self, latents: Tensor, plain: Tensor) -> tuple[Tensor, Tensor]:
        assert self.frames.aligned is not None
        return with_aligned_channels(latents, plain, self.frames.aligned.codec)

    def _pixel_weight(self, pixels: Tensor, plain: Tensor | None) -> Tensor:
        if plain is not None:
            return colour_balance(plain)
        if self.settings.weighting == "colour":
            return colour_balance(pixels)
        if self.motion_weight is not None:
            return self.motion_weight(pixels)
        return 1 + self.settings.foreground_weight * foreground(pixels)

    @torch.no_grad()
    def _picture(self, stage: StageRun) -> None:
        """Draw held-out frames, real above rebuilt, and log their error."""
        codec = self.codec.eval()
        device = self.device
        held_out = self.frames.held_out
        spacing = max(1, len(held_out) // PICTURE_FRAMES)
        spaced = held_out[::spacing]
        real = spaced[None, :PICTURE_FRAMES]
        frames = torch.from_numpy(real)
        latents = codec.encode(frames.to(device))
        decoded = codec.decode(latents)
        rebuilt = decoded.cpu().numpy()
        error = psnr(to_pixels(real, device), to_pixels(rebuilt, device))
        stage.log(held_out_psnr_db=error)
        stage.picture(f"{stage.step:06d}", pairs_of_rows(real, rebuilt))


def rebuild(
    codec: ConvCodec, latents: Float[Tensor, "n c h w"], settings: AutoencoderTraining
) -> tuple[Float[Tensor, "n 3 H W"], Tensor]:
    """Decode disturbed latents of triplets of frames.

    Some middle frames are interpolated from their neighbours; all latents get noise of random
    deviations. Global channels, which tell colours, are never interpolated.

    Returns:
        The pixels, and the mean squared curvature of the latents over a triplet.
    """
    spatial_channels = codec.spatial_channels
    spatial = latents[:, :spatial_channels]
    before, middle, after = rearrange(spatial, "(n three) c h w -> three n c h w", three=TRIPLET)
    mean = (before + after) / 2
    curvature = 2 * (mean - middle)
    chance = torch.rand(len(mean), 1, 1, 1, device=mean.device)
    is_interpolated = chance < settings.interpolation_probability
    middle = torch.where(is_interpolated, mean, middle)
    triplets = rearrange([before, middle, after], "three n c h w -> (n three) c h w")
    latents = torch.cat([triplets, latents[:, spatial_channels:]], 1)
    noise = _latent_noise(latents, spatial_channels, settings)
    pixels = codec.decode_latents(latents + noise)
    return pixels, curvature.square().mean()


def _latent_noise(
    latents: Float[Tensor, "n c h w"], spatial_channels: int, settings: AutoencoderTraining
) -> Float[Tensor, "n c h w"]:
    """Return noise of a random deviation for every frame, the same all over global channels."""
    deviation = torch.rand(len(latents), 1, 1, 1, device=latents.device)
    noise = settings.latent_noise * torch.randn_like(latents)
    one_place = latents[:, spatial_channels:, :1, :1]
    noise[:, spatial_channels:] = settings.global_noise * torch.randn_like(one_place)
    return deviation * noise


def with_aligned_channels(
    latents: Float[Tensor, "n c h w"], plain: Float[Tensor, "n 3 H W"], known: ConvCodec
) -> tuple[Tensor, Tensor]:
    """Replace the spatial channels by another autoencoder's, of the same scenes.

    Returns:
        The latents, and the mean squared distance of the channels that were there.
    """
    spatial = known.spatial_channels
    with torch.no_grad():
        known_latents = known.encode_pixels(plain)
    target = known_latents[:, :spatial].float()
    difference = latents[:, :spatial] - target
    others = latents[:, spatial:]
    return torch.cat([target, others], 1), difference.square().mean()


@torch.no_grad()
def standardise(codec: ConvCodec, frames: TrainingFrames) -> None:
    """Measure a codec's scale on some of the frames."""
    assert codec.scale is not None
    codec.eval()
    device = next(codec.parameters()).device
    latents = []
    measured = frames.spaced(SCALE_FRAMES)
    for batch in np.array_split(measured, min(SCALE_BATCHES, len(measured))):
        encoded = codec.encode(torch.from_numpy(batch[None]).to(device))[0]
        spatial = encoded[:, : codec.spatial_channels].float()
        latents.append(codec.scale.inverse(spatial))
    codec.scale.measure(torch.cat(latents))
    parallel.share(codec)  # processes may round differently


def inner_convolutions(codec: ConvCodec) -> list[nn.Parameter]:
    """Return the weights of all convolutions but the first and last of encoder and decoder."""
    weights: list[nn.Parameter] = []
    for half in (codec.encoder, codec.decoder):
        layers = [layer for layer in half.modules() if isinstance(layer, nn.Conv2d)]
        weights += [layer.weight for layer in layers[1:-1]]
    return weights


def to_pixels(frames: UInt8[np.ndarray, "*n h w 3"], device: str) -> Float[Tensor, "n 3 h w"]:
    """Return pixels in [-1, 1] of frames."""
    height, width, channels = frames.shape[-3:]
    contiguous = np.ascontiguousarray(frames)
    tensor = torch.from_numpy(contiguous)
    tensor = tensor.reshape(-1, height, width, channels)
    tensor = tensor.to(device)
    levels = rearrange(tensor, "n h w c -> n c h w").float()
    return levels / 127.5 - 1


def _initial(context: StageContext) -> tuple[ConvCodec, AutoencoderTraining]:
    """Return the autoencoder that training starts from, and how it learns."""
    recipe = context.recipe
    if context.base_world is None:
        if context.sizes.codec is None:
            raise DatasetError(
                "this preset has no trainable codec",
                given=recipe.preset,
                allowed="tiny, small, base",
                remedy="choose another preset",
            )
        return _scalable(ConvCodec(context.sizes.codec), recipe.autoencoder), recipe.autoencoder
    codec = expand_codec(context.base_world.codec, recipe.added_channels)
    if context.adapts_autoencoder:
        return _scalable(codec, recipe.autoencoder), recipe.autoencoder
    kept = replace(
        recipe.autoencoder,
        steps=recipe.autoencoder_steps,
        decoder_only=True,
        standardise=False,
    )
    return codec, kept


def _scalable(codec: ConvCodec, settings: AutoencoderTraining) -> ConvCodec:
    """Return a codec whose latents can be standardised, if they are to be."""
    if not settings.standardise or codec.scale is not None:
        return codec
    scalable = ConvCodec(replace(codec.config, standardised=True))
    scalable.load_state_dict(codec.state_dict(), strict=False)  # latents are as they were
    return scalable


def _save(codec: ConvCodec, path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for key, value in codec.state_dict().items():
        tensors[key] = value.cpu().contiguous()
    with saving(path) as part:
        save_file(tensors, str(part))


def _load(codec: ConvCodec, path: Path) -> None:
    try:
        codec.load_state_dict(load_file(str(path)))
    except SafetensorError as error:
        raise StreamDiTError(
            "the run's codec cannot be read",
            given=f"{path}: {error}",
            remedy="delete the file; it is made anew from its checkpoint",
        ) from error
    except RuntimeError as error:
        raise StreamDiTError(
            "the run's codec is of another size",
            given=path,
            remedy="use the settings it was made with, or another run folder",
        ) from error


def _enable_training(codec: ConvCodec, settings: AutoencoderTraining) -> None:
    """Make what is to be trained trainable, and only that."""
    codec.train().requires_grad_(True)
    if settings.decoder_only:
        codec.encoder.requires_grad_(False)
        codec.normalise.eval()  # its running statistics are part of what a latent means
