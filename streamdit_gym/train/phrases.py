"""The embeddings of a data set's phrases, made once and kept beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from streamdit_gym.actions import SpokenBox
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.definition import WorldSpec
from streamdit_gym.errors import DatasetError
from streamdit_gym.text.prompt_encoder import PromptEncoder
from streamdit_gym.text.prompt_protocol import PromptSource
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.text.spoken_table import SpokenTable
from streamdit_gym.train import parallel
from streamdit_gym.train.run_files import saving

BUNDLED_PHRASES_PER_ACTION = 6  # the action's first phrases, the environment's own before all
TENSORS = {"tokens", "mask", "pooled"}


def bundled_phrases(spec: WorldSpec) -> list[str]:
    """Return the phrases whose embeddings a bundle holds."""
    if isinstance(spec.actions, SpokenBox):
        return spec.actions.clauses
    return [phrase for phrases in spec.menu for phrase in phrases[:BUNDLED_PHRASES_PER_ACTION]]


def prompt_source(spec: WorldSpec, table: PromptTable) -> PromptSource:
    """Return the prompts that a world's transformer is trained with."""
    actions = spec.actions
    return SpokenTable(actions, table) if isinstance(actions, SpokenBox) else table


def embed_phrases(make_encoder: Callable[[], PromptEncoder], dataset: Dataset) -> PromptTable:
    """Embed the data set's phrases, once per data set.

    Args:
        make_encoder: called only if the phrases were never embedded.
        dataset: the data set.

    Raises:
        DatasetError: if the embeddings cannot be read, or are of other phrases.
    """
    path = dataset.folder / "phrases.safetensors"
    with parallel.in_turn():
        if not path.is_file():
            _write_embeddings(path, make_encoder(), dataset.phrases)
        return _read_embeddings(path, dataset.phrases)


def _write_embeddings(path: Path, encoder: PromptEncoder, phrases: list[str]) -> None:
    tokens, mask, pooled = encoder.encode(phrases)
    embeddings = {"tokens": tokens.half(), "mask": mask, "pooled": pooled.half()}
    with saving(path) as part:
        save_file(embeddings, str(part))


def _read_embeddings(path: Path, phrases: list[str]) -> PromptTable:
    try:
        saved = load_file(str(path))
    except SafetensorError as error:
        raise DatasetError(
            "embeddings cannot be read",
            given=f"{path}: {error}",
            remedy="delete the file; it is made anew",
        ) from error
    if set(saved) != TENSORS or len(saved["tokens"]) != len(phrases):
        raise DatasetError(
            "embeddings of other phrases", given=path, remedy="delete the file; it is made anew"
        )
    tokens = saved["tokens"].float()
    pooled = saved["pooled"].float()
    return PromptTable(phrases, tokens, saved["mask"], pooled)
