"""The API reference: it has every public name, and every name on it is described."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
PACKAGES = ("", ".envs", ".live", ".recipes")
FORMER_NAMES = {"Live"}  # deprecated aliases, for one release
DESCRIBED_TOGETHER = {"args", "kwargs"}


def reference_names() -> list[str]:
    """Return the names on the pages of the API reference, as they are imported."""
    pages = sorted(REFERENCE.glob("*.md"))
    return [name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)]


def load(name: str) -> Any:
    """Return what a dotted name stands for."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def exported(package: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the names that a package re-exports (``X as X``, or its ``__all__``)."""
    assert package.__file__ is not None
    names = list(getattr(package, "__all__", []))
    for node in ast.walk(ast.parse(Path(package.__file__).read_text())):
        if isinstance(node, ast.ImportFrom):
            names += [alias.name for alias in node.names if alias.asname == alias.name]
    for name in sorted(set(names) - FORMER_NAMES):
        if not isinstance(getattr(package, name), ModuleType):
            yield name, getattr(package, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_on_a_page(package: str) -> None:
    listed = {id(load(name)) for name in reference_names()}
    missing = [
        name
        for name, value in exported(importlib.import_module(f"streamdit_gym{package}"))
        if id(value) not in listed
    ]
    assert missing == []


def test_world_and_registration_are_on_a_page() -> None:
    assert {"streamdit_gym.world.World", "streamdit_gym.register"} <= set(reference_names())


def test_no_name_is_listed_twice() -> None:
    names = reference_names()
    assert len(names) == len(set(names))


def parameters(value: type) -> set[str]:
    """Return what a class is made from: its own fields, or its constructor's arguments."""
    if dataclasses.is_dataclass(value):
        fields = {field.name for field in dataclasses.fields(value)}
        for parent in filter(dataclasses.is_dataclass, value.__mro__[1:]):
            fields -= {field.name for field in dataclasses.fields(parent)}
        return {name for name in fields if not name.startswith("_")}
    if "__init__" not in vars(value):
        return set()
    return set(inspect.signature(value).parameters) - DESCRIBED_TOGETHER


def members(value: type) -> Iterator[tuple[str, Any]]:
    """Yield a class's own public methods and properties."""
    for name, member in vars(value).items():
        is_code = isinstance(member, (property, cached_property, classmethod, staticmethod))
        if not name.startswith("_") and (is_code or inspect.isfunction(member)):
            yield name, getattr(value, name)


@pytest.mark.parametrize("name", reference_names())
def test_a_public_name_is_described(name: str) -> None:
    value = load(name)
    text = inspect.getdoc(value)
    assert text, "it has no docstring"
    if inspect.isclass(value):
        unnamed = {each for each in parameters(value) if not re.search(rf"\b{each}\b", text)}
        assert unnamed == set(), "its docstring does not say what these are"
        silent = [each for each, member in members(value) if not inspect.getdoc(member)]
        assert silent == [], "these have no docstrings"


def imports_of_pages() -> list[tuple[str, str, str]]:
    """Return what the documentation's Python imports of the package: page, module, name."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    imports = set()
    for page in pages:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            for node in ast.walk(ast.parse(block)):
                module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
                if isinstance(node, ast.ImportFrom) and module.startswith("streamdit_gym"):
                    place = str(page.relative_to(ROOT))
                    imports |= {(place, module, alias.name) for alias in node.names}
    return sorted(imports)


@pytest.mark.parametrize(("page", "module", "name"), imports_of_pages())
def test_what_the_documentation_imports_exists(page: str, module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name), page
