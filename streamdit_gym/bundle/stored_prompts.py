"""The embedded prompts of a bundle."""

from __future__ import annotations

from pathlib import Path

from streamdit_gym.bundle.config import BundleConfig
from streamdit_gym.bundle.field_checks import AGAIN
from streamdit_gym.bundle.files import FLAGS, Layout, read_tensors
from streamdit_gym.errors import BundleError
from streamdit_gym.text.prompt_encoder import MiniLMEncoder
from streamdit_gym.text.prompt_table import PromptTable


def read_prompts(path: Path, config: BundleConfig) -> PromptTable:
    """Return the table of a bundle's prompts.

    Raises:
        BundleError: if the file does not hold what ``config.json`` says.
    """
    count = len(config.phrases)
    width = config.model.text_width
    layouts = {
        "tokens": Layout((count, None, width)),
        "mask": Layout((count, None), FLAGS),
        "pooled": Layout((count, width)),
    }
    prompts = read_tensors(path, layouts)
    tokens = prompts["tokens"]
    mask = prompts["mask"]
    if tokens.shape[:2] != mask.shape or not mask.any(1).all():
        given = f"{path}: {tuple(tokens.shape)} and {tuple(mask.shape)}"
        raise BundleError(
            "tokens and mask of the prompts do not fit each other",
            given=given,
            allowed="one row each, with a real token in it",
            remedy=AGAIN,
        )
    make_encoder = MiniLMEncoder if width == MiniLMEncoder.width else None
    return PromptTable(config.phrases, tokens, mask, prompts["pooled"], make_encoder)
