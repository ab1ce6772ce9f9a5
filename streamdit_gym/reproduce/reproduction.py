"""A table's command run again in another process, and its numbers beside the published ones."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.files import write_json
from streamdit_gym.reproduce.published import Measured, decimals_of, ratio
from streamdit_gym.reproduce.tables import Row, Table

AGREES = "agrees"
DIFFERS = "differs"
NOT_MEASURED = "not measured"
NO_VERDICT = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A row of a table measured again.

    Attributes:
        row: the row.
        measured: the number now; None: the command did not measure it.
        verdict: `AGREES` where the intervals overlap, else `DIFFERS`; `NO_VERDICT` where the
            number is a time; `NOT_MEASURED`.
    """

    row: Row
    measured: Measured | None
    verdict: str

    def line(self) -> tuple[str, str, str, str]:
        """Return name, published and measured number, and the verdict with the ratio."""
        published = self.row.published
        if self.measured is None:
            return self.row.name, published, "-", self.verdict
        number = format(self.measured, f".{decimals_of(published)}f")
        quotient = ratio(self.measured, self.row.published_number)
        times = "" if math.isnan(quotient) else f"x {quotient:.2f}"
        return self.row.name, published, number, f"{self.verdict} {times}".strip()


def run_table(table: Table, out: Path, quick: bool) -> list[Comparison]:
    """Run a table's command, and compare.

    Args:
        table: which.
        out: folder for what the command writes, and for ``comparison.json``.
        quick: measure less, if the table has a quick command.

    Raises:
        StreamDiTError: if the command fails, or does not write its result.
    """
    words = shlex.split(command_of(table, out, quick))
    out.mkdir(parents=True, exist_ok=True)
    status = subprocess.run([sys.executable, "-m", "streamdit_gym", *words], check=False)
    result = out / table.result
    if status.returncode or not result.is_file():
        raise StreamDiTError(
            "a table's command failed",
            given=f"streamdit-gym {shlex.join(words)}, status {status.returncode}",
            remedy="mend what it says above, and run the same command again",
        )
    comparisons = compare(table, json.loads(result.read_text()))
    write_json(out / "comparison.json", [asdict(each) for each in comparisons])
    return comparisons


def command_of(table: Table, out: Path, quick: bool) -> str:
    """Return the words behind ``streamdit-gym``."""
    text = table.quick if quick and table.quick else table.command
    worlds = files("streamdit_gym") / "worlds"
    return text.format(out=shlex.quote(str(out)), worlds=shlex.quote(str(worlds)))


def compare(table: Table, result: Any) -> list[Comparison]:
    """Return a table's rows beside what its command wrote."""
    return [_compared(row, result, table.depends_on_hardware) for row in table.rows]


def _compared(row: Row, result: Any, depends_on_hardware: bool) -> Comparison:
    try:
        measured = row.read(result)
    except (LookupError, TypeError):
        return Comparison(row=row, measured=None, verdict=NOT_MEASURED)
    if depends_on_hardware:
        return Comparison(row=row, measured=measured, verdict=NO_VERDICT)
    agrees = measured.agrees_with(row.published_number)
    return Comparison(row=row, measured=measured, verdict=AGREES if agrees else DIFFERS)


def report_lines(table: Table, comparisons: Sequence[Comparison], hardware: str) -> list[str]:
    """Return the table as text.

    Args:
        table: which.
        comparisons: its rows.
        hardware: name of this machine.
    """
    rows = [
        ("", "published", "measured", "measured / published"),
        *(each.line() for each in comparisons),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{table.name}: {table.about} ({', '.join(table.pages)})",
        f"published: {table.date}, commit {table.commit}, {table.hardware}",
        f"measured:  now, {hardware}",
    ]
    if table.differs:
        lines.append(f"differs:   {table.differs}")
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    counted = [each for each in comparisons if each.verdict in (AGREES, DIFFERS)]
    if counted:
        agreeing = sum(each.verdict == AGREES for each in counted)
        lines.append(f"{agreeing} of {len(counted)} numbers agree: their 95 % intervals overlap")
    return lines
