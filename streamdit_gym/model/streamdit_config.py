"""Size and kind of the transformer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StreamDiTConfig:
    """Size and kind of the transformer.

    Attributes:
        channels: latent channels.
        global_channels: how many of them, the last ones, are the same in every cell; see
            `streamdit_gym.model.global_channels`.
        grid: rows and columns of a latent.
        patch: latents per token side.
        width: token width.
        depth: blocks.
        heads: attention heads.
        text_width: width of the prompt encoder's embeddings.
        window: attention window in frames, token rows, token columns; 0 frames means all of them.
        causal: whether a frame sees only itself and earlier frames; needed for a cache of the
            references.
        references: most reference frames a frame sees, in a causal model.
        refiner_channels: channels of the convolutional refiner behind the last block; 0 for none.
        refiner_blocks: residual blocks in it.
        sees_noise: whether the network's input is the noisy latents themselves, as a model needs
            that draws one of several futures; else it is the best linear guess of the clean ones,
            in which pure noise is nothing.
        micro_steps: s of partitions that are named and not written out.
        reference_time: noise level of references while sampling; 1 is clean.
        temperature: scale of the noise that chunks begin with; 0 is none, for a student of a
            teacher that predicts the same from any noise.
        guidance: weight of the prompt: predictions move from the one without a prompt towards, and
            past, the one with it; 1 is no guidance, and one evaluation instead of two.
    """

    channels: int = 8
    global_channels: int = 0
    grid: tuple[int, int] = (8, 8)
    patch: int = 2
    width: int = 256
    depth: int = 6
    heads: int = 8
    text_width: int = 384
    window: tuple[int, int, int] = (0, 4, 4)
    causal: bool = True
    references: int = 4
    sees_noise: bool = False
    micro_steps: int = 1
    reference_time: float = 1.0
    temperature: float = 1.0
    guidance: float = 1.0
    refiner_channels: int = 64
    refiner_blocks: int = 1

    @property
    def spatial_channels(self) -> int:
        """Channels that tell where things are; the transformer draws these."""
        return self.channels - self.global_channels

    @property
    def token_grid(self) -> tuple[int, int]:
        """Token rows and columns of a frame."""
        rows, columns = self.grid
        return rows // self.patch, columns // self.patch

    @property
    def num_tokens(self) -> int:
        """Tokens of a frame."""
        rows, columns = self.token_grid
        return rows * columns

    @property
    def head_width(self) -> int:
        """Width of an attention head."""
        return self.width // self.heads
