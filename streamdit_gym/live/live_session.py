"""A stream that runs in a thread of its own, steered and watched by any number of viewers."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live.command_queue import Command, CommandQueue
from streamdit_gym.live.frame_outlet import FrameOutlet
from streamdit_gym.live.stream_controller import SessionOptions, StreamController
from streamdit_gym.live.stream_frame import BufferSlot, StreamFrame
from streamdit_gym.live.stream_protocol import SteeredStream
from streamdit_gym.live.viewer_messages import Message, Viewer, error_message, pack_frame

log = logging.getLogger("streamdit_gym")

JUMPS = ("restore", "rewind", "reset")  # commands after which older frames are not shown any more


class LiveSession:
    """Runs a stream at its pace, hands every frame to every viewer and executes their commands.

    Args:
        live: the stream.
        options: how it runs.
    """

    def __init__(self, live: SteeredStream, options: SessionOptions) -> None:
        self.live = live
        self.name = options.name
        self.newest: StreamFrame | None = None
        self._options = options
        self._controller = StreamController(live, options)
        self._commands = CommandQueue()
        self._outlet = FrameOutlet()
        self._viewers: set[Viewer] = set()
        self._changed = threading.Condition()
        self._ended = False
        self._failure: str | None = None
        self._last_settings: Message = {}
        self._last_packed: bytes | None = None
        name = f"stream {options.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Let the stream run."""
        self._thread.start()

    def end(self) -> None:
        """End the stream soon; a film in progress is finished."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def stop(self) -> None:
        """End the stream and wait until it has ended."""
        self.end()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether the stream runs."""
        return self._thread.is_alive()

    @property
    def is_paused(self) -> bool:
        """Whether the stream is paused."""
        return self._controller.paused

    @property
    def is_recording(self) -> bool:
        """Whether a film is recorded."""
        return self._controller.recorder is not None

    @property
    def num_viewers(self) -> int:
        """How many viewers watch."""
        return len(self._viewers)

    def add_viewer(self, viewer: Viewer) -> None:
        """Let a viewer watch; they get the last frame at once."""
        with self._changed:
            self._viewers = self._viewers | {viewer}
            self._changed.notify()
        if self._last_packed is not None:
            viewer.send_frame(self._last_packed)

    def remove_viewer(self, viewer: Viewer) -> None:
        """Let a viewer go. The steps that they asked for are dropped, with the last viewer all."""
        with self._changed:
            self._viewers = self._viewers - {viewer}
            self._commands.drop_steps(viewer)
            if not self._viewers:
                self._controller.pending_steps = 0

    def post(self, command: Command) -> None:
        """Take a command; it is executed before the next step, see `CommandQueue.add`."""
        with self._changed:
            if not self._ended:
                self._commands.add(command)
                self._changed.notify()
                return
        if command.viewer is not None:
            error = StreamDiTError(
                "the stream has ended", given=self._failure, remedy="start the server anew"
            )
            command.viewer.send_message(error_message(error))

    def settings(self) -> Message:
        """Return the settings as viewers receive them."""
        live = self.live
        return {
            "kind": "settings",
            "partition": str(live.partition),
            "chunks": live.partition.chunks,
            "micro_steps": live.partition.micro_steps,
            "prompt_scope": live.prompt_scope,
            "transition": live.transition,
            "fps": self._controller.fps,
            "paused": self.is_paused,
            "ended": self._ended,
            "saved": self._controller.history.saved_names,
            "recording": self.is_recording,
            "latency_frames": live.prompt_delay * live.frames_per_step,
        }

    def _run(self) -> None:
        try:
            while self._run_once():
                pass
        except Exception as error:
            log.exception("the stream has ended")
            self._failure = str(error)
            problem = StreamDiTError(
                "the stream has ended", given=error, remedy="look at the server's log"
            )
            self._send_to_all(error_message(problem))
        finally:
            self._ended = True
            self._outlet.close()
            self._send_to_all(self.settings())
            try:
                self._controller.finish_film()
            except Exception:  # a full disk, for example
                log.exception("the film could not be finished")
            finally:
                self.live.close()

    def _run_once(self) -> bool:
        """Wait for commands or the time of the next step; return False when the stream ends."""
        with self._changed:
            while not self._ended and not self._commands and not self._may_step():
                self._changed.wait(self._seconds_to_wait())
            if self._ended:
                return False
            commands = self._commands.take_all()
        for command in commands:
            self._execute(command)
        if self._may_step():
            controller = self._controller
            controller.pacer.advance(controller.period)
            with self._changed:
                controller.pending_steps = max(0, controller.pending_steps - 1)
            self._step()
        return True

    def _stands_still(self) -> bool:
        """Whether no step is made, however long one waits."""
        if self.is_paused and not self._controller.pending_steps:
            return True
        return self._options.rests_unwatched and not self._viewers

    def _may_step(self) -> bool:
        if self._stands_still():
            return False
        return self.is_paused or self._seconds_to_step() <= 0

    def _seconds_to_step(self) -> float:
        controller = self._controller
        return controller.pacer.next_time(controller.period) - time.monotonic()

    def _seconds_to_wait(self) -> float | None:
        return None if self._stands_still() else max(0.0, self._seconds_to_step())

    def _step(self) -> None:
        controller = self._controller
        self._apply_schedule()
        with self._options.model_lock:
            start_time = time.monotonic()
            frames = controller.step()
        now = time.monotonic()
        for command in controller.answered_prompts():
            _acknowledge(command, frames[0].number, now)
        fps = controller.frame_rate.add(len(frames), now)
        slots = self.live.buffer_slots()
        shows = [partial(self._show, frame, slots, fps) for frame in frames]
        # a model that is slower than its frames shows them as slowly
        seconds = max(len(frames) / controller.fps, now - start_time)
        self._outlet.show(shows, seconds)
        for frame in frames:
            self._record(frame)
        controller.history.take_snapshot()

    def _apply_schedule(self) -> None:
        if self._options.schedule is None:
            return
        seconds = self.live.frame_count / self.live.description.fps
        prompt = self._options.schedule.due(seconds)
        if prompt is not None:
            self._execute(Command(name="prompt", arguments={"text": prompt}))

    def _show(self, frame: StreamFrame, slots: list[BufferSlot], fps: float) -> None:
        self.newest = frame
        packed = pack_frame(frame, slots, fps)
        self._last_packed = packed
        for viewer in self._viewers:
            viewer.send_frame(packed)

    def _record(self, frame: StreamFrame) -> None:
        film_ended = self._controller.record_frame(frame)
        if film_ended is not None:
            self._send_to_all(film_ended)
            self._send_changed_settings()

    def _execute(self, command: Command) -> None:
        viewer = command.viewer
        try:
            with self._options.model_lock:
                # the viewer may have left while the command waited for the lock
                if command.name == "step" and viewer is not None and viewer not in self._viewers:
                    return
                answer = self._controller.execute(command)
        except Exception as error:  # one command must not end a stream that others watch
            self._report_failure(command, error)
            return
        if command.name in JUMPS:
            self._outlet.drop()
        elif command.name == "pause":
            self._outlet.flush()
        if answer is not None and viewer is not None:
            viewer.send_message(answer)
        self._send_changed_settings()

    def _report_failure(self, command: Command, error: Exception) -> None:
        """Tell a viewer, or else the log, that a command failed."""
        if not isinstance(error, StreamDiTError):
            log.exception("a command failed: %s", command.name)
            error = StreamDiTError(
                "the command failed",
                given=f"{command.name}: {error}",
                remedy="the server's log says more",
            )
        elif command.viewer is None:
            log.warning("%s", error)
        if command.viewer is not None:
            # the page may show the setting that was refused
            command.viewer.send_message(self.settings())
            command.viewer.send_message(error_message(error))

    def _send_changed_settings(self) -> None:
        """Send the settings to all viewers if they have changed."""
        settings = self.settings()
        if settings != self._last_settings:
            self._last_settings = settings
            self._send_to_all(settings)

    def _send_to_all(self, message: Message) -> None:
        for viewer in self._viewers:
            viewer.send_message(message)


def _acknowledge(command: Command, frame_number: int, now: float) -> None:
    """Tell a viewer which frame is the first that follows a prompt, and how long that took."""
    if command.viewer is None or "id" not in command.arguments:
        return
    message = {
        "kind": "prompt_applied",
        "id": command.arguments["id"],
        "number": frame_number,
        "ms": round(1000 * (now - command.received_at), 1),
    }
    command.viewer.send_message(message)
