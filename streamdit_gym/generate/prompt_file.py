"""Prompts from a file: JSON lines, one episode a line."""

from __future__ import annotations

import json
from pathlib import Path

from streamdit_gym.checks import MAX_PROMPT_CHARS, check_prompt, shown
from streamdit_gym.errors import ArgumentError, StreamDiTError


def is_prompt_file(policy: str) -> bool:
    """Return whether a policy's name is that of a file of prompts."""
    return policy.endswith(".jsonl")


def read_prompts(path: Path, max_chars: int = MAX_PROMPT_CHARS) -> list[list[str]]:
    """Return the prompts of every episode of a file.

    Each line is one episode, ``{"prompts": ["move left", "move up", ...]}``. Whoever follows it
    begins it anew when it ends.

    Args:
        path: the file.
        max_chars: of each prompt.

    Raises:
        StreamDiTError: if it cannot be read, with the line that is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        given = f"{path}: {error}"
        remedy = "a text file of JSON lines"
        raise StreamDiTError("the prompts cannot be read", given=given, remedy=remedy) from error
    episodes = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            episodes.append(_episode_of(line, f"{path}, line {number}", max_chars))
    if not episodes:
        raise StreamDiTError(
            "no prompts in the file",
            given=path,
            allowed='lines of {"prompts": [...]}',
            remedy="write one line an episode",
        )
    return episodes


def _episode_of(line: str, place: str, max_chars: int) -> list[str]:
    """Return the prompts of a line; `place` names it in errors."""
    remedy = "correct that line"
    try:
        prompts = json.loads(line)["prompts"]
        if not isinstance(prompts, list) or not prompts:
            raise TypeError
        return [check_prompt(prompt, max_chars) for prompt in prompts]
    except ArgumentError as error:
        given = f"{place}: {error.given}"
        raise ArgumentError(
            error.problem, given=given, allowed=error.allowed, remedy=remedy
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StreamDiTError(
            "a line of the prompts cannot be read",
            given=f"{place}: {shown(line)}",
            allowed='{"prompts": ["move left", ...]}, one non-empty list of phrases a line',
            remedy=remedy,
        ) from error
