"""Which tables there are: each a YAML file with its commands, and its numbers as they are written.

A row's path leads to its number in the file that the command writes: names of fields, numbers of
list items, and for lists of dictionaries what the wanted item holds, as in
``[scores, {policy: random, place: generated world}]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from streamdit_gym.errors import UnknownNameError
from streamdit_gym.reproduce.published import Measured, parse_number

SUFFIX = ".yml"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A number of a table.

    Attributes:
        name: what it is.
        published: the number as the documentation writes it.
        interval: its 95 % interval, where the documentation writes none; empty: it writes one, or
            none is known.
        path: where the command's result holds it.
        half_width: field beside it with half of its interval; empty: there is none.
        scale: what the result is multiplied by; 100 for per cent.
    """

    name: str
    published: str
    path: tuple[Any, ...]
    interval: tuple[float, ...] = ()
    half_width: str = ""
    scale: float = 1.0

    @property
    def published_number(self) -> Measured:
        """The published number with its interval."""
        number = parse_number(self.published)
        if not self.interval:
            return number
        low, high = self.interval
        return Measured(value=number.value, low=low, high=high)

    def read(self, result: Any) -> Measured:
        """Return the row's number from what the command wrote.

        Raises:
            LookupError: if the result has no such number.
        """
        *parents, last = self.path
        holder = result
        for step in parents:
            holder = _item(holder, step)
        value = _item(holder, last)
        if isinstance(value, Mapping):
            return self._scaled(value["value"], value["low"], value["high"])
        half_width = holder[self.half_width] if self.half_width else 0.0
        return self._scaled(value, value - half_width, value + half_width)

    def _scaled(self, value: float, low: float, high: float) -> Measured:
        return Measured(value=self.scale * value, low=self.scale * low, high=self.scale * high)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, or a part of one, that one command measures.

    Attributes:
        name: of the table.
        about: one line for people.
        pages: where its numbers stand.
        command: measures it again; ``{out}`` is the folder to write to, ``{worlds}`` that of the
            shipped worlds.
        quick: measures less; empty: the command is quick.
        result: name of the file that the command writes.
        hardware: that the published numbers come from.
        date: when they were measured.
        commit: of the code.
        differs: what differs from how they were measured; empty: nothing.
        depends_on_hardware: the numbers are times, which other machines have others of.
        rows: the numbers.
    """

    name: str
    about: str
    pages: tuple[str, ...]
    command: str
    quick: str = ""
    result: str
    hardware: str
    date: str
    commit: str
    differs: str = ""
    depends_on_hardware: bool = False
    rows: tuple[Row, ...]


def load_tables() -> dict[str, Table]:
    """Return all tables by name, in alphabetical order."""
    folder = files("streamdit_gym.reproduce") / "tables"
    tables = {}
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(SUFFIX):
            name = file.name.removesuffix(SUFFIX)
            tables[name] = _table(name, yaml.safe_load(file.read_text()))
    return tables


def table_named(name: str) -> Table:
    """Return a table.

    Raises:
        UnknownNameError: if there is none of this name.
    """
    tables = load_tables()
    if name not in tables:
        raise UnknownNameError("table", name, list(tables))
    return tables[name]


def _table(name: str, content: dict[str, Any]) -> Table:
    rows = tuple(_row(row) for row in content.pop("rows"))
    pages = tuple(content.pop("pages"))
    return Table(name=name, rows=rows, pages=pages, **content)


def _row(content: dict[str, Any]) -> Row:
    path = tuple(content.pop("path"))
    interval = tuple(content.pop("interval", ()))
    return Row(path=path, interval=interval, **content)


def _item(holder: Any, step: Any) -> Any:
    """Return what a step of a path leads to."""
    if isinstance(step, Mapping):
        for item in holder:
            if all(item.get(key) == value for key, value in step.items()):
                return item
        raise LookupError(f"no item with {dict(step)}")
    return holder[step]
