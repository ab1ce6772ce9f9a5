"""The settings of an environment, checked before anything is loaded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict

import torch
from gymnasium.vector import AutoresetMode

from streamdit_gym.checks import check_choice, check_fields, check_int, check_str, shown
from streamdit_gym.device import check_device
from streamdit_gym.envs.argument_checks import (
    check_autoreset_mode,
    check_dtype,
    check_real_world,
    check_world,
)
from streamdit_gym.errors import ArgumentError, UnknownArgumentError
from streamdit_gym.presets import partition as named_partition
from streamdit_gym.stream.partition import Partition

MAX_ENVS = 65_536
MAX_STEPS = 10**9
MAX_THREADS = 1024
FORMER_OWN_ACTIONS = "menu"
RENDER_MODES = ("rgb_array", "human")


@dataclass(frozen=True, kw_only=True)
class BackendOptions:
    """How frames are computed and handed over; most environments need none of it.

    Attributes:
        dtype: ``"float32"`` or ``"bfloat16"``, by name or as torch's own object.
        compile: compile the networks, on a GPU with CUDA graphs; the first reset then takes a
            minute or so.
        deterministic: evaluate row by row, so that results depend on neither batch size nor row, to
            the bit (slower).
        common_noise: give every row the same noise, for paired comparisons.
        prompt_scope: ``"chunk"`` or ``"buffer"``: which frames of the buffer a new prompt steers.
        output: ``"numpy"`` or ``"torch"`` (observations, rewards and endings stay tensors on the
            device; no texts in infos).
        encoder: of a reference simulator with latents or states, the world whose encoder and
            readout these are; None: its own.
        threads: with which torch computes on a CPU. None: at the first reset it is measured, once a
            process, whether one is clearly faster than all, as where other programs run;
            OMP_NUM_THREADS and `torch.set_num_threads` overrule that, too.

    Raises:
        ArgumentError: for a value of the wrong type, or out of range.
        UnknownNameError: for a name that does not exist, with the nearest one.
    """

    dtype: Literal["float32", "bfloat16"] | torch.dtype = "float32"
    compile: bool = False
    deterministic: bool = False
    common_noise: bool = False
    prompt_scope: Literal["chunk", "buffer"] = "chunk"
    output: Literal["numpy", "torch"] = "numpy"
    encoder: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={"threads": (1, MAX_THREADS)},
            bools=("compile", "deterministic", "common_noise"),
        )
        object.__setattr__(self, "dtype", check_dtype(self.dtype))
        check_choice("prompt_scope", self.prompt_scope, ("chunk", "buffer"))
        check_choice("output", self.output, ("numpy", "torch"))
        if self.encoder is not None:
            object.__setattr__(self, "encoder", check_world("encoder", self.encoder))

    @classmethod
    def of(cls, options: Any) -> BackendOptions:
        """Return options, given as such or as a mapping of their names to values.

        Raises:
            UnknownArgumentError: for a name that there is not, with the nearest one.
            ArgumentError: if it is neither; else as the class.
        """
        if isinstance(options, BackendOptions):
            return options
        if not isinstance(options, Mapping):
            raise ArgumentError(
                "backend options cannot be used",
                given=f"{type(options).__name__} {shown(options)}",
                allowed="BackendOptions, or a dictionary of them",
                remedy="backend={'dtype': 'bfloat16'}",
            )
        _check_names(cls, options)
        return cls(**options)


class SingleEnvKeywords(TypedDict, total=False):
    """The settings of a single environment as keyword arguments; see `EnvSettings`."""

    world: str
    real: bool | str
    task: str | None
    horizon: int | None
    max_episode_steps: int | None
    observation: Literal["frame", "latent", "state"]
    partition: str | Partition
    actions: Literal["own", "text"]
    device: str | torch.device
    backend: BackendOptions | Mapping[str, Any]


class EnvKeywords(SingleEnvKeywords, total=False):
    """The settings of a batch, all but their number, as keyword arguments; see `EnvSettings`."""

    autoreset_mode: str | AutoresetMode
    render_mode: str | None


@dataclass(frozen=True, kw_only=True)
class EnvSettings:
    """What an environment is.

    Attributes:
        num_envs: number of environments, 1 to 65,536.
        world: name, folder or Hub id of the world (real: name of a world with a reference
            simulator, or the bundle that it is the reference of).
        real: whether the reference simulator makes the frames. Where the world's definition is not
            registered, the Python file that registers it, such as ``"my_world.py"``.
        task: one of the world's tasks; None: the first. A world without tasks has reward 0, and no
            step ends an episode.
        horizon: steps until truncation; None: the task's own, or 128. `make_vec` may call it
            ``max_episode_steps``. (`gymnasium.make` keeps that name for a wrapper of its own, which
            can only shorten episodes: give it ``horizon``.)
        observation: ``"frame"``; ``"latent"`` for what the world itself works on, float32 (c, g,
            g): nothing is decoded, and the reference simulator's frames are encoded; or ``"state"``
            for the world's readout of these latents, float32: its state names, then its score
            names, standardised and clamped to -10 to 10.
        partition: ``"reactive"``, ``"pipelined"`` or a short form such as ``"K4N2c1s1"``.
        autoreset_mode: Gymnasium's: ``"NEXT_STEP"`` (an ended row is reset by the next step, which
            ignores its action), ``"SAME_STEP"`` (by the step that ends it; no row is wasted) or
            ``"DISABLED"``.
        actions: ``"own"``: those of the world, `Discrete` for a menu and `Box` for continuous ones;
            ``"text"``: prompts of up to 200 characters, of which a world remembers about 4,000
            short ones. (``"menu"`` is the former name of ``"own"``.)
        device: where the world runs, by name or as a `torch.device`.
        render_mode: ``"rgb_array"``, ``"human"`` or None; without one `render` returns frames, too.
        backend: `BackendOptions`, or a dictionary of them.

    Raises:
        ArgumentError: for a value of the wrong type, not finite or out of range, or settings that
            do not go together.
        UnknownNameError: for a name that does not exist, with the nearest one.
        PartitionError: if the partition cannot be read.
    """

    num_envs: int = 1
    world: str = "PushT"
    real: bool | str = False
    task: str | None = None
    horizon: int | None = None
    observation: Literal["frame", "latent", "state"] = "frame"
    partition: str | Partition = "reactive"
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP
    actions: Literal["own", "text"] = "own"
    device: str | torch.device = "cpu"
    render_mode: str | None = None
    backend: BackendOptions = field(default_factory=BackendOptions)

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={"num_envs": (1, MAX_ENVS), "horizon": (1, MAX_STEPS)},
        )
        check_real_world(self.real)
        if self.task is not None:
            check_str("task", self.task)
        if self.actions == FORMER_OWN_ACTIONS:
            text = 'actions="menu" is now actions="own"; the old name goes with the next release'
            warnings.warn(text, DeprecationWarning, stacklevel=4)
            self._replace("actions", "own")
        check_choice("observation", self.observation, ("frame", "latent", "state"))
        check_choice("actions", self.actions, ("own", "text"))
        if self.render_mode is not None:
            check_choice("render_mode", self.render_mode, RENDER_MODES)
        if self.world or not self._needs_no_bundle():
            self._replace("world", check_world("world", self.world))
        self._replace("device", check_device(self.device))
        self._replace("autoreset_mode", check_autoreset_mode(self.autoreset_mode))
        named_partition(self.partition)  # raises where there is none
        self._replace("backend", BackendOptions.of(self.backend))
        if self.real and self.actions == "text":
            raise ArgumentError(
                "the real simulator takes no texts",
                given="actions='text'",
                allowed="actions='own'",
                remedy="drop actions='text'",
            )

    @classmethod
    def of(cls, **arguments: Any) -> EnvSettings:
        """Return settings by name.

        Raises:
            UnknownArgumentError: for a name that there is not, with the nearest one; else as the
                class.
        """
        max_episode_steps = arguments.pop("max_episode_steps", None)
        if max_episode_steps is not None:
            check_int("max_episode_steps", max_episode_steps, least=1, most=MAX_STEPS)
            if arguments.get("horizon") is None:
                arguments["horizon"] = max_episode_steps
        _check_names(cls, arguments)
        return cls(**arguments)

    def _needs_no_bundle(self) -> bool:
        """Whether the definition in `real` is all that is needed."""
        has_encoder = self.observation == "frame" or bool(BackendOptions.of(self.backend).encoder)
        return isinstance(self.real, str) and has_encoder

    def _replace(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def _check_names(settings: type[Any], arguments: Mapping[str, Any]) -> None:
    names = {field.name for field in fields(settings)}
    for name in arguments:
        if name not in names:
            raise UnknownArgumentError.of(str(name), names)
