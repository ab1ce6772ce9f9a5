"""The ids under which Gymnasium knows the worlds.

Takes: nothing.  Gives: registered ids.  Knows nothing of: models (entry points are loaded when
    used).
"""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

# id -> settings; -Real- ids are the twins
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
    return next((name for name, settings in IDS.items() if settings == wanted), "")


def spec_json(world: str, name: str, task: str, partition: str) -> str:
    """Return the spec of the environment that plays a task in a world, as Gymnasium's
    `EnvSpec.from_json` takes it.

    Args:
        world: shipped name, folder or Hub id.
        name: the world's own name; a world under a registered name gets that id.
        task: name of the task.
        partition: how it streams.
    """
    spec = EnvSpec(
        id=id_of(name, task) or f"StreamDiT/{name}-{task}-v0",
        entry_point="streamdit_gym.envs.single_env:StreamDiTEnv",
        vector_entry_point="streamdit_gym.envs.vector_env:StreamDiTVectorEnv",
        kwargs={"world": world, "task": task, "partition": partition},
    )
    return spec.to_json()


def register_all() -> None:
    """Register every id, once."""
    for name, settings in IDS.items():
        if name not in gymnasium.registry:
            gymnasium.register(
                id=name,
                entry_point="streamdit_gym.envs.single_env:StreamDiTEnv",
                vector_entry_point="streamdit_gym.envs.vector_env:StreamDiTVectorEnv",
                kwargs=settings,
            )
