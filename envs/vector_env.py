"""The environment: many streams behind `gymnasium.vector.VectorEnv`, one batched evaluation per step.

Takes: actions.  Gives: frames, rewards, endings.  Knows nothing of: how frames are made (see backends.py).

The same class serves a generated world and its twin; only the backend differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from streamdit_gym.buffer.partition import Partition
from streamdit_gym.checks import check_bool, check_choice, check_int, check_real, check_str
from streamdit_gym.device import check_device
from streamdit_gym.envs.backends import MAX_ABS_READOUT, Backend, GeneratedBackend, RowByRow
from streamdit_gym.envs.checks import (
    MAX_ENVS,
    MAX_PENALTY,
    MAX_STEPS,
    check_actions,
    check_autoreset_mode,
    check_dtype,
    check_init,
    check_mask,
    check_options,
    check_seeds,
    check_world,
)
from streamdit_gym.envs.copies import constructor_and_state, rebuild
from streamdit_gym.envs.faults import find_faults, without
from streamdit_gym.envs.prompt_space import PromptSpace
from streamdit_gym.envs.simulator_backend import SimulatorBackend
from streamdit_gym.envs.state import EnvState, StateLimits, StateOwner
from streamdit_gym.envs.time_limit import with_horizon
from streamdit_gym.envs.window import Window, tile
from streamdit_gym.envs.worlds import shared_world, simulator_of
from streamdit_gym.errors import NotReadyError, ShapeError
from streamdit_gym.presets import partition as named_partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.world import World

MAX_THREADS = 1024


class StreamDiTVectorEnv(VectorEnv[Any, Any, Any]):
    """A batch of environments over one world.

    Args:
        num_envs: number of environments, 1 to 65,536.
        world: name, folder or Hub id of the world (real: name of a world with a twin).
        real: whether the twin, the real simulator, makes the frames.
        task: one of the world's tasks.
        horizon: steps until truncation; None: the task's own.
        max_episode_steps: the same, under Gymnasium's name, for `make_vec`. (`gymnasium.make` keeps that name for a wrapper of its
            own, which can only shorten episodes: give it ``horizon``.)
        observation: ``"frame"``; ``"latent"`` for what the world itself works on, float32 (c, g, g): nothing is decoded, and the
            reference simulator's frames are encoded; or ``"state"`` for the world's readout of these latents, float32: its
            state names, then its score names, standardised and clamped to -10 to 10.
        eyes: of a reference simulator with latents or states, the world whose encoder and readout these are; None: its own.
        partition: ``"reactive"``, ``"pipelined"`` or a short form such as ``"K4N2c1s1"``.
        autoreset_mode: Gymnasium's: ``"NEXT_STEP"`` (an ended row is reset by the next step, which ignores its action),
            ``"SAME_STEP"`` (by the step that ends it; no row is wasted) or ``"DISABLED"``.
        actions: ``"menu"`` for `Discrete`, ``"text"`` for prompts of up to 200 characters, of which a world remembers
            about 4,000 short ones.
        pending_actions: whether observations also hold the actions begun but not yet visible (partitions with N > 1).
        disagreement_penalty: look at every frame twice; how far the looks lie apart is told in ``info["disagreement"]``, and so many times
            as much is taken off the reward. None: one look.
        prompt_scope: ``"chunk"`` or ``"buffer"``: which frames of the buffer a new prompt steers.
        common_noise: give every row the same noise, for paired comparisons.
        deterministic: evaluate row by row, so that results depend on neither batch size nor row, to the bit (slower).
        output: ``"numpy"`` or ``"torch"`` (observations, rewards and endings stay tensors on the device; no texts in infos).
        device: where the world runs, by name or as a `torch.device`.
        dtype: ``"float32"`` or ``"bfloat16"``.
        compile: compile the networks, on a GPU with CUDA graphs; the first reset then takes a minute or so.
        render_mode: ``"rgb_array"``, ``"human"`` or None.
        threads: with which torch computes on a CPU. None: at the first reset it is measured, once a process, whether one is clearly
            faster than all, as where other programs run; OMP_NUM_THREADS and `torch.set_num_threads` overrule that, too.

    Raises:
        ArgumentError: for an argument of the wrong type, not finite or out of range.
        UnknownNameError: for a name that does not exist, with the nearest one.
        PartitionError: if the partition does not fit the model.
        BundleError: if the world's files are broken.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 10, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]
    _spec: EnvSpec | None = None

    def __init__(
        self,
        num_envs: int = 1,
        *,
        world: str = "PushT",
        real: bool = False,
        task: str = "push",
        horizon: int | None = None,
        max_episode_steps: int | None = None,
        observation: Literal["frame", "latent", "state"] = "frame",
        eyes: str | None = None,
        partition: str | Partition = "reactive",
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        actions: Literal["menu", "text"] = "menu",
        pending_actions: bool = False,
        disagreement_penalty: float | None = None,
        prompt_scope: Literal["chunk", "buffer"] = "chunk",
        common_noise: bool = False,
        deterministic: bool = False,
        output: Literal["numpy", "torch"] = "numpy",
        device: str | torch.device = "cpu",
        dtype: Literal["float32", "bfloat16"] | torch.dtype = "float32",
        compile: bool = False,
        render_mode: str | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        num_envs = check_int("num_envs", num_envs, least=1, most=MAX_ENVS)
        threads = None if threads is None else check_int("threads", threads, least=1, most=MAX_THREADS)
        world = check_world("world", world)
        eyes = None if eyes is None else check_world("eyes", eyes)
        task = check_str("task", task)
        if horizon is not None:
            horizon = check_int("horizon", horizon, least=1, most=MAX_STEPS)
        if max_episode_steps is not None:
            max_episode_steps = check_int("max_episode_steps", max_episode_steps, least=1, most=MAX_STEPS)
        check_choice("observation", observation, ("frame", "latent", "state"))
        check_choice("actions", actions, ("menu", "text"))
        check_choice("prompt_scope", prompt_scope, ("chunk", "buffer"))
        check_choice("output", output, ("numpy", "torch"))
        if render_mode is not None:
            check_choice("render_mode", render_mode, self.metadata["render_modes"])
        if disagreement_penalty is not None:
            disagreement_penalty = check_real("disagreement_penalty", disagreement_penalty, least=-MAX_PENALTY, most=MAX_PENALTY)
        real = check_bool("real", real)
        pending_actions = check_bool("pending_actions", pending_actions)
        common_noise = check_bool("common_noise", common_noise)
        deterministic = check_bool("deterministic", deterministic)
        compile = check_bool("compile", compile)
        device = check_device(device)
        narrow = check_dtype(dtype) == "bfloat16"
        self.autoreset_mode = check_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs, self.render_mode, self.output, self.actions = num_envs, render_mode, output, actions
        self._backend: Backend
        cut = named_partition(partition)
        latent = observation != "frame"  # a state is read off latents
        if real and actions == "text":
            raise ShapeError(
                "the real simulator takes menu actions only",
                given="actions='text'",
                allowed="actions='menu'",
                remedy="drop actions='text'",
            )
        if real:
            make, starts = simulator_of(world)
            encoder = shared_world(eyes or world, "cpu") if latent else None
            self._backend = SimulatorBackend(make.spec, make, num_envs, starts, encoder)
            version = f"{make.spec.name} simulator {make.spec.simulator}"
            content = version if encoder is None else f"{version} encoded by {encoder.digest}"
        else:
            loaded = shared_world(world, device)
            content = loaded.digest
            encoder = loaded if latent else None
            idle = int(loaded.table.rows([loaded.spec.menu[0][0]])[0])
            model = loaded.model_for(cut)
            engine = Engine(model, loaded.table, cut, idle=idle, prompt_scope=prompt_scope, autocast=narrow, compile=compile)

            def generated(rows: int) -> GeneratedBackend:
                stock = loaded.device.type == "cuda" and rows > 1
                return GeneratedBackend(
                    loaded,
                    engine,
                    rows,
                    common_noise=common_noise,
                    latent=latent,
                    stock=stock,
                    threads=threads,
                )

            self._backend = RowByRow([generated(1) for _ in range(num_envs)]) if deterministic else generated(num_envs)
        self._owner = StateOwner(
            world=content,
            partition="real" if real else str(cut),
            observation=observation,
            num_envs=num_envs,
            deterministic=deterministic and not real,
        )
        spec = self._backend.spec
        self.world_spec, self.task = spec, spec.tasks[check_choice("task", task, spec.tasks)]
        self.metadata["render_fps"] = spec.fps
        self.horizon = next(steps for steps in (horizon, max_episode_steps, self.task.horizon) if steps is not None)
        self._potential = spec.score_names.index(self.task.potential)
        self._success = spec.score_names.index(self.task.success)
        self._observed, self._penalty = observation, disagreement_penalty
        self._doubts = np.zeros(num_envs)
        self._make_spaces(pending_actions, encoder)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._done = np.zeros(num_envs, dtype=bool)
        self._fault = np.zeros(num_envs, dtype=bool)
        self._seen = torch.from_numpy(np.zeros((num_envs, *self._seen_space.shape), self._seen_space.dtype)).to(self._backend.device)
        self._scores = torch.zeros(num_envs, len(spec.score_names), dtype=torch.float32, device=self._backend.device)
        self._prompts = np.array([""] * num_envs, dtype=object)
        self._pending = np.zeros((num_envs, self.latency_frames), dtype=np.int64)
        self._ready = False
        self._window: Window | None = None

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

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start all environments, or those of a mask.

        Args:
            seed: environment i is seeded with ``seed + i``; or one seed (or None) per environment.
            options: ``init``: the caller's own first frames, uint8 (h, w, 3), (frames, h, w, 3) or (envs, frames, h, w, 3),
                oldest first; ``reset_mask``: bool (num_envs,), which environments to reset. Others are ignored.

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
            raise NotReadyError("the first reset must be of all environments", given="reset_mask", remedy="call reset() first")
        rows = np.flatnonzero(mask)
        init = check_init(options.get("init"), rows, self.num_envs, self.world_spec.size, self._backend.takes_init)
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
            NotReadyError: before the first reset, after close, or for a finished environment in mode DISABLED.
            ActionError: if an action is outside the action space; nothing is changed then.
        """
        self._check_open()
        if not self._ready:
            raise NotReadyError("step before reset", remedy="call reset() first")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._done.any():
            raise NotReadyError(
                "step of a finished environment", given=f"rows {np.flatnonzero(self._done).tolist()}",
                remedy="reset(options={'reset_mask': mask}) first",
            )  # fmt: skip
        chosen = check_actions(actions, self.num_envs, len(self.world_spec.menu), self.actions)
        spoken = [self.world_spec.menu[a][0] if isinstance(a, int) else a for a in chosen]
        menu = None if self.actions == "text" else list(chosen)
        skipped = self._done.copy() if self.autoreset_mode is AutoresetMode.NEXT_STEP else np.zeros(self.num_envs, dtype=bool)

        before, last_seen = self._scores, self._seen
        self._seen, self._scores = self._backend.step(spoken, menu)
        self._prompts = np.array(spoken, dtype=object)
        if self.latency_frames and menu is not None:
            self._pending = np.concatenate([self._pending[:, 1:], np.array(menu)[:, None]], axis=1)
        self._steps += 1
        success = self._scores[:, self._success]
        rewards = self.task.reward(self._scores[:, self._potential] - before[:, self._potential], success)
        rewards = rewards.to(torch.float32)  # a bonus has torch's default dtype
        if self._penalty is not None:
            doubts = self._backend.disagreement()
            rewards = rewards - self._penalty * doubts
            self._doubts = doubts.cpu().numpy().astype(np.float64)
        fault = find_faults(self._backend.finite(), self._scores, rewards)
        both = torch.stack([success > self.task.threshold, fault])  # together: a GPU is waited for once
        terminated, self._fault = both.cpu().numpy()
        terminated = terminated & ~self._fault
        truncated = (self._steps >= self.horizon) & ~terminated | self._fault
        if self._fault.any():
            self._seen = without(self._fault, self._seen, last_seen)
            self._scores = without(self._fault, self._scores, before)
            rewards = without(self._fault, rewards, 0.0)
            self._doubts[self._fault] = 0
        if skipped.any():  # their action was ignored: this step is their reset
            rows = np.flatnonzero(skipped)
            self._begin(rows, None)
            terminated, truncated = terminated & ~skipped, truncated & ~skipped
            rewards = torch.where(torch.from_numpy(skipped).to(rewards.device), torch.zeros_like(rewards), rewards)
        self._done = terminated | truncated
        info = self._info(np.ones(self.num_envs, dtype=bool), terminated)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._done.any():
            info = self._reset_same_step(info)
        if self.render_mode == "human":
            self._show()
        if self.output == "torch":
            device = self._backend.device
            ends = torch.from_numpy(terminated).to(device), torch.from_numpy(truncated).to(device)
            return self._observation(), rewards, *ends, info
        return self._observation(), rewards.cpu().numpy().astype(np.float64), terminated, truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return the current frames, one (h, w, 3) uint8 array per environment, or show them in a window."""
        self._check_open()
        if not self._ready:
            raise NotReadyError("render before reset", remedy="call reset() first")
        if self.render_mode == "human":
            self._show()
            return None
        return tuple(self._backend.picture(self._seen).cpu().numpy().copy())

    def save_state(self) -> dict[str, Any]:
        """Return a copy of everything that the next frames depend on.

        It is made of tensors and plain numbers and texts: `torch.save` it, and `torch.load` reads it as safely as weights (where there is
        no such device as the environments', with ``map_location="cpu"``). A twin that is far in its episode begins again where it is
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

        The state may come from another process, another device, and another folder with the same world. Everything is checked before
        anything changes.

        Raises:
            ShapeError: if the state is of another world, partition or number of environments, or is cut.
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
        size = self.world_spec.size
        self._seen_space: spaces.Box[Any] = spaces.Box(0, 255, (size, size, 3), np.uint8)
        if encoder is not None:
            latent = encoder.codec.channels, encoder.codec.grid, encoder.codec.grid
            self._seen_space = spaces.Box(-np.inf, np.inf, latent, np.float32)
        observed = self._seen_space
        if self._observed == "state" and encoder is not None:
            shape = (encoder.heads.out.out_features,)
            observed = spaces.Box(-MAX_ABS_READOUT, MAX_ABS_READOUT, shape, np.float32)
        self.single_observation_space: Any = observed
        self._with_pending = pending
        if pending:
            if not self.latency_frames or self.actions == "text":
                raise ShapeError(
                    "no menu action is ever pending here",
                    given="pending_actions=True",
                    allowed="generated worlds, partitions with N > 1, actions='menu'",
                    remedy="drop it",
                )
            count = spaces.MultiDiscrete([len(self.world_spec.menu)] * self.latency_frames)
            self.single_observation_space = spaces.Dict({self._observed: observed, "pending": count})
        menu = spaces.Discrete(len(self.world_spec.menu))
        self.single_action_space = PromptSpace() if self.actions == "text" else menu
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _begin(self, rows: np.ndarray, init: torch.Tensor | None) -> None:
        frames, scores = self._backend.reset([int(r) for r in rows], [self._rngs[r] for r in rows], init)
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
        return {**fresh, "final_obs": final, "_final_obs": ended, "final_info": info, "_final_info": ended.copy()}

    def _final_observations(self, rows: np.ndarray) -> np.ndarray:
        """Return the observations of some rows, each on its own, and None for the others."""
        final = np.array([None] * self.num_envs, dtype=object)
        last = self._observation(rows)
        for i, row in enumerate(rows):
            is_dict = isinstance(last, dict)
            final[row] = {key: value[i].copy() for key, value in last.items()} if is_dict else last[i].copy()
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
            info["disagreement"] = self._doubts.copy()
        return info | {f"_{key}": mask.copy() for key in info}

    def _observation(self, rows: np.ndarray | None = None) -> Any:
        """Return what is observed, a copy, of all rows or of some."""
        seen: Any = self._seen if rows is None else self._seen[torch.from_numpy(rows).to(self._seen.device)]
        if self._observed == "state":
            seen = self._backend.readout(seen)
        seen = seen.clone() if self.output == "torch" else to_host(seen)
        if not self._with_pending:
            return seen
        pending = self._pending.copy() if rows is None else self._pending[rows]
        return {self._observed: seen, "pending": torch.from_numpy(pending).to(seen.device) if self.output == "torch" else pending}

    def _show(self) -> None:
        if self._window is None:
            self._window = Window(f"streamdit_gym {self.world_spec.name}")
        self._window.show(tile(self._backend.picture(self._seen).cpu().numpy()), fps=self.world_spec.fps)

    def _check_open(self) -> None:
        if self.closed:
            raise NotReadyError("the environment is closed", remedy="make a new one")


def to_host(seen: torch.Tensor) -> np.ndarray:
    """Return a copy as an array; off a GPU in pinned memory, which torch keeps for the next one when nobody holds this one any more.

    The system hands a large new array out page by page, which takes longer than the copying. Pinned memory is dear: of arrays that you
    keep for long, keep copies.
    """
    host = torch.empty(seen.shape, dtype=seen.dtype, pin_memory=seen.is_cuda)
    return host.copy_(seen).numpy()
