"""More latent channels for a trained network; it does on the old ones what it did before."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.streamdit import StreamDiT


def expand_codec(codec: ConvCodec, channels: int) -> ConvCodec:
    """Return an autoencoder with so many global channels more; 0: a copy.

    It encodes the spatial channels as before; its decoder has to learn anew.
    """
    config = replace(
        codec.config,
        channels=codec.channels + channels,
        global_channels=codec.config.global_channels + channels,
    )
    expanded = ConvCodec(config)
    _copy_weights(codec, expanded)
    return expanded.train(codec.training)


def expand_model(model: StreamDiT, channels: int) -> StreamDiT:
    """Return a transformer with so many global channels more; 0: a copy.

    No prompt changes them until their module has learned to read it.
    """
    config = replace(
        model.config,
        channels=model.config.channels + channels,
        global_channels=model.config.global_channels + channels,
    )
    expanded = StreamDiT(config)
    _copy_weights(model, expanded)
    return expanded.train(model.training)


@torch.no_grad()
def _copy_weights(source: nn.Module, expanded: nn.Module) -> None:
    """Copy weights into a module with more channels.

    The encoder's last layer has more outputs, behind the old ones; the decoder's last one draws
    something else, and stays random.
    """
    targets = expanded.state_dict()
    for name, value in source.state_dict().items():
        target = targets[name]
        if value.shape == target.shape:
            target.copy_(value)
        elif name.startswith("encoder"):
            first_outputs = target[: len(value)]
            first_outputs.copy_(value)
