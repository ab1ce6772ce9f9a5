"""The appearance of what a world shows: an optional palette of colours that prompts can change.

The global channels of a latent are the palette: three numbers to a colour. The autoencoder mixes
every pixel from the palette's colours (`CodecPalette`). In the transformer, `PromptedPalette`
changes the colours that a prompt names and copies all others, for as long as a stream lives
(docs/decisions/0009).

The networks know neither: to them the palette is the channels that `global_channels` is about.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from streamdit_gym.errors import ShapeError
from streamdit_gym.model.block import CrossAttention, padding_bias
from streamdit_gym.model.global_channels import RGB, GlobalCoder, GlobalPredictor
from streamdit_gym.model.initial_values import embedding
from streamdit_gym.types import PreparedPrompts

COLOUR_SCALE = 3  # a palette's number is a colour in [0, 1], less its middle, times this
COLOUR_MIDDLE = 0.5


def is_palette(channels: int, palette_channels: int) -> bool:
    """Return whether a palette holds whole colours and leaves spatial channels."""
    has_whole_colours = palette_channels % RGB == 0
    leaves_some = 0 <= palette_channels < channels
    return has_whole_colours and leaves_some


class _Layer(nn.Module):
    """Cross-attention of the colours' queries to a prompt, then an MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.cross = CrossAttention(width, heads)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.SiLU(),
            nn.Linear(4 * width, width),
        )

    def forward(
        self,
        x: Float[Tensor, "u 1 k d"],
        text: Float[Tensor, "u l d"],
        bias: Float[Tensor, "u 1 1 l"],
    ) -> Float[Tensor, "u 1 k d"]:
        keys, values = self.cross.prepare(text)
        hidden = self.norm(x)
        x = x + self.cross(hidden, keys, values, bias)
        return x + self.mlp(x)


class PromptedPalette(GlobalPredictor):
    """One query per colour searches a prompt for what it says of that colour.

    Args:
        colours: number of colours in the palette.
        text_width: width of the prompt encoder's embeddings.
        width: width of the queries.
        heads: attention heads.
        depth: layers.
    """

    def __init__(
        self, colours: int, text_width: int, width: int = 128, heads: int = 4, depth: int = 2
    ) -> None:
        super().__init__()
        self.queries = embedding(colours, width, std=1.0)
        self.text = nn.Linear(text_width, width)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(depth))
        self.out = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, RGB + 1),
        )

    @classmethod
    def of_channels(cls, palette_channels: int, text_width: int) -> PromptedPalette:
        """Return the module for so many palette channels."""
        return cls(palette_channels // RGB, text_width)

    def encode(
        self, tokens: Float[Tensor, "u l e"], mask: Bool[Tensor, "u l"]
    ) -> Float[Tensor, "1+u k 4"]:
        """Return the instructions of no prompt (row 0) and of each prompt, one for each colour.

        An instruction is the colour's three numbers, and a score: above 0 if the prompt names it.
        """
        text = self.text(tokens)
        bias = padding_bias(mask, text.dtype)
        queries = self.queries.to(text.dtype)
        x = queries.expand(len(tokens), 1, -1, -1)  # u 1 k d
        for layer in self.layers:
            x = layer(x, text, bias)
        x = x[:, 0]
        instructions = self.out(x)
        colours = instructions.shape[1]
        no_change = instructions.new_zeros(1, colours, RGB + 1)
        no_change[..., RGB] = float("-inf")
        return torch.cat([no_change, instructions])

    def condition(
        self, prepared: PreparedPrompts, rows: Int[Tensor, "b f"]
    ) -> Float[Tensor, "b f k 4"]:
        """Return the instructions of every frame's prompt."""
        return prepared.extra[rows]

    def decode(
        self,
        spatial: Float[Tensor, "b f s h w"],
        times: Float[Tensor, "b f"],
        before: Float[Tensor, "b f c h w"],
        before_times: Float[Tensor, "b f"],
        instructions: Float[Tensor, "b f k 4"],
    ) -> Float[Tensor, "b f c h w"]:
        """Return whole latents: the spatial channels, and the palette behind them.

        Args:
            spatial: the predicted spatial channels of some frames.
            times: the frames' noise levels.
            before: the latents of the frames before them.
            before_times: the noise levels of those.
            instructions: what the frames' prompts ask for, see `encode`.
        """
        palettes = before[:, :, spatial.shape[2] :]
        palettes = self(times, palettes, before_times, instructions)
        return torch.cat([spatial, palettes], dim=2)

    def paint(
        self, colours: Float[Tensor, "*#n k 3"], instructions: Float[Tensor, "*#n k 4"]
    ) -> Float[Tensor, "*n k 3"]:
        """Return palettes in which the named colours are changed."""
        score = instructions[..., RGB:]
        colour = instructions[..., :RGB]
        colour = colour.to(colours.dtype)
        return torch.where(score > 0, colour, colours)

    def forward(
        self,
        times: Float[Tensor, "b f"],
        before: Float[Tensor, "b f p h w"],
        before_times: Float[Tensor, "b f"],
        instructions: Float[Tensor, "b f k 4"],
    ) -> Float[Tensor, "b f p h w"]:
        """Return the palettes of frames that follow each other.

        The frame before the first one is a reference, so its palette is known. The frame before
        any other one is either a reference, too, or its predecessor here, at the same noise level
        and not drawn yet: then its palette is the one that has just been painted.

        Args:
            times: the frames' noise levels.
            before: palettes of the frames before them.
            before_times: the noise levels of those.
            instructions: what the frames' prompts ask for, see `encode`.
        """
        frames, _, height, width = before.shape[1:]
        if frames == 0:
            return before
        known = rearrange(before.float(), "b f (k rgb) h w -> b f (h w) k rgb", rgb=RGB)
        current = known[:, 0]
        painted = []
        for frame in range(frames):
            if frame > 0:
                is_predecessor = before_times[:, frame] == times[:, frame - 1]
                is_predecessor = is_predecessor[:, None, None, None]
                current = torch.where(is_predecessor, current, known[:, frame])
            of_frame = instructions[:, frame, None]
            current = self.paint(current, of_frame.float())
            painted.append(current)
        palettes = torch.stack(painted, 1)
        return rearrange(palettes, "b f (h w) k rgb -> b f (k rgb) h w", h=height, w=width)


class CodecPalette(GlobalCoder):
    """How a codec reads and shows a palette.

    Args:
        channels: channels of a latent, the palette's included.
        palette_channels: how many of them, the last ones, are the palette.

    Raises:
        ShapeError: if the palette does not fit.
    """

    def __init__(self, channels: int, palette_channels: int) -> None:
        if not is_palette(channels, palette_channels):
            raise ShapeError(
                "no such palette",
                given=f"{palette_channels} of {channels} channels",
                allowed="a multiple of three, and channels left over",
                remedy="15 for five colours",
            )
        super().__init__(channels, palette_channels)

    @property
    def encoder_channels(self) -> int:
        """Channels of the encoder's output: the latent, and where to read each palette number."""
        return self.channels + self.global_channels

    @property
    def decoder_channels(self) -> int:
        """Channels that the decoder draws: each colour's share, and a brightness."""
        return self.global_channels // RGB + 1

    def encode(
        self, features: Float[Tensor, "n o h w"]
    ) -> tuple[Float[Tensor, "n s h w"], Float[Tensor, "n p h w"]]:
        """Split the encoder's output into spatial channels and the palette.

        Each number of the palette is a mean over the cells, weighted by where the encoder looks
        for it: the colour of a small thing is in one cell alone.
        """
        count = self.global_channels
        sizes = [self.spatial_channels, count, count]
        spatial, colours, attention = features.split(sizes, dim=1)
        logits = attention.flatten(2)
        weights = logits.softmax(-1)  # n p (h w)
        weighted = weights * colours.flatten(2)
        mean = weighted.sum(-1)
        palette = mean[..., None, None]
        return spatial, palette.expand_as(colours)

    def decode(
        self, drawn: Float[Tensor, "n o H W"], latents: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n 3 H W"]:
        """Return pixels: the palette's colours, mixed in the shares that the decoder has drawn."""
        channels = latents[:, self.spatial_channels :]
        palette = channels.mean((2, 3))
        palette = rearrange(palette, "n (k rgb) -> n rgb k", rgb=RGB)
        colours = COLOUR_MIDDLE + palette / COLOUR_SCALE
        share_logits = drawn[:, :-1]
        shares = share_logits.softmax(1)
        brightness = 1 + drawn[:, -1:]
        mixed = torch.einsum("nck,nkhw->nchw", colours, shares)
        return 2 * brightness * mixed - 1
