"""A world's spec in ``config.json``: how it is stored, and how it is checked.

A square frame is stored as one number and a menu as its phrases, as in the first bundles; height
and width, the words of a box, and a task with the environment's own reward are stored only where a
world has them.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from streamdit_gym.actions import loaded_actions, stored_actions
from streamdit_gym.bundle.field_checks import (
    Field,
    check_dictionary,
    check_object,
    distinct,
    each,
    label,
    mapping,
    matches,
    prompt,
    refused,
    text,
)
from streamdit_gym.bundle.pairs import check_pair
from streamdit_gym.checks import check_bool, check_int, check_real
from streamdit_gym.data.definition_checks import NAME
from streamdit_gym.definition import (
    AnyTask,
    EnvironmentTask,
    Task,
    WorldSpec,
    stored_size,
)

ENVIRONMENT_TASK = "environment"
MAX_PX = 4096
MAX_BOUND = 1e6

_names = Field(distinct(each(label, least=0, most=256)))
_horizon = Field(partial(check_int, least=1, most=10**6))
_about = Field(partial(label, most=500))
_probability = Field(partial(check_real, least=0, most=1))
_factor = Field(partial(check_real, least=-1e6, most=1e6))

TASK = {
    "potential": Field(label),
    "success": Field(label),
    "scale": _factor,
    "bonus": _factor,
    "threshold": _probability,
    "horizon": _horizon,
    "about": _about,
}
OWN_TASK = {
    "kind": Field(matches(ENVIRONMENT_TASK, ENVIRONMENT_TASK)),
    "threshold": _probability,
    "draws_ends": Field(check_bool, required=False),
    "horizon": _horizon,
    "about": _about,
}
_bounds = Field(each(partial(check_real, least=-MAX_BOUND, most=MAX_BOUND), least=1, most=64))
BOX = {
    "names": Field(distinct(each(label, least=1, most=64))),
    "words": Field(each(distinct(each(prompt, least=2, most=256)), least=1, most=64)),
    "low": _bounds,
    "high": _bounds,
}


def _check_box(name: str, value: Any) -> dict[str, Any]:
    box = check_object(name, value, BOX)
    for key in ("words", "low", "high"):
        if len(box[key]) != len(box["names"]):
            raise refused(f"{name}.{key}", box[key], "one for each of the names")
    for low, high in zip(box["low"], box["high"], strict=True):
        if not low < high:
            raise refused(f"{name}.low", low, "less than high")
    return box


def _check_task(name: str, value: Any) -> AnyTask:
    if "kind" in check_dictionary(name, value):
        fields = check_object(name, value, OWN_TASK)
        fields.pop("kind")
        return EnvironmentTask(**fields)
    return Task(**check_object(name, value, TASK))


SPEC = {
    "name": Field(matches(NAME.pattern, "up to 64 letters, digits, '-', '_' and '.'")),
    "size": Field(partial(check_pair, least=8, most=MAX_PX)),
    "fps": Field(partial(check_real, above=0, most=1000)),
    "menu": Field(each(each(prompt, least=1, most=10**5), least=0, most=4096)),
    "actions": Field(_check_box, required=False),
    "state_names": _names,
    "score_names": _names,
    "tasks": Field(mapping(_check_task, label, most=64)),
    "also": Field(each(text, least=0, most=10**6), required=False),
    "simulator": Field(partial(check_int, least=0, most=10**6), required=False),
}


def check_spec(name: str, value: Any) -> WorldSpec:
    """Return the spec that a bundle holds."""
    fields = check_object(name, value, SPEC)
    if bool(fields["menu"]) == ("actions" in fields):
        raise refused(f"{name}.menu", fields["menu"], "actions, or else the words of a box")
    return WorldSpec(
        name=fields["name"],
        frame_size=fields["size"],
        fps=fields["fps"],
        actions=loaded_actions(fields),
        state_names=fields["state_names"],
        score_names=fields["score_names"],
        tasks=fields["tasks"],
        also=fields.get("also", ()),
        simulator_version=fields.get("simulator", 1),
    )


def stored_spec(spec: WorldSpec) -> dict[str, Any]:
    """Return a spec as a bundle holds it."""
    return {
        "name": spec.name,
        "size": stored_size(spec.frame_size),
        "fps": spec.fps,
        **stored_actions(spec.actions),
        "state_names": list(spec.state_names),
        "score_names": list(spec.score_names),
        "tasks": {name: _stored_task(task) for name, task in spec.tasks.items()},
        "also": list(spec.also),
        "simulator": spec.simulator_version,
    }


def _stored_task(task: AnyTask) -> dict[str, Any]:
    fields = asdict(task)
    if not isinstance(task, EnvironmentTask):
        return fields
    if not task.draws_ends:  # bundles of earlier versions have no such field
        del fields["draws_ends"]
    return {"kind": ENVIRONMENT_TASK} | fields
