"""What stands behind an environment: its protocol, and the generated world; `simulator_backend` has
the other one.

Takes: rows to reset, prompts or actions to take.  Gives: frames and scores.  Knows nothing of:
    rewards, episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from streamdit_gym.checks import check_int, check_prompt, shown
from streamdit_gym.definition import WorldSpec
from streamdit_gym.errors import ArgumentError, PartitionError, ShapeError
from streamdit_gym.model.precision import precision
from streamdit_gym.model.readout import Readout
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.saved import REMEDY, check_keys, check_list
from streamdit_gym.stream.session import ENTRIES, Session
from streamdit_gym.threads import choose_threads
from streamdit_gym.world import World

Frames = UInt8[Tensor, "n h w 3"]
Latents = Float[Tensor, "n c g g"]
Seen = Frames | Latents  # what agents observe
Scores = Float[Tensor, "n m"]
MAX_ABS_READOUT = 10.0  # of standardised numbers, and of the logits of successes
NAMED = ("reference_prompts", "buffer_prompts")  # what of a session are rows of the prompt table


@torch.no_grad()
def readout(heads: Readout, latents: Latents) -> Float[Tensor, "n o"]:
    """Return what a world reads off latents: its states and scores, standardised and clamped."""
    return heads.raw(latents[:, None])[:, 0].float().clamp(-MAX_ABS_READOUT, MAX_ABS_READOUT)


class Backend(Protocol):
    """What an environment needs of whatever makes its frames; rows are environments."""

    spec: WorldSpec
    latency_frames: int
    device: torch.device
    takes_init: bool

    def reset(
        self, rows: Sequence[int], rngs: Sequence[np.random.Generator], init: Frames | None
    ) -> tuple[Seen, Scores]:
        """Start some rows anew and return what is first seen of them, and scores;
        `init` holds the caller's own frames.
        """

    def step(self, prompts: list[str], actions: Sequence[int] | None) -> tuple[Seen, Scores]:
        """Move every row by one frame; `actions` is None when prompts are free text."""

    def self_consistency_error(self) -> Float[Tensor, " n"]:
        """Return how far every row's newest frame is from what it would be at a second look;
        0 where there is no second look.
        """

    def picture(self, seen: Seen) -> Frames:
        """Return what was seen as frames."""

    def readout(self, latents: Latents) -> Float[Tensor, "n o"]:
        """Return what is read off latents that this backend handed out."""

    def finite(self) -> Bool[Tensor, " n"]:
        """Return which rows can go on: those whose numbers are finite."""

    def save(self) -> Any:
        """Return a copy of every row's state."""

    def check(self, state: Any, finite: Bool[np.ndarray, " n"]) -> None:
        """Refuse what `save` did not return; rows of `finite` must hold finite numbers only."""

    def restore(self, state: Any) -> None:
        """Go back to a state that `check` let pass: all rows, or none if there is an error."""

    def close(self) -> None:
        """Free what is held."""


class GeneratedBackend:
    """Frames from a World: one batched evaluation for all rows.

    Args:
        world: the world.
        engine: moves its streams, one frame per action, so c = 1; holds no stream's state, so
            backends may share it.
        rows: number of environments.
        common_noise: give every row the same noise at every reset, for paired comparisons.
        latent: hand out latents instead of frames, and decode none.
        stock: begin a stream of every frame in the world's bank at the first reset, and take all
            new streams from these. On a GPU beginning one stream takes as long as beginning
            hundreds, and in a large batch some row ends in every step. Only where streams begin
            alike whatever their noise (N = 1, or a model without noise).
        threads: of torch on a CPU; None: see `choose_threads`.

    Raises:
        PartitionError: if the engine's partition does not fit.
    """

    def __init__(
        self,
        world: World,
        engine: Engine,
        rows: int,
        *,
        common_noise: bool,
        latent: bool,
        stock: bool = False,
        threads: int | None = None,
    ) -> None:
        partition = engine.partition
        if partition.chunk_frames != 1:
            raise PartitionError(
                "an environment makes one frame per action",
                given=str(partition),
                allowed="c = 1",
                remedy="use the Engine directly for longer chunks",
            )
        self.takes_init = True
        self.world, self.spec, self.device = world, world.spec, world.device
        self.latency_frames = partition.latency_frames
        self._rows, self._engine, self._common_noise, self._latent = (
            rows,
            engine,
            common_noise,
            latent,
        )
        self._threads = threads
        self._session: Session | None = None
        self._score, self._decode = (
            engine.compiled(world.readout),
            engine.compiled(world.codec.decode),
        )
        self._stocked = stock and engine.starts_without_noise
        self._stock: tuple[Session, Seen, Scores] | None = None

    def reset(
        self, rows: Sequence[int], rngs: Sequence[np.random.Generator], init: Frames | None
    ) -> tuple[Seen, Scores]:
        """Start rows from the caller's frames (n f h w 3),
        or from real first frames of the bank.
        """
        if self._session is None and self.device.type == "cpu":
            choose_threads(self._rehearsal(), threads=self._threads)
        bank, drawn = self.world.starts.latents, []
        if init is None:
            drawn = [int(rng.integers(len(bank))) for rng in rngs]
            latents = bank[drawn][:, None]
        else:
            with torch.no_grad(), precision(self.device, False):
                latents = self.world.codec.encode(init)
        noise = Noise.of([np.random.default_rng(0) for _ in rngs] if self._common_noise else rngs)
        if drawn and self._stocked and self._stock is None:
            begun = self._engine.new_session(
                bank[:, None], self._idle(bank[:, None]), Noise.seeded(range(len(bank)))
            )
            self._stock = begun, *self._read(bank[:, None])
        if drawn and self._stock is not None:
            session = self._stock[0].take(drawn, noise)
        else:
            session = self._engine.new_session(latents, self._idle(latents), noise)
        if self._session is None or len(rows) == self._rows:
            self._engine.warm(session)
            for _ in range(2 if self._session is None and self._engine.compiles else 0):
                self._read(latents[:, -1:])  # compile, record; what follows replays
            self._session = session
            return self._read(latents[:, -1:])
        self._session.write(rows, session)
        if drawn and self._stock is not None:
            return self._stock[1][drawn], self._stock[2][drawn]
        return self._read(latents[:, -1:])

    def _idle(self, latents: Float[Tensor, "b f c g g"]) -> Int[Tensor, "b f"]:
        return torch.full(latents.shape[:2], self._engine.idle)

    def _rehearsal(self) -> Callable[[], object]:
        """Return a tick of as many streams, with noise of their own, that nobody sees."""
        sessions: list[
            Session
        ] = []  # begun when first needed: mostly the number of threads is settled

        def tick() -> None:
            if not sessions:
                latents = self.world.starts.latents[:1, None].expand(self._rows, 1, -1, -1, -1)
                noise = Noise.seeded(range(self._rows))
                sessions.append(self._engine.new_session(latents, self._idle(latents), noise))
            session = replace(sessions[0], noise=sessions[0].noise.to(self.device))
            self._engine.tick(session, torch.full((self._rows,), self._engine.idle))

        return tick

    def step(self, prompts: list[str], actions: Sequence[int] | None) -> tuple[Seen, Scores]:
        """Push every row's prompt and return the frames that became clean."""
        assert self._session is not None
        return self._read(self._engine.tick(self._session, self.world.table.rows(prompts)))

    def self_consistency_error(self) -> Float[Tensor, " n"]:
        """Look a second time; see `Engine.self_consistency_error`."""
        assert self._session is not None
        return self._engine.self_consistency_error(self._session)

    def save(self) -> Any:
        """Return a copy of the session, and the prompts that it names by their rows in the table:
        another process has other rows.
        """
        assert self._session is not None
        state = self._session.state_dict()
        rows = torch.cat([state[name].flatten() for name in NAMED]).unique().tolist()
        return {
            **state,
            "phrases": {row: self.world.table.phrases[row] for row in rows if row >= 0},
        }

    def finite(self) -> Bool[Tensor, " n"]:
        """Return which rows' latents are finite."""
        assert self._session is not None
        return self._session.finite()

    def check(self, state: Any, finite: Bool[np.ndarray, " n"]) -> None:
        """Refuse what is no session of this kind, or names prompts that cannot be embedded here."""
        assert self._session is not None
        check_keys("a stream", state, (*ENTRIES, "phrases"))
        self._session.check_state_dict({name: state[name] for name in ENTRIES}, finite)
        phrases = _checked_phrases(state["phrases"])
        rows = torch.cat([state[name].flatten() for name in NAMED]).unique().tolist()
        unknown = [row for row in rows if row >= 0 and row not in phrases]
        if unknown:
            raise ShapeError(
                "a saved state names prompts that it does not tell",
                given=f"rows {unknown}",
                allowed=f"rows {sorted(phrases)}",
                remedy=REMEDY,
            )
        self.world.table.rows(list(phrases.values()))

    def restore(self, state: Any) -> None:
        """Go back to a saved session."""
        assert self._session is not None
        phrases = state["phrases"]
        session = {name: state[name] for name in ENTRIES}
        here = self.world.table.rows(list(phrases.values())).tolist()
        row_here = dict(zip(phrases, here, strict=True))
        for name in NAMED:
            saved = state[name]
            rows = [row_here.get(row, row) for row in saved.flatten().tolist()]
            session[name] = torch.tensor(rows, dtype=saved.dtype).reshape(saved.shape)
        self._session.load_state_dict(session)

    def close(self) -> None:
        """Drop the session; the world may be shared and stays."""
        self._session = self._stock = None

    @torch.no_grad()
    def picture(self, seen: Seen) -> Frames:
        """Decode latents; frames are frames."""
        if not self._latent:
            return seen
        with precision(self.device, self._engine.autocast):
            return self.world.codec.decode(seen[:, None])[:, 0]

    def readout(self, latents: Latents) -> Float[Tensor, "n o"]:
        """Return what the world reads off latents, in full precision."""
        with precision(self.device, False):
            return readout(self.world.readout, latents)

    @torch.no_grad()
    def _read(self, latents: Float[Tensor, "b 1 c h w"]) -> tuple[Seen, Scores]:
        steps = (
            len(latents) == self._rows
        )  # rows begun anew come in all numbers, for each of which something would be compiled
        latents = latents.clone(
            memory_format=torch.contiguous_format
        )  # a single row's strides would tell a slice from a whole
        with precision(self.device, False):
            _, scores = (self._score if steps else self.world.readout)(latents)
        scores = scores[:, 0].clone()
        if self._latent:
            return latents[:, 0].float(), scores
        with precision(self.device, self._engine.autocast):
            return (self._decode if steps else self.world.codec.decode)(latents)[
                :, 0
            ].clone(), scores


class RowByRow:
    """Backends of one row each, side by side: the batch-independent path."""

    def __init__(self, backends: list[GeneratedBackend]) -> None:
        self.backends = backends
        self.spec, self.latency_frames, self.device = (
            backends[0].spec,
            backends[0].latency_frames,
            backends[0].device,
        )
        self.takes_init = backends[0].takes_init

    def picture(self, seen: Seen) -> Frames:
        """Return frames, as any row's backend would."""
        return self.backends[0].picture(seen)

    def readout(self, latents: Latents) -> Float[Tensor, "n o"]:
        """Return what the world reads off latents, row by row."""
        return torch.cat([self.backends[0].readout(row) for row in latents.split(1)])

    def reset(
        self, rows: Sequence[int], rngs: Sequence[np.random.Generator], init: Frames | None
    ) -> tuple[Seen, Scores]:
        """Start rows one after the other."""
        parts = [
            self.backends[row].reset([0], [rng], None if init is None else init[i : i + 1])
            for i, (row, rng) in enumerate(zip(rows, rngs, strict=True))
        ]
        return torch.cat([f for f, _ in parts]), torch.cat([s for _, s in parts])

    def step(self, prompts: list[str], actions: Sequence[int] | None) -> tuple[Seen, Scores]:
        """Step rows one after the other."""
        self.backends[0].world.table.rows(
            prompts
        )  # a prompt that cannot be embedded stops every row, not some
        parts = [
            backend.step([prompt], None)
            for backend, prompt in zip(self.backends, prompts, strict=True)
        ]
        return torch.cat([f for f, _ in parts]), torch.cat([s for _, s in parts])

    def self_consistency_error(self) -> Float[Tensor, " n"]:
        """Look a second time, row by row."""
        return torch.cat([backend.self_consistency_error() for backend in self.backends])

    def save(self) -> Any:
        """Return every row's state."""
        return [backend.save() for backend in self.backends]

    def finite(self) -> Bool[Tensor, " n"]:
        """Return which rows' latents are finite."""
        return torch.cat([backend.finite() for backend in self.backends])

    def check(self, state: Any, finite: Bool[np.ndarray, " n"]) -> None:
        """Refuse what is no list of one session for each row."""
        rows = check_list("backend", state, len(self.backends))
        for row, (backend, saved) in enumerate(zip(self.backends, rows, strict=True)):
            backend.check(saved, finite[row : row + 1])

    def restore(self, state: Any) -> None:
        """Go back to saved states."""
        for backend, saved in zip(self.backends, state, strict=True):
            backend.restore(saved)

    def close(self) -> None:
        """Close every row."""
        for backend in self.backends:
            backend.close()


def _checked_phrases(phrases: Any) -> dict[int, str]:
    """Return the prompts of a saved state by their rows there.

    Raises:
        ArgumentError: if they are something else, or no prompts.
    """
    if not isinstance(phrases, dict):
        raise ArgumentError(
            "phrases of a saved state cannot be used",
            given=shown(phrases),
            allowed="a dictionary of rows to prompts",
            remedy=REMEDY,
        )
    for row, text in phrases.items():
        check_int("a prompt's row in a saved state", row, least=0)
        check_prompt(text)
    return phrases
