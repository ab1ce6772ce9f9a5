"""An open video model as a batch of environments: one batch of streams, prompts are actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool

from streamdit_gym.checks import MAX_LONG_PROMPT_CHARS, check_int, check_prompt
from streamdit_gym.envs.action_checks import check_menu_actions, check_prompts
from streamdit_gym.envs.argument_checks import check_autoreset_mode
from streamdit_gym.envs.infos import with_final, with_masks
from streamdit_gym.envs.open_env_rows import OpenRows
from streamdit_gym.envs.open_env_settings import RENDER_MODES, OpenEnvSettings, OpenKeywords
from streamdit_gym.envs.prompt_space import PromptSpace
from streamdit_gym.envs.reset_checks import check_init, check_mask, check_seeds
from streamdit_gym.errors import ArgumentError, NotReadyError
from streamdit_gym.open_weights.open_streams import OpenModel, OpenStreams

MAX_ENVS = 65_536


class OpenVectorEnv(VectorEnv[Any, Any, Any]):
    """A batch of environments over one open model; a step is one chunk of each stream.

    A prompt conditions the chunk that enters the buffer, which is shown N - 1 steps later. A row
    does what a single environment with its seed does, to a rounding: numbers of a batch are summed
    in another order.

    Args:
        num_envs: number of environments, 1 to 65,536.
        model: folder or Hub id, see `load_open_model`, or a model that is loaded.
        autoreset_mode: Gymnasium's.
        **settings: the attributes of `OpenEnvSettings`.

    Raises:
        ArgumentError: if an argument is out of range, or there is no room for so many streams.
        BundleError: if there is no such model.
        UnknownNameError: if there is no such mode.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": list(RENDER_MODES),
        "render_fps": 16,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        model: str | OpenModel,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **settings: Unpack[OpenKeywords],
    ) -> None:
        super().__init__()
        checked = OpenEnvSettings(model=model, **settings)
        self.render_mode = checked.render_mode
        self.num_envs = check_int("num_envs", num_envs, least=1, most=MAX_ENVS)
        self.autoreset_mode = check_autoreset_mode(autoreset_mode)
        self.horizon = checked.horizon
        self.menu = checked.menu
        self.reward = checked.reward
        self.model = checked.model_for(self.num_envs)
        self.prompt = checked.start_prompt(self.model)
        self.metadata = {
            **self.metadata,
            "render_fps": round(self.model.fps),
            "autoreset_mode": self.autoreset_mode,
        }
        shape = (*self.model.frame_size, 3)
        self.single_observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.single_action_space = (
            PromptSpace(most=MAX_LONG_PROMPT_CHARS)
            if self.menu is None
            else spaces.Discrete(len(self.menu))
        )
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.streams = OpenStreams(self.model)
        rngs = [np_random()[0] for _ in range(self.num_envs)]
        self._rows = OpenRows.new(shape, self.prompt, rngs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin episodes: draw clips from their prompts, or go on from frames.

        Args:
            seed: environment i is seeded with ``seed + i``; or one seed (or None) per environment.
            options: ``prompt``: another one for these episodes, or one per environment; ``init``: a
                picture (h, w, 3), or a clip of 1 + 4 n frames, for all, or one per environment
                (envs, frames, h, w, 3); ``reset_mask``: bool (num_envs,), which environments to
                reset.

        Raises:
            NotReadyError: if the environment is closed, or the first reset has a mask.
            ArgumentError: if a seed, a prompt or an option is of the wrong type or out of range.
            ShapeError: if an option does not fit.
        """
        self._check_open()
        options = dict(options or {})
        mask = check_mask(options.get("reset_mask"), self.num_envs)
        if not len(self.streams) and not mask.all():
            raise NotReadyError(
                "the first reset must be of all environments",
                given="reset_mask",
                remedy="call reset() first",
            )
        init = check_init(options.get("init"), mask, self.model.frame_size, takes_init=True)
        if isinstance(init, str):
            raise ArgumentError(
                "episodes of an open model begin with drawn clips anyway",
                given=f"init={init!r}",
                allowed="frames",
                remedy="leave init out",
            )
        prompts = self._start_prompts(options.get("prompt", self.prompt))
        former = list(self._rows.rngs)
        for row, row_seed in enumerate(check_seeds(seed, self.num_envs)):
            if mask[row] and row_seed is not None:
                self._rows.rngs[row] = np_random(row_seed)[0]
        try:
            self._start(np.flatnonzero(mask), prompts, init)
        except BaseException:
            self._rows.rngs = former
            raise
        return self._rows.frames.copy(), self._info(mask)

    def step(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Stream a chunk of every environment under its prompt; infos have all its frames.

        Raises:
            NotReadyError: before the first reset, after close, or for a finished environment in
                mode DISABLED.
            ActionError: if an action is outside the action space; nothing is changed then.
            ArgumentError: if a text has more tokens than the model takes; nothing is changed then.
        """
        self._check_may_step()
        prompts = self._prompts(actions)
        rows = self._rows
        begins = rows.done.copy()
        if not begins.all():
            self._move(prompts)
        rewards = self._rewards(~begins)
        if begins.any():  # mode NEXT_STEP: their actions are ignored
            self._start(np.flatnonzero(begins), [self.prompt] * self.num_envs, None)
        terminated = np.zeros(self.num_envs, dtype=bool)
        truncated = (rows.steps >= self.horizon) | rows.faults
        rows.done = truncated.copy()
        info = self._info(np.ones(self.num_envs, dtype=bool))
        if self.autoreset_mode is AutoresetMode.SAME_STEP and truncated.any():
            info = self._reset_same_step(info)
        return rows.frames.copy(), rewards, terminated, truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return the newest frame of every environment."""
        return tuple(self._rows.frames.copy()) if self.render_mode == "rgb_array" else None

    def save_state(self) -> dict[str, Any]:
        """Return all that the episodes are, and the generators of those to come.

        These are tensors, texts and numbers, which ``torch.load(..., weights_only=True)`` reads.

        Raises:
            NotReadyError: before the first `reset`.
        """
        return {"streams": self.streams.save(), **self._rows.to_dict()}

    def restore_state(self, state: dict[str, Any]) -> np.ndarray:
        """Go back to a saved state of as many environments, and return its observations.

        What comes after it is what came after it before, later episodes among it.

        Raises:
            NotReadyError: before the first `reset`.
            ShapeError: if the state is of another model, or of another number of environments;
                nothing is changed then.
            ArgumentError: if a value is out of range; nothing is changed then.
        """
        may_be_done = self.autoreset_mode is not AutoresetMode.SAME_STEP
        rows = self._rows.restored(state, self.horizon, may_be_done)
        self.streams.restore(state["streams"])
        self._rows = rows
        return rows.frames.copy()

    def _start(self, rows: np.ndarray, prompts: list[str], init: torch.Tensor | None) -> None:
        """Begin episodes of some rows.

        Args:
            rows: which.
            prompts: of all rows.
            init: frames of these rows.
        """
        # an error, such as a clip of a wrong length, leaves the rows' sequences where they were
        states = [self._rows.rngs[row].bit_generator.state for row in rows]
        seeds = [int(self._rows.rngs[row].integers(2**63)) for row in rows]
        own_prompts = [prompts[row] for row in rows]
        try:
            if len(rows) == self.num_envs:
                frames = self.streams.start(own_prompts, seeds, init)
            else:
                frames = self.streams.restart(rows.tolist(), own_prompts, seeds, init)
        except BaseException:
            for row, state in zip(rows, states, strict=True):
                self._rows.rngs[row].bit_generator.state = state
            raise
        self._show(rows, frames.cpu().numpy(), own_prompts)
        self._rows.steps[rows] = 0
        self._rows.done[rows] = False
        self._rows.faults[rows] = False

    def _move(self, prompts: list[str]) -> None:
        """Take a step of every row."""
        frames = self.streams.step(prompts).cpu().numpy()
        self._show(np.arange(self.num_envs), frames, prompts)
        self._rows.steps += 1
        self._rows.faults = ~self.streams.finite().cpu().numpy()

    def _show(self, rows: np.ndarray, frames: np.ndarray, prompts: list[str]) -> None:
        for row, row_frames, prompt in zip(rows, frames, prompts, strict=True):
            self._rows.frames[row] = row_frames[-1]
            self._rows.shown[row] = row_frames
            self._rows.prompts[row] = prompt

    def _rewards(self, mask: Bool[np.ndarray, " n"]) -> np.ndarray:
        """Return the rewards of the step that the rows of a mask have taken; 0 for the others."""
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        if self.reward is not None:
            for row in np.flatnonzero(mask):
                rewards[row] = float(self.reward(self._rows.shown[row], self._rows.prompts[row]))
        return rewards

    def _reset_same_step(self, info: dict[str, Any]) -> dict[str, Any]:
        """Put the final observations and infos aside, and begin the ended rows anew."""
        ended = self._rows.done.copy()
        final = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(ended):
            final[row] = self._rows.frames[row].copy()
        self._start(np.flatnonzero(ended), [self.prompt] * self.num_envs, None)
        new_info = self._info(np.ones(self.num_envs, dtype=bool))
        return with_final(new_info, info, final, ended)

    def _info(self, mask: Bool[np.ndarray, " n"]) -> dict[str, Any]:
        rows = self._rows
        info = {
            "prompt": rows.prompts.copy(),
            "frames": rows.shown.copy(),
            "world_fault": rows.faults.copy(),
        }
        return with_masks(info, mask)

    def _start_prompts(self, prompt: Any) -> list[str]:
        """Return the prompt that each row begins with."""
        if isinstance(prompt, (list, tuple)):
            return check_prompts(prompt, self.num_envs, MAX_LONG_PROMPT_CHARS)
        return [check_prompt(prompt, MAX_LONG_PROMPT_CHARS)] * self.num_envs

    def _prompts(self, actions: Any) -> list[str]:
        """Return every row's prompt."""
        if self.menu is None:
            return check_prompts(actions, self.num_envs, MAX_LONG_PROMPT_CHARS)
        remedy = "choose numbers of the menu, see env.unwrapped.menu"
        checked = check_menu_actions(actions, self.num_envs, len(self.menu), remedy)
        return [self.menu[action] for action in checked]

    def _check_open(self) -> None:
        if self.closed:
            raise NotReadyError("the environment is closed", remedy="make a new one")

    def _check_may_step(self) -> None:
        self._check_open()
        if not len(self.streams):
            raise NotReadyError(
                "step before reset", given="no episode", allowed="reset first", remedy="env.reset()"
            )
        if self.autoreset_mode is AutoresetMode.DISABLED and self._rows.done.any():
            raise NotReadyError(
                "step of a finished environment",
                given=f"rows {np.flatnonzero(self._rows.done).tolist()}",
                remedy="reset(options={'reset_mask': mask}) first",
            )
