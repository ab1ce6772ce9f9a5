"""One endless stream whose prompt and settings may change while it runs."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.checks import check_bool, check_choice, check_int, check_prompt
from streamdit_gym.live.live_stream_state import LiveStreamState, PromptScope
from streamdit_gym.live.parallel_simulator import ParallelSimulator
from streamdit_gym.live.renamed import RenamedAttributes, rename_settings, warn_renamed
from streamdit_gym.live.stream_frame import BufferSlot, Image, StreamFrame, checked_image
from streamdit_gym.live.stream_prompts import BoxPrompts, buttons_of, prompts_in
from streamdit_gym.live.stream_protocol import StreamDescription, describe_world
from streamdit_gym.presets import partition_for
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.meaning import Meanings
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.noise_levels import slot_starts
from streamdit_gym.stream.partition import Partition
from streamdit_gym.text.prompt_protocol import Prompt
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.world import World

log = logging.getLogger("streamdit_gym")

PROMPT_SCOPES = ("chunk", "buffer")
MAX_TRANSITION = 32  # chunks
# Rows for texts and transitions beyond the world's own phrases. Few, because each new row copies
# all prepared prompts.
EXTRA_TABLE_ROWS = 96
RENAMED_SETTINGS = {
    "scope": "prompt_scope",
    "start": "start_frame",
    "twin": "reference_simulator",
}


class LiveStream(RenamedAttributes):
    """A stream with its settings and saved states; all may change between two steps.

    Args:
        world: the world.
        partition: how the buffer is cut: a name, a short form or a `Partition`.
        prompt_scope: ``"chunk"``: a new prompt steers new chunks only; ``"buffer"``: it steers all
            chunks in the buffer, as in the paper.
        transition: chunks over which a new prompt replaces the old one.
        seed: seed of the start frame and the noise.
        start_frame: the first frame; by default one of the world's own or the simulator's.
        reference_simulator: run the reference simulator beside the stream.
        autocast: run the model in bfloat16.

    Raises:
        PartitionError: if the partition does not fit the world.
        ShapeError: if the start frame does not have the world's size.
        UnknownNameError: if the reference simulator is asked for and the world has none.
    """

    _renamed: ClassVar = {
        "scope": "prompt_scope",
        "number": "frame_count",
        "delay": "prompt_delay",
        "begin": "reset",
        "say": "set_prompt",
        "set": "configure",
        "move": "step",
        "buffer": "buffer_slots",
        "state": "save_state",
        "restore": "restore_state",
        "understood": "nearest_action",
    }

    def __init__(
        self,
        world: World,
        *,
        partition: str | Partition = "reactive",
        prompt_scope: PromptScope = "chunk",
        transition: int = 0,
        seed: int = 0,
        start_frame: Image | None = None,
        reference_simulator: bool = False,
        autocast: bool = False,
    ) -> None:
        check_choice("prompt_scope", prompt_scope, PROMPT_SCOPES)
        self.world = world
        self.autocast = check_bool("autocast", autocast)
        self.menu = buttons_of(world.spec.actions)
        own_phrases = list(world.table.phrases)
        # a table of its own: prompts of this stream do not fill the world's table
        self._use_table(world.table.only(own_phrases, len(own_phrases) + EXTRA_TABLE_ROWS))
        self._meanings = Meanings(
            world.model,
            world.starts.latents,
            world.spec.menu,
            partition_for(world, "reactive"),
            autocast=autocast,
        )
        self.prompt = self.menu[0]
        self.frame_count = 0
        self.transition = 0
        self._previous_prompt = self.prompt
        self._chunks_since_prompt = 0
        self.simulator: ParallelSimulator | None = None
        if check_bool("reference_simulator", reference_simulator):
            self.simulator = ParallelSimulator(world.spec.name)
        self._engine = self._make_engine(partition_for(world, partition), prompt_scope)
        self.configure(transition=transition)
        self.reset(seed, start_frame)

    @cached_property
    def description(self) -> StreamDescription:
        """What never changes of the stream."""
        return describe_world(self.world.spec, has_simulator=self.simulator is not None)

    @property
    def device(self) -> torch.device:
        """Where the world is."""
        return self.world.device

    @property
    def frames_per_step(self) -> int:
        """How many frames a step returns."""
        return self.partition.chunk_frames

    @property
    def partition(self) -> Partition:
        """How the buffer is cut."""
        return self._engine.partition

    @property
    def prompt_scope(self) -> PromptScope:
        """Which chunks a new prompt steers."""
        return self._engine.prompt_scope

    @property
    def prompt_delay(self) -> int:
        """How many steps later than the next one a new prompt's first chunk is clean."""
        return self._engine.prompt_delay

    def reset(self, seed: int = 0, start_frame: Image | None = None) -> None:
        """Start over from a real frame; the prompt stays.

        Raises:
            ShapeError: if the start frame does not have the world's size.
        """
        rng = np.random.default_rng(check_int("seed", seed, least=0))
        image = None
        if start_frame is not None:
            image = checked_image(start_frame, self.world.spec.frame_shape)
        if self.simulator is not None:
            simulator_image = self.simulator.reset(rng)
            if image is None:
                image = simulator_image
            else:
                self.simulator.in_sync = False  # a simulator cannot start from an image
        latents = self._random_start(rng) if image is None else self._encode(image)
        self._engine.idle = self._prompts.prompt_of(self.prompt)
        no_prompt = self._prompts.source.no_prompt[None, None]
        self._session = self._engine.start(latents, no_prompt, Noise.of([rng]))

    def set_prompt(self, text: str) -> None:
        """Steer the stream with a prompt, from the next chunk on.

        Raises:
            ArgumentError: if the text is no prompt, see `check_prompt`.
            MissingExtraError: if it is not in the world's menu and no prompt encoder is installed.
        """
        text = check_prompt(text)
        if self.table.room < MAX_TRANSITION + 1:
            self._clear_table()
        self._prompts.prompt_of(text)
        if text != self.prompt:
            self._previous_prompt = self.prompt
            self.prompt = text
            self._chunks_since_prompt = 0

    def configure(
        self,
        *,
        partition: str | Partition | None = None,
        prompt_scope: PromptScope | None = None,
        transition: int | None = None,
    ) -> None:
        """Change settings; a new partition restarts the buffer from the last clean frames.

        Raises:
            PartitionError: if the partition does not fit the world.
            StreamDiTError: if another setting is of the wrong type or out of range.
        """
        if transition is not None:
            transition = check_int("transition", transition, least=0, most=MAX_TRANSITION)
        if prompt_scope is not None:
            check_choice("prompt_scope", prompt_scope, PROMPT_SCOPES)
        new_partition = self.partition
        if partition is not None:
            new_partition = partition_for(self.world, partition)
        if new_partition != self.partition:
            self._continue_in(self._make_engine(new_partition, prompt_scope or self.prompt_scope))
        elif prompt_scope is not None:
            self._engine.prompt_scope = prompt_scope
        if transition is not None:
            self.transition = transition

    def step(self) -> list[StreamFrame]:
        """Generate one chunk and return its frames, oldest first.

        A stream whose latents are no longer finite could never recover: it restarts with the same
        prompt.
        """
        self._chunks_since_prompt += 1
        rows = self._next_prompt()[None]
        latents = self._engine.tick(self._session, rows)
        restarted = not bool(self._session.finite().all())
        if restarted:
            log.warning("the latents of the stream are not finite: it restarts")
            self.reset(self.frame_count)
            latents = self._engine.tick(self._session, rows)
        return self._decode(latents, restarted)

    def buffer_slots(self) -> list[BufferSlot]:
        """Return the chunks in the buffer, oldest first; the next step adds one behind them."""
        prompts = self._session.buffer.prompts[0, :: self.partition.chunk_frames]
        progress = slot_starts(self.partition).tolist()
        return [
            BufferSlot(prompt=self._prompts.text_of(prompt), progress=time)
            for prompt, time in zip(prompts, progress, strict=False)
        ]

    def save_state(self) -> LiveStreamState:
        """Return this moment, to restore in this stream or in another of the same world."""
        return LiveStreamState(
            session=self._session.state_dict(),
            table=self.table,
            partition=self.partition,
            prompt_scope=self.prompt_scope,
            transition=self.transition,
            prompt=self.prompt,
            previous_prompt=self._previous_prompt,
            chunks_since_prompt=self._chunks_since_prompt,
            frame_count=self.frame_count,
            simulator=None if self.simulator is None else self.simulator.save_state(),
        )

    def restore_state(self, state: LiveStreamState) -> None:
        """Return to a moment of this stream, or of another one."""
        if state.table is not self.table:  # another stream's, or from before the table was cleared
            self._use_table(state.table)
            self.prompt = state.prompt
            # the references' prompts were rows of the other table
            no_prompts = self._session.reference_prompts.clone()
            no_prompts[:] = self._prompts.source.no_prompt
            self._session.reference_prompts = no_prompts
            self._continue_in(self._make_engine(state.partition, state.prompt_scope))
        self.configure(
            partition=state.partition,
            prompt_scope=state.prompt_scope,
            transition=state.transition,
        )
        self._session.load_state_dict(state.session)
        self.prompt = state.prompt
        self._previous_prompt = state.previous_prompt
        self._chunks_since_prompt = state.chunks_since_prompt
        self.frame_count = state.frame_count
        if self.simulator is not None:
            self.simulator.restore_state(state.simulator)

    def branch(self) -> LiveStream:
        """Return another stream that is at the same moment and continues independently."""
        branch = LiveStream(
            self.world,
            partition=self.partition,
            reference_simulator=self.simulator is not None,
            autocast=self.autocast,
        )
        branch.restore_state(self.save_state())
        branch._meanings = self._meanings
        return branch

    def close(self) -> None:
        """Close the reference simulator."""
        if self.simulator is not None:
            self.simulator.close()
            self.simulator = None

    def nearest_action(self, text: str) -> int:
        """Return the menu action that a text means to the world, see `Meanings.action_of`."""
        return self._meanings.action_of(text, self.table)

    def _make_engine(self, partition: Partition, prompt_scope: PromptScope) -> Engine:
        return Engine(
            self.world.model_for(partition),
            self._prompts.source,
            partition,
            idle=self._prompts.prompt_of(self.prompt),
            prompt_scope=prompt_scope,
            autocast=self.autocast,
        )

    def _use_table(self, table: PromptTable) -> None:
        self.table = table
        self._prompts = prompts_in(table, self.world.spec.actions)

    def _next_prompt(self) -> Prompt:
        """Return the next chunk's prompt, within a transition a mixture.

        Branches share a table: where it is full, a transition ends early.
        """
        if self._chunks_since_prompt > self.transition:
            return self._prompts.prompt_of(self.prompt)
        weight = self._chunks_since_prompt / (self.transition + 1)
        return self._prompts.mixture(self._previous_prompt, self.prompt, weight)

    def _random_start(self, rng: np.random.Generator) -> Float[Tensor, "1 1 c h w"]:
        starts = self.world.starts.latents
        row = int(rng.integers(len(starts)))
        return starts[row][None, None]

    def _encode(self, image: Image) -> Float[Tensor, "1 1 c h w"]:
        frames = torch.from_numpy(image)[None, None]
        return self.world.encode(frames)

    def _decode(self, latents: Float[Tensor, "1 f c h w"], restarted: bool) -> list[StreamFrame]:
        """Return the frames of clean latents with their prompts, readout and simulator frames."""
        images = self.world.decode(latents)[0].cpu().numpy()
        states, scores = self.world.read(latents)
        spec = self.world.spec
        names = (*spec.state_names, *spec.score_names)
        readouts = torch.cat([states, scores], -1)[0].tolist()
        prompts = self._session.reference_prompts[0, -len(images) :]
        frames = []
        for image, values, prompt in zip(images, readouts, prompts, strict=True):
            self.frame_count += 1
            simulator_image, simulator_action = self._step_simulator()
            frame = StreamFrame(
                number=self.frame_count,
                image=image,
                prompt=self._prompts.text_of(prompt),
                readout=dict(zip(names, values, strict=True)),
                simulator_image=simulator_image,
                simulator_action=simulator_action,
                restarted=restarted,
            )
            frames.append(frame)
        return frames

    def _step_simulator(self) -> tuple[Image | None, str | None]:
        """Let the simulator execute the newest prompt; return its frame and the action's phrase."""
        if self.simulator is None or not self.simulator.in_sync:
            return None, None
        text = self.simulator.action_prompt(self.prompt)
        if isinstance(self._prompts, BoxPrompts):
            position = self._prompts.prompt_of(text)
            image = self.simulator.step(self._prompts.values_of(position))
            return image, self._prompts.text_of(position)
        action = self.nearest_action(text)
        return self.simulator.step(action), self.menu[action]

    def _continue_in(self, engine: Engine) -> None:
        """Continue in another engine, from the newest clean frames."""
        session = self._session
        self._session = engine.start(session.references, session.reference_prompts, session.noise)
        self._engine = engine

    def _clear_table(self) -> None:
        """Make room in the table: keep only the world's own phrases and those in use."""
        if isinstance(self._prompts, BoxPrompts):  # sessions hold no rows
            self._use_table(self.table.only(list(self.world.table.phrases)))
            self._continue_in(self._make_engine(self.partition, self.prompt_scope))
            return
        rows = self._session.reference_prompts[0].tolist()
        reference_texts = [self.table.phrases[row] if row >= 0 else None for row in rows]
        in_use = [self._previous_prompt, self.prompt, *filter(None, reference_texts)]
        phrases = list(dict.fromkeys([*self.world.table.phrases, *in_use]))
        new_rows = [-1 if text is None else phrases.index(text) for text in reference_texts]
        reference_prompts = self._session.reference_prompts
        self._session.reference_prompts = torch.tensor([new_rows]).to(reference_prompts)
        self._use_table(self.table.only(phrases))
        self._continue_in(self._make_engine(self.partition, self.prompt_scope))


class Live(LiveStream):
    """The former name of :class:`LiveStream`, which also takes the former names of settings."""

    def __init__(self, world: World, **settings: Any) -> None:
        warn_renamed("Live", "LiveStream")
        super().__init__(world, **rename_settings(settings, RENAMED_SETTINGS))
