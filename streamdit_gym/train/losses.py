"""Losses and weights of pixels and latents, as functions."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from streamdit_gym.model.readout import Readout

FOREGROUND_DIFFERENCE = 0.04  # of a colour in [-1, 1]
MIN_COLOUR_SHARE = 2e-3  # of the pixels, below which a colour is no rarer
MOTION_THRESHOLD = 0.01  # mean squared change of a latent from which it counts as moving
LEVELS_PER_CHANNEL = 8  # of quantized colours
PEAK_SQUARED = 4  # of pixels in [-1, 1]
NUM_COLOURS = LEVELS_PER_CHANNEL**3


def robust_loss(error: Tensor, scale: float, squared_weight: float) -> Tensor:
    """Return the loss of squared errors; it hardly grows beyond the scale.

    The mean of several places is no place: a loss that forgives large errors looks for the
    likeliest one instead. A little of the squared error keeps small moving things from vanishing
    where their places are guesses.
    """
    scale_squared = scale**2
    forgiving = scale_squared * torch.log1p(error / scale_squared)
    return forgiving + squared_weight * error


def channel_error(
    prediction: Float[Tensor, "b f c h w"], target: Float[Tensor, "b f c h w"], channels: int
) -> Float[Tensor, "b f 1 h w"]:
    """Return the mean squared error over the first channels."""
    difference = prediction - target
    squared = difference[:, :, :channels].square()
    return squared.mean(2, keepdim=True)


def motion_weight(
    frames: Float[Tensor, "b f c h w"],
    previous: Float[Tensor, "b f c h w"],
    extra: float,
    channels: int,
) -> Float[Tensor, "b f 1 h w"]:
    """Return weights of latents: 1, and more where they differ from those of the frame before."""
    change = channel_error(frames, previous, channels)
    is_moving = change > MOTION_THRESHOLD
    return 1 + extra * is_moving


def background_colour(pixels: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c 1 1"]:
    """Return the colour that most of each frame has: the median of its pixels."""
    flat = pixels.flatten(-2)
    median = flat.median(-1).values
    return median[..., None, None]


def foreground(pixels: Float[Tensor, "n 3 h w"]) -> Bool[Tensor, "n 1 h w"]:
    """Return which pixels differ from their frame's background."""
    difference = pixels - background_colour(pixels)
    largest = difference.abs().amax(1, keepdim=True)
    return largest > FOREGROUND_DIFFERENCE


def colour_balance(pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
    """Return weights of pixels with which every colour weighs about the same; 1 on average."""
    colour = _quantized_colours(pixels)
    count = torch.bincount(colour.flatten(), minlength=NUM_COLOURS)
    share = count / colour.numel()
    rarity = share.clamp_min(MIN_COLOUR_SHARE).reciprocal()
    weight = rarity[colour]
    return weight / weight.mean()


def _quantized_colours(pixels: Float[Tensor, "n 3 h w"]) -> Int[Tensor, "n 1 h w"]:
    """Return the number of each pixel's quantized colour."""
    levels = (pixels + 1) * 3.999
    colour = torch.zeros_like(levels[:, :1], dtype=torch.long)
    for channel in levels.long().split(1, dim=1):
        colour = LEVELS_PER_CHANNEL * colour + channel
    return colour


def readout_loss(
    readout: Readout, raw: Float[Tensor, "n o"], truth: Float[Tensor, "n o"]
) -> Tensor:
    """Return smooth L1 of the standardised numbers plus cross-entropy of the successes."""
    success = readout.is_success
    number = ~success
    standardised = (truth - readout.centre) / readout.spread
    loss = raw.new_zeros(())
    if number.any():
        loss = functional.smooth_l1_loss(raw[:, number], standardised[:, number], beta=0.1)
    if success.any():
        loss = loss + functional.binary_cross_entropy_with_logits(
            raw[:, success], truth[:, success]
        )
    return loss


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the peak signal-to-noise ratio of pixels in [-1, 1], in dB."""
    difference = a - b
    error = difference.square().mean()
    ratio = PEAK_SQUARED / max(1e-12, error.item())
    return 10 * math.log10(ratio)
