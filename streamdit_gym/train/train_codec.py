"""Training the codec so that small moving things survive and move along straight lines.

Takes: episodes of frames.  Gives: a trained codec.  Knows nothing of: prompts, streams.

The transformer predicts latents, and where it is unsure it predicts a mean. So the mean of two
latents should be a picture
too: the one between them. Frames are trained in threes, and the latents of the middle one are drawn
    to, and half of the
time replaced by, the mean of its neighbours' (docs/decisions/0006; temporal straightness after
Henaff et al., 2019).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from streamdit_gym.checks import check_fields
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.precision import training_precision
from streamdit_gym.train import parallel
from streamdit_gym.train.muon import Muon
from streamdit_gym.train.run import (
    MAX_BATCH,
    MAX_STEPS,
    MAX_WEIGHT,
    Average,
    Budget,
    Stage,
    choose_threads_for_stage,
)

CHANGED = 0.04  # of a colour in [-1, 1]
RARE = 2e-3  # share of the pixels below which a colour is no rarer


@dataclass(frozen=True, kw_only=True)
class CodecTraining:
    """How the codec is trained.

    Attributes:
        steps: optimizer steps.
        batch: frames per step, in threes that follow each other.
        matrix_rate: peak of Muon's, for the convolutions between the first and the last of encoder
            and decoder; as AdamW's.
        learning_rate: peak of AdamW's, for everything else; warmed up over 100 steps and brought to
            zero by a cosine.
        foreground: extra weight of pixels that differ from what most of the frame looks like,
            beside 1 for every pixel. Where the same scenes are known in other looks, each of their
            colours weighs the same instead.
        noise: largest deviation of the noise put on the latents.
        looks_noise: likewise, on the palette, if there is one: the same in every cell.
        straight: weight of the squared bend of the latents' way through three frames.
        between: share of the threes whose middle frame is rebuilt from the mean of its neighbours.
        aligned: weight of the squared distance of the channels that another codec knows from what
            it makes of the same scene, see `Pairs`.
        decoder_only: keep the encoder as it is, and so every latent made with it.
    """

    steps: int = 5700
    batch: int = 60
    matrix_rate: float = 4e-3
    learning_rate: float = 2e-3
    foreground: float = 12.0
    noise: float = 0.2
    looks_noise: float = 0.1
    straight: float = 0.01
    between: float = 0.5
    aligned: float = 1.0
    decoder_only: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={"steps": (0, MAX_STEPS), "batch": (3, MAX_BATCH)},
            reals={
                "matrix_rate": (0, 10),
                "learning_rate": (0, 10),
                "foreground": (0, MAX_WEIGHT),
                "noise": (0, MAX_WEIGHT),
                "looks_noise": (0, MAX_WEIGHT),
                "straight": (0, MAX_WEIGHT),
                "between": (0, 1),
                "aligned": (0, MAX_WEIGHT),
            },
            bools=("decoder_only",),
        )


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The same scenes in looks that another codec knows.

    Attributes:
        plain: the frames that are trained on, in those looks.
        codec: that codec; what its channels that tell where things are make of them, they shall
            make of every look. Frames are rebuilt from what it makes itself: so no colour can hide
            there.
    """

    plain: UInt8[np.ndarray, "e f h w 3"]
    codec: ConvCodec


def ground(pixels: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c 1 1"]:
    """Return the colour that most of each frame has: the median of its pixels."""
    return pixels.flatten(-2).median(-1).values[..., None, None]


def stands_out(pixels: Float[Tensor, "n 3 h w"]) -> Bool[Tensor, "n 1 h w"]:
    """Return which pixels differ from their frame's ground."""
    return (pixels - ground(pixels)).abs().amax(1, keepdim=True) > CHANGED


def rarity(pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
    """Return weights of pixels with which every colour weighs about the same,
    in all frames together; 1 on average.
    """
    levels = ((pixels + 1) * 3.999).long()  # eight of each channel
    colour = (64 * levels[:, 0] + 8 * levels[:, 1] + levels[:, 2]).unsqueeze(1)
    share = torch.bincount(colour.flatten(), minlength=512) / colour.numel()
    weight = share.clamp_min(RARE).reciprocal()[colour]
    return weight / weight.mean()


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the peak signal-to-noise ratio of pixels in [-1, 1], in dB."""
    return 10 * math.log10(4 / max(1e-12, (a - b).square().mean().item()))


def train_codec(
    codec: ConvCodec,
    episodes: UInt8[np.ndarray, "e f h w 3"],
    held_out: UInt8[np.ndarray, "m h w 3"],
    config: CodecTraining,
    folder: Path,
    device: str,
    minutes: float | None = None,
    pairs: Pairs | None = None,
) -> bool:
    """Train a codec in place, resuming from the run folder; it ends up holding the averaged
    weights.

    Args:
        codec: the codec.
        episodes: training frames, three or more in a row.
        held_out: frames for the curves and pictures.
        config: the recipe.
        folder: run folder.
        device: where to train.
        minutes: stop this call after so long.
        pairs: what another codec makes of the same scenes, to be kept; None: nothing is known.

    Returns:
        Whether all steps are done.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    codec.to(device)
    _wake(codec, config)
    codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU
    inner = inner_convolutions(codec)
    chosen = {id(weight) for weight in inner}
    others = [weight for weight in codec.parameters() if id(weight) not in chosen]
    matrices = Muon(inner, lr=config.matrix_rate)
    optimizer = torch.optim.AdamW(
        others, lr=config.learning_rate, weight_decay=1e-3, betas=(0.9, 0.95)
    )
    parallel.share(codec)
    average = Average(codec, 0.995)
    choose_threads_for_stage(device, partial(_practise, codec, episodes, config, device))
    stage = Stage(
        folder,
        "codec",
        {"codec": codec, "matrices": matrices, "optimizer": optimizer, "average": average},
    )
    rng = np.random.default_rng([1, stage.step, parallel.rank()])
    torch.manual_seed(parallel.seed(1 + stage.step))
    for step in stage.steps(Budget(steps=config.steps, minutes=minutes)):
        for part, rate in ((matrices, config.matrix_rate), (optimizer, config.learning_rate)):
            part.zero_grad(set_to_none=True)
            for group in part.param_groups:
                group["lr"] = rate * one_cycle(step, config.steps, warmup=100)
        episode = rng.integers(len(episodes), size=config.batch // 3)
        first = rng.integers(episodes.shape[1] - 2, size=config.batch // 3)
        drawn = episode[:, None], first[:, None] + np.arange(3)
        pixels = to_pixels(episodes[drawn], device)
        plain = None if pairs is None else to_pixels(pairs.plain[drawn], device)
        weight = rarity(plain) if plain is not None else 1 + config.foreground * stands_out(pixels)
        with training_precision(device):
            latents = codec.encode_pixels(pixels).float()
            away: Tensor | float = 0.0
            if pairs is not None and plain is not None:
                latents, away = cleared(latents, plain, pairs.codec)
            rebuilt, bend = rebuild(codec, latents, config)
        loss = (
            (weight * (rebuilt.float() - pixels).square()).mean()
            + config.straight * bend
            + config.aligned * away
        )
        loss.backward()
        parallel.average_gradients(codec.parameters())
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        matrices.step()
        optimizer.step()
        average.update(codec)
        if step % 50 == 0:
            stage.log(loss=loss.item())
        if step % 1000 == 999:
            _picture(codec, held_out[:: max(1, len(held_out) // 12)][:12], stage, device)
            _wake(codec, config)
    average.copy_to(codec)
    parallel.share(codec)  # running statistics are each process's own
    codec.eval()
    return stage.finished


def _practise(
    codec: ConvCodec, episodes: UInt8[np.ndarray, "e f h w 3"], config: CodecTraining, device: str
) -> None:
    """Do what a step does, on a copy of the codec and few frames."""
    scratch = copy.deepcopy(codec)
    pixels = to_pixels(episodes[:4, :3], device)
    with training_precision(device):
        rebuilt, _ = rebuild(scratch, scratch.encode_pixels(pixels).float(), config)
    rebuilt.float().square().mean().backward()


def inner_convolutions(codec: ConvCodec) -> list[nn.Parameter]:
    """Return the weights of the convolutions between the first and the last of encoder and
    decoder.
    """
    parts = [
        [layer for layer in part.modules() if isinstance(layer, nn.Conv2d)]
        for part in (codec.encoder, codec.decoder)
    ]
    return [layer.weight for layers in parts for layer in layers[1:-1]]


def _wake(codec: ConvCodec, config: CodecTraining) -> None:
    """Make what is to be trained trainable, and only that."""
    codec.train().requires_grad_(True)
    if config.decoder_only:
        codec.encoder.requires_grad_(False)
        codec.normalise.eval()  # its running statistics are part of what a latent means


def cleared(
    latents: Float[Tensor, "n c h w"], plain: Float[Tensor, "n 3 H W"], known: ConvCodec
) -> tuple[Tensor, Tensor]:
    """Put what a codec makes of the same plain scenes in the place of the channels that tell where
    things are.

    Returns:
        The latents, and the mean squared distance of what was there before.
    """
    local = known.spatial_channels
    with torch.no_grad():
        wanted = known.encode_pixels(plain).float()[:, :local]
    return torch.cat([wanted, latents[:, local:]], 1), (latents[:, :local] - wanted).square().mean()


def rebuild(
    codec: ConvCodec, latents: Float[Tensor, "n c h w"], config: CodecTraining
) -> tuple[Float[Tensor, "n 3 H W"], Tensor]:
    """Disturb the latents of threes of frames by noise of random deviations, and decode; return
    also the mean squared bend.

    Nothing lies between two palettes.
    """
    local = codec.spatial_channels
    before, middle, after = rearrange(
        latents[:, :local], "(n three) c h w -> three n c h w", three=3
    )
    mean = (before + after) / 2
    bend = 2 * (mean - middle)
    between = torch.rand(len(mean), 1, 1, 1, device=mean.device) < config.between
    places = rearrange(
        [before, torch.where(between, mean, middle), after], "three n c h w -> (n three) c h w"
    )
    latents = torch.cat([places, latents[:, local:]], 1)
    deviation = torch.rand(len(latents), 1, 1, 1, device=mean.device)
    noise = config.noise * torch.randn_like(latents)
    noise[:, local:] = config.looks_noise * torch.randn_like(latents[:, local:, :1, :1])
    return codec.decode_latents(latents + deviation * noise), bend.square().mean()


def one_cycle(step: int, steps: int, warmup: int) -> float:
    """Return the factor of the learning rate: a linear warm-up, then a cosine down to zero."""
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def to_pixels(frames: UInt8[np.ndarray, "*n h w 3"], device: str) -> Float[Tensor, "n 3 h w"]:
    """Return pixels in [-1, 1] of frames."""
    tensor = (
        torch.from_numpy(np.ascontiguousarray(frames)).reshape(-1, *frames.shape[-3:]).to(device)
    )
    return rearrange(tensor, "n h w c -> n c h w").float() / 127.5 - 1


@torch.no_grad()
def _picture(
    codec: ConvCodec, frames: UInt8[np.ndarray, "n h w 3"], stage: Stage, device: str
) -> None:
    codec.eval()
    given = torch.from_numpy(frames)[None].to(device)
    rebuilt = codec.decode(codec.encode(given))
    stage.log(
        held_out_psnr_db=psnr(
            to_pixels(frames, device), to_pixels(rebuilt[0].cpu().numpy(), device)
        )
    )
    rows = [np.concatenate(list(part), axis=1) for part in (frames, rebuilt[0].cpu().numpy())]
    stage.picture(f"{stage.step:06d}", np.concatenate(rows).repeat(2, 0).repeat(2, 1))
