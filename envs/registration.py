"""The ids under which Gymnasium knows the worlds."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

ENTRY_POINT = "streamdit_gym.envs.entry_points:make_env"
VECTOR_ENTRY_POINT = "streamdit_gym.envs.entry_points:make_vector_env"

# Id -> settings; ids with -Real- are reference simulators.
IDS: dict[str, dict[str, Any]] = {
    "StreamDiT/PushT-v0": {"world": "PushT", "task": "push"},
    "StreamDiT/PushT-Real-v0": {"world": "PushT", "task": "push", "real": True},
    "StreamDiT/PushT-Reach-v0": {"world": "PushT", "task": "reach"},
    "StreamDiT/PushT-Reach-Real-v0": {"world": "PushT", "task": "reach", "real": True},
    "StreamDiT/PushT-Looks-v0": {"world": "PushT-Looks", "task": "push"},
    "StreamDiT/PushT-Looks-Real-v0": {"world": "PushT-Looks", "task": "push", "real": True},
    "StreamDiT/PushT-Looks-Reach-v0": {"world": "PushT-Looks", "task": "reach"},
    "StreamDiT/PushT-Looks-Reach-Real-v0": {"world": "PushT-Looks", "task": "reach", "real": True},
}


def id_of(world: str, task: str) -> str:
    """Return the id of a generated world's task; empty if there is none."""
    wanted = {"world": world, "task": task}
    for name, settings in IDS.items():
        if settings == wanted:
            return name
    return ""


def spec_json(world: str, name: str, task: str, partition: str) -> str:
    """Return the spec of an environment as Gymnasium's `EnvSpec.from_json` takes it.

    Args:
        world: shipped name, folder or Hub id.
        name: the world's own name; a world under a registered name gets that id.
        task: name of the task.
        partition: how it streams.
    """
    spec = EnvSpec(
        id=id_of(name, task) or f"StreamDiT/{name}-{task}-v0",
        entry_point=ENTRY_POINT,
        vector_entry_point=VECTOR_ENTRY_POINT,
        kwargs={"world": world, "task": task, "partition": partition},
    )
    return spec.to_json()


def register_all() -> None:
    """Register every id, once; the entry points are imported when they are needed."""
    for name, settings in IDS.items():
        if name not in gymnasium.registry:
            gymnasium.register(
                id=name,
                entry_point=ENTRY_POINT,
                vector_entry_point=VECTOR_ENTRY_POINT,
                kwargs=settings,
            )
