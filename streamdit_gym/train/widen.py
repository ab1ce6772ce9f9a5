"""A palette for a trained world, to tell what its frames look like, without forgetting where things
go.

Takes: a codec or a transformer.  Gives: one with more channels, for looks, which does on the old
    ones what it did before.
Knows nothing of: data, training.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.streamdit import StreamDiT


def widened_codec(codec: ConvCodec, palette_channels: int) -> ConvCodec:
    """Return a codec with so many channels more, for a palette: it encodes places as before,
    and has to learn to paint; 0: a copy.
    """
    made = ConvCodec(_more_channels(codec.config, palette_channels))
    _fill(made, codec)
    return made.train(codec.training)


def widened_model(model: StreamDiT, palette_channels: int) -> StreamDiT:
    """Return a transformer with so many channels more,
    for looks that no prompt changes until it has learned more words; 0: a copy.
    """
    made = StreamDiT(_more_channels(model.config, palette_channels))
    _fill(made, model)
    return made.train(model.training)


def _more_channels(config: Any, palette_channels: int) -> Any:
    """Return the configuration of a network with so many palette channels more."""
    return replace(
        config,
        channels=config.channels + palette_channels,
        palette_channels=config.palette_channels + palette_channels,
    )


@torch.no_grad()
def _fill(made: nn.Module, given: nn.Module) -> None:
    """Copy weights; the encoder's last layer has more outputs now, behind the old ones,
    and the decoder's last paints otherwise.
    """
    target = made.state_dict()
    for name, value in given.state_dict().items():
        old = value.shape
        if old == target[name].shape:
            target[name].copy_(value)
        elif name.startswith("encoder"):
            target[name][: old[0]].copy_(value)
