"""A Gymnasium vector environment as a Stable-Baselines3 `VecEnv`.

Everything returned is a copy: the environment reuses nothing that an agent may still hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnv,
    VecEnvObs,
    VecEnvStepReturn,
    VecEnvWrapper,
)

from streamdit_gym.errors import ArgumentError


class SB3VecEnv(VecEnv):
    """Adapts any vector environment; wrap it in `VecMonitor` for episode statistics.

    Stable-Baselines3 wants an ended row's first observation in the step that ends the episode. In
    mode SAME_STEP the environment gives it; in NEXT_STEP and DISABLED the adapter resets the ended
    rows at once.

    Args:
        env: the vector environment, with or without Gymnasium's vector wrappers; its outputs must
            be NumPy arrays, and it must reset single rows (``options={"reset_mask": mask}``).

    Raises:
        ArgumentError: if the environment does not tell its autoreset mode, or gives tensors.
    """

    def __init__(self, env: gymnasium.vector.VectorEnv[Any, Any, Any]) -> None:
        mode = env.metadata.get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise ArgumentError(
                "the environment does not tell how it resets",
                given=f"metadata['autoreset_mode'] = {mode!r}",
                allowed=", ".join(str(mode) for mode in AutoresetMode),
                remedy="an environment of gymnasium.make_vec",
            )
        if getattr(env.unwrapped, "output", "numpy") != "numpy":
            raise ArgumentError(
                "Stable-Baselines3 works on arrays",
                given="output='torch'",
                allowed="output='numpy'",
                remedy="leave output out",
            )
        self.env = env
        self._mode = mode
        self._reset_keys: set[str] = set()
        self._actions: np.ndarray | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        others = {key: value for key, value in env.metadata.items() if key != "autoreset_mode"}
        self.metadata = {**others, **self.metadata}

    def reset(self) -> VecEnvObs:
        """Reset all environments with the seeds and options set before, which are used once.

        Raises:
            ArgumentError: if one environment has other options than another.
        """
        is_seeded = any(seed is not None for seed in self._seeds)
        seeds: Any = list(self._seeds) if is_seeded else None
        options = self._options[0]
        if any(other is not options and repr(other) != repr(options) for other in self._options):
            raise ArgumentError(
                "rows share one environment",
                given="other options for some rows",
                allowed="the same for all",
                remedy="set_options({'init': frames}) with one clip per row",
            )
        observation, infos = self.env.reset(seed=seeds, options=dict(options) or None)
        self.reset_infos = self._rows(infos)
        self._reset_keys = {key for info in self.reset_infos for key in info}
        self._reset_seeds()
        self._reset_options()
        return _copied(observation)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments; an ended one is reset, its last observation is in its info."""
        assert self._actions is not None
        observation, rewards, terminated, truncated, infos = self.env.step(self._actions)
        observation = _copied(observation)
        dones = np.asarray(terminated) | np.asarray(truncated)
        rows = self._rows(infos)
        if dones.any() and self._mode is AutoresetMode.SAME_STEP:
            self._split_infos(rows, dones)
        elif dones.any():
            self._reset_ended(observation, rows, dones)
        for row, info in enumerate(rows):
            info["TimeLimit.truncated"] = bool(truncated[row] and not terminated[row])
        return observation, np.array(rewards, dtype=np.float32), dones, rows

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return one frame per environment."""
        frames: Any = self.env.render()
        return list(frames) if isinstance(frames, tuple) else [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the outermost layer that has it, once per index."""
        value = getattr(self._owner(attr_name), attr_name)
        return [value] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the whole batch; rows share one environment.

        Raises:
            ArgumentError: if only some rows are named.
        """
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ArgumentError(
                "rows share one environment",
                given=indices,
                allowed="all rows",
                remedy="leave indices out",
            )
        setattr(self._owner(attr_name), attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of the batch once and return its result for every index."""
        result = getattr(self._owner(method_name), method_name)(*args, **kwargs)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Return whether the batch is wrapped, once per index."""
        wrapped = any(isinstance(layer, wrapper_class) for layer in self._layers())
        return [wrapped] * len(list(self._get_indices(indices)))

    def _layers(self) -> Iterator[VectorEnv[Any, Any, Any]]:
        """Yield the environment's wrappers from the outside in, and the environment itself."""
        layer = self.env
        while isinstance(layer, VectorWrapper):
            yield layer
            layer = layer.env
        yield layer

    def _owner(self, name: str) -> Any:
        """Return the outermost layer that has an attribute, or the environment itself."""
        return next((layer for layer in self._layers() if hasattr(layer, name)), self.env.unwrapped)

    def _rows(self, infos: Any) -> list[dict[str, Any]]:
        """Return every environment's own info, as plain values (`DictInfoToList` gives a list)."""
        if isinstance(infos, list):
            return [_plain(info) for info in infos]
        return [_row(infos, row, self.num_envs) for row in range(self.num_envs)]

    def _split_infos(self, rows: list[dict[str, Any]], dones: np.ndarray) -> None:
        """Split an ended row's info into that of its last step and that of its new episode.

        The environment puts the first into ``final_info``. A wrapper adds its keys beside it, where
        those of the new episode are: a key that no reset has returned is of the episode that ended.
        """
        for row in map(int, np.flatnonzero(dones)):
            last_observation = rows[row].pop("final_obs")
            last_info = rows[row].pop("final_info")
            reset_info: dict[str, Any] = {}
            step_info: dict[str, Any] = {}
            for key, value in rows[row].items():
                target = reset_info if key in self._reset_keys else step_info
                target[key] = value
            self.reset_infos[row] = reset_info
            rows[row] = {**step_info, **last_info, "terminal_observation": last_observation}

    def _reset_ended(self, observation: Any, rows: list[dict[str, Any]], dones: np.ndarray) -> None:
        """Reset ended rows: their first observations take the place of their last ones."""
        fresh, infos = self.env.reset(options={"reset_mask": dones.copy()})
        first_infos = self._rows(infos)
        for row in map(int, np.flatnonzero(dones)):
            rows[row]["terminal_observation"] = _copied(_at(observation, row))
            self.reset_infos[row] = first_infos[row]
        if isinstance(observation, dict):
            for key, value in observation.items():
                value[dones] = fresh[key][dones]
        else:
            observation[dones] = fresh[dones]


class ScaledRewards(VecEnvWrapper):
    """Rewards times a number, for values that a network learns sooner.

    Args:
        venv: the environments.
        scale: the number.
    """

    def __init__(self, venv: VecEnv, scale: float) -> None:
        super().__init__(venv)
        self.scale = scale

    def reset(self) -> VecEnvObs:
        """Reset all environments."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments."""
        observation, rewards, dones, infos = self.venv.step_wait()
        return observation, self.scale * rewards, dones, infos


class ScoredActions(VecEnvWrapper):
    """Menu actions for algorithms with continuous actions: the largest of the scores is done.

    Every menu entry gets a score in [-1, 1].

    Args:
        venv: environments with a `Discrete` action space.
    """

    def __init__(self, venv: VecEnv) -> None:
        assert isinstance(venv.action_space, spaces.Discrete)
        num_actions = int(venv.action_space.n)
        super().__init__(venv, action_space=spaces.Box(-1.0, 1.0, (num_actions,), np.float32))

    def reset(self) -> VecEnvObs:
        """Reset all environments."""
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        """Take the action with the largest score."""
        self.venv.step_async(np.asarray(actions).argmax(-1))

    def step_wait(self) -> VecEnvStepReturn:
        """Step."""
        return self.venv.step_wait()


def _copied(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: np.array(value) for key, value in observation.items()}
    return np.array(observation)


def _at(observation: Any, row: int) -> Any:
    if isinstance(observation, dict):
        return {key: value[row] for key, value in observation.items()}
    return observation[row]


def _row(infos: dict[str, Any], row: int, num_envs: int) -> dict[str, Any]:
    """Return one environment's info of a batch's infos.

    A key without a mask (``_key``) is set for every row. A dictionary is taken apart in the same
    way, and what does not have one entry per environment holds for all of them.
    """
    info = {}
    for key, value in infos.items():
        mask = infos.get(f"_{key}")
        if key.startswith("_") or (mask is not None and not mask[row]):
            continue
        if isinstance(value, dict):
            info[key] = _row(value, row, num_envs)
        elif _has_rows(value) and len(value) == num_envs:
            info[key] = _plain(value[row])
        else:
            info[key] = _plain(value)
    return info


def _has_rows(value: Any) -> bool:
    return value.ndim > 0 if isinstance(value, np.ndarray) else isinstance(value, (list, tuple))


def _plain(value: Any) -> Any:
    """Return a value that holds on to no batch: Python's own numbers, copies of arrays."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value.copy() if isinstance(value, np.ndarray) else value
