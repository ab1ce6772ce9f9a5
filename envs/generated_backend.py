"""The generated world behind an environment: one batched evaluation moves all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from streamdit_gym.checks import check_int, check_prompt, shown
from streamdit_gym.definition import AnyTask, EnvironmentTask
from streamdit_gym.envs.backend import (
    Clips,
    Frames,
    Init,
    Latents,
    Reading,
    States,
    as_states,
    read_latents,
)
from streamdit_gym.envs.drawn_starts import DrawnStarts
from streamdit_gym.envs.transition_reader import TransitionReader
from streamdit_gym.errors import ArgumentError, PartitionError, ShapeError
from streamdit_gym.model.precision import precision
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.saved import REMEDY, check_keys
from streamdit_gym.stream.session import ENTRIES, PROMPT_ENTRIES, Session
from streamdit_gym.threads import choose_threads
from streamdit_gym.world import World


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
        observation: ``"frame"``, ``"latent"`` or ``"state"``; only frames are decoded.
        use_warm_pool: start a stream of every frame in the world's bank at the first reset, and
            copy all new streams from these. On a GPU starting one stream takes as long as starting
            hundreds, and in a large batch some row ends in every step. Only where streams start
            alike whatever their noise (N = 1, or a model without noise).
        threads: of torch on a CPU; None: see `choose_threads`.
        task: whose reward and end it tells, if they are the environment's own.

    Attributes:
        drawn_starts: draws starts where a reset asks for them; backends may share it.

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
        observation: str = "frame",
        use_warm_pool: bool = False,
        threads: int | None = None,
        task: AnyTask | None = None,
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
        self._observation = observation
        self._threads = threads
        is_own = isinstance(task, EnvironmentTask)
        self._transitions = TransitionReader(world) if is_own else None
        self._draws_ends = isinstance(task, EnvironmentTask) and task.draws_ends
        self.drawn_starts = DrawnStarts(world, engine)
        self._session: Session | None = None
        self._compiled_read = engine.sampler.compile(world.readout.read)
        self._compiled_decode = engine.sampler.compile(world.codec.decode)
        self._use_warm_pool = use_warm_pool and engine.starts_without_noise
        self._warm_pool: NewStreams | None = None

    def reset(
        self, rows: Sequence[int], rngs: Sequence[np.random.Generator], init: Init | None
    ) -> Reading:
        """Start rows from real frames of the bank, from the caller's, or from drawn ones."""
        session = self._session
        if session is None and self.device.type == "cpu":
            choose_threads(self._trial_step(), threads=self._threads)
        new = self._new_streams(rngs, init)
        if session is None or len(rows) == self._rows:
            return self._replace_session(new)
        session.write(rows, new.session)
        if new.reading is not None:
            return new.reading
        return self._read(new.latents)

    def _replace_session(self, new: NewStreams) -> Reading:
        engine = self._engine
        engine.warm(new.session)
        is_first = self._session is None
        if is_first and engine.compiles:
            self._read(new.latents)  # compiles
            self._read(new.latents)  # records; what follows replays
        self._session = new.session
        return self._read(new.latents)

    def _new_streams(self, rngs: Sequence[np.random.Generator], init: Init | None) -> NewStreams:
        if init is None:
            return self._start_from_bank(rngs)
        if isinstance(init, Tensor):
            return self._start_from_frames(init, rngs)
        return self._start_from_drawn_clips(rngs)

    def _start_from_bank(self, rngs: Sequence[np.random.Generator]) -> NewStreams:
        bank = self.world.starts.latents
        bank_size = len(bank)
        numbers = [int(rng.integers(bank_size)) for rng in rngs]
        noise = self._noise(rngs)
        latents = bank[numbers][:, None]
        if not self._use_warm_pool:
            return self._start(latents, noise)
        pool = self._get_warm_pool()
        reading = pool.reading
        assert reading is not None
        return NewStreams(
            session=pool.session.take(numbers, noise),
            latents=latents,
            reading=Reading(reading.observed[numbers], reading.scores[numbers]),
        )

    def _get_warm_pool(self) -> NewStreams:
        """Return a stream of every frame in the bank, started once."""
        if self._warm_pool is None:
            bank = self.world.starts.latents
            latents = bank[:, None]
            noise = Noise.seeded(range(len(bank)))
            streams = self._start(latents, noise)
            self._warm_pool = replace(streams, reading=self._read(latents))
        return self._warm_pool

    def _start_from_frames(self, frames: Clips, rngs: Sequence[np.random.Generator]) -> NewStreams:
        latents = self.world.encode(frames)
        noise = self._noise(rngs)
        return self._start(latents, noise)

    def _start_from_drawn_clips(self, rngs: Sequence[np.random.Generator]) -> NewStreams:
        noise = self._noise(rngs).to(self.device)
        drawn = self.drawn_starts.draw(noise)
        return self._start(drawn.latents, noise)

    def _start(self, latents: Float[Tensor, "b f c g g"], noise: Noise) -> NewStreams:
        engine = self._engine
        prompts = engine.idle_prompts(*latents.shape[:2])
        session = engine.start(latents, prompts, noise, warm=False)
        newest = latents[:, -1:]
        return NewStreams(session=session, latents=newest)

    def _noise(self, rngs: Sequence[np.random.Generator]) -> Noise:
        if self._common_noise:
            rngs = [np.random.default_rng(0) for _ in rngs]
        return Noise.of(rngs)

    def _trial_step(self) -> Callable[[], object]:
        """Return a step of as many streams, with noise of their own, to measure its time."""
        engine = self._engine
        idle_prompts = engine.idle_prompts(self._rows, 1)[:, 0]
        sessions: list[Session] = []  # made at the first call: mostly none is needed

        def step() -> None:
            if not sessions:
                sessions.append(self._trial_session())
            session = sessions[0]
            noise = session.noise.to(self.device)
            engine.tick(replace(session, noise=noise), idle_prompts)

        return step

    def _trial_session(self) -> Session:
        rows = self._rows
        bank = self.world.starts.latents
        latents = bank[:1, None].expand(rows, 1, -1, -1, -1)
        noise = Noise.seeded(range(rows))
        return self._start(latents, noise).session

    def step(self, prompts: list[str], actions: np.ndarray | None) -> Reading:
        """Push every row's prompt and return the frames that became clean."""
        session = self._open_session()
        world = self.world
        if actions is None:
            new_prompts = world.prompts.of_texts(prompts)
        else:
            new_prompts = world.action_prompts(actions)
        before = session.references[:, -1]
        latents = self._engine.tick(session, new_prompts)
        reading = self._read(latents)
        if self._transitions is None:
            return reading
        prompts_of_frames = session.reference_prompts[:, -1]
        rewards, ends = self._transitions.read(before, latents[:, 0], prompts_of_frames)
        if self._draws_ends:
            # a number from 0 to 1 of every stream's own sequence
            chance = torch.special.ndtr(session.noise.draw((1,))[:, 0])
            ends = (chance.to(ends) < ends).to(ends.dtype)
        return reading._replace(rewards=rewards, ends=ends)

    def self_consistency_error(self) -> Float[Tensor, " n"]:
        """Denoise the newest frames once more; see `Engine.self_consistency_error`."""
        session = self._open_session()
        return self._engine.self_consistency_error(session)

    def save(self) -> Any:
        """Return a copy of the session, and the prompts that it names by their table rows.

        Another process has other rows.
        """
        session = self._open_session()
        state = session.state_dict()
        phrases = self.world.table.phrases
        rows = _table_rows(state)
        return {**state, "phrases": {row: phrases[row] for row in rows}}

    def finite(self) -> Bool[Tensor, " n"]:
        """Return which rows' latents are finite."""
        session = self._open_session()
        return session.finite()

    def check(self, state: Any, finite: Bool[np.ndarray, " n"]) -> None:
        """Refuse what is no session of this kind, or names prompts that cannot be embedded here."""
        check_keys("a stream", state, (*ENTRIES, "phrases"))
        session = self._open_session()
        session.check_state_dict({name: state[name] for name in ENTRIES}, finite)
        phrases = _checked_phrases(state["phrases"])
        rows = _table_rows(state)
        unknown = [row for row in rows if row not in phrases]
        if unknown:
            raise ShapeError(
                "a saved state names prompts that it does not tell",
                given=f"rows {unknown}",
                allowed=f"rows {sorted(phrases)}",
                remedy=REMEDY,
            )
        self._rows_here(phrases)

    def restore(self, state: Any) -> None:
        """Go back to a saved session."""
        row_here = self._rows_here(state["phrases"])
        state_here = {name: state[name] for name in ENTRIES}
        for name in PROMPT_ENTRIES:
            saved_rows = state[name]
            rows = saved_rows.clone()
            for saved, here in row_here.items():
                rows[saved_rows == saved] = here
            state_here[name] = rows
        session = self._open_session()
        session.load_state_dict(state_here)

    def _rows_here(self, phrases: dict[int, str]) -> dict[int, int]:
        """Return the rows of a saved table's prompts in this one's, and embed what is new here."""
        texts = list(phrases.values())
        rows = self.world.table.rows(texts)
        return dict(zip(phrases, rows.tolist(), strict=True))

    def close(self) -> None:
        """Drop the session; the world may be shared and stays."""
        self._session = None
        self._warm_pool = None

    @torch.no_grad()
    def frames_of(self, observed: Frames | Latents) -> Frames:
        """Decode latents; frames are frames."""
        if self._observation == "frame":
            return observed
        frames = self.world.decode(observed[:, None], bfloat16=self._engine.autocast)
        return frames[:, 0]

    def readout(self, latents: Latents) -> States:
        """Return the world's readout of latents, in full precision."""
        with precision(self.device, False):
            return read_latents(self.world.readout, latents)

    def _open_session(self) -> Session:
        assert self._session is not None
        return self._session

    @torch.no_grad()
    def _read(self, latents: Float[Tensor, "b 1 c g g"]) -> Reading:
        # New streams come in all numbers, for each of which something would be compiled anew.
        if len(latents) == self._rows:
            read = self._compiled_read
            decode = self._compiled_decode
        else:
            read = self.world.readout.read
            decode = self.world.codec.decode
        # A single row's strides would tell a slice from a whole tensor.
        latents = latents.clone(memory_format=torch.contiguous_format)
        with precision(self.device, False):
            raw, _, scores = read(latents)
        scores = scores[:, 0].clone()
        if self._observation == "state":
            return Reading(latents[:, 0].float(), scores, as_states(raw))
        if self._observation == "latent":
            return Reading(latents[:, 0].float(), scores)
        with precision(self.device, self._engine.autocast):
            frames = decode(latents)
        return Reading(frames[:, 0].clone(), scores)


def _table_rows(state: dict[str, Any]) -> list[int]:
    """Return the prompt table's rows that a saved session names; positions name none."""
    entries = [state[name].flatten() for name in PROMPT_ENTRIES]
    if entries[0].is_floating_point():
        return []
    rows = torch.cat(entries).unique()
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
