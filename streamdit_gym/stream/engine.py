"""One tick: prompts in, clean latents out. The corridor that hands every noun on to the next room.

Takes: a model, a prompt table, a partition.  Gives: sessions, and their next frames.
Knows nothing of: pixels, actions, rewards.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from streamdit_gym.errors import PartitionError, ShapeError
from streamdit_gym.model.key_value_cache import KeyValueCache
from streamdit_gym.model.precision import precision
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.stream.flow import euler_step, point
from streamdit_gym.stream.moving_buffer import MovingBuffer
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.noise_levels import sampling_times
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.session import Session
from streamdit_gym.stream.views import cached_view, stream_view
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.types import Conditioning, PreparedPrompts

Latents = Float[Tensor, "b f c h w"]
# time to which a finished frame is taken back, when the model is asked how sure it is of it
SECOND_LOOK = 0.75
MAX_ABS_LATENT = 10.0  # beyond the latents of the worlds' starts (6.7, of unit variance) and noise; what went farther would feed on itself
Evaluate = Callable[..., tuple[Latents, KeyValueCache]]


def with_bfloat16_matrices(model: StreamDiT) -> StreamDiT:
    """Return a copy with the matrices already as autocast would make them, anew in every tick."""
    made = copy.deepcopy(model)
    for module in made.modules():
        if isinstance(module, nn.Linear):
            module.to(torch.bfloat16)
    return made


class Engine:
    """Moves streams: one model, many sessions.

    Args:
        model: the transformer.
        table: embedded prompts; sessions hold rows of it.
        partition: how the buffer is cut; K must not exceed the model's references.
        idle: prompt row with which the begun chunks of a new buffer are born.
        prompt_scope: ``"chunk"``: every frame keeps the prompt it was born with (ours);
            ``"buffer"``: a new prompt is given to every frame still in the buffer (the paper's).
        cached: keep keys and values of references. None: whenever the model can.
        autocast: run the model in bfloat16.
        compile: compile what a tick evaluates (with CUDA graphs on a GPU). `start` then takes a
            minute the first time, and again for another number of streams; ticks are as fast as
            ever after that.

    Raises:
        PartitionError: if the partition or the cache does not fit the model.
    """

    def __init__(
        self,
        model: StreamDiT,
        table: PromptTable,
        partition: Partition,
        *,
        idle: int = 0,
        prompt_scope: Literal["chunk", "buffer"] = "chunk",
        cached: bool | None = None,
        autocast: bool = False,
        compile: bool = False,
    ) -> None:
        config = model.config
        if not 1 <= partition.references <= config.references:
            raise PartitionError(
                "the partition does not fit the model",
                given=str(partition),
                allowed=f"1 to {config.references} references for streaming",
                remedy="choose K in that range",
            )
        can = config.causal and model.is_global and partition.references == config.references
        if cached and not can:
            raise PartitionError(
                "this model and partition cannot keep a cache",
                given=f"{partition}, causal={config.causal}, window={config.window}",
                allowed=f"causal, one window, K={config.references}",
                remedy="use cached=False",
            )
        model = with_bfloat16_matrices(model) if autocast else model
        self.model, self.table, self.partition, self.idle = model, table, partition, idle
        self.prompt_scope, self.autocast = prompt_scope, autocast
        self.cached = can if cached is None else cached
        self.device = next(model.parameters()).device
        self._prepared: PreparedPrompts | None = None
        self.compiles, self._warm = compile, 0
        self._evaluate: Evaluate = self.compiled(model.forward)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function compiled as ticks are, or as it is if they are not.

        On a GPU it is recorded as a CUDA graph: what it returns is overwritten when anything
        compiled is called next.
        """
        mode = "reduce-overhead" if self.device.type == "cuda" else None
        return torch.compile(function, mode=mode) if self.compiles else function

    @torch.no_grad()
    def start(self, latents: Latents, prompts: Int[Tensor, "b f"], noise: Noise) -> Session:
        """Start streams from real frames and fill their buffers, so that no agent pays for it.

        Args:
            latents: clean latents, oldest first; with fewer than K + c the first is repeated, of
                more the last are used.
            prompts: the prompts the frames were born with; -1 for none.
            noise: a sequence for each stream; the session draws from a copy.

        Returns:
            A session at rest: the buffer holds N - 1 begun chunks, born with the idle prompt.

        Raises:
            ShapeError: if the latents do not fit the model, or prompts or noise do not fit them.
        """
        session = self.begin(latents, prompts, noise)
        self.warm(session)
        return session

    def warm(self, session: Session) -> None:
        """Compile what a tick of so many streams evaluates, if ticks are compiled;
        the session is not changed.
        """
        if self.compiles and self._warm < len(
            session
        ):  # fewer are rows begun anew: no stream of ticks
            self._warm = len(session)
            rehearsal = replace(session, noise=session.noise.to(self.device))
            idle = torch.full((len(session),), self.idle)
            for _ in range(3):  # compile, record, replay
                self.tick(rehearsal, idle)

    @property
    def begins_alike(self) -> bool:
        """Whether streams of the same frames begin alike, whatever their noise:
        no reference gets any, and no chunk that is begun ahead.
        """
        config = self.model.config
        return config.reference_time == 1 and (
            self.partition.chunks == 1 or config.temperature == 0
        )

    @torch.no_grad()
    def begin(self, latents: Latents, prompts: Int[Tensor, "b f"], noise: Noise) -> Session:
        """Start streams as `start` does, with its arguments and errors, but compile nothing:
        for rows of other sessions.
        """
        config = self.model.config
        if (
            latents.ndim != 5
            or latents.shape[1] == 0
            or tuple(latents.shape[2:]) != (config.channels, config.grid, config.grid)
        ):
            raise ShapeError(
                "start latents do not fit the model",
                given=tuple(latents.shape),
                allowed=f"(b, f >= 1, {config.channels}, {config.grid}, {config.grid})",
                remedy="encode frames with the world's codec",
            )
        _check("prompts of the frames", prompts.shape, latents.shape[:2])
        _check("sequences of noise", (len(noise),), latents.shape[:1])
        keep = self.partition.references + self.partition.chunk_frames
        missing = max(0, keep - latents.shape[1])
        latents = torch.cat([latents[:, :1].expand(-1, missing, -1, -1, -1), latents], 1)[
            :, -keep:
        ].to(self.device)
        prompts = torch.cat([prompts[:, :1].expand(-1, missing), prompts], 1)[:, -keep:].to(
            self.device
        )
        partition, waiting = self.partition, self.partition.frames - self.partition.chunk_frames
        idle = torch.full((len(latents), waiting), self.idle, device=self.device)
        buffer = MovingBuffer(
            partition=partition,
            latents=latents[:, -1:].expand(-1, waiting, -1, -1, -1),
            prompts=idle,
        )
        session = Session(
            references=latents,
            reference_prompts=prompts,
            buffer=buffer,
            cache=None,
            noise=noise.to(self.device),
        )
        if config.reference_time < 1:
            session.references = self._as_reference(latents, session)
        if self.cached:
            session.cache = self._prefill(session)
        # as if the last frame stood still, each slot at its own time; no model has learned buffers
        # with fewer chunks
        if waiting:
            times = sampling_times(partition, 0)[:waiting].to(self.device).expand(len(latents), -1)
            session.buffer = buffer.with_latents(
                point(buffer.latents, self._noise(session, waiting), times)
            )
        return session

    @torch.no_grad()
    def tick(
        self,
        session: Session,
        prompts: Int[Tensor, " b"],
        over: Latents | None = None,
        strength: float = 1.0,
    ) -> Latents:
        """Move every stream by one chunk and return the chunk that has become clean.

        Args:
            session: the streams; changed in place.
            prompts: row of the prompt table each stream's new chunk is born with.
            over: video to video: clean latents of a chunk to draw over, instead of beginning with
                noise alone.
            strength: how much of that chunk is replaced by noise, above 0 (nothing changes) to 1
                (nothing stays).

        Raises:
            PartitionError: if frames are to be drawn over in a buffer of several chunks.
            ShapeError: if there is not one prompt for each stream, or one chunk to draw over, or
                the strength is out of range.
        """
        c, begun = self.partition.chunk_frames, 0.0
        _check("prompts", prompts.shape, (len(session),))
        if over is not None:
            begun = self._begun(strength)
            _check(
                "latents to draw over", over.shape, (len(session), c, *session.references.shape[2:])
            )
        born = prompts.to(self.device)[:, None].expand(-1, c)
        rested = session.buffer, session.noise.to(self.device)
        fresh = self._noise(session, c)
        if over is not None:
            fresh = point(over.to(fresh), fresh, self._times(fresh, begun))
        session.buffer = session.buffer.push(fresh, born)
        if self.prompt_scope == "buffer":
            buffer = session.buffer
            session.buffer = MovingBuffer(
                partition=self.partition,
                latents=buffer.latents,
                prompts=born[:, :1].expand(-1, buffer.latents.shape[1]).contiguous(),
            )
        try:
            session.cache = self._micro_steps(session, begun)
        except BaseException:
            session.buffer, session.noise = (
                rested  # whatever it was, Ctrl-C or a bad prompt: the streams can still go on
            )
            raise
        clean, prompts_of, session.buffer = session.buffer.pop()
        kept = self._as_reference(clean, session) if self.model.config.reference_time < 1 else clean
        session.references = torch.cat([session.references[:, c:], kept], 1)
        session.reference_prompts = torch.cat([session.reference_prompts[:, c:], prompts_of], 1)
        return clean

    @torch.no_grad()
    def self_consistency_error(self, session: Session) -> Float[Tensor, " b"]:
        """Return how far the model's second look at every stream's newest chunk is from its first:
        root mean square of latents for places.

        The chunk gets noise and is finished once more, with the same references and prompt. Where
        the model is sure, it comes out as it was. The streams are not touched, and neither is their
        noise, which the second look is given whatever the model's temperature.
        """
        k, c = self.partition.references, self.partition.chunk_frames
        before, newest = session.references[:, -(k + c) : -c], session.references[:, -c:]
        seeded = torch.Generator().manual_seed(0)
        noise = torch.randn(newest.shape[1:], generator=seeded, dtype=torch.float32)
        noise = noise.to(newest).expand_as(newest)
        times = self._times(newest, SECOND_LOOK)
        view = stream_view(
            before,
            self._reference_times(before),
            point(newest, noise, times),
            times,
            causal=self.model.config.causal,
            chunk_frames=c,
            limit=self.model.config.references,
        )
        conditioning = self.table.conditioning(session.reference_prompts[:, -(k + c) :])
        with self._precision():
            again, _ = self.model.predict_clean(view, conditioning, None, self._prompts())
        return (
            (again.float() - newest)[:, :, : self.model.config.spatial_channels]
            .square()
            .mean((1, 2, 3, 4))
            .sqrt()
        )

    def _begun(self, strength: float) -> float:
        """Return the time at which a chunk begins that is drawn over another."""
        if self.partition.chunks > 1:
            raise PartitionError(
                "frames are drawn over one chunk at a time",
                given=str(self.partition),
                allowed="N = 1",
                remedy='partition("reactive")',
            )
        if not 0 < strength <= 1:
            raise ShapeError(
                "strength out of range",
                given=strength,
                allowed="0 < strength <= 1",
                remedy="about 0.5",
            )
        return 1 - strength

    def _micro_steps(self, session: Session, begun: float = 0.0) -> KeyValueCache | None:
        """Take the s micro steps of a move, all chunks in lock-step, and return the cache brought
        up to date.

        Args:
            session: the streams.
            begun: time at which the newest chunk begins, if it is the only one.
        """
        partition, cache = self.partition, session.cache
        for k in range(partition.micro_steps):
            times = (
                (begun + (1 - begun) * sampling_times(partition, k))
                .to(self.device)
                .expand(len(session), -1)
            )
            if cache is None:
                found = self._velocity(session, times)
            else:
                fresh = partition.chunk_frames if k == 0 else 0
                found, grown = self._cached_velocity(session, cache, times, fresh)
                # later evaluations look at as many references as this one; the next tick's first
                # adds one chunk to K - 1
                cache = grown.last(partition.references - (k + 1 == partition.micro_steps))
                # what is compiled is laid out as a fresh session's, or the first tick would be
                # compiled, and on a GPU recorded, apart from the later ones; and there what a
                # recording returns is overwritten by the next
                cache = cache.each(_apart) if self.compiles else cache
            stepped = euler_step(
                session.buffer.latents,
                found,
                (1 - begun) / (partition.micro_steps * partition.chunks),
            )
            session.buffer = session.buffer.with_latents(
                stepped.clamp(-MAX_ABS_LATENT, MAX_ABS_LATENT)
            )
        return cache

    def _velocity(self, session: Session, times: Tensor) -> Latents:
        """Evaluate the model on references and buffer together."""
        k, buffer = self.partition.references, session.buffer
        references = session.references[:, -k:]
        view = stream_view(
            references,
            self._reference_times(references),
            buffer.latents,
            times,
            causal=self.model.config.causal,
            chunk_frames=self.partition.chunk_frames,
            limit=self.model.config.references,
        )
        index = torch.cat([session.reference_prompts[:, -k:], buffer.prompts], 1)
        with self._precision():
            found, _ = self._evaluate(
                view, self.table.conditioning(index), None, 0.0, self._prompts()
            )
        return found.float()

    def _cached_velocity(
        self, session: Session, cache: KeyValueCache, times: Tensor, fresh: int
    ) -> tuple[Latents, KeyValueCache]:
        """Evaluate the model on the newest references and the buffer, behind the cache."""
        buffer, last = session.buffer, session.references.shape[1] - fresh
        newest, before = session.references[:, last:], session.references[:, last - 1 : last]
        view = cached_view(
            newest,
            self._reference_times(newest),
            buffer.latents,
            times,
            before,
            self._reference_times(before),
            cached=cache.frames,
            chunk_frames=self.partition.chunk_frames,
            limit=self.model.config.references,
        )
        index = torch.cat([session.reference_prompts[:, last:], buffer.prompts], 1)
        with self._precision():
            found, grown = self._evaluate(
                view, self.table.conditioning(index), cache, 0.0, self._prompts()
            )
        return found.float(), grown

    def _prefill(self, session: Session) -> KeyValueCache:
        """Return keys and values of the references before the newest chunk."""
        k = self.partition.references
        frames = session.references[:, 1:k]
        if frames.shape[1] == 0:
            return self.model.empty_cache(len(session))
        before = session.references[:, :1]
        nothing = frames[:, :0]
        view = cached_view(
            frames,
            self._reference_times(frames),
            nothing,
            self._reference_times(nothing),
            before,
            self._reference_times(before),
            cached=0,
            chunk_frames=1,
            limit=self.model.config.references,
        )
        with self._precision():
            _, new = self.model.predict_clean(
                view,
                self.table.conditioning(session.reference_prompts[:, 1:k]),
                None,
                self._prompts(),
            )
        return new.each(_apart)

    def _prompts(self) -> PreparedPrompts:
        """Return the prepared prompt table; only prompts that came since the last call are worked
        on.
        """
        known = 0 if self._prepared is None else len(self._prepared.pooled) - 1
        if known < len(self.table.phrases):
            index = torch.empty(0, 0, dtype=torch.long)
            table = self.table
            fresh = Conditioning(
                tokens=table.tokens[known:],
                mask=table.mask[known:],
                pooled=table.pooled[known:],
                index=index,
            )
            made = self.model.prepare(fresh)
            made = made if self._prepared is None else self._prepared.join(made)
            if self.compiles:  # more prompts, and longer ones, are no reason to compile again
                ways = (
                    (made.pooled, (0,)),
                    (made.mask, (0, 1)),
                    (made.keys, (1, 3)),
                    (made.values, (1, 3)),
                    (made.extra, (0,)),
                )
                for tensor, axes in ways:
                    for axis in axes:
                        torch._dynamo.maybe_mark_dynamic(tensor, axis)
            self._prepared = made
        assert self._prepared is not None
        return self._prepared

    def _noise(self, session: Session, frames: int) -> Latents:
        """Draw what chunks begin with."""
        return self.model.config.temperature * session.draw(frames)

    def _as_reference(self, clean: Latents, session: Session) -> Latents:
        """Put the small, fixed noise on a clean frame with which references are fed."""
        return point(clean, session.draw(clean.shape[1]), self._reference_times(clean))

    def _reference_times(self, frames: Latents) -> Float[Tensor, "b f"]:
        return self._times(frames, self.model.config.reference_time)

    def _times(self, frames: Latents, time: float) -> Float[Tensor, "b f"]:
        """Return one time for all frames, in float32 whatever torch's default is."""
        return torch.full(frames.shape[:2], time, dtype=torch.float32, device=self.device)

    def _precision(self) -> AbstractContextManager[None]:
        return precision(self.device, self.autocast)


def _apart(part: Tensor) -> Tensor:
    """Return a copy that is no view and has no gaps."""
    return part.clone(memory_format=torch.contiguous_format)


def _check(what: str, given: Iterable[int], allowed: Iterable[int]) -> None:
    """Refuse what would be broadcast, or fail in the middle of a tick."""
    if tuple(given) != tuple(allowed):
        raise ShapeError(
            f"{what} do not fit the streams",
            given=tuple(given),
            allowed=tuple(allowed),
            remedy="give one for each stream",
        )
