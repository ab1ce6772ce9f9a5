"""Copies of environments, by pickle or `copy.deepcopy`: constructor arguments and saved state.

A copy loads its world by name and checks that it is the same one. Windows and warm pools are not
copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamdit_gym.envs.state import checked_generator
from streamdit_gym.errors import BundleError

if TYPE_CHECKING:
    from streamdit_gym.envs.vector_env import StreamDiTVectorEnv

# What callers may have changed since the environment was made, beside its state. Spaces draw
# samples from generators of their own.
ATTRIBUTES = (
    "_spec",
    "_np_random",
    "_np_random_seed",
    "action_space",
    "observation_space",
    "single_action_space",
    "single_observation_space",
)


def constructor_and_state(env: StreamDiTVectorEnv) -> dict[str, Any]:
    """Return what a copy is made of."""
    has_state = env._ready and not env.closed
    return {
        "arguments": env._arguments,
        "world": env._state_owner.world,
        "closed": env.closed,
        "measures_self_consistency": env._runner.measures_self_consistency,
        "state": env.save_state() if has_state else None,
        "rngs": [rng.bit_generator.state for rng in env._episodes.rngs],
        "attributes": {name: vars(env)[name] for name in ATTRIBUTES if name in vars(env)},
    }


def rebuild(env: StreamDiTVectorEnv, copied: dict[str, Any]) -> None:
    """Make an environment a copy of another.

    Args:
        env: has only been allocated.
        copied: what `constructor_and_state` returned.

    Raises:
        BundleError: if the world of that name has other weights now.
    """
    args, settings = copied["arguments"]
    env.__init__(*args, **settings)
    env._arguments = copied["arguments"]
    if env._state_owner.world != copied["world"]:
        raise BundleError(
            "a copied environment's world has other weights now",
            given=env._state_owner.world,
            allowed=copied["world"],
            remedy="put the bundle back that it was made with, or make a new environment",
        )
    if copied["measures_self_consistency"]:
        env.measure_self_consistency()
    if copied["state"] is not None:
        # streams of the right kind, for the state to fill
        env._runner.start(np.arange(env.num_envs), None)
        env._ready = True
        env.restore_state(copied["state"])
    for rng, generator in zip(env._episodes.rngs, copied["rngs"], strict=True):
        rng.bit_generator.state = checked_generator(generator)
    vars(env).update(copied["attributes"])
    if copied["closed"]:
        env.close()
