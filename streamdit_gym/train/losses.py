"""Losses and weights of pixels and latents, as functions."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from streamdit_gym.model.readout import Readout

FOREGROUND_DIFFERENCE = 0.04  # of a color in [-1, 1]
MIN_COLOR_SHARE = 2e-3  # of the pixels, below which a color is no rarer
MOTION_THRESHOLD = 0.01  # mean squared change of a latent from which it counts as moving
LEVELS_PER_CHANNEL = 8  # of quantized colors


def robust_loss(error: Tensor, scale: float, squared_weight: float) -> Tensor:
    """Return the loss of squared errors; it hardly grows beyond the scale.

    The mean of several places is no place: a loss that forgives large errors looks for the
    likeliest one instead. A little of the squared error keeps small moving things from vanishing
    where their places are guesses.
    """
    return scale**2 * torch.log1p(error / scale**2) + squared_weight * error


def channel_error(
    prediction: Float[Tensor, "b f c h w"], target: Float[Tensor, "b f c h w"], channels: int
) -> Float[Tensor, "b f 1 h w"]:
    """Return the mean squared error over the first channels."""
    difference = (prediction - target)[:, :, :channels]
    return difference.square().mean(2, keepdim=True)


def motion_weight(
    frames: Float[Tensor, "b f c h w"],
    previous: Float[Tensor, "b f c h w"],
    extra: float,
    channels: int,
) -> Float[Tensor, "b f 1 h w"]:
    """Return weights of latents: 1, and more where they differ from those of the frame before."""
    moves = channel_error(frames, previous, channels) > MOTION_THRESHOLD
    return 1 + extra * moves


def background_color(pixels: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c 1 1"]:
    """Return the color that most of each frame has: the median of its pixels."""
    return pixels.flatten(-2).median(-1).values[..., None, None]


def foreground(pixels: Float[Tensor, "n 3 h w"]) -> Bool[Tensor, "n 1 h w"]:
    """Return which pixels differ from their frame's background."""
    difference = (pixels - background_color(pixels)).abs()
    return difference.amax(1, keepdim=True) > FOREGROUND_DIFFERENCE


def color_balance(pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
    """Return weights of pixels with which every color weighs about the same; 1 on average."""
    levels = ((pixels + 1) * 3.999).long()
    red, green, blue = levels.unbind(1)
    color = (LEVELS_PER_CHANNEL**2 * red + LEVELS_PER_CHANNEL * green + blue).unsqueeze(1)
    count = torch.bincount(color.flatten(), minlength=LEVELS_PER_CHANNEL**3)
    share = count / color.numel()
    weight = share.clamp_min(MIN_COLOR_SHARE).reciprocal()[color]
    return weight / weight.mean()


def readout_loss(
    readout: Readout, raw: Float[Tensor, "n o"], truth: Float[Tensor, "n o"]
) -> Tensor:
    """Return smooth L1 of the standardised numbers plus cross-entropy of the successes."""
    success = readout.is_success
    standardised = (truth - readout.centre) / readout.spread
    regression = functional.smooth_l1_loss(raw[:, ~success], standardised[:, ~success], beta=0.1)
    classification = functional.binary_cross_entropy_with_logits(raw[:, success], truth[:, success])
    return regression + classification


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the peak signal-to-noise ratio of pixels in [-1, 1], in dB."""
    error = (a - b).square().mean().item()
    return 10 * math.log10(4 / max(1e-12, error))
