"""A Gymnasium vector environment as a Stable-Baselines3 `VecEnv`.

Takes: a `gymnasium.vector.VectorEnv` in mode SAME_STEP.  Gives: what SB3's algorithms expect.
Knows nothing of: worlds, agents.

Everything handed out is a copy: the environment reuses nothing that an agent may still hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvObs, VecEnvStepReturn, VecEnvWrapper

from streamdit_gym.errors import ShapeError


class SB3VecEnv(VecEnv):
    """Adapter; wrap it in `VecMonitor` for episode statistics.

    Args:
        env: the vector environment; its outputs must be NumPy arrays.

    Raises:
        ShapeError: if the environment's autoreset mode is not SAME_STEP, or its outputs are tensors.
    """

    def __init__(self, env: gymnasium.vector.VectorEnv[Any, Any, Any]) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ShapeError(
                "Stable-Baselines3 needs same-step autoreset",
                given=mode,
                allowed="SAME_STEP",
                remedy="make_vec(..., autoreset_mode='SAME_STEP')",
            )
        if getattr(env, "output", "numpy") != "numpy":
            raise ShapeError(
                "Stable-Baselines3 works on arrays", given="output='torch'", allowed="output='numpy'", remedy="leave output out"
            )
        self.env = env
        self._actions: np.ndarray | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Reset all environments with the seeds and options set before, which are used once.

        Raises:
            ShapeError: if one environment has other options than another.
        """
        seeds: Any = list(self._seeds) if any(seed is not None for seed in self._seeds) else None
        options = self._options[0]
        if any(given is not options and repr(given) != repr(options) for given in self._options):
            raise ShapeError(
                "rows share one environment", given="other options for some rows", allowed="the same for all",
                remedy="set_options({'init': frames}) with one clip per row",
            )  # fmt: skip
        observation, infos = self.env.reset(seed=seeds, options=options or None)
        self.reset_infos = [self._row(infos, row) for row in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return _copied(observation)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments; ended ones are already reset, their last observation is in the info."""
        assert self._actions is not None
        observation, rewards, terminated, truncated, infos = self.env.step(self._actions)
        dones = terminated | truncated
        rows: list[dict[str, Any]] = []
        for row in range(self.num_envs):
            source = infos["final_info"] if dones[row] else infos
            info = self._row(source, row)
            info["TimeLimit.truncated"] = bool(truncated[row] and not terminated[row])
            if dones[row]:
                info["terminal_observation"] = _copied(infos["final_obs"][row])
                self.reset_infos[row] = self._row(infos, row)
            rows.append(info)
        return _copied(observation), np.asarray(rewards, dtype=np.float32).copy(), dones.copy(), rows

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return one frame per environment."""
        frames: Any = self.env.render()
        return list(frames) if isinstance(frames, tuple) else [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the batch, once per index."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the whole batch; rows share one environment.

        Raises:
            ShapeError: if only some rows are named.
        """
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ShapeError("rows share one environment", given=indices, allowed="all rows", remedy="leave indices out")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method of the batch once and return its result for every index."""
        return [getattr(self.env, method_name)(*args, **kwargs)] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Return whether the batch is wrapped, once per index."""
        return [isinstance(self.env, wrapper_class)] * len(list(self._get_indices(indices)))

    @staticmethod
    def _row(infos: dict[str, Any], row: int) -> dict[str, Any]:
        """Return one environment's info: keys that are set for it, as plain values."""
        info = {}
        for key, value in infos.items():
            if key.startswith(("_", "final_")) or not infos.get(f"_{key}", [False] * (row + 1))[row]:
                continue
            info[key] = value[row].item() if isinstance(value[row], np.generic) else value[row]
        return info


class ScoredActions(VecEnvWrapper):
    """A menu for algorithms that act in numbers: every entry gets one in [-1, 1], and the largest is done.

    Args:
        venv: environments with a `Discrete` action space.
    """

    def __init__(self, venv: VecEnv) -> None:
        assert isinstance(venv.action_space, spaces.Discrete)
        super().__init__(venv, action_space=spaces.Box(-1.0, 1.0, (int(venv.action_space.n),), np.float32))

    def reset(self) -> VecEnvObs:
        """Reset all environments."""
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        """Do what has the largest number."""
        self.venv.step_async(np.asarray(actions).argmax(-1))

    def step_wait(self) -> VecEnvStepReturn:
        """Step."""
        return self.venv.step_wait()


def _copied(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: np.array(value) for key, value in observation.items()}
    return np.array(observation)
