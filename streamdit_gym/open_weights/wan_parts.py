"""Loading the parts of an open model."""

from __future__ import annotations

from typing import Any

from streamdit_gym.errors import require
from streamdit_gym.open_weights.trained_folder import fuse_adapter
from streamdit_gym.open_weights.wan_folder import WanFolder


def load_parts(folder: WanFolder, device: str, dtype: str) -> dict[str, Any]:
    """Return transformer and autoencoder on a device, text encoder and tokenizer on the CPU.

    Raises:
        MissingExtraError: if diffusers or transformers is not installed.
    """
    return {
        "transformer": load_transformer(folder, dtype).to(device),
        "vae": load_autoencoder(folder, dtype).to(device),
        "text_encoder": load_text_encoder(folder),
        "tokenizer": load_tokenizer(folder),
    }


def load_transformer(folder: WanFolder, dtype: str) -> Any:
    """Return the transformer with its adapters, on the CPU.

    Raises:
        MissingExtraError: if a package is not installed.
        BundleError: if an adapter does not fit.
    """
    diffusers = require("diffusers", "open", "an open model")
    kind = getattr(diffusers, folder.kinds["transformer"])
    transformer = kind.from_pretrained(folder.path / "transformer", torch_dtype=_type(dtype))
    for adapter in folder.adapters:
        fuse_adapter(transformer, adapter)
    return transformer.eval().requires_grad_(False)


def load_autoencoder(folder: WanFolder, dtype: str) -> Any:
    """Return the autoencoder, on the CPU.

    Raises:
        MissingExtraError: if diffusers is not installed.
    """
    diffusers = require("diffusers", "open", "an open model")
    kind = diffusers.AutoencoderKLWan
    autoencoder = kind.from_pretrained(folder.path / "vae", torch_dtype=_type(dtype))
    return autoencoder.eval().requires_grad_(False)


def load_text_encoder(folder: WanFolder) -> Any:
    """Return the text encoder in bfloat16, on the CPU.

    Raises:
        MissingExtraError: if transformers is not installed.
    """
    transformers = require("transformers", "open", "an open model")
    kind = transformers.UMT5EncoderModel
    encoder = kind.from_pretrained(folder.path / "text_encoder", dtype=_type("bfloat16"))
    return encoder.eval().requires_grad_(False)


def load_tokenizer(folder: WanFolder) -> Any:
    """Return the tokenizer, which is small.

    Raises:
        MissingExtraError: if transformers is not installed.
    """
    transformers = require("transformers", "open", "an open model")
    return transformers.AutoTokenizer.from_pretrained(folder.path / "tokenizer")


def _type(dtype: str) -> Any:
    import torch

    return getattr(torch, dtype)
