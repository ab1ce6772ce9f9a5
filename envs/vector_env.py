"""The environment: many streams behind `gymnasium.vector.VectorEnv`, one evaluation per step.

The same class serves a generated world and its reference simulator; only the backend differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Int

from streamdit_gym.envs.action_checks import check_actions, check_prompts
from streamdit_gym.envs.copies import constructor_and_state, rebuild
from streamdit_gym.envs.env_spaces import action_space, backend_space, observation_space
from streamdit_gym.envs.episode_runner import EpisodeRunner, Outcome
from streamdit_gym.envs.episodes import Episodes, PendingActions
from streamdit_gym.envs.faults import where_rows
from streamdit_gym.envs.infos import with_final, with_masks
from streamdit_gym.envs.opening import horizon_of, open_world
from streamdit_gym.envs.outputs import make_output
from streamdit_gym.envs.reset_checks import check_reset
from streamdit_gym.envs.settings import RENDER_MODES, EnvKeywords, EnvSettings
from streamdit_gym.envs.state import EnvState, StateLimits
from streamdit_gym.envs.time_limit import with_horizon
from streamdit_gym.envs.window import Window, tile
from streamdit_gym.errors import NotReadyError


class StreamDiTVectorEnv(VectorEnv[Any, Any, Any]):
    """A batch of environments over one world.

    Args:
        num_envs: number of environments, 1 to 65,536.
        **settings: the attributes of `EnvSettings`.

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

    def __init__(self, num_envs: int = 1, **settings: Unpack[EnvKeywords]) -> None:
        super().__init__()
        checked = EnvSettings.of(num_envs=num_envs, **settings)
        opened = open_world(checked)
        self._backend = opened.backend
        self.world_spec = opened.backend.spec
        self.task = opened.task
        self.num_envs = checked.num_envs
        self.render_mode = checked.render_mode
        self.observation = checked.observation
        self.actions = checked.actions
        self.output = checked.backend.output
        self.horizon = checked.horizon or horizon_of(self.task)
        self.autoreset_mode = AutoresetMode(checked.autoreset_mode)
        self.metadata = {
            **self.metadata,
            "autoreset_mode": self.autoreset_mode,
            "render_fps": self.world_spec.fps,
        }
        self._state_owner = opened.state_owner
        self._output = make_output(checked.backend.output, self._backend.device)
        self._window: Window | None = None
        self._ready = False
        backend_observations = backend_space(self.world_spec.frame_shape, opened.encoder)
        self.single_observation_space: Any = observation_space(
            backend_observations, checked.observation, opened.encoder
        )
        self.single_action_space = action_space(checked.actions, self.world_spec.actions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._episodes = Episodes(self.num_envs, self._backend, backend_observations)
        self._runner = EpisodeRunner(self._backend, self._episodes, self.task, self.horizon)

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

    @property
    def latency_frames(self) -> int:
        """Frames in flight when an action arrives; it acts fully on the one after them.

        With ``prompt_scope="buffer"`` it also acts, in part, on the frames in flight.
        """
        return self._backend.latency_frames

    @property
    def pending_actions(self) -> PendingActions:
        """Actions in flight: taken and not yet visible, oldest first; a copy."""
        return self._episodes.pending.copy()

    def elapsed_steps(self, row: int) -> int:
        """Return how many steps a row has taken in its episode."""
        return int(self._episodes.steps[row])

    def measure_self_consistency(self) -> None:
        """Denoise every frame once more from now on.

        Infos then hold ``self_consistency_error``: how far the two results lie apart.
        """
        self._runner.measures_self_consistency = True

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start all environments, or those of a mask. An error changes nothing.

        Args:
            seed: environment i is seeded with ``seed + i``; or one seed (or None) per environment.
            options: ``init``: the caller's own first frames, uint8 (h, w, 3), (frames, h, w, 3) or
                (envs, frames, h, w, 3), oldest first, or ``"drawn"``: the last frame of a clip that
                the world draws from noise; ``reset_mask``: bool (num_envs,), which
                environments to reset. Others are ignored.

        Raises:
            NotReadyError: if the environment is closed.
            ArgumentError: if a seed or the options are of the wrong type or out of range.
            ShapeError: if an option does not fit.
            UnknownNameError: for an option that is almost one of ours.
        """
        self._check_open()
        request = check_reset(
            options, seed, self.num_envs, self.world_spec.frame_size, self._backend.takes_init
        )
        if not self._ready and not request.mask.all():
            raise NotReadyError(
                "the first reset must be of all environments",
                given="reset_mask",
                remedy="call reset() first",
            )
        for row in request.rows:
            self._episodes.seed(row, request.seeds[row])
        self._runner.start(request.rows, request.init)
        self._ready = True
        self._show_if_human()
        no_successes = np.zeros(self.num_envs, dtype=bool)
        return self._observation(), self._info(request.mask, no_successes)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Give every environment its action and return the next frames.

        Args:
            actions: one action (or prompt) per environment: a number of the menu, or the
                values of the box.

        Raises:
            NotReadyError: before the first reset, after close, or for a finished environment in
                mode DISABLED.
            ActionError: if an action is outside the action space; nothing is changed then.
        """
        self._check_may_step()
        prompts, checked_actions = self._prompts_and_actions(actions)
        outcome = self._runner.step(prompts, checked_actions)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            outcome = self._reset_done(outcome)
        done = outcome.terminated | outcome.truncated
        self._episodes.done = done
        all_rows = np.ones(self.num_envs, dtype=bool)
        info = self._info(all_rows, outcome.terminated)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and done.any():
            info = self._reset_same_step(info)
        self._show_if_human()
        rewards = self._output.rewards(outcome.rewards)
        terminated = self._output.flags(outcome.terminated)
        truncated = self._output.flags(outcome.truncated)
        return self._observation(), rewards, terminated, truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return one (h, w, 3) uint8 frame per environment, or show them in a window."""
        self._check_ready("render")
        if self.render_mode == "human":
            self._show_if_human()
            return None
        frames = self._frames()
        return tuple(frames.copy())

    def save_state(self) -> dict[str, Any]:
        """Return a copy of everything that the next frames depend on.

        It is made of tensors and plain numbers and texts: `torch.save` it, and `torch.load` reads
        it as safely as weights (where there is no such device as the environments', with
        ``map_location="cpu"``). See `PushTSimulator.save` for long episodes of simulators.

        Raises:
            NotReadyError: before the first reset or after close.
        """
        self._check_ready("save_state")
        saved = self._backend.save()
        state = self._episodes.to_state(self._state_owner, saved)
        return state.to_dict()

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
        self._check_ready("restore_state")
        limits = StateLimits(
            horizon=self.horizon,
            actions=self.world_spec.actions,
            may_be_done=self.autoreset_mode is not AutoresetMode.SAME_STEP,
        )
        current = self._episodes.to_state(self._state_owner, None)
        saved = EnvState.from_dict(state, current, limits)
        must_be_finite = ~(saved.done | saved.fault)
        self._backend.check(saved.backend, must_be_finite)
        self._backend.restore(saved.backend)
        self._episodes.load(saved)
        return self._observation()

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window and the backend."""
        self._backend.close()
        if self._window is not None:
            self._window.close()

    def _prompts_and_actions(self, actions: Any) -> tuple[list[str], np.ndarray | None]:
        """Return every row's prompt, and its action unless prompts are free text."""
        if self.actions == "text":
            return check_prompts(actions, self.num_envs), None
        language = self.world_spec.actions
        checked = check_actions(actions, self.num_envs, language)
        return [language.prompt(action) for action in checked], checked

    def _reset_done(self, outcome: Outcome) -> Outcome:
        """Reset rows that ended in the step before; their actions are ignored."""
        done = self._episodes.done.copy()
        if not done.any():
            return outcome
        self._runner.start(np.flatnonzero(done), None)
        rewards = outcome.rewards
        on_device = torch.from_numpy(done).to(rewards.device)
        return Outcome(
            rewards=where_rows(on_device, rewards, 0.0),
            terminated=outcome.terminated & ~done,
            truncated=outcome.truncated & ~done,
        )

    def _reset_same_step(self, info: dict[str, Any]) -> dict[str, Any]:
        """Put the final observations and infos aside, as copies, and start the ended rows anew."""
        ended = self._episodes.done.copy()
        final_observations = self._output.final_observations(self._observation, ended)
        self._runner.start(np.flatnonzero(ended), None)
        all_rows = np.ones(self.num_envs, dtype=bool)
        new_info = self._info(all_rows, successes=~all_rows)
        return with_final(new_info, info, final_observations, ended)

    def _info(
        self, mask: Bool[np.ndarray, " n"], successes: Bool[np.ndarray, " n"]
    ) -> dict[str, Any]:
        """Return the infos of the rows in a mask; reset and step give the same keys and types."""
        episodes = self._episodes
        info: dict[str, Any] = {}
        if self._output.has_texts:
            info["prompt"] = episodes.prompts.copy()
        if self._runner.has_potential:
            info["potential"], info["success"] = self._runner.potential_and_success()
            info["is_success"] = successes.copy()
        info["world_fault"] = episodes.fault.copy()
        if self._runner.measures_self_consistency:
            info["self_consistency_error"] = episodes.self_consistency_error.copy()
        return with_masks(info, mask)

    def _observation(self, rows: Int[np.ndarray, " r"] | None = None) -> Any:
        """Return what is observed of all rows, or of some, a copy."""
        observed = self._episodes.observed
        if rows is not None:
            observed = observed[torch.from_numpy(rows).to(observed.device)]
        if self.observation == "state":
            known = self._episodes.states if rows is None else None
            observed = self._backend.readout(observed) if known is None else known
        return self._output.observations(observed)

    def _frames(self) -> np.ndarray[Any, Any]:
        frames = self._backend.frames_of(self._episodes.observed)
        return frames.cpu().numpy()

    def _show_if_human(self) -> None:
        if self.render_mode != "human":
            return
        if self._window is None:
            self._window = Window(f"streamdit_gym {self.world_spec.name}")
        self._window.show(tile(self._frames()), fps=self.world_spec.fps)

    def _check_open(self) -> None:
        if self.closed:
            raise NotReadyError("the environment is closed", remedy="make a new one")

    def _check_ready(self, call: str) -> None:
        self._check_open()
        if not self._ready:
            raise NotReadyError(f"{call} before reset", remedy="call reset() first")

    def _check_may_step(self) -> None:
        self._check_ready("step")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._episodes.done.any():
            raise NotReadyError(
                "step of a finished environment",
                given=f"rows {np.flatnonzero(self._episodes.done).tolist()}",
                remedy="reset(options={'reset_mask': mask}) first",
            )
