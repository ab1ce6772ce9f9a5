"""Latents to tokens and back."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def patchify(latents: Float[Tensor, "b f c h w"], patch: int) -> Float[Tensor, "b f n p"]:
    """Fold every patch x patch square into one token."""
    return rearrange(latents, "b f c (h p) (w q) -> b f (h w) (p q c)", p=patch, q=patch)


def unpatchify(
    tokens: Float[Tensor, "b f n p"], patch: int, rows: int
) -> Float[Tensor, "b f c h w"]:
    """Undo `patchify`; `rows` is the number of token rows in a frame."""
    return rearrange(tokens, "b f (h w) (p q c) -> b f c (h p) (w q)", p=patch, q=patch, h=rows)
