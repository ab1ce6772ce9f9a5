"""A decoder of the paper's size, with random weights."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig

DECODER = ConvCodecConfig(frame_size=(512, 512), channels=16, width=128)
FRAMES_PER_LATENT = 4


class PaperDecoder(nn.Module):
    """What a preset without a codec of its own decodes with.

    Like the paper's autoencoder it goes 8 times up in space and 4 times in time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.codec = ConvCodec(DECODER)
        channels = FRAMES_PER_LATENT * DECODER.channels
        self.expand_time = nn.Conv2d(DECODER.channels, channels, 3, padding=1)

    def decode(self, latents: Float[Tensor, "b f c h w"]) -> UInt8[Tensor, "b 4*f H W 3"]:
        """Decode latents to uint8 frames, four for each latent frame."""
        expanded = self.expand_time(latents.flatten(0, 1))
        frame_latents = rearrange(
            expanded,
            "(b f) (t c) h w -> b (f t) c h w",
            b=len(latents),
            t=FRAMES_PER_LATENT,
        )
        return self.codec.decode(frame_latents)
