"""One stream that is steered while it runs.

Takes: a world, text.  Gives: frames, and what is in the buffer.  Knows nothing of: time, screens,
    networks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8

from streamdit_gym.checks import check_bool, check_choice, check_int, check_prompt, shown
from streamdit_gym.envs.worlds import has_simulator, simulator_of
from streamdit_gym.errors import ShapeError
from streamdit_gym.model.precision import precision
from streamdit_gym.presets import partition as find_partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.meaning import Meanings
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.noise_levels import slot_starts
from streamdit_gym.stream.partition import Partition
from streamdit_gym.world import World

log = logging.getLogger("streamdit_gym")

Picture = UInt8[np.ndarray, "h w 3"]
Scope = Literal["chunk", "buffer"]
LONGEST_TRANSITION = 32  # chunks
# texts and transitions that a stream remembers beyond the world's own phrases: each new one copies
# all prepared ones
ROOM = 96


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A frame of a stream.

    Attributes:
        number: its place in the stream, from 1.
        picture: its pixels.
        prompt: the text it was born with.
        scores: what the world's heads read off it, by name.
        twin: the real simulator's picture at the same moment; None without a twin, or where it
            could not be taken along.
        understood: the menu's phrase that means the newest prompt; None without a twin, whose
            action it is.
        restarted: whether the stream began anew before it, because its numbers were no longer
            finite.
    """

    number: int
    picture: Picture
    prompt: str
    scores: dict[str, float]
    twin: Picture | None
    understood: str | None
    restarted: bool = False


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A chunk in the buffer: the prompt it was born with, and how finished it is,
    0 (noise) to 1 (clean).
    """

    prompt: str
    done: float


class Live:
    """A stream, its settings and its saved states. All of it may be changed between any two moves.

    Args:
        world: the world.
        partition: how the buffer is cut: a name, a short form or a `Partition`.
        scope: whether a new prompt steers new chunks only, or, as in the paper, all that is in the
            buffer.
        transition: chunks over which a new prompt replaces the old one.
        seed: of the start frame and the noise.
        start: a frame to start from; default: one of the world's own, or the twin's.
        twin: whether the real simulator plays along.
        autocast: run the model in bfloat16.

    Raises:
        PartitionError: if the partition does not fit the world.
        ShapeError: if the start frame is not one of the world's size.
        UnknownNameError: if there shall be a twin and the world has none.
    """

    def __init__(
        self,
        world: World,
        *,
        partition: str | Partition = "reactive",
        scope: Scope = "chunk",
        transition: int = 0,
        seed: int = 0,
        start: Picture | None = None,
        twin: bool = False,
        autocast: bool = False,
    ) -> None:
        check_choice("scope", scope, ("chunk", "buffer"))
        self.world, self.autocast = world, check_bool("autocast", autocast)
        self.menu = [phrases[0] for phrases in world.spec.menu]
        own = list(world.table.phrases)
        self.table = world.table.only(
            own, len(own) + ROOM
        )  # what is said here is nobody else's matter
        starts = world.starts.latents
        self._meanings = Meanings(
            world.model, starts, world.spec.menu, find_partition("reactive"), autocast=autocast
        )
        self.prompt = self._before = self.menu[0]
        self._blended = 0  # chunks born since the prompt changed
        self.number = 0
        self.transition = 0
        self.simulator = simulator_of(world.spec.name)[0]() if check_bool("twin", twin) else None
        self._engine = self._make_engine(find_partition(partition), scope)
        self.set(transition=transition)
        self.begin(seed, start)

    @property
    def partition(self) -> Partition:
        """How the buffer is cut."""
        return self._engine.partition

    @property
    def scope(self) -> Scope:
        """What a new prompt steers."""
        return self._engine.prompt_scope

    @property
    def delay(self) -> int:
        """Moves after which a chunk that a prompt said now steers comes out,
        beyond the very next one.
        """
        return 0 if self.scope == "buffer" else self.partition.chunks - 1

    def begin(self, seed: int = 0, start: Picture | None = None) -> None:
        """Start over from a real frame; the prompt stays.

        Raises:
            ShapeError: if the start frame is not one of the world's size.
        """
        rng = np.random.default_rng(check_int("seed", seed, least=0))
        start = None if start is None else self._fitting(start)
        self._in_step = True
        if self.simulator is not None:
            first = self.simulator.reset(rng, next(iter(simulator_of(self.world.spec.name)[1])))
            self._in_step = start is None  # a simulator cannot begin from a picture
            start = np.array(first) if start is None else start
        if start is None:
            row = int(rng.integers(len(self.world.starts.latents)))
            latents = self.world.starts.latents[row][None, None]
        else:
            frames = torch.from_numpy(start)[None, None]
            with precision(self._engine.device, False):
                latents = self.world.codec.encode(frames.to(self._engine.device))
        self._engine.idle = int(self.table.rows([self.prompt])[0])
        self._session = self._engine.start(latents, torch.full((1, 1), -1), Noise.of([rng]))

    def say(self, text: str) -> None:
        """Steer: from the next chunk on, this is the prompt.

        Raises:
            ArgumentError: if the text is no prompt, see `check_prompt`.
            MissingExtraError: if it is not in the world's menu and no prompt encoder is installed.
        """
        text = check_prompt(text)
        if self.table.room < LONGEST_TRANSITION + 1:
            self._forget()
        self.table.rows([text])
        if text != self.prompt:
            self._before, self.prompt, self._blended = self.prompt, text, 0

    def set(
        self,
        *,
        partition: str | Partition | None = None,
        scope: Scope | None = None,
        transition: int | None = None,
    ) -> None:
        """Change settings; a new partition begins its buffer anew from the last clean frames.

        Raises:
            PartitionError: if the partition does not fit the world.
            StreamDiTError: if another setting is of the wrong type or out of range.
        """
        if transition is not None:
            transition = check_int("transition", transition, least=0, most=LONGEST_TRANSITION)
        if scope is not None:
            check_choice("scope", scope, ("chunk", "buffer"))
        cut = self.partition if partition is None else find_partition(partition)
        if cut != self.partition:
            self._restart(self._make_engine(cut, scope or self.scope))
        elif scope is not None:
            self._engine.prompt_scope = scope
        self.transition = self.transition if transition is None else transition

    def move(self) -> list[Shown]:
        """Move by one chunk and return the frames that have become clean, oldest first.

        A stream whose numbers are no longer finite would never show anything again: it begins anew,
        with the same prompt.
        """
        self._blended += 1
        if (
            self._blended <= self.transition and self.table.room
        ):  # branches share a table: where it is full, the blend is over
            row = self.table.between(
                self._before, self.prompt, self._blended / (self.transition + 1)
            )
        else:
            row = int(self.table.rows([self.prompt])[0])
        clean = self._engine.tick(self._session, torch.tensor([row]))
        restarted = not bool(self._session.finite().all())
        if restarted:
            log.warning("the stream's numbers are no longer finite: it begins anew")
            self.begin(self.number)
            clean = self._engine.tick(self._session, torch.tensor([row]))
        with precision(self._engine.device, False):
            pictures = self.world.codec.decode(clean)[0].cpu().numpy()
            states, scores = self.world.readout(clean)
        names = (*self.world.spec.state_names, *self.world.spec.score_names)
        read = torch.cat([states, scores], -1)[0].tolist()
        prompts = self._session.reference_prompts[0, -len(pictures) :].tolist()
        shown = []
        for picture, values, prompt in zip(pictures, read, prompts, strict=True):
            self.number += 1
            twin, understood = self._twin_moves()
            text = self.table.phrases[prompt] if prompt >= 0 else ""
            scores = dict(zip(names, values, strict=True))
            shown.append(
                Shown(
                    number=self.number,
                    picture=picture,
                    prompt=text,
                    scores=scores,
                    twin=twin,
                    understood=understood,
                    restarted=restarted,
                )
            )
        return shown

    def buffer(self) -> list[Slot]:
        """Return what is in the buffer now, oldest first;
        the next move pushes one more chunk behind it.
        """
        c = self.partition.chunk_frames
        prompts = self._session.buffer.prompts[0, ::c].tolist()
        done = slot_starts(self.partition).tolist()
        return [
            Slot(prompt=self.table.phrases[p], done=d) for p, d in zip(prompts, done, strict=False)
        ]

    def state(self) -> dict[str, Any]:
        """Return all that :meth:`restore` needs to come back to this moment,
        in this stream or in another of the same world.
        """
        return {
            "session": self._session.state_dict(),
            "partition": self.partition,
            "scope": self.scope,
            "transition": self.transition,
            "prompt": self.prompt,
            "before": self._before,
            "blended": self._blended,
            "number": self.number,
            "table": self.table,
            "simulator": self.simulator.save()
            if self.simulator is not None and self._in_step
            else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a moment of this stream, or to another's."""
        if (
            state["table"] is not self.table
        ):  # another stream's, or one from before the last forgetting
            self.table, self.prompt = state["table"], state["prompt"]
            self._session.reference_prompts = torch.full_like(
                self._session.reference_prompts, -1
            )  # rows of the other table
            self._restart(self._make_engine(state["partition"], state["scope"]))
        self.set(partition=state["partition"], scope=state["scope"], transition=state["transition"])
        self._session.load_state_dict(state["session"])
        self.prompt, self._before, self._blended, self.number = (
            state[key] for key in ("prompt", "before", "blended", "number")
        )
        self._in_step = state["simulator"] is not None
        if self.simulator is not None and self._in_step:
            self.simulator.restore(state["simulator"])

    def branch(self) -> Live:
        """Return another stream that is at the same moment, and from there on goes its own way."""
        other = Live(
            self.world,
            partition=self.partition,
            twin=self.simulator is not None,
            autocast=self.autocast,
        )
        other.restore(self.state())
        other._meanings = self._meanings
        return other

    def close(self) -> None:
        """Close the twin."""
        if self.simulator is not None:
            self.simulator.close()
            self.simulator = None

    def _make_engine(self, cut: Partition, scope: Scope) -> Engine:
        idle = int(self.table.rows([self.prompt])[0])
        return Engine(
            self.world.model_for(cut),
            self.table,
            cut,
            idle=idle,
            prompt_scope=scope,
            autocast=self.autocast,
        )

    def _fitting(self, start: Picture) -> Picture:
        """Return a copy of a start frame that fits: the given one may be read-only,
        and is never changed.
        """
        size = self.world.spec.size
        if (
            not isinstance(start, np.ndarray)
            or start.shape != (size, size, 3)
            or start.dtype != np.uint8
        ):
            given = (
                f"{start.shape} {start.dtype}" if isinstance(start, np.ndarray) else shown(start)
            )
            raise ShapeError(
                "the start frame does not fit",
                given=given,
                allowed=f"({size}, {size}, 3) uint8, without transparency",
                remedy="resize it; lay a transparent picture on a background",
            )
        return np.array(start)

    def _restart(self, engine: Engine) -> None:
        """Go on in another engine, from the newest clean frames."""
        session = self._session
        self._session = engine.start(session.references, session.reference_prompts, session.noise)
        self._engine = engine

    def _forget(self) -> None:
        """Make room in the table: keep the world's own phrases and what is in use."""
        texts = [
            self.table.phrases[p] for p in self._session.reference_prompts[0].tolist() if p >= 0
        ]
        keep = list(dict.fromkeys([*self.world.table.phrases, self._before, self.prompt, *texts]))
        places = [
            p if p < 0 else keep.index(self.table.phrases[p])
            for p in self._session.reference_prompts[0].tolist()
        ]
        self._session.reference_prompts = torch.tensor([places]).to(self._session.reference_prompts)
        self.table = self.table.only(keep)
        self._restart(self._make_engine(self.partition, self.scope))

    def _twin_moves(self) -> tuple[Picture | None, str | None]:
        if self.simulator is None or not self._in_step:
            return None, None
        action = self.understood(self.simulator.hear(self.prompt))
        return self.simulator.step(action), self.menu[action]

    def understood(self, text: str) -> int:
        """Return the menu's action that a text means to the world, see `Meanings.action_of`."""
        return self._meanings.action_of(text, self.table)


def has_twin(world: World) -> bool:
    """Return whether a world has a real simulator that can play along here."""
    if not has_simulator(world.spec.name):
        return False
    try:
        simulator_of(world.spec.name)[0]().close()
    except ImportError:
        return False
    return True


def stream(
    world: World, prompts: Iterable[str] | Callable[[], str], **settings: Any
) -> Iterator[Shown]:
    """Yield the frames of a stream.

    A frame is made when it is asked for, so nothing piles up behind a slow reader: at most the rest
    of a chunk waits, and each chunk is born with the prompt that is newest when it is begun.

    Args:
        world: the world.
        prompts: one per chunk, until there are no more; or a function that is asked for the newest
            before each chunk, for ever.
        settings: of :class:`Live`.
    """
    live = Live(world, **settings)
    try:
        for text in _asked(prompts) if callable(prompts) else prompts:
            live.say(text)
            yield from live.move()
    finally:
        live.close()


def _asked(newest: Callable[[], str]) -> Iterator[str]:
    while True:
        yield newest()
