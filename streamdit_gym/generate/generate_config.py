"""What to generate: the settings of a generated data set."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streamdit_gym.checks import check_choice, check_int, check_real, check_str
from streamdit_gym.definition import WorldSpec
from streamdit_gym.envs.drawn_starts import DRAWN
from streamdit_gym.errors import ArgumentError
from streamdit_gym.stream.clip import MICRO_STEPS
from streamdit_gym.stream.partition import MAX_VALUE

MAX_SHARDS = 100_000  # their numbers have five digits
MAX_BATCH = 65_536
MAX_STEPS = 1_000_000
MAX_SEED = 2**63 - 1
FRAME = "frame"
STREAMED = "reactive"


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """What to generate.

    Attributes:
        world: shipped name, folder or Hub id.
        episodes: how many in all.
        steps: frames per episode, beside the first.
        batch: episodes per shard; they are generated as one batch, so the data depend on it.
        seed: a shard's content depends on the seed and the shard's number alone.
        policy: see `load_policy`; or a file of prompts (``.jsonl``).
        task: whose reward is kept as *the* reward, and what a script does; empty: the world's
            first, if it has any.
        partition: how to stream.
        images: folder of start frames; None: the world's own bank.
        over: data set of clips to draw over (video to video); episode i is drawn over its clip i,
            from the clip's first frame.
        strength: how much of those clips is replaced by noise, above 0 to 1.
        clip: frames of a clip: episodes are drawn clip by clip, all frames of one at once, and not
            streamed; None: they are streamed. `ClipSampler` says how clips follow each other.
        clip_micro_steps: evaluations of the model for each clip.
        start: ``"frame"``: episodes begin with start frames; ``"drawn"``: the world draws their
            first frames, too.
        device: where the world runs.
        dtype: ``"float32"`` or ``"bfloat16"``.
        trust_agents: also use an agent that is only there as ``agent.zip``, which is code; it
            changes no data.
    """

    world: str = "PushT"
    episodes: int = 64
    steps: int = 64
    batch: int = 32
    seed: int = 0
    policy: str = "random"
    task: str = ""
    partition: str = STREAMED
    images: str | None = None
    over: str | None = None
    strength: float = 0.5
    clip: int | None = None
    clip_micro_steps: int = MICRO_STEPS
    start: str = FRAME
    device: str = "cpu"
    dtype: str = "float32"
    trust_agents: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ArgumentError: if a value is of the wrong type or out of range.
            UnknownNameError: if the precision is none.
        """
        check_int("batch", self.batch, least=1, most=MAX_BATCH)
        check_int("episodes", self.episodes, least=1, most=MAX_SHARDS * self.batch)
        check_int("steps", self.steps, least=1, most=MAX_STEPS)
        check_int("seed", self.seed, least=0, most=MAX_SEED)
        check_real("strength", self.strength, above=0.0, most=1.0)
        if self.clip is not None:
            check_int("clip", self.clip, least=1, most=MAX_VALUE)
        check_int("clip_micro_steps", self.clip_micro_steps, least=1, most=MAX_VALUE)
        check_choice("start", self.start, (FRAME, DRAWN))
        check_choice("dtype", self.dtype, ("float32", "bfloat16"))
        for name in ("world", "policy", "task", "partition", "device"):
            check_str(name, getattr(self, name))
        for name in ("images", "over"):
            if getattr(self, name) is not None:
                check_str(name, getattr(self, name))
        self._check_together()

    def _check_together(self) -> None:
        """Refuse settings of which one would be ignored."""
        has_own_start = self.images is not None or self.over is not None
        if self.start == DRAWN and has_own_start:
            raise ArgumentError(
                "episodes begin with drawn frames or with yours",
                given=f"start={DRAWN} with images or over",
                allowed="one of them",
                remedy=f"leave start={DRAWN} out",
            )
        if self.clip is not None and (self.over is not None or self.partition != STREAMED):
            raise ArgumentError(
                "a clip is drawn from noise, in a partition of its own",
                given=f"clip={self.clip} with over={self.over} or partition={self.partition}",
                allowed="one of them",
                remedy="leave clip out, or the other one",
            )

        if self.clip is None and self.clip_micro_steps != MICRO_STEPS:
            raise ArgumentError(
                "no clip is drawn",
                given=f"clip_micro_steps={self.clip_micro_steps} without clip",
                allowed="clip_micro_steps with clip",
                remedy="add clip=8, or leave clip_micro_steps out",
            )

    def for_world(self, spec: WorldSpec) -> GenerateConfig:
        """Return the same settings with the world's own task.

        Raises:
            UnknownNameError: if the world has no such task.
        """
        if self.task:
            check_choice("task", self.task, spec.tasks)
        return replace(self, task=self.task or spec.default_task)

    @property
    def num_shards(self) -> int:
        """The number of shards in all."""
        return -(-self.episodes // self.batch)

    def num_rows(self, shard: int) -> int:
        """Return the number of episodes in a shard."""
        return min(self.batch, self.episodes - shard * self.batch)
