"""A folder or Hub id in diffusers' layout: what it holds, what it needs, and loading it.

Everything that can be wrong is found from small JSON files, before a weight is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamdit_gym.errors import BundleError, MissingExtraError, require
from streamdit_gym.open_weights.wan_backbone import SKYREELS, WAN

PREFIX = "wan:"
INDEX = "model_index.json"
TRANSFORMERS = (WAN, SKYREELS)
PARTS = {
    "transformer": TRANSFORMERS,
    "vae": ("AutoencoderKLWan",),
    "text_encoder": ("UMT5EncoderModel",),
}
WEIGHT_FILES = {
    "transformer": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}
DOWNLOADED = ["*.json", "*.safetensors", "tokenizer/*"]
BYTES = {"float32": 4, "bfloat16": 2}
GIB = 2**30
ATTENTION_COPIES = 10  # of a token's width at a time: its block's input, norms, queries, keys, ...


@dataclass(frozen=True, kw_only=True)
class WanFolder:
    """A checked folder.

    Attributes:
        path: of the folder.
        kinds: class of every part.
        configs: configuration of every part.
    """

    path: Path
    kinds: dict[str, str]
    configs: dict[str, dict[str, Any]]

    def weights(self, part: str) -> int:
        """Return how many bytes a part's files have."""
        return sum(file.stat().st_size for file in (self.path / part).glob("*.safetensors"))

    @property
    def stride(self) -> int:
        """Pixels of a latent's side."""
        return int(2 ** len(self.configs["vae"].get("temperal_downsample", (False, True, True))))


def find_wan_folder(name: str) -> WanFolder:
    """Return a model's folder, downloaded if it is a Hub id.

    Args:
        name: folder or Hub id, with or without ``wan:`` before it.

    Raises:
        BundleError: if there is none, or it holds another model, or a part is missing.
        MissingExtraError: if a Hub id needs a package that is not installed.
    """
    text = name.removeprefix(PREFIX)
    path = Path(text)
    if path.is_dir():
        return check_wan_folder(path)
    if path.is_absolute() or text.startswith((".", "~")) or text.count("/") != 1:
        raise BundleError(
            "no open model here",
            given=text,
            allowed="a folder, or a Hub id such as Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
            remedy="check the path",
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError("huggingface-hub", "hub", "a model from the Hub") from error
    return check_wan_folder(Path(snapshot_download(text, allow_patterns=DOWNLOADED)))


def check_wan_folder(path: Path) -> WanFolder:
    """Return what a folder holds.

    Raises:
        BundleError: if it is no model of this family, or a part, or one of its files, is missing.
    """
    index = _read_json(path / INDEX)
    kinds = {}
    configs = {}
    for part, allowed in PARTS.items():
        entry = index.get(part) or [None, None]
        kind = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
        if kind not in allowed:
            raise BundleError(
                "an open model of another family",
                given=f"{path}: {part} is {kind}",
                allowed=" or ".join(allowed),
                remedy="take Wan 2.1, SkyReels-V2-DF or a Self-Forcing model in diffusers' layout",
            )
        kinds[part] = kind
        configs[part] = _read_json(path / part / "config.json")
        _check_weight_files(path / part, WEIGHT_FILES[part])
    if not (path / "tokenizer").is_dir():
        raise _missing(path / "tokenizer")
    folder = WanFolder(path=path, kinds=kinds, configs=configs)
    _check_that_parts_fit(folder)
    return folder


def _check_that_parts_fit(folder: WanFolder) -> None:
    transformer = folder.configs["transformer"]
    channels = transformer.get("in_channels", 16)
    sizes = {
        "the transformer's input": channels,
        "its output": transformer.get("out_channels", channels),
        "the autoencoder's latents": folder.configs["vae"].get("z_dim", 16),
    }
    if len(set(sizes.values())) > 1:
        raise BundleError(
            "the parts of a model do not fit each other",
            given=", ".join(f"{name}: {count} channels" for name, count in sizes.items()),
            allowed="as many of each; models that take a picture as more channels are others",
            remedy="take the text-to-video model, and its own autoencoder",
        )
    width = folder.configs["text_encoder"].get("d_model")
    if width != transformer.get("text_dim", 4096):
        raise BundleError(
            "the parts of a model do not fit each other",
            given=f"sentences of width {width}, the transformer takes {transformer['text_dim']}",
            allowed="equal widths",
            remedy="take the text encoder that came with the transformer",
        )


def _check_weight_files(folder: Path, name: str) -> None:
    """Refuse a part without weights, or with an index of files that are not all there."""
    index = folder / f"{name}.index.json"
    if not index.is_file():
        if not (folder / name).is_file():
            raise _missing(folder / name)
        return
    files = set(_read_json(index).get("weight_map", {}).values())
    missing = sorted(file for file in files if not (folder / file).is_file())
    if missing:
        raise _missing(folder / missing[0], f"{len(missing)} of {len(files)} files")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise _missing(path)
    try:
        content = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(
            "a file of an open model cannot be read",
            given=f"{path}: {error}",
            remedy="download it again",
        ) from error
    if not isinstance(content, dict):
        raise BundleError(
            "a file of an open model cannot be read",
            given=f"{path}: {type(content).__name__}",
            allowed="a JSON object",
            remedy="download it again",
        )
    return content


def _missing(path: Path, given: str = "") -> BundleError:
    return BundleError(
        "a part of an open model is missing",
        given=f"{path} {given}".strip(),
        allowed=f"{INDEX}, {', '.join(PARTS)} and tokenizer, with all their files",
        remedy="download it again, in diffusers' layout",
    )


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a model needs to stream.

    Attributes:
        device_bytes: memory of the device at the peak: transformer, autoencoder and activations.
        host_bytes: memory of the machine for the text encoder.
        tokens: of a window.
    """

    device_bytes: int
    host_bytes: int
    tokens: int


def needs_of(
    folder: WanFolder, frame_size: tuple[int, int], latents: int, dtype: str, streams: int = 1
) -> Needs:
    """Return what a model needs; activations are an estimate.

    While a block works, a token holds some ten vectors of the transformer's width and one of its
    feed-forward's; the attention itself needs no more where it is fused.

    Args:
        folder: the model.
        frame_size: height and width of frames.
        latents: references and buffer together.
        dtype: of weights and activations.
        streams: how many at once.
    """
    sizes = folder.configs["transformer"]
    _, rows, columns = sizes.get("patch_size", (1, 2, 2))
    height, width = (pixels // folder.stride for pixels in frame_size)
    tokens = latents * (height // rows) * (width // columns)
    token_width = sizes["num_attention_heads"] * sizes["attention_head_dim"]
    held = ATTENTION_COPIES * token_width + sizes["ffn_dim"]
    activations = streams * tokens * held * BYTES[dtype]
    # files are float32 or bfloat16; loaded in one dtype each weight has as many bytes
    weights = sum(_weights_in(folder, part, dtype) for part in ("transformer", "vae"))
    return Needs(
        device_bytes=weights + activations,
        host_bytes=_weights_in(folder, "text_encoder", "bfloat16"),
        tokens=tokens,
    )


def _weights_in(folder: WanFolder, part: str, dtype: str) -> int:
    """Return the bytes of a part's weights in a dtype, from the headers of its files."""
    count = 0
    for file in (folder.path / part).glob("*.safetensors"):
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for side in tensor["shape"]:
                    size *= side
                count += size
    return count * BYTES[dtype]


def load_parts(folder: WanFolder, device: str, dtype: str) -> dict[str, Any]:
    """Return transformer and autoencoder on a device, text encoder and tokenizer on the CPU.

    Raises:
        MissingExtraError: if diffusers or transformers is not installed.
    """
    diffusers = require("diffusers", "open", "an open model")
    transformers = require("transformers", "open", "an open model")
    import torch

    kind = getattr(torch, dtype)
    transformer_class = getattr(diffusers, folder.kinds["transformer"])
    transformer = transformer_class.from_pretrained(folder.path / "transformer", torch_dtype=kind)
    autoencoder = diffusers.AutoencoderKLWan.from_pretrained(folder.path / "vae", torch_dtype=kind)
    encoder = transformers.UMT5EncoderModel.from_pretrained(
        folder.path / "text_encoder", dtype=torch.bfloat16
    )
    return {
        "transformer": transformer.eval().requires_grad_(False).to(device),
        "vae": autoencoder.eval().requires_grad_(False).to(device),
        "text_encoder": encoder.eval().requires_grad_(False),
        "tokenizer": transformers.AutoTokenizer.from_pretrained(folder.path / "tokenizer"),
    }
