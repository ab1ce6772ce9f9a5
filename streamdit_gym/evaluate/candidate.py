"""What is evaluated, as the evaluator sees it: frames and task scores.

Anything that generates frames can be evaluated, the reference simulator included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from tqdm import tqdm

from streamdit_gym.actions import SpokenBox, action_numbers
from streamdit_gym.definition import WorldSpec
from streamdit_gym.errors import PartitionError, StreamDiTError
from streamdit_gym.presets import partition_for
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.world import World

Frames = UInt8[np.ndarray, "e f h w 3"]
TaskScores = Float[np.ndarray, "e f m"]
Latents = Float[np.ndarray, "e f ..."]
# numbers of a menu, or values of a box
Actions = Int[np.ndarray, "e s"] | Float[np.ndarray, "e s d"]
# texts, or values of a box
Prompts = Sequence[Sequence[str]] | Float[np.ndarray, "e s d"]
CPU_BATCH = 64  # streams at once on a CPU: of 400 each takes 1.3 to 1.6 times as long
MIN_FRAMES_FOR_BAR = 32


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What a world reads off transitions.

    Attributes:
        rewards: the environment's own reward of each step.
        ends: probability that the step ended the episode.
    """

    rewards: Float[np.ndarray, "e s"]
    ends: Float[np.ndarray, "e s"]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Generated frames and what the world's readouts say of them.

    Attributes:
        frames: the new frames.
        scores: task scores of each.
        outcomes: of the steps to them; None: the world reads none, or nobody asked.
    """

    frames: Frames
    scores: TaskScores
    outcomes: Outcomes | None = None


class Candidate(Protocol):
    """What can be evaluated."""

    @property
    def spec(self) -> WorldSpec:
        """What world it claims to be."""

    @property
    def partition_name(self) -> str:
        """How it streams, for people."""

    @property
    def latency_frames(self) -> int:
        """Frames in flight when a prompt arrives; `roll_out` leaves them out."""

    def roll_out(
        self, context: Frames, prompts: Prompts, seed: int = 0, actions: Actions | None = None
    ) -> Rollout:
        """Go on from real frames.

        Args:
            context: real frames.
            prompts: for each episode, what was prompted before every frame but the first: first
                what led to the context's frames, then what to generate. There are as many new
                frames as prompts beyond the context.
            seed: row i draws its noise from seed + i.
            actions: those of the prompts, if rewards and ends of the new steps are asked for.
        """

    def reconstruct(self, frames: Frames) -> Frames:
        """Return real frames, encoded and decoded."""

    def latents(self, frames: Frames) -> Latents:
        """Return frames, real or generated, as the world's own encoder sees them."""

    def read(self, frames: Frames) -> TaskScores:
        """Return the task scores that the world's readout gives to real frames."""

    def read_outcomes(self, frames: Frames, actions: Actions) -> Outcomes | None:
        """Return rewards and ends that the world reads off real transitions; None: it cannot."""


class WorldCandidate:
    """A trained world as the evaluator sees it.

    Args:
        world: the world.
        partition: how to stream; one frame a chunk.
        extra_latency: idle frames before the first prompt, besides the partition's own N - 1. With
            as many, the teacher of a longer buffer is as late as its student, and their scores can
            be compared.

    Raises:
        PartitionError: if a chunk has more than one frame, the partition does not fit the model, or
            `extra_latency` is negative.
    """

    def __init__(
        self, world: World, partition: str | Partition = "reactive", extra_latency: int = 0
    ) -> None:
        if extra_latency < 0:
            raise PartitionError(
                "a stream cannot react before a prompt arrives",
                given=extra_latency,
                allowed="extra latency of 0 or more",
                remedy="extra_latency=0",
            )
        self.world = world
        self.partition = partition_for(world, partition)
        self.extra_latency = extra_latency
        if self.partition.chunk_frames != 1:
            raise PartitionError(
                "the evaluator compares action by action",
                given=str(self.partition),
                allowed="c = 1",
                remedy="choose a partition with c1",
            )
        model = world.model_for(self.partition)
        self.idle = world.idle_prompt
        self.engine = Engine(model, world.prompts, self.partition, idle=self.idle)

    @property
    def spec(self) -> WorldSpec:
        """The world's spec."""
        return self.world.spec

    @property
    def partition_name(self) -> str:
        """The partition's short form."""
        if not self.extra_latency:
            return str(self.partition)
        return f"{self.partition}, {self.extra_latency} frames later"

    @property
    def latency_frames(self) -> int:
        """See `Candidate.latency_frames`."""
        return self.partition.latency_frames + self.extra_latency

    @torch.no_grad()
    def roll_out(
        self, context: Frames, prompts: Prompts, seed: int = 0, actions: Actions | None = None
    ) -> Rollout:
        """See `Candidate.roll_out`; late frames are shifted back to the prompts they follow."""
        batch = CPU_BATCH if self.world.device.type == "cpu" else len(prompts)
        parts = []
        for start in range(0, len(prompts), batch):
            rows = slice(start, start + batch)
            part_actions = None if actions is None else actions[rows]
            part = self._roll_out(context[rows], prompts[rows], seed + start, part_actions)
            parts.append(part)
        outcomes = [part.outcomes for part in parts if part.outcomes is not None]
        return Rollout(
            frames=np.concatenate([part.frames for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            outcomes=_joined(outcomes) if outcomes else None,
        )

    def _roll_out(
        self, context: Frames, prompts: Prompts, seed: int, actions: Actions | None
    ) -> Rollout:
        world = self.world
        episodes = len(prompts)
        rows = _prompt_rows(world, prompts)
        known = context.shape[1] - 1
        context_rows = torch.cat([self._idle_rows(episodes, 1), rows[:, :known]], 1)
        noise = Noise.seeded(range(seed, seed + episodes))
        newest = _encode(world, context)
        session = self.engine.start(newest, context_rows, noise)
        latency = self.latency_frames
        before = self._idle_rows(episodes, self.extra_latency)
        after = self._idle_rows(episodes, latency - self.extra_latency)
        steps = torch.cat([before, rows[:, known:], after], 1).unbind(1)
        bar = tqdm(
            steps,
            desc="roll out",
            unit="frame",
            leave=False,
            mininterval=1.0,
            disable=len(steps) < MIN_FRAMES_FOR_BAR,
        )
        frames = []
        scores = []
        outcomes = []
        for index, step_rows in enumerate(bar):
            latents = self.engine.tick(session, step_rows)
            if index < latency:
                continue
            frames.append(_decode(world, latents))
            scores.append(_read(world, latents))
            if actions is not None:
                step_actions = actions[:, known + index - latency]
                outcomes.append(_read_outcomes(world, newest[:, -1], latents[:, -1], step_actions))
            newest = latents
        return Rollout(
            frames=np.concatenate(frames, 1),
            scores=np.concatenate(scores, 1),
            outcomes=_stacked(outcomes),
        )

    def _idle_rows(self, episodes: int, frames: int) -> torch.Tensor:
        return self.idle.expand(episodes, frames, *self.idle.shape)

    @torch.no_grad()
    def reconstruct(self, frames: Frames) -> Frames:
        """See `Candidate.reconstruct`."""
        decoded = []
        for episode in frames:
            latents = _encode(self.world, episode[None])
            decoded.append(_decode(self.world, latents))
        return np.concatenate(decoded)

    @torch.no_grad()
    def latents(self, frames: Frames) -> Latents:
        """See `Candidate.latents`."""
        encoded = [_encode(self.world, episode[None]) for episode in frames]
        return np.concatenate([episode.float().cpu().numpy() for episode in encoded])

    @torch.no_grad()
    def read(self, frames: Frames) -> TaskScores:
        """See `Candidate.read`."""
        scores = []
        for episode in frames:
            latents = _encode(self.world, episode[None])
            scores.append(_read(self.world, latents))
        return np.concatenate(scores)

    @torch.no_grad()
    def read_outcomes(self, frames: Frames, actions: Actions) -> Outcomes | None:
        """See `Candidate.read_outcomes`."""
        episodes = []
        for episode, episode_actions in zip(frames, actions, strict=True):
            latents = _encode(self.world, episode[None])[0]
            outcomes = _read_outcomes(self.world, latents[:-1], latents[1:], episode_actions)
            if outcomes is None:
                return None
            episodes.append(outcomes)
        return Outcomes(
            rewards=np.stack([episode.rewards for episode in episodes]),
            ends=np.stack([episode.ends for episode in episodes]),
        )


def teacher_of(
    student: WorldCandidate, world: World, partition: str | Partition = "reactive"
) -> WorldCandidate:
    """Return a student's teacher as a candidate with the student's latency.

    Their scores can then be compared.

    Args:
        student: what is compared with the teacher.
        world: the teacher.
        partition: how the teacher streams.

    Raises:
        StreamDiTError: if it is another kind of world.
        PartitionError: if it is later than its student, or has more than one frame in a chunk.
    """
    if world.spec != student.spec:
        raise StreamDiTError(
            "no teacher of this world",
            given=f"{world.spec.name} for {student.spec.name}",
            allowed="a world with the same menu, state and tasks",
            remedy="name the world that the student was distilled from",
        )
    own_latency = partition_for(world, partition).latency_frames
    extra_latency = student.latency_frames - own_latency
    if extra_latency < 0:
        raise PartitionError(
            "a teacher later than its student",
            given=f"{-extra_latency} frames later",
            allowed="as late or sooner",
            remedy=(
                "evaluate the student with --set"
                f" extra_latency={student.extra_latency - extra_latency}"
            ),
        )
    return WorldCandidate(world, partition, extra_latency)


def action_prompts(spec: WorldSpec, actions: Actions) -> Prompts:
    """Return the environment's own prompts for episodes of actions."""
    if isinstance(spec.actions, SpokenBox):
        return actions
    phrases = [phrases[0] for phrases in spec.menu]
    return [[phrases[action] for action in episode] for episode in actions.tolist()]


def sampled_prompts(
    phrases: Sequence[Sequence[str]], actions: Int[np.ndarray, "e s"], seed: int = 0
) -> list[list[str]]:
    """Return random phrases for the actions of recorded episodes.

    Args:
        phrases: for every action, what to choose from.
        actions: of the episodes.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    return [[str(rng.choice(phrases[action])) for action in episode] for episode in actions]


def _prompt_rows(world: World, prompts: Prompts) -> torch.Tensor:
    """Return prompts as the engine takes them."""
    if isinstance(prompts, np.ndarray):
        return world.action_prompts(prompts)
    return torch.stack([world.prompts.of_texts(list(episode)) for episode in prompts])


def _encode(world: World, frames: Frames) -> torch.Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(frames))
    return world.codec.encode(pixels.to(world.device))


def _decode(world: World, latents: torch.Tensor) -> Frames:
    pixels = world.codec.decode(latents)
    return pixels.cpu().numpy()


def _read(world: World, latents: torch.Tensor) -> TaskScores:
    _, scores = world.readout(latents)
    return scores.cpu().numpy()


def _read_outcomes(
    world: World, before: torch.Tensor, after: torch.Tensor, actions: np.ndarray
) -> Outcomes | None:
    """Return rewards and ends of single transitions."""
    if world.transitions is None:
        return None
    numbers = torch.from_numpy(action_numbers(world.spec.actions, actions))
    rewards, end_logits = world.transitions(before, after, numbers.to(world.device))
    return Outcomes(rewards=rewards.cpu().numpy(), ends=end_logits.sigmoid().cpu().numpy())


def _stacked(steps: Sequence[Outcomes | None]) -> Outcomes | None:
    """Return the outcomes of episodes from those of their steps."""
    outcomes = [step for step in steps if step is not None]
    if not outcomes:
        return None
    return Outcomes(
        rewards=np.stack([step.rewards for step in outcomes], 1),
        ends=np.stack([step.ends for step in outcomes], 1),
    )


def _joined(parts: Sequence[Outcomes]) -> Outcomes:
    return Outcomes(
        rewards=np.concatenate([part.rewards for part in parts]),
        ends=np.concatenate([part.ends for part in parts]),
    )
