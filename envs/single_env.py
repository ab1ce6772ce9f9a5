"""The single environment: a batch with one row."""

from __future__ import annotations

import weakref
from typing import Any, Unpack

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import TimeLimit

from streamdit_gym.definition import AnyTask, WorldSpec
from streamdit_gym.envs.action_checks import single_action
from streamdit_gym.envs.reset_checks import check_seed
from streamdit_gym.envs.settings import SingleEnvKeywords
from streamdit_gym.envs.time_limit import set_elapsed, time_limits_around, with_horizon
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import UnknownArgumentError

BATCH_ARGUMENTS = ("autoreset_mode", "num_envs")


class StreamDiTEnv(gymnasium.Env[Any, Any]):
    """One environment over one world; the arguments are those of `StreamDiTVectorEnv`.

    Args:
        render_mode: ``"rgb_array"``, ``"human"`` or None.
        **settings: see `EnvSettings`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array", "human"],
        "render_fps": 10,
    }
    _spec: EnvSpec | None = None
    _time_limits: weakref.WeakSet[TimeLimit[Any, Any]] | None = None  # None: not yet looked for

    def __init__(
        self, render_mode: str | None = None, **settings: Unpack[SingleEnvKeywords]
    ) -> None:
        for name in BATCH_ARGUMENTS:
            if name in settings:
                names = {*SingleEnvKeywords.__annotations__, "render_mode"}
                raise UnknownArgumentError.of(name, names, remedy="use make_vec")
        self.batch = StreamDiTVectorEnv(
            1, render_mode=render_mode, autoreset_mode="DISABLED", **settings
        )
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": self.batch.metadata["render_fps"]}
        if self.batch.output == "torch":
            self.metadata["torch"] = True
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space

    @property
    def spec(self) -> EnvSpec | None:
        """What Gymnasium made it of; `max_episode_steps` is the horizon."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = with_horizon(spec, self.batch.horizon)

    @property
    def latency_frames(self) -> int:
        """Frames between an action and the first frame it can change, beyond the very next one."""
        return self.batch.latency_frames

    @property
    def pending_actions(self) -> np.ndarray:
        """Actions in flight: taken and not yet visible, oldest first; a copy."""
        return self.batch.pending_actions[0]

    @property
    def world_spec(self) -> WorldSpec:
        """What the world is."""
        return self.batch.world_spec

    @property
    def task(self) -> AnyTask | None:
        """The task that is rewarded; None: the world has none."""
        return self.batch.task

    @property
    def observation(self) -> str:
        """What is observed: ``frame``, ``latent`` or ``state``."""
        return self.batch.observation

    def measure_self_consistency(self) -> None:
        """Denoise every frame once more from now on, and tell in infos how far the two differ."""
        self.batch.measure_self_consistency()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode; see `StreamDiTVectorEnv.reset`."""
        seed = check_seed(seed)
        observations, infos = self.batch.reset(seed=seed, options=options)
        super().reset(seed=seed)
        return observations[0], _first_row(infos)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take an action; see `StreamDiTVectorEnv.step`."""
        actions: Any = [action]
        if self.batch.actions != "text":
            actions = single_action(action, self.world_spec.actions)
        observations, rewards, terminated, truncated, infos = self.batch.step(actions)
        reward = rewards[0] if self.batch.output == "torch" else float(rewards[0])
        info = _first_row(infos)
        return observations[0], reward, bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> Any:
        """Return the current frame, or show it in a window."""
        frames = self.batch.render()
        return None if frames is None else frames[0]

    def save_state(self) -> dict[str, Any]:
        """Return a copy of everything that the next frames depend on."""
        return self.batch.save_state()

    def restore_state(self, state: dict[str, Any]) -> Any:
        """Go back to a saved state and return its observation.

        A `TimeLimit` that `gymnasium.make(max_episode_steps=...)` has put around it counts on from
        the state's steps.
        """
        observation = self.batch.restore_state(state)[0]
        if self._time_limits is None:
            self._time_limits = weakref.WeakSet(time_limits_around(self))
        for limit in self._time_limits:
            set_elapsed(limit, self, self.batch.elapsed_steps(0))
        return observation

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of; wrappers around this one are not around the copy."""
        return {name: value for name, value in vars(self).items() if name != "_time_limits"}

    def close(self) -> None:
        """Close the environment; closing twice is allowed."""
        self.batch.close()


def _first_row(infos: dict[str, Any]) -> dict[str, Any]:
    """Return the first row's info; numbers become Python's own."""
    info = {}
    for key, values in infos.items():
        if key.startswith("_") or not infos[f"_{key}"][0]:
            continue
        value = values[0]
        info[key] = value.item() if isinstance(value, np.generic) else value
    return info
