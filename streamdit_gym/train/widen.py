"""More latent channels for a trained world, to tell what its frames look like, without forgetting what it knows.

Takes: a codec or a transformer.  Gives: one with more channels, which does on the old ones what it did before.
Knows nothing of: data, training.

What decoder and transformer read of the new channels, and what the transformer draws on them, begins at zero, as if they were not
there; the encoder fills them at random until it learns better.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from streamdit_gym.codec.conv_codec import ConvCodec
from streamdit_gym.model.streamdit import StreamDiT

# how an axis is laid out: parts of (all latent channels or not, how many numbers follow that are none)
Layout = list[tuple[bool, int]]
LATENT: Layout = [(True, 0)]


def widened_codec(codec: ConvCodec, looks: int) -> ConvCodec:
    """Return a codec with so many more latent channels, which tell what is so all over a frame; 0: a copy."""
    made = ConvCodec(replace(codec.config, channels=codec.channels + looks, looks=codec.config.looks + looks))
    last = f"encoder.{len(codec.encoder) - 1}"
    drawn: Layout = [(True, codec.config.looks)]  # behind the channels, where each of those for looks is looked for
    layouts = {f"{last}.weight": (0, drawn), f"{last}.bias": (0, drawn), "decoder.0.weight": (1, LATENT)}
    layouts |= {f"normalise.running_{name}": (0, LATENT) for name in ("mean", "var")}
    with torch.no_grad():
        made.get_parameter("decoder.0.weight").zero_()
    _fill(made, codec, layouts, codec.channels, made.channels)
    return made.train(codec.training)


def widened_model(model: StreamDiT, looks: int) -> StreamDiT:
    """Return a transformer with so many more latent channels, which it copies from the frame before; 0: a copy."""
    config = model.config
    made = StreamDiT(replace(config, channels=config.channels + looks))
    squares = config.patch**2
    drawn: Layout = [(True, 1)]  # a change, and its gate
    layouts = {"embed.weight": (1, 2 * squares * LATENT)}
    for name in ("weight", "bias"):
        layouts |= {f"final.{name}": (0, squares * drawn), f"carry.{name}": (0, 2 * LATENT), f"refine.out.{name}": (0, drawn)}
    layouts["refine.first.weight"] = (1, [(False, config.width // squares), *drawn, *LATENT, *LATENT])
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name in layouts:
                parameter.zero_()
    _fill(made, model, layouts, config.channels, made.config.channels)
    return made.train(model.training)


@torch.no_grad()
def _fill(made: nn.Module, given: nn.Module, layouts: dict[str, tuple[int, Layout]], old: int, new: int) -> None:
    """Copy weights; where an axis has channels, the old numbers to where the old channels stand now."""
    target = made.state_dict()
    for name, value in given.state_dict().items():
        if name in layouts:
            axis, layout = layouts[name]
            target[name].index_copy_(axis, _places(layout, old, new), value.to(target[name]))
        else:
            target[name].copy_(value)


def _places(layout: Layout, old: int, new: int) -> torch.Tensor:
    """Return where the numbers of an axis stand when there are more channels."""
    places: list[int] = []
    start = 0
    for latent, others in layout:
        if latent:
            places += range(start, start + old)
            start += new
        places += range(start, start + others)
        start += others
    return torch.tensor(places)
