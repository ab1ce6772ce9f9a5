"""The checks at the border, and files that are whole or not there."""

from __future__ import annotations

import math
import multiprocessing
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from streamdit_gym.checks import (
    MAX_PROMPT_CHARS,
    check_bool,
    check_choice,
    check_int,
    check_prompt,
    check_real,
    check_str,
)
from streamdit_gym.errors import ArgumentError, BusyError, StorageError, UnknownNameError
from streamdit_gym.files import (
    PART,
    atomic_write,
    folder_lock,
    remove_parts,
    write_text,
    writing_to,
)


@pytest.mark.parametrize("value", [0, 7, np.int64(7), np.uint8(3)])
def test_whole_numbers_come_back_as_int(value: object) -> None:
    assert type(check_int("seed", value, least=0)) is int


@pytest.mark.parametrize("value", [True, np.True_, 3.0, "3", None, [3], -1, 11, math.nan, 10**30])
def test_what_is_no_whole_number_of_the_range_is_refused(value: object) -> None:
    with pytest.raises(ArgumentError, match="steps cannot be used"):
        check_int("steps", value, least=0, most=10)


@pytest.mark.parametrize("value", [0, 0.5, np.float32(1), np.int32(1)])
def test_numbers_come_back_as_float(value: object) -> None:
    assert type(check_real("share", value, least=0, most=1)) is float


@pytest.mark.parametrize(
    "value", [True, "0.5", None, math.nan, math.inf, -math.inf, -0.1, 1.1, 10**400, 1j]
)
def test_what_is_no_finite_number_of_the_range_is_refused(value: object) -> None:
    with pytest.raises(ArgumentError, match="share cannot be used"):
        check_real("share", value, least=0, most=1)


def test_a_bound_may_be_left_out_of_the_range() -> None:
    with pytest.raises(ArgumentError, match="above 0"):
        check_real("fps", 0, above=0)


@pytest.mark.parametrize("value", ["False", 0, 1, None, []])
def test_only_true_and_false_are_bools(value: object) -> None:
    with pytest.raises(ArgumentError, match="True or False"):
        check_bool("real", value)


def test_names_get_the_nearest_one() -> None:
    assert check_choice("output", "numpy", ("numpy", "torch")) == "numpy"
    with pytest.raises(UnknownNameError, match="did you mean 'numpy'"):
        check_choice("output", "numppy", ("numpy", "torch"))
    with pytest.raises(ArgumentError, match="a text"):
        check_choice("output", [], ("numpy", "torch"))


def test_half_a_character_is_no_text() -> None:
    with pytest.raises(ArgumentError, match="lone surrogates"):
        check_str("prompt", "go \ud800")


@pytest.mark.parametrize(
    "text", ["", "  ", "x" * (MAX_PROMPT_CHARS + 1), "a\x00b", 5, None, b"go", "\udfff"]
)
def test_what_is_no_prompt_is_refused(text: object) -> None:
    with pytest.raises(ArgumentError):
        check_prompt(text)


def test_prompts_get_single_spaces_and_may_be_of_any_script() -> None:
    assert check_prompt("  move \t up\n") == "move up"
    assert check_prompt("geh nach oben, schön 上") == "geh nach oben, schön 上"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "agent.json"
    write_text(path, "first")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as part:
        part.write_text("half")
        1 / 0  # noqa: B018
    assert path.read_text() == "first"
    assert [file.name for file in path.parent.iterdir()] == ["agent.json"]


def test_files_get_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with atomic_write(tmp_path / "weights") as part:
            part.write_text("x")
            part.chmod(0o600)  # as safetensors leaves it
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "weights").stat().st_mode) == 0o644


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / f"{PART}a").mkdir()
    (tmp_path / f"{PART}a" / "x").write_text("half")
    (tmp_path / f"{PART}b.json").write_text("half")
    (tmp_path / "whole.json").write_text("whole")
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.json"]


def _hold(folder: Path) -> str:
    try:
        with folder_lock(folder):
            return "held"
    except BusyError as error:
        return str(error)


def test_one_process_at_a_time_holds_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with folder_lock(folder):
            assert "another process works here" in pool.apply(_hold, (folder,))
        assert pool.apply(_hold, (folder,)) == "held"
    assert list(folder.iterdir()) == []


def test_errors_of_the_disk_are_clear(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="make room"), writing_to(tmp_path, "make room"):
        (tmp_path / "not there" / "x").write_text("x")
