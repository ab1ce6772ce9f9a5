"""Prompts at set times: a script for a stream."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

from streamdit_gym.checks import MAX_PROMPT_CHARS, check_prompt, check_real
from streamdit_gym.errors import ArgumentError, StreamDiTError

MAX_SECONDS = 24 * 3600.0
TIME_TOLERANCE_S = 1e-9  # frame times are sums of fractions
PARSE_ERRORS = (ValueError, KeyError, TypeError, RecursionError)
EXAMPLE = '{"at": SECONDS, "prompt": "move left"}'


@dataclass(frozen=True, kw_only=True)
class TimedPrompt:
    """A prompt and the time at which it applies, in seconds of the stream's own time."""

    at: float
    prompt: str


def read_script(path: Path, max_prompt_chars: int = MAX_PROMPT_CHARS) -> list[TimedPrompt]:
    """Read a script: lines of ``{"at": SECONDS, "prompt": "..."}``, in any order.

    Args:
        path: the script.
        max_prompt_chars: of each prompt.

    Raises:
        StreamDiTError: if it cannot be read; the error names the first bad line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StreamDiTError(
            "the script cannot be read",
            given=f"{path}: {error}",
            remedy="a text file of JSON lines",
        ) from error
    prompts = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            prompts.append(_parse_line(line, max_prompt_chars))
        except PARSE_ERRORS as error:
            raise _bad_line(f"{path}, line {number}", line, error, max_prompt_chars) from error
    if not prompts:
        raise StreamDiTError(
            "the script is empty", given=path, allowed=EXAMPLE, remedy="write a line"
        )
    return sorted(prompts, key=lambda timed: timed.at)


def prompt_field(fields: dict[str, object]) -> object:
    """Return the prompt of a JSON object; ``"say"`` is the field's former name.

    Raises:
        KeyError: if there is neither.
    """
    if "prompt" not in fields and "say" in fields:
        warnings.warn('"say" is now called "prompt"', DeprecationWarning, stacklevel=2)
        return fields["say"]
    return fields["prompt"]


def _parse_line(line: str, max_prompt_chars: int) -> TimedPrompt:
    fields = json.loads(line)
    at = check_real("at", fields["at"], least=0, most=MAX_SECONDS)
    return TimedPrompt(at=at, prompt=check_prompt(prompt_field(fields), max_prompt_chars))


def _bad_line(place: str, line: str, error: Exception, max_prompt_chars: int) -> StreamDiTError:
    given = f"{place}: {line[:60]!a}"
    if isinstance(error, ArgumentError):
        given = f"{given} ({error.problem}: {error.given})"
    return StreamDiTError(
        "a line of the script cannot be read",
        given=given,
        allowed=f"{EXAMPLE}, of at most {max_prompt_chars} characters",
        remedy="correct that line",
    )


class PromptSchedule:
    """Returns timed prompts when they are due."""

    def __init__(self, prompts: list[TimedPrompt]) -> None:
        self._remaining = list(prompts)

    def due(self, seconds: float) -> str | None:
        """Return the newest prompt due by now; older ones are skipped."""
        newest = None
        while self._remaining and self._remaining[0].at <= seconds + TIME_TOLERANCE_S:
            newest = self._remaining.pop(0).prompt
        return newest
