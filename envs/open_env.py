"""An open video model as an environment: prompts are actions, the newest frame is observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from jaxtyping import UInt8

from streamdit_gym.envs.open_env_settings import RENDER_MODES, OpenKeywords
from streamdit_gym.envs.open_vector_env import OpenVectorEnv
from streamdit_gym.envs.reset_checks import check_seed
from streamdit_gym.open_weights.open_streams import OpenModel, OpenStreams

Frame = UInt8[np.ndarray, "h w 3"]


class OpenEnv(gymnasium.Env[Frame, Any]):
    """One stream of an open model; a step is one chunk. It is a batch with one row.

    Args:
        model: folder or Hub id, see `load_open_model`, or a model that is loaded.
        **settings: the attributes of `OpenEnvSettings`.

    Raises:
        ArgumentError: if an argument is out of range.
        BundleError: if there is no such model.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": list(RENDER_MODES),
        "render_fps": 16,
    }

    def __init__(self, model: str | OpenModel, **settings: Unpack[OpenKeywords]) -> None:
        # a single environment that has ended waits for its reset
        self.batch = OpenVectorEnv(
            1, model=model, autoreset_mode=AutoresetMode.DISABLED, **settings
        )
        self.render_mode = self.batch.render_mode
        self.metadata = {**self.metadata, "render_fps": self.batch.metadata["render_fps"]}
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space

    @property
    def menu(self) -> Sequence[str] | None:
        """The prompts that an agent chooses from; None: any text."""
        return self.batch.menu

    @property
    def streams(self) -> OpenStreams:
        """The stream."""
        return self.batch.streams

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Frame, dict[str, Any]]:
        """Begin an episode: draw a clip from the prompt, or go on from frames.

        Args:
            seed: of the streams of this and later episodes.
            options: ``prompt``: another one for this episode; ``init``: a picture (h, w, 3), or a
                clip of 1 + 4 n frames, that it goes on from.
        """
        seed = check_seed(seed)
        frames, infos = self.batch.reset(seed=seed, options=options)
        super().reset(seed=seed)
        return frames[0], _first_row(infos)

    def step(self, action: Any) -> tuple[Frame, float, bool, bool, dict[str, Any]]:
        """Stream a chunk under a prompt; the info has all its frames."""
        frames, rewards, terminated, truncated, infos = self.batch.step([action])
        info = _first_row(infos)
        return frames[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> Frame | None:
        """Return the newest frame."""
        frames = self.batch.render()
        return None if frames is None else frames[0]

    def save_state(self) -> dict[str, Any]:
        """Return all that the episode is; see `OpenVectorEnv.save_state`."""
        return self.batch.save_state()

    def restore_state(self, state: dict[str, Any]) -> Frame:
        """Go back to a saved state of this environment, and return its observation."""
        frame: Frame = self.batch.restore_state(state)[0]
        return frame

    def close(self) -> None:
        """Close the environment; closing twice is allowed."""
        self.batch.close()


def _first_row(infos: dict[str, Any]) -> dict[str, Any]:
    return {
        "prompt": infos["prompt"][0],
        "frames": infos["frames"][0],
        "world_fault": bool(infos["world_fault"][0]),
    }
