"""The one place where networks meet the module that owns their global channels: the palette.

Another module for global channels is chosen here; the networks know the hooks alone
(`streamdit_gym.model.global_channels`).
"""

from __future__ import annotations

from streamdit_gym.model.appearance import CodecPalette, PromptedPalette, is_palette
from streamdit_gym.model.global_channels import (
    GlobalCoder,
    GlobalPredictor,
    NoGlobalCoder,
    NoGlobalPredictor,
)

# what `fits_global_channels` asks for, for messages
ALLOWED_GLOBAL_CHANNELS = "a multiple of 3 below channels"


def fits_global_channels(channels: int, global_channels: int) -> bool:
    """Return whether so many of a latent's channels can be global."""
    return is_palette(channels, global_channels)


def global_predictor(global_channels: int, text_width: int) -> GlobalPredictor:
    """Return the transformer's part of the module."""
    if global_channels == 0:
        return NoGlobalPredictor()
    return PromptedPalette.of_channels(global_channels, text_width)


def global_coder(channels: int, global_channels: int) -> GlobalCoder:
    """Return the autoencoder's part of the module.

    Raises:
        ShapeError: if the global channels do not fit the channels.
    """
    if global_channels == 0:
        return NoGlobalCoder(channels)
    return CodecPalette(channels, global_channels)
