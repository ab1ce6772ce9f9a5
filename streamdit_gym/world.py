"""World: a trained bundle on disk, in the package or on the Hub.

Takes: a name, a folder or a Hub id.  Gives: model, codec, heads, prompts and starts that belong together.
Knows nothing of: Gymnasium, simulators, sessions.

A bundle is a folder: ``config.json`` with sizes and hashes of the other files, ``model.safetensors``,
``codec.safetensors``, ``heads.safetensors``, ``prompts.safetensors``, ``starts.safetensors``, and a model card; in some worlds also
``longer.safetensors``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from streamdit_gym.buffer.partition import Partition
from streamdit_gym.codec.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.errors import BundleError, MissingExtraError, UnknownNameError
from streamdit_gym.heads.reward_head import RewardHead, RewardHeadConfig
from streamdit_gym.model.streamdit import StreamDiT, StreamDiTConfig
from streamdit_gym.text.embedding_cache import PromptTable
from streamdit_gym.text.prompt_encoder import MiniLMEncoder
from streamdit_gym.vocabulary import Task, WorldSpec

FORMAT = 1
SHIPPED = Path(__file__).resolve().parent / "worlds"
WEIGHTS = ("model", "codec", "heads", "prompts", "starts")


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Real first frames to start streams from.

    Attributes:
        latents: one encoded frame each.
        states: the simulator's true state in it.
    """

    latents: Float[Tensor, "n c h w"]
    states: Float[Tensor, "n s"]


@dataclass(frozen=True, kw_only=True)
class World:
    """A trained world.

    Attributes:
        spec: what the world is.
        model: the transformer.
        codec: the codec.
        heads: the reward and success head, with the state probe.
        table: the menu's embedded prompts; other text is embedded when first used.
        starts: real first frames.
        facts: training data, licence and measured scores, as written in ``config.json``.
        longer: another transformer, for buffers of several chunks (N > 1); None: `model` serves them, too.
        digest: SHA-256 of what the bundle holds, wherever it lies: equal bundles have equal digests. Empty: not loaded from a bundle.
    """

    spec: WorldSpec
    model: StreamDiT
    codec: ConvCodec
    heads: RewardHead
    table: PromptTable
    starts: Starts
    facts: dict[str, Any]
    longer: StreamDiT | None = None
    digest: str = ""

    @classmethod
    def from_pretrained(cls, name: str | Path, *, device: str = "cpu", revision: str | None = None) -> World:
        """Load a world by shipped name, folder or Hub id.

        Args:
            name: ``"PushT"``, a folder, or ``"user/repository"``.
            device: where to put it.
            revision: branch, tag or commit of a Hub repository.

        Raises:
            UnknownNameError: if there is no such world.
            BundleError: if a file is missing, cut, foreign or of a newer format; the text names the file.
        """
        folder = find_world(str(name), revision)
        config = _read_config(folder)
        weights = {part: _read_weights(folder, part, config) for part in WEIGHTS}
        spec = _spec_from_json(config["spec"])
        model = _fill(StreamDiT(_config(StreamDiTConfig, config["model"])), weights["model"], folder / "model.safetensors")
        longer = None
        if "longer" in config:
            longer = StreamDiT(_config(StreamDiTConfig, config["longer"]))
            _fill(longer, _read_weights(folder, "longer", config), folder / "longer.safetensors").to(device)
        codec = _fill(ConvCodec(_config(ConvCodecConfig, config["codec"])), weights["codec"], folder / "codec.safetensors")
        heads = _fill(RewardHead(_config(RewardHeadConfig, config["heads"])), weights["heads"], folder / "heads.safetensors")
        for convolutions in (codec, heads):
            convolutions.to(memory_format=torch.channels_last)  # decodes 10 to 20 % faster
        prompts = weights["prompts"]
        if set(prompts) != {"tokens", "mask", "pooled"} or len(prompts["tokens"]) != len(config["phrases"]):
            raise BundleError("prompts do not fit the bundle", given=folder / "prompts.safetensors", remedy="get the bundle again")
        table = PromptTable(
            config["phrases"], prompts["tokens"].float(), prompts["mask"].bool(), prompts["pooled"].float(), MiniLMEncoder
        ).to(device, torch.float32)
        starts = Starts(latents=weights["starts"]["latents"].float().to(device), states=weights["starts"]["states"].float())
        return cls(
            spec=spec, model=model.to(device), codec=codec.to(device), heads=heads.to(device), table=table, starts=starts,
            facts=config["facts"], longer=longer, digest=_digest(config),
        )  # fmt: skip

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the bundle, weights in half precision."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        count = len(self.table.phrases)
        tensors = {
            "model": self.model.state_dict(),
            "codec": self.codec.state_dict(),
            "heads": self.heads.state_dict(),
            "prompts": {key: value[:count] for key, value in self.table.state_dict().items()},
            "starts": {"latents": self.starts.latents, "states": self.starts.states},
        }
        if self.longer is not None:
            tensors["longer"] = self.longer.state_dict()
        files = {}
        for part, state in tensors.items():
            path = folder / f"{part}.safetensors"
            save_file({key: _halved(value) for key, value in state.items()}, str(path))
            files[path.name] = {"bytes": path.stat().st_size, "sha256": _hash(path)}
        config = {
            "format": FORMAT,
            "spec": dataclasses.asdict(self.spec),
            "model": dataclasses.asdict(self.model.config),
            "codec": dataclasses.asdict(self.codec.config),
            "heads": dataclasses.asdict(self.heads.config),
            "phrases": self.table.phrases,
            "facts": self.facts,
            "files": files,
        }
        if self.longer is not None:
            config["longer"] = dataclasses.asdict(self.longer.config)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")

    def push_to_hub(self, repo_id: str, *, folder: str | Path, private: bool = False) -> str:
        """Save to a folder, upload it to a Hub repository and return its address.

        Raises:
            MissingExtraError: if huggingface_hub is not installed.
        """
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise MissingExtraError("huggingface-hub", "hub", "push_to_hub") from error
        self.save_pretrained(folder)
        api = HfApi()
        api.create_repo(repo_id, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repo_id, folder_path=str(folder)))

    def model_for(self, partition: Partition) -> StreamDiT:
        """Return the transformer that a buffer cut so is streamed with."""
        return self.longer if self.longer is not None and partition.chunks > 1 else self.model

    @property
    def device(self) -> torch.device:
        """Where the world's weights are."""
        return self.starts.latents.device


def shipped_worlds() -> list[str]:
    """Return the names of the worlds in the package."""
    return sorted(p.name for p in SHIPPED.glob("*") if (p / "config.json").is_file())


def update_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Replace the facts in a bundle's ``config.json``; the weights are not touched."""
    config = _read_config(folder)
    (folder / "config.json").write_text(json.dumps({**config, "facts": facts}, indent=1) + "\n")


def find_world(name: str, revision: str | None = None) -> Path:
    """Return the folder of a world given by shipped name, folder or Hub id.

    Raises:
        UnknownNameError: if there is no such world.
    """
    if (SHIPPED / name / "config.json").is_file():
        return SHIPPED / name
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") == 1 and not name.startswith((".", "/")):
        try:
            from huggingface_hub import snapshot_download
        except ImportError as error:
            raise MissingExtraError("huggingface-hub", "hub", "a world from the Hub") from error
        try:
            return Path(snapshot_download(name, revision=revision))
        except Exception as error:
            raise UnknownNameError("world", name, shipped_worlds(), remedy=f"the Hub answered: {error}") from error
    raise UnknownNameError("world", name, shipped_worlds(), remedy="give a shipped name, a folder or a Hub id user/repository")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise BundleError("not a world bundle", given=folder, allowed="a folder with config.json", remedy="check the path")
    try:
        config: dict[str, Any] = json.loads(path.read_text())
        version = int(config["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError("config.json cannot be read", given=path, remedy="get the bundle again") from error
    if version > FORMAT:
        raise BundleError(
            "the bundle is newer than this package", given=f"format {version}", allowed=f"up to {FORMAT}", remedy="upgrade streamdit_gym"
        )
    missing = {"spec", "model", "codec", "heads", "phrases", "facts", "files"} - set(config)
    if missing:
        raise BundleError("config.json lacks entries", given=f"{path}: {', '.join(sorted(missing))}", remedy="get the bundle again")
    return config


def _read_weights(folder: Path, part: str, config: dict[str, Any]) -> dict[str, Tensor]:
    path = folder / f"{part}.safetensors"
    known = config["files"].get(path.name)
    if known is None or not path.is_file():
        raise BundleError("a file of the bundle is missing", given=path, remedy="get the bundle again")
    if path.stat().st_size != known["bytes"]:
        raise BundleError(
            "a file of the bundle is cut", given=f"{path}: {path.stat().st_size} bytes", allowed=known["bytes"], remedy="get it again"
        )
    if _hash(path) != known["sha256"]:
        raise BundleError("a file of the bundle is foreign", given=path, allowed=f"sha256 {known['sha256'][:12]}…", remedy="get it again")
    return load_file(str(path))


def _fill(module: Any, weights: dict[str, Tensor], path: Path) -> Any:
    try:
        module.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in weights.items()})
    except RuntimeError as error:
        raise BundleError("weights do not fit config.json", given=path, remedy=f"get the bundle again ({str(error)[:200]})") from error
    frozen: nn.Module = module.eval().requires_grad_(False)
    return frozen


def _config(kind: type, values: dict[str, Any]) -> Any:
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except TypeError as error:
        raise BundleError(
            "config.json does not fit this package", given=f"{kind.__name__}: {error}", remedy="upgrade streamdit_gym"
        ) from error


def _spec_from_json(values: dict[str, Any]) -> WorldSpec:
    tasks = {name: _config(Task, task) for name, task in values["tasks"].items()}
    menu = tuple(tuple(phrases) for phrases in values["menu"])
    names: dict[str, Any] = {key: tuple(values[key]) for key in ("state_names", "score_names", "also") if key in values}
    made: WorldSpec = _config(WorldSpec, {**values, **names, "tasks": tasks, "menu": menu})
    return made


def _halved(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if tensor.is_floating_point() else tensor


def _digest(config: dict[str, Any]) -> str:
    content = {key: value for key, value in config.items() if key != "facts"}  # scores say nothing of what it does
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
