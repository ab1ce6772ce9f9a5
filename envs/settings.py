"""The settings of an environment, checked before anything is loaded.

Takes: what `gymnasium.make` and `make_vec` were given.  Gives: the same in plain types, or a clear
    error.
Knows nothing of: models, simulators.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from gymnasium.vector import AutoresetMode

from streamdit_gym.checks import check_choice, check_fields, check_str
from streamdit_gym.device import check_device
from streamdit_gym.envs.argument_checks import check_autoreset_mode, check_dtype, check_world
from streamdit_gym.errors import ShapeError, UnknownArgumentError
from streamdit_gym.presets import partition as named_partition
from streamdit_gym.stream.partition import Partition

MAX_ENVS = 65_536
MAX_STEPS = 10**9
MAX_PENALTY = 1e6
MAX_THREADS = 1024
RENDER_MODES = ("rgb_array", "human")


@dataclass(frozen=True, kw_only=True)
class EnvSettings:
    """What an environment is made of.

    Attributes:
        num_envs: number of environments, 1 to 65,536.
        world: name, folder or Hub id of the world (real: name of a world with a reference
            simulator).
        real: whether the reference simulator makes the frames.
        task: one of the world's tasks.
        horizon: steps until truncation; None: the task's own.
        max_episode_steps: the same, under Gymnasium's name, for `make_vec`. (`gymnasium.make` keeps
            that name for a wrapper of its own, which can only shorten episodes: give it
            ``horizon``.)
        observation: ``"frame"``; ``"latent"`` for what the world itself works on, float32 (c, g,
            g): nothing is decoded, and the reference simulator's frames are encoded; or ``"state"``
            for the world's readout of these latents, float32: its state names, then its score
            names, standardised and clamped to -10 to 10.
        eyes: of a reference simulator with latents or states, the world whose encoder and readout
            these are; None: its own.
        partition: ``"reactive"``, ``"pipelined"`` or a short form such as ``"K4N2c1s1"``.
        autoreset_mode: Gymnasium's: ``"NEXT_STEP"`` (an ended row is reset by the next step, which
            ignores its action), ``"SAME_STEP"`` (by the step that ends it; no row is wasted) or
            ``"DISABLED"``.
        actions: ``"menu"`` for `Discrete`, ``"text"`` for prompts of up to 200 characters, of which
            a world remembers about 4,000 short ones.
        pending_actions: whether observations also hold the actions begun but not yet visible
            (partitions with N > 1).
        self_consistency_penalty: draw every frame twice; how far the two lie apart is told in
            ``info["self_consistency_error"]``, and so many times as much is taken off the reward.
            None: once.
        prompt_scope: ``"chunk"`` or ``"buffer"``: which frames of the buffer a new prompt steers.
        common_noise: give every row the same noise, for paired comparisons.
        deterministic: evaluate row by row, so that results depend on neither batch size nor row, to
            the bit (slower).
        output: ``"numpy"`` or ``"torch"`` (observations, rewards and endings stay tensors on the
            device; no texts in infos).
        device: where the world runs, by name or as a `torch.device`.
        dtype: ``"float32"`` or ``"bfloat16"``, by name or as torch's own object.
        compile: compile the networks, on a GPU with CUDA graphs; the first reset then takes a
            minute or so.
        render_mode: ``"rgb_array"``, ``"human"`` or None.
        threads: with which torch computes on a CPU. None: at the first reset it is measured, once a
            process, whether one is clearly faster than all, as where other programs run;
            OMP_NUM_THREADS and `torch.set_num_threads` overrule that, too.

    Raises:
        ArgumentError: for a value of the wrong type, not finite or out of range.
        UnknownNameError: for a name that does not exist, with the nearest one.
        PartitionError: if the partition cannot be read.
        ShapeError: for settings that do not go together.
    """

    num_envs: int = 1
    world: str = "PushT"
    real: bool = False
    task: str = "push"
    horizon: int | None = None
    max_episode_steps: int | None = None
    observation: Literal["frame", "latent", "state"] = "frame"
    eyes: str | None = None
    partition: str | Partition = "reactive"
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP
    actions: Literal["menu", "text"] = "menu"
    pending_actions: bool = False
    self_consistency_penalty: float | None = None
    prompt_scope: Literal["chunk", "buffer"] = "chunk"
    common_noise: bool = False
    deterministic: bool = False
    output: Literal["numpy", "torch"] = "numpy"
    device: str | torch.device = "cpu"
    dtype: Literal["float32", "bfloat16"] | torch.dtype = "float32"
    compile: bool = False
    render_mode: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={
                "num_envs": (1, MAX_ENVS),
                "horizon": (1, MAX_STEPS),
                "max_episode_steps": (1, MAX_STEPS),
                "threads": (1, MAX_THREADS),
            },
            reals={"self_consistency_penalty": (-MAX_PENALTY, MAX_PENALTY)},
            bools=("real", "pending_actions", "common_noise", "deterministic", "compile"),
        )
        check_str("task", self.task)
        check_choice("observation", self.observation, ("frame", "latent", "state"))
        check_choice("actions", self.actions, ("menu", "text"))
        check_choice("prompt_scope", self.prompt_scope, ("chunk", "buffer"))
        check_choice("output", self.output, ("numpy", "torch"))
        if self.render_mode is not None:
            check_choice("render_mode", self.render_mode, RENDER_MODES)
        self._keep("world", check_world("world", self.world))
        if self.eyes is not None:
            self._keep("eyes", check_world("eyes", self.eyes))
        self._keep("device", check_device(self.device))
        self._keep("dtype", check_dtype(self.dtype))
        self._keep("autoreset_mode", check_autoreset_mode(self.autoreset_mode))
        self._keep("partition", named_partition(self.partition))
        if self.real and self.actions == "text":
            raise ShapeError(
                "the real simulator takes menu actions only",
                given="actions='text'",
                allowed="actions='menu'",
                remedy="drop actions='text'",
            )

    @classmethod
    def of(cls, **given: Any) -> EnvSettings:
        """Return settings by name.

        Raises:
            UnknownArgumentError: for a name that there is not, with the nearest one; else as the
                class.
        """
        names = {field.name for field in fields(cls)}
        for name in given:
            if name not in names:
                raise UnknownArgumentError.of(name, names)
        return cls(**given)

    def _keep(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
