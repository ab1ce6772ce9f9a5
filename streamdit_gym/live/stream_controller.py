"""A stream with its pace, saved states and film, and the commands that change them.

It has no thread and no viewers of its own, see `live_session`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.files import writing_to
from streamdit_gym.live.command_queue import MAX_PENDING_STEPS, Command
from streamdit_gym.live.film_recorder import FilmRecorder, check_film_quota
from streamdit_gym.live.frame_pacer import FramePacer, FrameRateMeter
from streamdit_gym.live.live_stream_state import PromptScope
from streamdit_gym.live.prompt_schedule import PromptSchedule
from streamdit_gym.live.state_history import StateHistory
from streamdit_gym.live.stream_frame import StreamFrame
from streamdit_gym.live.stream_protocol import SteeredStream
from streamdit_gym.live.viewer_messages import Message, error_message, recorded_message
from streamdit_gym.stream.partition import Partition

log = logging.getLogger("streamdit_gym")

MIN_FILM_FPS = 1.0
MAX_FILM_FPS = 60.0


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """How a session runs.

    Attributes:
        fps: frames per second to keep to.
        film_folder: where films go.
        model_lock: held while the model works, so that several sessions share the machine instead
            of competing for it.
        name: of the session; films are called after it.
        schedule: timed prompts.
        rests_unwatched: whether it stands still while nobody watches.
        open_branch: opens a session for a stream that has branched off, and returns its name.
        open_world: opens a session for a shipped world, and returns its name.
    """

    fps: float
    film_folder: Path
    model_lock: threading.Lock
    name: str = "1"
    schedule: PromptSchedule | None = None
    rests_unwatched: bool = False
    open_branch: Callable[[SteeredStream], str] | None = None
    open_world: Callable[[str], str] | None = None


class StreamController:
    """Steps a stream and executes commands.

    Args:
        live: the stream.
        options: how it runs.
    """

    def __init__(self, live: SteeredStream, options: SessionOptions) -> None:
        self.live = live
        self.fps = options.fps
        self.paused = False
        self.pending_steps = 0  # steps to make although paused
        self.pacer = FramePacer()
        self.frame_rate = FrameRateMeter()
        self.history = StateHistory(live)
        self.recorder: FilmRecorder | None = None
        self._options = options
        self._num_steps = 0
        # prompts whose first frame is not generated yet, and the step that generates it
        self._unanswered: list[tuple[Command, int]] = []
        self._handlers: dict[str, Callable[..., Message | None]] = {
            "configure": self._configure,
            "pause": self._pause,
            "step": self._request_steps,
            "save": self.history.save,
            "restore": self._restore,
            "rewind": self._rewind,
            "reset": self._reset,
            "record": self._record,
            "branch": self._branch,
            "open": self._open,
        }

    @property
    def period(self) -> float:
        """Seconds between two steps."""
        return self.live.frames_per_step / self.fps

    def step(self) -> list[StreamFrame]:
        """Generate a chunk."""
        self.pacer.urgent = False
        frames = self.live.step()
        self._num_steps += 1
        return frames

    def answered_prompts(self) -> list[Command]:
        """Return the prompts whose first frame the last step has generated, once each."""
        answered = [command for command, step in self._unanswered if step <= self._num_steps]
        self._unanswered = [entry for entry in self._unanswered if entry[1] > self._num_steps]
        return answered

    def execute(self, command: Command) -> Message | None:
        """Execute a command and return the answer to its viewer, if there is one.

        Raises:
            StreamDiTError: if it cannot be executed.
        """
        if command.name == "prompt":
            self._set_prompt(command)
            return None
        return self._handlers[command.name](**command.arguments)

    def record_frame(self, frame: StreamFrame) -> Message | None:
        """Add a frame to the film, if one is recorded; return the message if that ends it."""
        recorder = self.recorder
        if recorder is None:
            return None
        try:
            recorder.add(frame)
            return self.finish_film() if recorder.is_full else None
        except Exception as error:  # a film that fails does not end the stream
            recorder.discard()
            self.recorder = None
            if isinstance(error, OSError):  # a full disk, for example
                log.error("the film has ended: %s", error)
            else:
                log.exception("the film has ended")
            problem = StreamDiTError(
                "the film has ended", given=error, remedy="is there room on the disk?"
            )
            return error_message(problem)

    def finish_film(self) -> Message | None:
        """Finish the film and return the message that it is finished; None without a film."""
        recorder = self.recorder
        self.recorder = None
        path = None if recorder is None else recorder.close()
        if recorder is None or path is None:
            return None
        return recorded_message(path, recorder.num_frames)

    def _set_prompt(self, command: Command) -> None:
        previous = self.live.prompt
        self.live.set_prompt(command.arguments["text"])
        if self.live.prompt != previous:
            # the frames of a chunk wait for their times, which an early step would take from them
            self.pacer.urgent = self.live.frames_per_step == 1
        answering_step = self._num_steps + 1 + self.live.prompt_delay
        self._unanswered = [
            (other, step)
            for other, step in self._unanswered
            if other.viewer is not command.viewer or step != answering_step
        ]
        self._unanswered.append((command, answering_step))

    def _configure(
        self,
        chunks: int | None = None,
        micro_steps: int | None = None,
        prompt_scope: PromptScope | None = None,
        transition: int | None = None,
        fps: float | None = None,
    ) -> None:
        current = self.live.partition
        partition = Partition(
            references=current.references,
            chunks=current.chunks if chunks is None else chunks,
            chunk_frames=current.chunk_frames,
            micro_steps=current.micro_steps if micro_steps is None else micro_steps,
        )
        self.live.configure(partition=partition, prompt_scope=prompt_scope, transition=transition)
        self.fps = self.fps if fps is None else fps
        self.frame_rate.clear()

    def _pause(self, on: bool) -> None:
        self.paused = on
        self.pending_steps = 0

    def _request_steps(self, count: int = 1) -> None:
        self.paused = True
        self.pending_steps = min(MAX_PENDING_STEPS, self.pending_steps + count)

    def _restore(self, name: str) -> None:
        self.history.restore(name)
        self._unanswered.clear()

    def _rewind(self, seconds: float) -> None:
        if self.history.rewind(seconds):
            self._unanswered.clear()

    def _reset(self, seed: int | None = None) -> None:
        self.live.reset(self.live.frame_count if seed is None else seed)
        self.history.clear_snapshots()

    def _record(self, on: bool) -> Message | None:
        if not on:
            return self.finish_film()
        if self.recorder is None:
            self.recorder = self._start_film()
        return None

    def _start_film(self) -> FilmRecorder:
        folder = self._options.film_folder
        with writing_to(folder, "choose another folder with --out"):
            folder.mkdir(parents=True, exist_ok=True)
            check_film_quota(folder)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name = f"stream-{self._options.name}-{stamp}-{self.live.frame_count}.mp4"
        fps = max(MIN_FILM_FPS, min(MAX_FILM_FPS, self.fps))
        return FilmRecorder(folder / name, fps, self.live.description.has_simulator)

    def _branch(self) -> Message:
        if self._options.open_branch is None:
            raise StreamDiTError("streams cannot branch here", remedy="use the page's server")
        name = self._options.open_branch(self.live.branch())
        return {"kind": "branched", "name": name}

    def _open(self, world: str) -> Message:
        if self._options.open_world is None:
            raise StreamDiTError("no other world opens here", remedy="use the page's server")
        return {"kind": "opened", "name": self._options.open_world(world)}
