"""Prompts on a timeline: a narrator.

Takes: a file of JSON lines, or lines as they come.  Gives: the prompts that are due.  Knows nothing
    of: streams.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from streamdit_gym.checks import MAX_PROMPT_CHARS, check_prompt, check_real
from streamdit_gym.errors import ArgumentError, StreamDiTError

MAX_SECONDS = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """A prompt and when it is said, in seconds of the stream's own time."""

    at: float
    say: str


def read_story(path: Path) -> list[Line]:
    """Read a story: lines of ``{"at": SECONDS, "say": "..."}``, in any order.

    Raises:
        StreamDiTError: if it cannot be read, with the line that is wrong.
    """
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StreamDiTError(
            "the story cannot be read", given=f"{path}: {error}", remedy="a text file of JSON lines"
        ) from error
    lines = []
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            lines.append(_read_line(text))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = (
                f" ({error.problem}: {error.given})" if isinstance(error, ArgumentError) else ""
            )
            raise StreamDiTError(
                "a line of the story cannot be read",
                given=f"{path}, line {number}: {text[:60]!a}{reason}",
                allowed=f'{{"at": SECONDS, "say": "move left"}}, of at most {MAX_PROMPT_CHARS} characters',
                remedy="mend that line",
            ) from error
    if not lines:
        raise StreamDiTError(
            "nothing is said in the story",
            given=path,
            allowed='{"at": SECONDS, "say": "..."}',
            remedy="write a line",
        )
    return sorted(lines, key=lambda line: line.at)


def _read_line(text: str) -> Line:
    found = json.loads(text)
    return Line(
        at=check_real("at", found["at"], least=0, most=MAX_SECONDS), say=check_prompt(found["say"])
    )


class Narrator:
    """Says a story's lines when they are due."""

    def __init__(self, story: list[Line]) -> None:
        self._left = list(story)

    def due(self, seconds: float) -> str | None:
        """Return the newest line due by now; older ones that were due are over."""
        said = None
        while self._left and self._left[0].at <= seconds + 1e-9:
            said = self._left.pop(0).say
        return said
