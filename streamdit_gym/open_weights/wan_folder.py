"""A folder or Hub id in diffusers' layout: what it holds, and what it needs.

Everything that can be wrong is found from small JSON files, before a weight is read.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streamdit_gym.errors import BundleError, MissingExtraError
from streamdit_gym.open_weights.trained_folder import (
    MAX_ADAPTERS,
    TrainedRecord,
    check_base,
    fingerprint,
    is_adapter,
    read_record,
)
from streamdit_gym.open_weights.wan_backbone import SKYREELS, WAN
from streamdit_gym.world_folders import OPEN_MODEL_PREFIX

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
METADATA = "__metadata__"  # of a safetensors file, beside its tensors
# numbers that a token takes while a block works: ten vectors of its width (the input, norms,
# queries, keys, ...), and one of the feed-forward layer
VECTORS_PER_TOKEN = 10
# numbers that the decoder remembers of every pixel of a stream, for each of its base channels:
# measured
MEMORY_PER_PIXEL = 24.7
# of Wan 2.2's models, which go another way
OTHER_MODEL_KEYS = ("transformer_2", "boundary_ratio", "expand_timesteps")
OTHER_AUTOENCODER_KEYS = ("patch_size", "is_residual")


@dataclass(frozen=True, kw_only=True)
class WanFolder:
    """A checked folder.

    Attributes:
        path: of the folder.
        kinds: class of every part.
        configs: configuration of every part.
        adapters: folders of the adapters on the transformer, the first one first.
        record: how a trained model or the last adapter streams; None: as its kind does.
    """

    path: Path
    kinds: dict[str, str]
    configs: dict[str, dict[str, Any]]
    adapters: tuple[Path, ...] = ()
    record: TrainedRecord | None = None

    @property
    def stride(self) -> int:
        """Pixels of a latent's side."""
        return int(2 ** len(self.configs["vae"].get("temperal_downsample", (False, True, True))))

    @property
    def weights(self) -> str:
        """Fingerprint of the transformer's weights and its adapters."""
        return fingerprint(self.path / "transformer", self.adapters)

    @property
    def autoencoder_weights(self) -> str:
        """Fingerprint of the autoencoder's weights."""
        return fingerprint(self.path / "vae")

    def with_adapter(self, adapter: Path) -> WanFolder:
        """Return the folder with an adapter on its transformer.

        Raises:
            BundleError: if it is none, or of other weights.
        """
        record = read_record(adapter)
        if record is None or not is_adapter(adapter):
            raise BundleError(
                "no adapter here",
                given=adapter,
                allowed="the folder adapter/ that finetune or distill wrote",
                remedy="check the path",
            )
        check_base(record, adapter, self.weights)
        return replace(self, adapters=(*self.adapters, adapter), record=record)


def find_wan_folder(name: str) -> WanFolder:
    """Return a model's folder, downloaded if it is a Hub id.

    Args:
        name: folder or Hub id, with or without ``wan:`` before it; or the folder of an adapter,
            whose record names its base.

    Raises:
        BundleError: if there is none, or it holds another model, or a part is missing.
        MissingExtraError: if a Hub id needs a package that is not installed.
    """
    text = name.removeprefix(OPEN_MODEL_PREFIX)
    adapters: list[Path] = []
    while is_adapter(Path(text)) and len(adapters) < MAX_ADAPTERS:
        adapters.append(Path(text))
        record = read_record(adapters[-1])
        assert record is not None
        text = record.base.removeprefix(OPEN_MODEL_PREFIX)
    folder = _base_folder(text)
    for adapter in reversed(adapters):
        folder = folder.with_adapter(adapter)
    return folder


def _base_folder(text: str) -> WanFolder:
    """Return the folder of a model that is no adapter."""
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
    try:
        # the small files first: a model of another family is refused before its weights come
        _check_index(Path(snapshot_download(text, allow_patterns=["*.json"])))
        folder = Path(snapshot_download(text, allow_patterns=DOWNLOADED))
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(
            "a model could not be downloaded",
            given=text,
            allowed="the Hub id of a model that you may read, or a folder",
            remedy=f"the Hub answered: {error}",
        ) from error
    return check_wan_folder(folder)


def check_wan_folder(path: Path) -> WanFolder:
    """Return what a folder holds.

    Raises:
        BundleError: if it is no model of this family, or a part, or one of its files, is missing.
    """
    folder = _check_index(path)
    for part, name in WEIGHT_FILES.items():
        _check_weight_files(path / part, name)
    if not (path / "tokenizer").is_dir():
        raise _missing(path / "tokenizer")
    return folder


def _check_index(path: Path) -> WanFolder:
    """Return what a folder's JSON files say."""
    index = _read_json(path / INDEX)
    _check_generation(path, index, OTHER_MODEL_KEYS)
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
    _check_generation(path / "vae", configs["vae"], OTHER_AUTOENCODER_KEYS)
    folder = WanFolder(path=path, kinds=kinds, configs=configs, record=read_record(path))
    _check_that_parts_fit(folder)
    return folder


def _check_generation(path: Path, content: dict[str, Any], keys: tuple[str, ...]) -> None:
    """Refuse models of which a part that we do not use decides what comes out."""
    for key in keys:
        if content.get(key) not in (None, False, [None, None]):
            raise BundleError(
                "an open model of another generation",
                given=f"{path}: {key} is {content[key]}",
                allowed="Wan 2.1, SkyReels-V2-DF or Self-Forcing",
                remedy="take one of those",
            )


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
    expected_width = transformer.get("text_dim", 4096)
    if width != expected_width:
        raise BundleError(
            "the parts of a model do not fit each other",
            given=f"sentences of width {width}, the transformer takes {expected_width}",
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
    """What streams of a model need.

    Attributes:
        device_bytes: memory of the device at the peak: weights of transformer and autoencoder,
            activations, and what the decoder remembers, twice while it decodes.
        host_bytes: memory of the machine for the text encoder.
        tokens: of a stream's window.
    """

    device_bytes: int
    host_bytes: int
    tokens: int

    def fit(self, device: str, free: int, host_free: int) -> bool:
        """Return whether there is room.

        Args:
            device: where the model runs; on a CPU all comes from the same memory.
            free: bytes free on the device.
            host_free: bytes free of the machine.
        """
        if device == "cpu":
            return self.device_bytes + self.host_bytes <= host_free
        return self.device_bytes <= free and self.host_bytes <= host_free


def needs_of(
    folder: WanFolder, frame_size: tuple[int, int], latents: int, dtype: str, streams: int = 1
) -> Needs:
    """Return what streams of a model need; all but the weights is an estimate.

    Args:
        folder: the model.
        frame_size: height and width of frames.
        latents: references and buffer together.
        dtype: of weights and activations.
        streams: that move as one batch.
    """
    sizes = folder.configs["transformer"]
    _, rows, columns = sizes.get("patch_size", (1, 2, 2))
    height, width = frame_size
    latent_height = height // folder.stride
    latent_width = width // folder.stride
    tokens = latents * (latent_height // rows) * (latent_width // columns)
    token_width = sizes["num_attention_heads"] * sizes["attention_head_dim"]
    activations = tokens * (VECTORS_PER_TOKEN * token_width + sizes["ffn_dim"])
    base_channels = folder.configs["vae"].get("base_dim", 96)
    memory = 2 * height * width * MEMORY_PER_PIXEL * base_channels
    weights = sum(num_weights(folder, part) for part in ("transformer", "vae"))
    return Needs(
        device_bytes=int(BYTES[dtype] * (weights + streams * (activations + memory))),
        host_bytes=BYTES["bfloat16"] * num_weights(folder, "text_encoder"),
        tokens=tokens,
    )


def num_weights(folder: WanFolder, part: str) -> int:
    """Return how many weights a part has, from the headers of its files."""
    count = 0
    for file in (folder.path / part).glob("*.safetensors"):
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
        count += sum(
            math.prod(tensor["shape"]) for name, tensor in header.items() if name != METADATA
        )
    return count
