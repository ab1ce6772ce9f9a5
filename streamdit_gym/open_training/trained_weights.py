"""The weights of an open model that learn: an adapter's, or all; and writing them as a model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from streamdit_gym.errors import require
from streamdit_gym.files import replace_folder
from streamdit_gym.open_training.open_settings import OpenTraining
from streamdit_gym.open_weights.trained_folder import ADAPTER_WEIGHTS, TrainedRecord
from streamdit_gym.open_weights.wan_folder import INDEX, WanFolder

ADAPTER = "default"  # diffusers' name of an adapter that has none
# of every block: attention to frames and to the prompt, and the feed-forward layer
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
TRANSFORMER = "transformer"
WEIGHT_FILES = "diffusion_pytorch_model{suffix}.safetensors"
OTHER_PARTS = ("vae", "text_encoder", "tokenizer", "scheduler")


class LearningWeights(nn.Module):
    """The parameters of a transformer that learn, under their own names and without the others.

    They are the transformer's own: what an optimizer does to these it does to it.

    Args:
        transformer: some of whose parameters need gradients.
    """

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        for name, weight in transformer.named_parameters():
            if weight.requires_grad:
                self.register_parameter(name.replace(".", "/"), weight)


def prepare_weights(transformer: Any, settings: OpenTraining) -> None:
    """Let an adapter, or all weights, of a transformer learn, in float32.

    Raises:
        MissingExtraError: if peft is not installed.
    """
    transformer.requires_grad_(False)
    transformer.enable_gradient_checkpointing()
    if settings.weights == "full":
        transformer.float().requires_grad_(True)
        return
    peft = require("peft", "open", "training an adapter")
    # an adapter begins as no change, with random numbers that every process and call draws alike
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        transformer.add_adapter(
            peft.LoraConfig(
                r=settings.rank,
                lora_alpha=settings.rank,
                init_lora_weights="gaussian",
                target_modules=list(TARGETS),
            )
        )
    for weight in transformer.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def without_adapter(transformer: Any, settings: OpenTraining) -> AbstractContextManager[None]:
    """Let a transformer be what it was before its adapter, for a while."""
    return nullcontext() if settings.weights == "full" else _DisabledAdapter(transformer)


class _DisabledAdapter(AbstractContextManager[None]):
    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    def __enter__(self) -> None:
        learning = [weight for weight in self.transformer.parameters() if weight.requires_grad]
        self.transformer.disable_adapters()
        for weight in learning:  # peft forgets it, and sharded weights would for good
            weight.requires_grad_(True)

    def __exit__(self, *_: object) -> None:
        self.transformer.enable_adapters()


def adapter_weights(learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an adapter's weights under the names that files have."""
    named = {key.replace("/", "."): value for key, value in learned.items()}
    return {key.replace(f".{ADAPTER}.", "."): value.contiguous() for key, value in named.items()}


def write_trained(
    target: Path,
    learned: Mapping[str, Tensor],
    transformer: Any,
    folder: WanFolder,
    record: TrainedRecord,
) -> None:
    """Write what was trained as a folder that `load_open_model` takes.

    Args:
        target: the folder; what is there is replaced.
        learned: the weights that learned, by the names of `LearningWeights`.
        transformer: that holds them; an adapter's configuration is written.
        folder: of the model that was trained.
        record: how the result streams.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(target) as fresh:
        if getattr(transformer, "peft_config", None):
            save_file(
                adapter_weights(learned), str(fresh / ADAPTER_WEIGHTS), _metadata(transformer)
            )
        else:
            _write_model(fresh, learned, folder)
        record.write(fresh)


def _metadata(transformer: Any) -> dict[str, str]:
    """Return the adapter's configuration, as diffusers writes it beside the weights."""
    from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY

    config = transformer.peft_config[ADAPTER].to_dict()
    stored = {
        key: sorted(value) if isinstance(value, set) else value for key, value in config.items()
    }
    return {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(stored, sort_keys=True)}


def _write_model(fresh: Path, learned: Mapping[str, Tensor], folder: WanFolder) -> None:
    """Write a whole model: the transformer, and links to the files of the other parts."""
    from huggingface_hub import save_torch_state_dict

    named = {key.replace("/", "."): value for key, value in learned.items()}
    # diffusers' own writer looks at the transformer's weights, of which a process may hold a part
    (fresh / TRANSFORMER).mkdir()
    shutil.copy(folder.path / TRANSFORMER / "config.json", fresh / TRANSFORMER)
    save_torch_state_dict(named, fresh / TRANSFORMER, filename_pattern=WEIGHT_FILES)
    shutil.copy(folder.path / INDEX, fresh / INDEX)
    for part in OTHER_PARTS:
        if (folder.path / part).is_dir():
            shutil.copytree(folder.path / part, fresh / part, copy_function=_link)


def _link(source: str, target: str) -> None:
    """Link a file, or copy it to another disk."""
    original = os.path.realpath(source)  # the Hub's folders hold links to its store
    try:
        os.link(original, target)
    except OSError:
        shutil.copy2(original, target)
