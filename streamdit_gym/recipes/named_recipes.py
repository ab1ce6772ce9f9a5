"""Recipes by name, or from a Python file."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamdit_gym.errors import ArgumentError, UnknownNameError
from streamdit_gym.recipes.crossroads import crossroads
from streamdit_gym.recipes.default import default, gpu, tiny
from streamdit_gym.recipes.fetch import fetch
from streamdit_gym.recipes.flow_matching import flow
from streamdit_gym.recipes.own_world import own_world
from streamdit_gym.recipes.pusht import pusht
from streamdit_gym.recipes.pusht_continuous import pusht_continuous
from streamdit_gym.recipes.pusht_looks import pusht_looks
from streamdit_gym.recipes.reacher import reacher
from streamdit_gym.recipes.recipe import Recipe
from streamdit_gym.recipes.take_cover import take_cover

RECIPES: dict[str, Callable[[], Recipe]] = {
    "crossroads": crossroads,
    "default": default,
    "fetch": fetch,
    "flow": flow,
    "gpu": gpu,
    "own_world": own_world,
    "pusht": pusht,
    "pusht-continuous": pusht_continuous,
    "pusht-looks": pusht_looks,
    "reacher": reacher,
    "take-cover": take_cover,
    "tiny": tiny,
}
FILE_SUFFIX = ".py"


def recipe(name: str) -> Recipe:
    """Return a recipe by its name, or the one that a Python file defines.

    Args:
        name: a shipped name, or the path of a file that defines ``recipe``: a `Recipe`, or a
            function without arguments that returns one. The file is run.

    Raises:
        UnknownNameError: if there is no such recipe; the error names the nearest.
        ArgumentError: if the file cannot be read or defines no recipe.
    """
    if name.endswith(FILE_SUFFIX):
        return _from_file(Path(name))
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES, remedy="or give a Python file")
    return RECIPES[name]()


def _from_file(path: Path) -> Recipe:
    if not path.is_file():
        raise ArgumentError(
            "there is no such recipe file",
            given=path,
            allowed="a Python file",
            remedy=f"write one, or take one of {', '.join(RECIPES)}",
        )
    return _checked(runpy.run_path(str(path)).get("recipe"), path)


def _checked(definition: Any, path: Path) -> Recipe:
    result = definition() if callable(definition) else definition
    if not isinstance(result, Recipe):
        raise ArgumentError(
            "a recipe file defines no recipe",
            given=f"{path}: {type(result).__name__}",
            allowed="recipe = Recipe(...), or a function recipe() that returns one",
            remedy="import Recipe from streamdit_gym.recipes",
        )
    return result
