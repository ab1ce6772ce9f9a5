"""The generated world behind an environment: one batched evaluation moves all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from streamdit_gym.checks import check_int, check_prompt, shown
from streamdit_gym.envs.backend import Frames, Latents, Reading, read_latents
from streamdit_gym.errors import ArgumentError, PartitionError, ShapeError
from streamdit_gym.model.precision import precision
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.saved import REMEDY, check_keys
from streamdit_gym.stream.session import ENTRIES, Session
from streamdit_gym.threads import choose_threads
from streamdit_gym.world import World

# Entries of a session that are rows of the prompt table.
PROMPT_ENTRIES = ("reference_prompts", "buffer_prompts")


@dataclass(frozen=True)
class NewStreams:
    """Streams that have just started.

    Attributes:
        session: the streams.
        latents: of their newest frames.
        reading: what is observed of them, if it is known already.
    """

    session: Session
    latents: Float[Tensor, "b 1 c g g"]
    reading: Reading | None = None


class GeneratedBackend:
    """Frames from a World.

    Args:
        world: the world.
        engine: moves its streams, one frame per action, so c = 1; it holds no stream's state, so
            backends may share it.
        rows: number of environments.
        common_noise: give every row the same noise at every reset, for paired comparisons.
        observe_latents: return latents instead of frames, and decode none.
        use_warm_pool: start a stream of every frame in the world's bank at the first reset, and
            copy all new streams from these. On a GPU starting one stream takes as long as starting
            hundreds, and in a large batch some row ends in every step. Only where streams start
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
        common_noise: bool = False,
        observe_latents: bool = False,
        use_warm_pool: bool = False,
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
        self.world = world
        self.spec = world.spec
        self.device = world.device
        self.latency_frames = partition.latency_frames
        self._rows = rows
        self._engine = engine
        self._common_noise = common_noise
        self._observe_latents = observe_latents
        self._threads = threads
        self._session: Session | None = None
        self._compiled_readout = engine.compiled(world.readout)
        self._compiled_decode = engine.compiled(world.codec.decode)
        self._use_warm_pool = use_warm_pool and engine.starts_without_noise
        self._warm_pool: NewStreams | None = None

    def reset(
        self, rows: Sequence[int], rngs: Sequence[np.random.Generator], init: Frames | None
    ) -> Reading:
        """Start rows from the caller's frames (n f h w 3), or from real frames of the bank."""
        is_first = self._session is None
        if is_first and self.device.type == "cpu":
            choose_threads(self._trial_step(), threads=self._threads)
        new = self._start_from_bank(rngs) if init is None else self._start_from_frames(init, rngs)
        if self._session is None or len(rows) == self._rows:
            return self._replace_session(new.session, new.latents, is_first=is_first)
        self._session.write(rows, new.session)
        return self._read(new.latents) if new.reading is None else new.reading

    def _replace_session(
        self, session: Session, latents: Float[Tensor, "b 1 c g g"], *, is_first: bool
    ) -> Reading:
        self._engine.warm(session)
        if is_first and self._engine.compiles:
            self._read(latents)  # compiles
            self._read(latents)  # records; what follows replays
        self._session = session
        return self._read(latents)

    def _start_from_bank(self, rngs: Sequence[np.random.Generator]) -> NewStreams:
        bank = self.world.starts.latents
        numbers = [int(rng.integers(len(bank))) for rng in rngs]
        noise = self._noise(rngs)
        if not self._use_warm_pool:
            return self._start(bank[numbers][:, None], noise)
        if self._warm_pool is None:
            streams = self._start(bank[:, None], Noise.seeded(range(len(bank))))
            self._warm_pool = replace(streams, reading=self._read(bank[:, None]))
        pool = self._warm_pool
        assert pool.reading is not None
        return NewStreams(
            session=pool.session.take(numbers, noise),
            latents=bank[numbers][:, None],
            reading=Reading(pool.reading.observed[numbers], pool.reading.scores[numbers]),
        )

    def _start_from_frames(self, frames: Frames, rngs: Sequence[np.random.Generator]) -> NewStreams:
        with torch.no_grad(), precision(self.device, False):
            latents = self.world.codec.encode(frames)
        return self._start(latents, self._noise(rngs))

    def _start(self, latents: Float[Tensor, "b f c g g"], noise: Noise) -> NewStreams:
        session = self._engine.new_session(latents, self._idle_prompts(latents), noise)
        return NewStreams(session=session, latents=latents[:, -1:])

    def _noise(self, rngs: Sequence[np.random.Generator]) -> Noise:
        if self._common_noise:
            return Noise.of([np.random.default_rng(0) for _ in rngs])
        return Noise.of(rngs)

    def _idle_prompts(self, latents: Float[Tensor, "b f c g g"]) -> Int[Tensor, "b f"]:
        return torch.full(latents.shape[:2], self._engine.idle)

    def _trial_step(self) -> Callable[[], object]:
        """Return a step of as many streams, with noise of their own, to measure its time."""
        sessions: list[Session] = []  # made at the first call: mostly none is needed

        def step() -> None:
            if not sessions:
                latents = self.world.starts.latents[:1, None].expand(self._rows, 1, -1, -1, -1)
                noise = Noise.seeded(range(self._rows))
                sessions.append(self._start(latents, noise).session)
            session = replace(sessions[0], noise=sessions[0].noise.to(self.device))
            self._engine.tick(session, torch.full((self._rows,), self._engine.idle))

        return step

    def step(self, prompts: list[str], actions: Sequence[int] | None) -> Reading:
        """Push every row's prompt and return the frames that became clean."""
        rows = self.world.table.rows(prompts)
        return self._read(self._engine.tick(self._open_session(), rows))

    def self_consistency_error(self) -> Float[Tensor, " n"]:
        """Denoise the newest frames once more; see `Engine.self_consistency_error`."""
        return self._engine.self_consistency_error(self._open_session())

    def save(self) -> Any:
        """Return a copy of the session, and the prompts that it names by their table rows.

        Another process has other rows.
        """
        state = self._open_session().state_dict()
        phrases = self.world.table.phrases
        return {**state, "phrases": {row: phrases[row] for row in _prompt_rows(state)}}

    def finite(self) -> Bool[Tensor, " n"]:
        """Return which rows' latents are finite."""
        return self._open_session().finite()

    def check(self, state: Any, finite: Bool[np.ndarray, " n"]) -> None:
        """Refuse what is no session of this kind, or names prompts that cannot be embedded here."""
        check_keys("a stream", state, (*ENTRIES, "phrases"))
        session = {name: state[name] for name in ENTRIES}
        self._open_session().check_state_dict(session, finite)
        phrases = _checked_phrases(state["phrases"])
        unknown = [row for row in _prompt_rows(state) if row not in phrases]
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
        phrases = state["phrases"]
        session = {name: state[name] for name in ENTRIES}
        rows_here = self.world.table.rows(list(phrases.values())).tolist()
        row_here = dict(zip(phrases, rows_here, strict=True))
        for name in PROMPT_ENTRIES:
            saved = state[name]
            rows = [row_here.get(row, row) for row in saved.flatten().tolist()]
            session[name] = torch.tensor(rows, dtype=saved.dtype).reshape(saved.shape)
        self._open_session().load_state_dict(session)

    def close(self) -> None:
        """Drop the session; the world may be shared and stays."""
        self._session = None
        self._warm_pool = None

    @torch.no_grad()
    def frames_of(self, observed: Frames | Latents) -> Frames:
        """Decode latents; frames are frames."""
        if not self._observe_latents:
            return observed
        with precision(self.device, self._engine.autocast):
            return self.world.codec.decode(observed[:, None])[:, 0]

    def readout(self, latents: Latents) -> Float[Tensor, "n o"]:
        """Return the world's readout of latents, in full precision."""
        with precision(self.device, False):
            return read_latents(self.world.readout, latents)

    def _open_session(self) -> Session:
        assert self._session is not None
        return self._session

    @torch.no_grad()
    def _read(self, latents: Float[Tensor, "b 1 c g g"]) -> Reading:
        # New streams come in all numbers, for each of which something would be compiled anew.
        is_whole_batch = len(latents) == self._rows
        readout = self._compiled_readout if is_whole_batch else self.world.readout
        decode = self._compiled_decode if is_whole_batch else self.world.codec.decode
        # A single row's strides would tell a slice from a whole tensor.
        latents = latents.clone(memory_format=torch.contiguous_format)
        with precision(self.device, False):
            _, scores = readout(latents)
        scores = scores[:, 0].clone()
        if self._observe_latents:
            return Reading(latents[:, 0].float(), scores)
        with precision(self.device, self._engine.autocast):
            frames = decode(latents)[:, 0].clone()
        return Reading(frames, scores)


def _prompt_rows(state: dict[str, Any]) -> list[int]:
    """Return the prompt table's rows that a saved session names."""
    rows = torch.cat([state[name].flatten() for name in PROMPT_ENTRIES]).unique()
    return [row for row in rows.tolist() if row >= 0]


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
