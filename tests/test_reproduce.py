"""Tables measured again: numbers as they are written, where they are found, and what is said."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamdit_gym.cli.main import main
from streamdit_gym.errors import StreamDiTError, UnknownNameError
from streamdit_gym.reproduce.published import Measured, decimals_of, parse_number
from streamdit_gym.reproduce.reproduction import (
    AGREES,
    NO_VERDICT,
    compare,
    report_lines,
    run_table,
)
from streamdit_gym.reproduce.tables import Row, Table, load_tables, table_named

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
WORLDS = ROOT / "streamdit_gym" / "worlds"
# the results from which the tables were written, where they are kept
STORED = {
    "agents": RESULTS / "policies.json",
    "pusht": RESULTS / "PushT.json",
    "pipelined": RESULTS / "PushT-pipelined.json",
    "speed": RESULTS / "bench.json",
    "crossroads": WORLDS / "Crossroads" / "config.json",
    "continuous": WORLDS / "PushT-Continuous" / "config.json",
}
SMALL = Table(
    name="small",
    about="two episodes",
    pages=("nowhere",),
    command="rl evaluate random --episodes 2 --out {out}",
    result="scores.json",
    hardware="none",
    date="today",
    commit="none",
    differs="all of it",
    rows=(
        Row(name="low", published="-50 ± 1", path=("scores", 0, "mean"), half_width="interval"),
        Row(name="wide", published="0 ± 99", path=("scores", 1, "mean"), half_width="interval"),
        Row(name="absent", published="1", path=("scores", 7, "mean")),
    ),
)


def stored_result(name: str) -> Any:
    content = json.loads(STORED[name].read_text())
    if name == "agents":  # the scripted policy is between the two
        content["scores"] = [content["scores"][index] for index in (0, 1, 4, 5)]
    return content.get("facts", {}).get("scores", content)


@pytest.mark.parametrize(
    ("text", "value", "low", "high"),
    [
        ("2.47 ± 0.16", 2.47, 2.31, 2.63),
        ("-29.2 ± 0.6", -29.2, -29.8, -28.6),
        ("94.6 %", 94.6, 94.6, 94.6),
        ("1.1 % [0.4, 2.1]", 1.1, 0.4, 2.1),
        ("16.5° [11.5, 31.4]", 16.5, 11.5, 31.4),
        ("0.3 [-0.1, 0.5]", 0.3, -0.1, 0.5),
        ("113,502", 113_502, 113_502, 113_502),
    ],
)
def test_numbers_are_read_as_they_are_written(
    text: str, value: float, low: float, high: float
) -> None:
    number = parse_number(text)
    assert (number.value, number.low, number.high) == pytest.approx((value, low, high))


def test_decimals_are_those_that_are_written() -> None:
    assert [decimals_of(text) for text in ("2.47 ± 0.16", "113,502", "0.9 [0.81, 1]")] == [2, 0, 1]
    with pytest.raises(ValueError, match="no number"):
        parse_number("many")


@pytest.mark.parametrize(
    ("low", "high", "agrees"), [(1.0, 2.0, True), (2.0, 3.0, True), (2.1, 3.0, False)]
)
def test_numbers_agree_where_their_intervals_overlap(low: float, high: float, agrees: bool) -> None:
    one = Measured(value=1.5, low=1.0, high=2.0)
    other = Measured(value=(low + high) / 2, low=low, high=high)
    assert one.agrees_with(other) is agrees
    assert other.agrees_with(one) is agrees


@pytest.mark.parametrize("table", load_tables().values(), ids=load_tables())
def test_every_number_stands_on_every_page_of_its_table(table: Table) -> None:
    for page in table.pages:
        text = (ROOT / page).read_text()
        for row in table.rows:
            # neither a part of a longer number
            assert re.search(rf"(?<![\d.]){re.escape(row.published)}(?![\d])", text), row.name


@pytest.mark.parametrize("name", STORED)
def test_a_tables_numbers_are_those_of_the_stored_result(name: str) -> None:
    table = table_named(name)
    for each in compare(table, stored_result(name)):
        assert each.measured is not None, each.row.name
        written = parse_number(each.row.published)
        assert each.verdict in (AGREES, NO_VERDICT)
        half_unit = 0.5 * 10 ** -decimals_of(each.row.published)
        assert each.measured.value == pytest.approx(written.value, abs=1.2 * half_unit + 1e-9)


def test_a_table_is_run_and_compared(tmp_path: Path) -> None:
    comparisons = run_table(SMALL, tmp_path / "out", quick=True)
    assert [each.verdict for each in comparisons] == ["differs", "agrees", "not measured"]
    lines = report_lines(SMALL, comparisons, "a machine")
    assert "differs:   all of it" in lines
    assert lines[-1].startswith("1 of 2 numbers agree")
    assert len(json.loads((tmp_path / "out" / "comparison.json").read_text())) == 3


def test_a_published_number_has_an_interval_of_its_own_where_the_page_has_none() -> None:
    row = replace(SMALL.rows[0], published="5", half_width="", interval=(4.0, 6.0))
    for value, verdict in ((5.9, "agrees"), (6.1, "differs")):
        table = replace(SMALL, rows=(row,))
        assert compare(table, {"scores": [{"mean": value}]})[0].verdict == verdict
    assert row.published_number == Measured(value=5, low=4, high=6)


def test_times_are_no_verdicts() -> None:
    speed = replace(SMALL, depends_on_hardware=True)
    comparisons = compare(speed, {"scores": [{"mean": 25, "interval": 0}] * 2})
    assert comparisons[0].line()[3] == "x -0.50"
    assert not any("agree" in line for line in report_lines(speed, comparisons[:2], "a machine"))


def test_a_failing_table_does_not_keep_others_from_being_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names: list[str] = []

    def run(table: Table, out: Path, quick: bool) -> list[Any]:
        names.append(table.name)
        raise StreamDiTError("it fails", given=table.name, remedy="mend it")

    monkeypatch.setattr("streamdit_gym.reproduce.reproduction.run_table", run)
    assert main(["reproduce", "agents", "speed", "--out", str(tmp_path)]) == 2
    assert names == ["agents", "speed"]
    assert "it fails" in capsys.readouterr().err


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(StreamDiTError, match="a table's command failed"):
        run_table(replace(SMALL, command="rl evaluate nobody --out {out}"), tmp_path, quick=False)


def test_tables_are_listed_and_typos_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in load_tables())
    with pytest.raises(UnknownNameError, match="did you mean"):
        table_named("agent")
    assert main(["reproduce", "agent"]) == 2


@pytest.mark.parametrize("table", load_tables().values(), ids=load_tables())
def test_a_tables_commands_are_commands(table: Table) -> None:
    import tyro

    from streamdit_gym.cli.main import COMMANDS
    from streamdit_gym.reproduce.reproduction import command_of

    for quick in (False, True):
        words = command_of(table, Path("out"), quick).split()
        tyro.extras.subcommand_cli_from_dict(COMMANDS, args=words).check_options()
