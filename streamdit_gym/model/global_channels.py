"""Global channels: the last channels of a latent, which hold the same numbers in every cell.

The other channels, the spatial ones, tell where things are; the transformer draws these alone. An
optional module owns the global channels (`streamdit_gym.model.optional_modules` chooses it). It
meets the networks in two places, which know no more of it than is written here:

- A `GlobalPredictor` is the transformer's part: it encodes prompts, conditions frames on them, and
  puts the global channels behind the predicted spatial ones.
- A `GlobalCoder` is the autoencoder's part: it reads the global channels off the encoder's output,
  and shows them in the pixels.

A network without global channels has `NoGlobalPredictor` and `NoGlobalCoder` in their places.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from streamdit_gym.types import PreparedPrompts

RGB = 3


class GlobalPredictor(nn.Module, ABC):
    """Predicts the global channels of frames.

    Letters: k instructions of a prompt, o numbers of an instruction, s spatial channels.
    """

    @abstractmethod
    def encode(
        self, tokens: Float[Tensor, "u l e"], mask: Bool[Tensor, "u l"]
    ) -> Float[Tensor, "1+u k o"]:
        """Return what no prompt (row 0) and what each prompt asks for: its instructions."""

    @abstractmethod
    def condition(self, prepared: PreparedPrompts, rows: Int[Tensor, "b f"]) -> Tensor:
        """Return the instructions of every frame's prompt, given as a row of the table."""

    @abstractmethod
    def decode(
        self,
        spatial: Float[Tensor, "b f s h w"],
        times: Float[Tensor, "b f"],
        before: Float[Tensor, "b f c h w"],
        before_times: Float[Tensor, "b f"],
        instructions: Tensor,
    ) -> Float[Tensor, "b f c h w"]:
        """Return whole latents: the spatial channels, and the global ones behind them.

        Args:
            spatial: the predicted spatial channels of some frames.
            times: the frames' noise levels.
            before: the latents of the frames before them.
            before_times: the noise levels of those.
            instructions: what `condition` returned.
        """


class NoGlobalPredictor(GlobalPredictor):
    """The hooks of a transformer without global channels: nothing to encode, nothing to append."""

    def encode(
        self, tokens: Float[Tensor, "u l e"], mask: Bool[Tensor, "u l"]
    ) -> Float[Tensor, "1+u 0 4"]:
        """Return no instructions."""
        rows = len(tokens) + 1
        return tokens.new_zeros(rows, 0, 4)

    def condition(
        self, prepared: PreparedPrompts, rows: Int[Tensor, "b f"]
    ) -> Float[Tensor, "u 0 4"]:
        """Return no instructions."""
        return prepared.extra

    def decode(
        self,
        spatial: Float[Tensor, "b f s h w"],
        times: Float[Tensor, "b f"],
        before: Float[Tensor, "b f s h w"],
        before_times: Float[Tensor, "b f"],
        instructions: Float[Tensor, "u 0 4"],
    ) -> Float[Tensor, "b f s h w"]:
        """Return the spatial channels, which are all there are."""
        return spatial


class GlobalCoder(ABC):
    """Reads the global channels of frames, and shows them.

    Args:
        channels: channels of a latent.
        global_channels: how many of them, the last ones, are global.
    """

    def __init__(self, channels: int, global_channels: int) -> None:
        self.channels = channels
        self.global_channels = global_channels

    @property
    def spatial_channels(self) -> int:
        """Channels of a latent that tell where things are."""
        return self.channels - self.global_channels

    @property
    @abstractmethod
    def encoder_channels(self) -> int:
        """Channels of the encoder's output."""

    @property
    @abstractmethod
    def decoder_channels(self) -> int:
        """Channels of the decoder's output, which it draws of the spatial channels alone."""

    @abstractmethod
    def encode(
        self, features: Float[Tensor, "n o h w"]
    ) -> tuple[Float[Tensor, "n s h w"], Float[Tensor, "n p h w"]]:
        """Return the spatial and the global channels of the encoder's output."""

    @abstractmethod
    def decode(
        self, drawn: Float[Tensor, "n o H W"], latents: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n 3 H W"]:
        """Return the pixels of the decoder's output and of the latents' global channels."""


class NoGlobalCoder(GlobalCoder):
    """The hooks of an autoencoder without global channels: it draws the pixels themselves.

    Args:
        channels: channels of a latent.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 0)

    @property
    def encoder_channels(self) -> int:
        """The latent, and nothing else."""
        return self.channels

    @property
    def decoder_channels(self) -> int:
        """A pixel's red, green and blue."""
        return RGB

    def encode(
        self, features: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n 0 h w"]]:
        """Return the encoder's output, and no global channels."""
        return features, features[:, self.channels :]

    def decode(
        self, drawn: Float[Tensor, "n 3 H W"], latents: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n 3 H W"]:
        """Return the pixels as they are drawn."""
        return drawn
