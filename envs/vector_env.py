"""The environment: many streams behind `gymnasium.vector.VectorEnv`, one batched evaluation per
step.

Takes: actions.  Gives: frames, rewards, endings.  Knows nothing of: how frames are made (see
    opening.py).

The same class serves a generated world and its reference simulator; only the backend differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from streamdit_gym.checks import check_choice
from streamdit_gym.envs.argument_checks import (
    check_actions,
    check_init,
    check_mask,
    check_options,
    check_seeds,
)
from streamdit_gym.envs.copies import constructor_and_state, rebuild
from streamdit_gym.envs.env_spaces import (
    action_space,
    backend_space,
    observation_space,
    with_pending,
)
from streamdit_gym.envs.faults import find_faults, without
from streamdit_gym.envs.opening import open_world
from streamdit_gym.envs.settings import RENDER_MODES, EnvSettings
from streamdit_gym.envs.state import EnvState, StateLimits, StateOwner
from streamdit_gym.envs.time_limit import with_horizon
from streamdit_gym.envs.window import Window, tile
from streamdit_gym.errors import NotReadyError
from streamdit_gym.world import World


class StreamDiTVectorEnv(VectorEnv[Any, Any, Any]):
    """A batch of environments over one world.

    Args:
        num_envs: number of environments, 1 to 65,536.
        **settings: the attributes of `EnvSettings`: world, task, observation, partition,
            autoreset_mode, device, ...

    Raises:
        ArgumentError: for an argument of the wrong type, not finite or out of range.
        UnknownArgumentError: for an argument that there is not, with the nearest one.
        UnknownNameError: for a name that does not exist, with the nearest one.
        PartitionError: if the partition does not fit the model.
        BundleError: if the world's files are broken.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": list(RENDER_MODES),
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]
    _spec: EnvSpec | None = None

    def __init__(self, num_envs: int = 1, **settings: Any) -> None:
        super().__init__()
        checked = EnvSettings.of(num_envs=num_envs, **settings)
        opened = open_world(checked)
        self._backend = opened.backend
        spec = opened.backend.spec
        self.world_spec = spec
        self.task = spec.tasks[check_choice("task", checked.task, spec.tasks)]
        self.num_envs = checked.num_envs
        self.render_mode = checked.render_mode
        self.output = checked.output
        self.actions = checked.actions
        self.autoreset_mode = AutoresetMode(checked.autoreset_mode)
        self.horizon = checked.horizon or checked.max_episode_steps or self.task.horizon
        self.metadata = {
            **self.metadata,
            "autoreset_mode": self.autoreset_mode,
            "render_fps": spec.fps,
        }
        self._owner = StateOwner(
            world=opened.content,
            partition="real" if checked.real else str(checked.partition),
            observation=checked.observation,
            num_envs=checked.num_envs,
            deterministic=checked.deterministic and not checked.real,
        )
        self._potential = spec.score_names.index(self.task.potential)
        self._success = spec.score_names.index(self.task.success)
        self._observed = checked.observation
        self._penalty = checked.self_consistency_penalty
        self._make_spaces(checked.pending_actions, opened.encoder)
        self._make_rows()
        self._ready = False
        self._window: Window | None = None

    def _make_rows(self) -> None:
        """Make what each row has of its own, as it is before the first reset."""
        count = self.num_envs
        device = self._backend.device
        seen = np.zeros((count, *self._seen_space.shape), self._seen_space.dtype)
        self._rngs = [np.random.default_rng() for _ in range(count)]
        self._steps = np.zeros(count, dtype=np.int64)
        self._done = np.zeros(count, dtype=bool)
        self._fault = np.zeros(count, dtype=bool)
        self._doubts = np.zeros(count)
        self._seen = torch.from_numpy(seen).to(device)
        self._scores = torch.zeros(
            count, len(self.world_spec.score_names), dtype=torch.float32, device=device
        )
        self._prompts = np.array([""] * count, dtype=object)
        self._pending = np.zeros((count, self.latency_frames), dtype=np.int64)

    def __new__(cls, *args: Any, **settings: Any) -> StreamDiTVectorEnv:
        """Keep the arguments, of which copies are made."""
        env = super().__new__(cls)
        env._arguments = (args, settings)
        return env

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of: arguments and state, but no weights."""
        return constructor_and_state(self)

    def __setstate__(self, copied: dict[str, Any]) -> None:
        """Become a copy, with the world of the same name.

        Raises:
            BundleError: if that world has other weights now.
        """
        rebuild(self, copied)

    @property
    def spec(self) -> EnvSpec | None:
        """What Gymnasium made it of; `max_episode_steps` is the horizon."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = with_horizon(spec, self.horizon)

    def elapsed_steps(self, row: int) -> int:
        """Return how many steps a row has taken in its episode."""
        return int(self._steps[row])

    @property
    def latency_frames(self) -> int:
        """Frames already begun when an action arrives; it acts fully on the one after them.

        With ``prompt_scope="buffer"`` it also acts, in part, on the frames already begun.
        """
        return self._backend.latency_frames

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start all environments, or those of a mask.

        Args:
            seed: environment i is seeded with ``seed + i``; or one seed (or None) per environment.
            options: ``init``: the caller's own first frames, uint8 (h, w, 3), (frames, h, w, 3) or
                (envs, frames, h, w, 3), oldest first; ``reset_mask``: bool (num_envs,), which
                environments to reset. Others are ignored.

        Raises:
            NotReadyError: if the environment is closed.
            ArgumentError: if a seed or the options are of the wrong type or out of range.
            ShapeError: if an option does not fit.
            UnknownNameError: for an option that is almost one of ours.

        An error changes nothing.
        """
        self._check_open()
        options = check_options(options)
        mask = check_mask(options.get("reset_mask"), self.num_envs)
        if not self._ready and not mask.all():
            raise NotReadyError(
                "the first reset must be of all environments",
                given="reset_mask",
                remedy="call reset() first",
            )
        rows = np.flatnonzero(mask)
        init = check_init(
            options.get("init"), rows, self.num_envs, self.world_spec.size, self._backend.takes_init
        )
        seeds = check_seeds(seed, self.num_envs)
        for row in map(int, rows):
            if seeds[row] is not None:
                self._rngs[row] = np.random.default_rng(seeds[row])
        self._begin(rows, init)
        self._ready = True
        if self.render_mode == "human":
            self._show()
        return self._observation(), self._info(mask, np.zeros(self.num_envs, dtype=bool))

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Give every environment its action and return the next frames.

        Args:
            actions: one menu action (or prompt) per environment.

        Raises:
            NotReadyError: before the first reset, after close, or for a finished environment in
                mode DISABLED.
            ActionError: if an action is outside the action space; nothing is changed then.
        """
        self._check_may_step()
        chosen = check_actions(actions, self.num_envs, len(self.world_spec.menu), self.actions)
        menu = None if self.actions == "text" else list(chosen)
        prompts = chosen if menu is None else [self.world_spec.menu[action][0] for action in menu]
        skipped = np.zeros(self.num_envs, dtype=bool)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            skipped = self._done.copy()
        rewards, terminated, truncated = self._advance(prompts, menu)
        if skipped.any():  # their action was ignored: this step is their reset
            self._begin(np.flatnonzero(skipped), None)
            terminated &= ~skipped
            truncated &= ~skipped
            rewards = without(skipped, rewards, 0.0)
        self._done = terminated | truncated
        info = self._info(np.ones(self.num_envs, dtype=bool), terminated)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._done.any():
            info = self._reset_same_step(info)
        if self.render_mode == "human":
            self._show()
        observation = self._observation()
        if self.output == "torch":
            device = self._backend.device
            ended = torch.from_numpy(terminated).to(device)
            cut_off = torch.from_numpy(truncated).to(device)
            return observation, rewards, ended, cut_off, info
        return observation, rewards.cpu().numpy().astype(np.float64), terminated, truncated, info

    def _check_may_step(self) -> None:
        self._check_open()
        if not self._ready:
            raise NotReadyError("step before reset", remedy="call reset() first")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._done.any():
            raise NotReadyError(
                "step of a finished environment",
                given=f"rows {np.flatnonzero(self._done).tolist()}",
                remedy="reset(options={'reset_mask': mask}) first",
            )

    def _advance(
        self,
        prompts: list[str],
        menu: list[int] | None,
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Move every row by one frame; return rewards, and which rows have terminated and which are
        truncated.

        A row with a number that is not finite is truncated, without a reward, and keeps its last
        finite frame.
        """
        last_scores = self._scores
        last_seen = self._seen
        self._seen, self._scores = self._backend.step(prompts, menu)
        self._prompts = np.array(prompts, dtype=object)
        if self.latency_frames and menu is not None:
            self._pending = np.concatenate([self._pending[:, 1:], np.array(menu)[:, None]], axis=1)
        self._steps += 1
        success = self._scores[:, self._success]
        gained = self._scores[:, self._potential] - last_scores[:, self._potential]
        rewards = self.task.reward(gained, success).to(
            torch.float32
        )  # a bonus has torch's default dtype
        if self._penalty is not None:
            doubts = self._backend.self_consistency_error()
            rewards = rewards - self._penalty * doubts
            self._doubts = doubts.cpu().numpy().astype(np.float64)
        fault = find_faults(self._backend.finite(), self._scores, rewards)
        both = torch.stack(
            [success > self.task.threshold, fault]
        )  # together: a GPU is waited for once
        terminated, self._fault = both.cpu().numpy()
        terminated = terminated & ~self._fault
        truncated = (self._steps >= self.horizon) & ~terminated | self._fault
        if self._fault.any():
            self._seen = without(self._fault, self._seen, last_seen)
            self._scores = without(self._fault, self._scores, last_scores)
            rewards = without(self._fault, rewards, 0.0)
            self._doubts[self._fault] = 0
        return rewards, terminated, truncated

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return the current frames, one (h, w, 3) uint8 array per environment,
        or show them in a window.
        """
        self._check_open()
        if not self._ready:
            raise NotReadyError("render before reset", remedy="call reset() first")
        if self.render_mode == "human":
            self._show()
            return None
        return tuple(self._backend.picture(self._seen).cpu().numpy().copy())

    def save_state(self) -> dict[str, Any]:
        """Return a copy of everything that the next frames depend on.

        It is made of tensors and plain numbers and texts: `torch.save` it, and `torch.load` reads
        it as safely as weights (where there is no such device as the environments', with
        ``map_location="cpu"``). A twin that is far in its episode begins again where it is
        (`PushTSimulator.save`), so that nobody has to play it all again.

        Raises:
            NotReadyError: before the first reset or after close.
        """
        self._check_open()
        if not self._ready:
            raise NotReadyError("save_state before reset", remedy="call reset() first")
        return self._state(self._backend.save()).to_dict()

    def restore_state(self, state: dict[str, Any]) -> Any:
        """Go back to a saved state and return its observation.

        The state may come from another process, another device, and another folder with the same
        world. Everything is checked before anything changes.

        Raises:
            ShapeError: if the state is of another world, partition or number of environments, or is
                cut.
            ArgumentError: if a value is not finite, or out of range.
            NotReadyError: before the first reset or after close.
        """
        self._check_open()
        if not self._ready:
            raise NotReadyError("restore_state before reset", remedy="call reset() first")
        limits = StateLimits(
            horizon=self.horizon,
            actions=len(self.world_spec.menu),
            may_be_over=self.autoreset_mode is not AutoresetMode.SAME_STEP,
        )
        saved = EnvState.from_dict(state, self._state(None), limits)
        self._backend.check(saved.backend, ~(saved.done | saved.fault))
        self._backend.restore(saved.backend)
        self._steps, self._done, self._fault = saved.steps, saved.done, saved.fault
        self._pending, self._seen, self._scores = saved.pending, saved.seen, saved.scores
        self._prompts = np.array(saved.prompts, dtype=object)
        for rng, generator in zip(self._rngs, saved.rngs, strict=True):
            rng.bit_generator.state = generator
        return self._observation()

    def _state(self, backend: Any) -> EnvState:
        """Return the state now, no copy, with the backend's part."""
        return EnvState(
            owner=self._owner,
            backend=backend,
            steps=self._steps,
            done=self._done,
            fault=self._fault,
            pending=self._pending,
            seen=self._seen,
            scores=self._scores,
            prompts=self._prompts.tolist(),
            rngs=[rng.bit_generator.state for rng in self._rngs],
        )

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window and the backend."""
        self._backend.close()
        if self._window is not None:
            self._window.close()

    def _make_spaces(self, pending: bool, encoder: World | None) -> None:
        menu_size = len(self.world_spec.menu)
        self._with_pending = pending
        self._seen_space = backend_space(self.world_spec.size, encoder)
        observed = observation_space(self._seen_space, self._observed, encoder)
        self.single_observation_space: Any = observed
        if pending:
            countable = 0 if self.actions == "text" else menu_size
            self.single_observation_space = with_pending(
                observed, self._observed, countable, self.latency_frames
            )
        self.single_action_space = action_space(self.actions, menu_size)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _begin(self, rows: np.ndarray, init: torch.Tensor | None) -> None:
        frames, scores = self._backend.reset(
            [int(r) for r in rows], [self._rngs[r] for r in rows], init
        )
        index = torch.from_numpy(rows).to(frames.device)
        fault = find_faults(self._backend.finite()[index], scores).cpu().numpy()
        if fault.any():  # a world that is broken: nothing to show
            frames, scores = without(fault, frames, 0), without(fault, scores, 0)
        self._fault[rows] = fault
        self._seen = self._seen.index_copy(0, index, frames)
        self._scores = self._scores.index_copy(0, index, scores.float())
        self._steps[rows], self._done[rows], self._pending[rows] = 0, False, 0
        self._prompts[rows], self._doubts[rows] = self.world_spec.menu[0][0], 0

    def _reset_same_step(self, info: dict[str, Any]) -> dict[str, Any]:
        """Put the final observations and infos aside, as copies, and start the ended rows anew."""
        ended = self._done.copy()
        rows = np.flatnonzero(ended)
        final = self._observation() if self.output == "torch" else self._final_observations(rows)
        self._begin(rows, None)
        self._done[rows] = False
        every = np.ones(self.num_envs, dtype=bool)
        fresh = self._info(every, ~every)  # an ended row's info is that of its new episode
        info = {key: ended.copy() if key.startswith("_") else value for key, value in info.items()}
        return {
            **fresh,
            "final_obs": final,
            "_final_obs": ended,
            "final_info": info,
            "_final_info": ended.copy(),
        }

    def _final_observations(self, rows: np.ndarray) -> np.ndarray:
        """Return the observations of some rows, each on its own, and None for the others."""
        final = np.array([None] * self.num_envs, dtype=object)
        last = self._observation(rows)
        for i, row in enumerate(rows):
            is_dict = isinstance(last, dict)
            final[row] = (
                {key: value[i].copy() for key, value in last.items()} if is_dict else last[i].copy()
            )
        return final

    def _info(self, mask: np.ndarray, successes: np.ndarray) -> dict[str, Any]:
        """Return the infos of the rows in a mask; reset and step give the same keys and types."""
        scores = self._scores.cpu().numpy()
        info: dict[str, Any] = {
            "prompt": self._prompts.copy(),
            "potential": scores[:, self._potential].astype(np.float64),
            "success": scores[:, self._success].astype(np.float64),
            "is_success": successes.copy(),
            "world_fault": self._fault.copy(),
        }
        if self.output == "torch":
            del info["prompt"]  # other libraries make tensors of all infos
        if self._penalty is not None:
            info["self_consistency_error"] = self._doubts.copy()
        return info | {f"_{key}": mask.copy() for key in info}

    def _observation(self, rows: np.ndarray | None = None) -> Any:
        """Return what is observed, a copy, of all rows or of some."""
        seen: Any = (
            self._seen if rows is None else self._seen[torch.from_numpy(rows).to(self._seen.device)]
        )
        if self._observed == "state":
            seen = self._backend.readout(seen)
        seen = seen.clone() if self.output == "torch" else to_host(seen)
        if not self._with_pending:
            return seen
        pending = self._pending.copy() if rows is None else self._pending[rows]
        return {
            self._observed: seen,
            "pending": torch.from_numpy(pending).to(seen.device)
            if self.output == "torch"
            else pending,
        }

    def _show(self) -> None:
        if self._window is None:
            self._window = Window(f"streamdit_gym {self.world_spec.name}")
        self._window.show(
            tile(self._backend.picture(self._seen).cpu().numpy()), fps=self.world_spec.fps
        )

    def _check_open(self) -> None:
        if self.closed:
            raise NotReadyError("the environment is closed", remedy="make a new one")


def to_host(seen: torch.Tensor) -> np.ndarray:
    """Return a copy as an array; off a GPU in pinned memory, which torch keeps for the next one
    when nobody holds this one any more.

    The system hands a large new array out page by page, which takes longer than the copying. Pinned
    memory is dear: of arrays that you keep for long, keep copies.
    """
    host = torch.empty(seen.shape, dtype=seen.dtype, pin_memory=seen.is_cuda)
    return host.copy_(seen).numpy()
