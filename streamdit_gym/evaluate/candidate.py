"""What is judged, and what it is judged against.

Takes: real frames and what was said.  Gives: frames.  Knows nothing of: scores.

The judge sees a world only as frames and rewards, so that anything that makes frames can be judged,
the twin included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from tqdm import trange

from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import WorldSpec
from streamdit_gym.errors import PartitionError, StreamDiTError
from streamdit_gym.presets import partition as named_partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.world import World

Frames = UInt8[np.ndarray, "e f h w 3"]
Said = Sequence[Sequence[str]]
ROWS = 64  # streams at once on a CPU: of 400 each takes 1.3 to 1.6 times as long


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Generated frames and the scores that the world itself gave them."""

    frames: Frames
    scores: Float[np.ndarray, "e f m"]


class Candidate(Protocol):
    """What can be judged."""

    @property
    def spec(self) -> WorldSpec:
        """What world it claims to be."""

    @property
    def partition_name(self) -> str:
        """How it streams, for people."""

    @property
    def latency_frames(self) -> int:
        """Frames already begun when something is said; `roll_out` leaves them out."""

    def roll_out(self, context: Frames, said: Said, seed: int = 0) -> Rollout:
        """Go on from real frames.

        Args:
            context: real frames.
            said: what was said before every frame but the first: first what led to the context's
                frames, then what to do; there are as many new frames as sayings left.
            seed: row i draws its noise from seed + i.
        """

    def reconstruct(self, frames: Frames) -> Frames:
        """Return real frames after the codec alone."""

    def read(self, frames: Frames) -> Float[np.ndarray, "e f m"]:
        """Return the scores that the world's head gives to real frames."""


class WorldCandidate:
    """A trained world as the judge sees it.

    Args:
        world: the world.
        partition: how to stream; one frame a chunk.
        late: idle frames between the real ones and what is said, besides the partition's own N - 1:
            with as many, the teacher of a longer buffer is as late as its student, and their scores
            can be compared.

    Raises:
        PartitionError: if a chunk has more than one frame, the partition does not fit the model, or
            `late` is negative.
    """

    def __init__(
        self, world: World, partition: str | Partition = "reactive", late: int = 0
    ) -> None:
        if late < 0:
            raise PartitionError(
                "a stream cannot obey before it is told",
                given=late,
                allowed="late of 0 or more",
                remedy="late=0",
            )
        self.world, self.partition, self.late = world, named_partition(partition), late
        if self.partition.chunk_frames != 1:
            raise PartitionError(
                "the judge compares action by action",
                given=str(self.partition),
                allowed="c = 1",
                remedy="choose a partition with c1",
            )
        self.idle = int(world.table.rows([world.spec.menu[0][0]])[0])
        self.engine = Engine(
            world.model_for(self.partition), world.table, self.partition, idle=self.idle
        )

    @property
    def spec(self) -> WorldSpec:
        """The world's spec."""
        return self.world.spec

    @property
    def partition_name(self) -> str:
        """The partition's short form."""
        return f"{self.partition}, {self.late} frames late" if self.late else str(self.partition)

    @property
    def latency_frames(self) -> int:
        """See `Candidate.latency_frames`."""
        return self.partition.latency_frames + self.late

    @torch.no_grad()
    def roll_out(self, context: Frames, said: Said, seed: int = 0) -> Rollout:
        """See `Candidate.roll_out`; late frames are shifted back,
        so that they match the sayings.
        """
        rows = ROWS if self.world.device.type == "cpu" else len(said)
        parts = [
            self._roll_out(context[i : i + rows], said[i : i + rows], seed + i)
            for i in range(0, len(said), rows)
        ]
        return Rollout(
            frames=np.concatenate([part.frames for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
        )

    def _roll_out(self, context: Frames, said: Said, seed: int) -> Rollout:
        world, engine, latency = self.world, self.engine, self.latency_frames
        rows = torch.stack([world.table.rows(list(line)) for line in said])
        known = context.shape[1] - 1
        born = torch.cat([torch.full((len(rows), 1), self.idle), rows[:, :known]], 1)
        session = engine.start(
            _encode(world, context), born, Noise.seeded(range(seed, seed + len(rows)))
        )
        idle = torch.full((len(rows), latency), self.idle)
        fresh = torch.cat([idle[:, : self.late], rows[:, known:], idle[:, self.late :]], 1)
        frames, scores = [], []
        for i in trange(
            fresh.shape[1],
            desc="roll out",
            unit="frame",
            leave=False,
            mininterval=1.0,
            disable=fresh.shape[1] < 32,
        ):
            clean = engine.tick(session, fresh[:, i])
            if i >= latency:
                frames.append(world.codec.decode(clean).cpu().numpy())
                scores.append(world.readout(clean)[1].cpu().numpy())
        return Rollout(frames=np.concatenate(frames, 1), scores=np.concatenate(scores, 1))

    @torch.no_grad()
    def reconstruct(self, frames: Frames) -> Frames:
        """See `Candidate.reconstruct`."""
        return np.concatenate(
            [
                self.world.codec.decode(_encode(self.world, row[None])).cpu().numpy()
                for row in frames
            ]
        )

    @torch.no_grad()
    def read(self, frames: Frames) -> Float[np.ndarray, "e f m"]:
        """See `Candidate.read`."""
        return np.concatenate(
            [self.world.readout(_encode(self.world, row[None]))[1].cpu().numpy() for row in frames]
        )


def teacher_of(
    student: WorldCandidate, world: World, partition: str | Partition = "reactive"
) -> WorldCandidate:
    """Return a student's teacher as a candidate that is as late as the student, so that their
    scores can be compared.

    Args:
        student: what is compared with it.
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
    late = student.latency_frames - named_partition(partition).latency_frames
    if late < 0:
        raise PartitionError(
            "a teacher later than its student",
            given=f"{-late} frames later",
            allowed="as late or sooner",
            remedy=f"judge the student with --late {student.late - late}",
        )
    return WorldCandidate(world, partition, late)


def _encode(world: World, frames: Frames) -> torch.Tensor:
    return world.codec.encode(torch.from_numpy(np.ascontiguousarray(frames)).to(world.device))


def prompts_of(
    spec: WorldSpec, shard: Shard, phrases: Sequence[Sequence[str]] | None = None, seed: int = 0
) -> list[list[str]]:
    """Return what was said in recorded episodes: the environment's own phrase for every action,
    or one drawn from `phrases`.
    """
    rng = np.random.default_rng(seed)
    if phrases is None:
        return [[spec.menu[a][0] for a in row] for row in shard.actions]
    return [[str(rng.choice(phrases[a])) for a in row] for row in shard.actions]
