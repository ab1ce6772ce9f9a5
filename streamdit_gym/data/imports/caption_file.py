"""The JSON-lines file beside a folder of videos: what is to be seen in which of them.

A line is an object with ``file``, and as needed ``start`` and ``end`` in seconds, ``caption`` (a
text, or one for each step; ``prompts`` in what `generate` writes), and ``action``: a list of
numbers, or an object of numbers by name, or a list of these, one for each step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from streamdit_gym.checks import check_real, shown
from streamdit_gym.data.imports.spoken_actions import clean_caption
from streamdit_gym.errors import ArgumentError, DatasetError

PATTERN = "*.jsonl"
MAX_SECONDS = 1e6
MAX_SHOWN_FILES = 5
EXAMPLE = '{"file": "a.mp4", "caption": "the arm opens the drawer"}'


@dataclass(frozen=True, kw_only=True)
class CaptionLine:
    """A line of the file.

    Attributes:
        name: for messages.
        path: the video.
        start: of the clip, in seconds.
        end: of the clip; None: the video's.
        captions: one, or one for each step; none if the line has none.
        action_names: names of the numbers of an action; none where the line does not say.
        actions: one, or one for each step; None: the line has none.
    """

    name: str
    path: Path
    start: float
    end: float | None
    captions: tuple[str, ...]
    action_names: tuple[str, ...]
    actions: Float[np.ndarray, "s a"] | None


def read_caption_file(folder: Path) -> list[CaptionLine]:
    """Return the lines of a folder's caption file.

    Raises:
        DatasetError: if there is no such file or several, a line cannot be understood, or names a
            video that is not there, or that is there twice.
    """
    path = _caption_file(folder)
    try:
        texts = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            "a caption file cannot be read",
            given=f"{path}: {error}",
            allowed="UTF-8",
            remedy="mend it",
        ) from error
    videos = _Videos(folder)
    lines = []
    for number, text in enumerate(texts, start=1):
        if text.strip():
            lines.append(_parsed_line(f"{path.name}, line {number}", text, videos))
    videos.check()
    if not lines:
        raise DatasetError(
            "an empty caption file",
            given=path,
            allowed="one JSON object a line",
            remedy=f"write one line for each clip, such as {EXAMPLE}",
        )
    return lines


class _Videos:
    """Finds videos by the names that a caption file has for them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._missing: list[str] = []
        self._by_name: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._by_name.setdefault(path.name, []).append(path)

    def path(self, where: str, name: str) -> Path:
        """Return a video: a path inside the folder, or the only file of that name below it."""
        direct = self._folder / name
        if direct.is_file():
            return direct
        candidates = self._by_name.get(name, [])
        if len(candidates) > 1:
            places = ", ".join(str(path.relative_to(self._folder)) for path in candidates)
            raise DatasetError(
                "two files with one name",
                given=f"{where}: {shown(name)}: {places}",
                allowed="the path of one file inside the folder",
                remedy=f"write {candidates[0].relative_to(self._folder)}",
            )
        if not candidates:
            self._missing.append(f"{where}: {shown(name)}")
            return direct
        return candidates[0]

    def check(self) -> None:
        """Refuse a caption file with names of files that are not there."""
        if self._missing:
            more = len(self._missing) - MAX_SHOWN_FILES
            names = "; ".join(self._missing[:MAX_SHOWN_FILES])
            raise DatasetError(
                "a caption file names files that are not there",
                given=f"{names}; and {more} more" if more > 0 else names,
                allowed=f"files inside {self._folder}",
                remedy="put them there, or take the lines out",
            )


def _caption_file(folder: Path) -> Path:
    paths = sorted(folder.glob(PATTERN))
    if len(paths) != 1:
        raise DatasetError(
            "a folder of videos needs one caption file",
            given=f"{folder}: {', '.join(path.name for path in paths) or 'none'}",
            allowed=f"one file {PATTERN}",
            remedy=f"write one line for each clip, such as {EXAMPLE}",
        )
    return paths[0]


def _parsed_line(where: str, text: str, videos: _Videos) -> CaptionLine:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(where, f"{error}", "a JSON object") from error
    if not isinstance(line, dict) or not isinstance(line.get("file"), str) or not line["file"]:
        raise _wrong(where, shown(line), "a JSON object with the name of a file")
    start = _seconds(where, "start", line.get("start", 0.0))
    end = line.get("end")
    if end is not None:
        end = _seconds(where, "end", end)
        if end <= start:
            raise _wrong(where, f"start {start:g}, end {end:g}", "a start before the end")
    names, actions = _actions(where, line.get("action"))
    path = videos.path(where, line["file"])
    return CaptionLine(
        name=f"{where} ({line['file']})",
        path=path,
        start=start,
        end=end,
        captions=_captions(where, line.get("caption", line.get("prompts"))),
        action_names=names,
        actions=actions,
    )


def _seconds(where: str, key: str, value: Any) -> float:
    try:
        return check_real(key, value, least=0.0, most=MAX_SECONDS)
    except ArgumentError as error:
        raise _wrong(where, f"{key} {shown(value)}", error.allowed) from error


def _captions(where: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    texts = value if isinstance(value, list) else [value]
    if not texts:
        raise _wrong(where, "no caption in the list", "a text, or one for each step")
    return tuple(clean_caption(text, where) for text in texts)


def _actions(where: str, value: Any) -> tuple[tuple[str, ...], Float[np.ndarray, "s a"] | None]:
    """Return the names and the numbers of a line's actions."""
    if value is None:
        return (), None
    is_list_of_actions = isinstance(value, list) and value and isinstance(value[0], (list, dict))
    entries = value if is_list_of_actions else [value]
    names = tuple(entries[0]) if isinstance(entries[0], dict) else ()
    rows = [_action_numbers(where, entry, names) for entry in entries]
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise _wrong(where, shown(value), "actions of one length, at least one number each")
    return names, np.array(rows, dtype=np.float64)


def _action_numbers(where: str, entry: Any, names: Sequence[str]) -> list[float]:
    if isinstance(entry, Mapping):
        if set(entry) != set(names):
            raise _wrong(where, shown(entry), f"the numbers {', '.join(names)}")
        entry = [entry[name] for name in names]
    if not isinstance(entry, list):
        raise _wrong(where, shown(entry), "a list of numbers, or numbers by name")
    try:
        return [check_real("action", number) for number in entry]
    except ArgumentError as error:
        raise _wrong(where, error.given, error.allowed) from error


def _wrong(where: str, given: object, allowed: object) -> DatasetError:
    return DatasetError(
        "a line of a caption file cannot be understood",
        given=f"{where}: {given}",
        allowed=f"{allowed}; as in {EXAMPLE}",
        remedy="mend the line",
    )
