"""Gymnasium's wrappers that hand arrays from one library to another: NumPy, torch, jax.

A batch returns torch's arrays by itself (backend={"output": "torch"}), and then no texts in its
infos, of which no array can be made. They need array-api-compat, some of them jax. They run where
these are installed, see run.py.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import torch
from gymnasium.wrappers import ArrayConversion, NumpyToTorch
from gymnasium.wrappers.vector import ArrayConversion as VectorArrayConversion

ID = "streamdit_gym:StreamDiT/PushT-Reach-v0"
HORIZON = 3


def check(env: Any, kind: type, num_envs: int | None) -> None:
    """Step over the end of an episode; every observation is of the wanted kind."""
    observation, _ = env.reset(seed=0)
    action: Any = 3 if num_envs is None else jnp.full(num_envs, 3)
    for _ in range(HORIZON + 1):
        assert isinstance(observation, kind), type(observation)
        observation, _, terminated, truncated, _ = env.step(action)
        if num_envs is None and (terminated or truncated):
            observation, _ = env.reset()
    env.close()


def main() -> None:
    """Check single environments and batches."""
    settings: dict[str, Any] = {"horizon": HORIZON}
    check(NumpyToTorch(gymnasium.make(ID, **settings)), torch.Tensor, None)
    check(ArrayConversion(gymnasium.make(ID, **settings), np, jnp), jax.Array, None)
    envs = gymnasium.make_vec(ID, num_envs=2, backend={"output": "torch"}, **settings)
    check(VectorArrayConversion(envs, torch, jnp), jax.Array, 2)
    versions = f"Gymnasium {gymnasium.__version__}, jax {jax.__version__}"
    settings_text = "make; make_vec with backend={'output': 'torch'}"
    print(f"{versions} | {settings_text}; NumpyToTorch, ArrayConversion")


if __name__ == "__main__":
    main()
