"""An open video model as an environment: prompts are actions, the newest frame is observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import UInt8

from streamdit_gym.checks import check_choice, check_int, check_prompt
from streamdit_gym.envs.prompt_space import PromptSpace
from streamdit_gym.errors import ActionError, ArgumentError, NotReadyError
from streamdit_gym.open_weights.load_open_model import OpenSettings, load_open_model
from streamdit_gym.open_weights.open_streams import OpenModel, OpenStreams

Frame = UInt8[np.ndarray, "h w 3"]
# from the frames of a step (f, h, w, 3) and its prompt to a reward
Reward = Callable[[UInt8[np.ndarray, "f h w 3"], str], float]
MAX_HORIZON = 1_000_000
RENDER_MODES = ("rgb_array",)
load_once = lru_cache(maxsize=1)(load_open_model)


class OpenEnv(gymnasium.Env[Frame, Any]):
    """One stream of an open model; a step is one chunk.

    A prompt conditions the chunk that enters the buffer, which is shown N - 1 steps later.

    Args:
        model: folder or Hub id, see `load_open_model`, or a model that is loaded.
        menu: the prompts that an agent chooses from, a ``Discrete`` space; None: any text.
        prompt: of the clip that an episode begins with; the first of the menu if there is one.
        reward: of a step; None: 0.
        horizon: steps after which an episode is truncated.
        settings: how the model is loaded, if it is named.
        render_mode: ``"rgb_array"`` or None.

    Raises:
        ArgumentError: if an argument is out of range.
        BundleError: if there is no such model.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 16}  # noqa: RUF012

    def __init__(
        self,
        model: str | OpenModel,
        *,
        menu: Sequence[str] | None = None,
        prompt: str | None = None,
        reward: Reward | None = None,
        horizon: int = 100,
        settings: OpenSettings | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None:
            check_choice("render_mode", render_mode, RENDER_MODES)
        self.render_mode = render_mode
        self.horizon = check_int("horizon", horizon, least=1, most=MAX_HORIZON)
        self.menu = None if menu is None else tuple(check_prompt(text) for text in menu)
        if self.menu == ():
            raise ArgumentError(
                "a menu without prompts",
                given="menu=[]",
                allowed="at least one prompt, or None for any text",
                remedy='menu=["walk on", "turn left"]',
            )
        self.reward = reward
        self.model = load_once(model, settings) if isinstance(model, str) else model
        idle = self.model.prompts.texts[0] if self.menu is None else self.menu[0]
        self.prompt = check_prompt(idle if prompt is None else prompt)
        self.streams = OpenStreams(self.model)
        rows, columns = self.model.backbone.config.grid
        stride = self.model.codec.stride
        shape = (rows * stride, columns * stride, 3)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.action_space = PromptSpace() if self.menu is None else spaces.Discrete(len(self.menu))
        self._frame = np.zeros(shape, np.uint8)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Frame, dict[str, Any]]:
        """Begin an episode: draw a clip from the prompt, or go on from frames.

        Args:
            seed: of the streams of this and later episodes.
            options: ``prompt``: another one for this episode; ``init``: a picture (h, w, 3), or a
                clip of 1 + 4 n frames, that it goes on from.
        """
        super().reset(seed=seed)
        options = options or {}
        prompt = check_prompt(options.get("prompt", self.prompt))
        frames = None
        if options.get("init") is not None:
            clip = np.asarray(options["init"])
            clip = clip[None] if clip.ndim == 3 else clip
            frames = torch.from_numpy(clip)[None]
        stream_seed = int(self.np_random.integers(2**63))
        first = self.streams.start([prompt], [stream_seed], frames)[0].cpu().numpy()
        self._steps = 0
        self._frame = first[-1]
        return self._frame, {"prompt": prompt, "frames": first}

    def step(self, action: Any) -> tuple[Frame, float, bool, bool, dict[str, Any]]:
        """Stream a chunk under a prompt; the info has all its frames."""
        prompt = self._prompt(action)
        frames = self.streams.step([prompt])[0].cpu().numpy()
        self._steps += 1
        self._frame = frames[-1]
        reward = 0.0 if self.reward is None else float(self.reward(frames, prompt))
        is_truncated = self._steps >= self.horizon
        return self._frame, reward, False, is_truncated, {"prompt": prompt, "frames": frames}

    def render(self) -> Frame | None:
        """Return the newest frame."""
        return self._frame if self.render_mode == "rgb_array" else None

    def save_state(self) -> dict[str, Any]:
        """Return all that the episode is: tensors, numbers and texts.

        Raises:
            NotReadyError: before the first `reset`.
        """
        return {
            "streams": self.streams.save(),
            "steps": self._steps,
            "frame": torch.from_numpy(self._frame.copy()),
        }

    def restore_state(self, state: dict[str, Any]) -> Frame:
        """Go back to a saved state of this environment, and return its observation.

        Raises:
            NotReadyError: before the first `reset`.
            ShapeError: if the state is of another model.
        """
        self.streams.restore(state["streams"])
        self._steps = int(state["steps"])
        self._frame = state["frame"].numpy().copy()
        return self._frame

    def _prompt(self, action: Any) -> str:
        if len(self.streams) == 0:
            raise NotReadyError(
                "step before reset", given="no episode", allowed="reset first", remedy="env.reset()"
            )
        if self.menu is None:
            return check_prompt(action)
        if not self.action_space.contains(action):
            raise ActionError(
                "no such prompt",
                given=action,
                allowed=f"0 to {len(self.menu) - 1}",
                remedy="choose a number of the menu",
            )
        return self.menu[int(action)]
