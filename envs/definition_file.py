"""The file that makes a world of a Gymnasium environment: written by us, edited by its owner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamdit_gym.actions import ActionLanguage, Menu, SpokenBox
from streamdit_gym.envs.gym_known_envs import MAKE_KWARGS, env_name, with_module
from streamdit_gym.envs.gym_motion import proposed_frame_skip
from streamdit_gym.envs.gym_simulator import GymSettings
from streamdit_gym.envs.gym_world import guessed_horizon, gym_facts

INDENT = "    "
LINE_LENGTH = 100
CLOSING = {"(": ")", "{": "}"}
ARGUMENT_DEPTH = 2  # of an argument of gym_world
MENU_HINT = (
    'Say every action as you would, with as many paraphrases as you like: ("go left", "left").',
    "The first action should be to do nothing.",
)
BOX_HINT = ("Name every dimension, and its words from the low end to the high end, as you would.",)

TEMPLATE = '''\
"""The world {name}: the Gymnasium environment {env_id}."""

from streamdit_gym import register_world
from streamdit_gym.envs import {language}, gym_world

{words}register_world(
    gym_world(
        "{env_id}",
        name="{name}",
        frame_size=(64, 64),  # height and width
        frame_skip={frame_skip},  # an action should move things by more than a pixel in a frame
{hint}
        actions={actions},
        horizon={horizon},  # steps of an episode
{make_kwargs}\
        # A few numbers of the true state, if you know them, make the evaluation sharper:
        # state=lambda env: {{"x": env.x, "y": env.y}},
    )
)
'''


def definition_text(env_id: str, name: str) -> str:
    """Return a file that registers a world of an environment, with the guessed actions in full.

    Args:
        env_id: the environment; the module that registers it is put before it where it is known.
        name: of the world.

    Raises:
        DefinitionError: if no world can be made of the environment.
        MissingExtraError: if one of Gymnasium's own environments lacks its package.
    """
    env_id = with_module(env_id)
    make_kwargs = MAKE_KWARGS.get(env_name(env_id), {})
    settings = GymSettings(env_id=env_id, make_kwargs=make_kwargs)
    facts = gym_facts(settings)
    settings = replace(settings, actions=facts.actions, image_key=facts.image_key)
    frame_skip = proposed_frame_skip(settings)
    hint = BOX_HINT if isinstance(facts.actions, SpokenBox) else MENU_HINT
    return TEMPLATE.format(
        name=name,
        env_id=env_id,
        language=type(facts.actions).__name__,
        words=_shared_words_text(facts.actions),
        frame_skip=frame_skip,
        hint="\n".join(f"{INDENT * ARGUMENT_DEPTH}# {line}" for line in hint),
        actions=_actions_text(facts.actions),
        horizon=guessed_horizon(facts.max_steps, frame_skip),
        make_kwargs=_make_kwargs_text(make_kwargs),
    )


def _shared_words(actions: ActionLanguage) -> tuple[str, ...]:
    """Return the words of all dimensions where they are the same; else none."""
    if isinstance(actions, SpokenBox) and len(actions) > 1 and len(set(actions.words)) == 1:
        return actions.words[0]
    return ()


def _shared_words_text(actions: ActionLanguage) -> str:
    words = _shared_words(actions)
    return f"WORDS = {_tuple_text(words)}\n\n" if words else ""


def _actions_text(actions: ActionLanguage) -> str:
    prefix = "actions="
    if isinstance(actions, Menu):
        names = [json.dumps(phrases[0]) for phrases in actions.phrases]
        return _brackets("Menu(", names, ARGUMENT_DEPTH, prefix)
    words = [_tuple_text(words) for words in actions.words]
    if _shared_words(actions):
        words = ["WORDS"] * len(actions)
    bounds = []
    for name, values, usual in (("low", actions.low, -1.0), ("high", actions.high, 1.0)):
        if any(value != usual for value in values):
            bounds.append(f"{name}={_bounds_text(values)}")
    if all(name.isidentifier() for name in actions.names):
        dimensions = [f"{name}={said}" for name, said in zip(actions.names, words, strict=True)]
        return _brackets("SpokenBox(", [*dimensions, *bounds], ARGUMENT_DEPTH, prefix)
    entries = [
        f"{json.dumps(name)}: {said}" for name, said in zip(actions.names, words, strict=True)
    ]
    dictionary = _brackets("{", entries, ARGUMENT_DEPTH + 1)
    return _brackets("SpokenBox(", [dictionary, *bounds], ARGUMENT_DEPTH, prefix)


def _bounds_text(values: tuple[float, ...]) -> str:
    """Return bounds as one number where they are equal."""
    return repr(values[0]) if len(set(values)) == 1 else repr(values)


def _make_kwargs_text(make_kwargs: Mapping[str, Any]) -> str:
    """Return the argument of that name; nothing if it is empty."""
    if not make_kwargs:
        return ""
    prefix = "make_kwargs="
    value = _literal(make_kwargs, ARGUMENT_DEPTH, prefix)
    return f"{INDENT * ARGUMENT_DEPTH}{prefix}{value},  # how the environment is made\n"


def _literal(value: Any, depth: int, prefix: str = "") -> str:
    """Return a value as Python text, dictionaries in several lines where they are long."""
    if not isinstance(value, Mapping):
        return json.dumps(value) if isinstance(value, str) else repr(value)
    entries = []
    for key, item in value.items():
        name = f"{json.dumps(key)}: "
        entries.append(name + _literal(item, depth + 1, name))
    return _brackets("{", entries, depth, prefix)


def _tuple_text(texts: tuple[str, ...]) -> str:
    return f"({', '.join(json.dumps(text) for text in texts)})"


def _brackets(opening: str, items: list[str], depth: int, prefix: str = "") -> str:
    """Return items in brackets: in one line if they fit, else each in a line of its own.

    Args:
        opening: ends with the opening bracket.
        items: without commas.
        depth: of the line in which the bracket opens.
        prefix: what stands before it in that line.
    """
    closing = CLOSING[opening[-1]]
    line = f"{opening}{', '.join(items)}{closing}"
    length = len(INDENT * depth + prefix + line) + 1  # a comma follows
    if length <= LINE_LENGTH and "\n" not in line:
        return line
    lines = [f"{INDENT * (depth + 1)}{item}," for item in items]
    return "\n".join([opening, *lines, f"{INDENT * depth}{closing}"])
