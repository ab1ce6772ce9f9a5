"""A stream that runs by itself: in a thread, at its frame rate, steered by commands, watched by any
number of viewers.

Takes: commands.  Gives: every frame to every viewer, packed once.  Knows nothing of: networks.
"""

from __future__ import annotations

import collections
import json
import logging
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.files import writing_to
from streamdit_gym.live.recording import MAX_FILM_BYTES, Recording, check_room
from streamdit_gym.live.story import Narrator
from streamdit_gym.live.stream import Live, Shown
from streamdit_gym.stream.partition import Partition

log = logging.getLogger("streamdit_gym")

FASTEST = 240.0  # frames per second that may be asked for
EARLY_S = (
    0.05  # a new prompt's frame does not wait for its time, but comes no sooner after the last one
)
MOST_SAVED = 32
LONGEST_FILM = (
    36_000  # frames, an hour of PushT's: a film that was forgotten does not fill the disk
)
LATE_S = 0.25  # a frame later than this is not made up for
SNAPSHOT_S = 1.0  # between the moments that can be rewound to
SNAPSHOTS = 60
MAX_STEPS = 8  # moves that wait though the stream is paused
JPEG = [
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


class Viewer(Protocol):
    """Somebody who watches. Both methods are called from the channel's thread and must return at
    once.
    """

    def show(self, packed: bytes) -> None:
        """Take a frame; one that has not been sent yet is replaced."""

    def tell(self, message: dict[str, Any]) -> None:
        """Take a message."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a viewer wants, and when it came."""

    do: str
    given: dict[str, Any]
    viewer: Viewer | None = None
    came: float = field(default_factory=time.monotonic)


def pack(header: dict[str, Any], pictures: list[np.ndarray]) -> bytes:
    """Return a frame for viewers: length of the header (4 bytes, big endian), header (JSON), JPEGs
    one after the other.

    ``header["sizes"]`` has the JPEGs' lengths.
    """
    encoded = [cv2.imencode(".jpg", picture[..., ::-1], JPEG)[1].tobytes() for picture in pictures]
    text = json.dumps({**header, "sizes": [len(part) for part in encoded]}).encode()
    return b"".join([struct.pack(">I", len(text)), text, *encoded])


def told(error: StreamDiTError) -> dict[str, Any]:
    """Return an error as a message."""
    given, allowed = (
        None if value is None else str(value) for value in (error.given, error.allowed)
    )
    return {
        "kind": "error",
        "problem": error.problem,
        "given": given,
        "allowed": allowed,
        "remedy": error.remedy,
    }


def _together(older: Command, newer: Command) -> dict[str, Any]:
    """Return what two commands of a kind ask for."""
    if newer.do == "set":
        return {**older.given, **newer.given}
    if newer.do == "rewind":
        return {"seconds": older.given["seconds"] + newer.given["seconds"]}
    if newer.do == "step":
        return {"count": min(MAX_STEPS, older.given.get("count", 1) + newer.given.get("count", 1))}
    return newer.given


class Channel:
    """Runs a stream.

    Args:
        live: the stream.
        fps: frames per second to keep to.
        turn: held while the model works, so that several channels share the machine instead of
            fighting for it.
        folder: where films go.
        name: of the channel; films are called after it.
        narrator: says a story.
        rests: whether it stands still while nobody watches.
        branch: opens a channel for a stream that has branched off, and returns its name.
    """

    def __init__(
        self,
        live: Live,
        fps: float,
        turn: threading.Lock,
        folder: Path,
        name: str = "1",
        narrator: Narrator | None = None,
        rests: bool = False,
        branch: Callable[[Live], str] | None = None,
    ) -> None:
        self.live, self.fps, self.name = live, fps, name
        self._turn, self._folder, self._narrator, self._branch = turn, folder, narrator, branch
        self._commands: collections.deque[Command] = collections.deque()
        self._viewers: set[Viewer] = set()
        self._wake = threading.Condition()
        self._ended = self.paused = False
        self._rests = rests
        self._hurry = False  # whether a new prompt waits
        self._failed: str | None = None
        self._told: dict[str, Any] = {}
        self._steps = 0  # moves to make though paused
        self._moves = 0
        self._said: list[tuple[Command, int]] = []  # prompts on their way, and the move that obeys
        self._saved: dict[str, dict[str, Any]] = {}
        self._snapshots: collections.deque[tuple[int, dict[str, Any]]] = collections.deque(
            maxlen=SNAPSHOTS
        )
        self._times: collections.deque[float] = collections.deque()
        self._recording: Recording | None = None
        self._last: bytes | None = None
        self.newest: Shown | None = None
        self._thread = threading.Thread(target=self._run, name=f"stream {name}", daemon=True)

    def start(self) -> None:
        """Let the stream run."""
        self._thread.start()

    def end(self) -> None:
        """End the stream soon; a film under way is finished."""
        with self._wake:
            self._ended = True
            self._wake.notify()

    def stop(self) -> None:
        """End the stream and wait until it has."""
        self.end()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the stream runs."""
        return self._thread.is_alive()

    @property
    def recording(self) -> bool:
        """Whether a film is being made."""
        return self._recording is not None

    @property
    def watched(self) -> int:
        """How many watch."""
        return len(self._viewers)

    def enter(self, viewer: Viewer) -> None:
        """Let somebody watch: they get the last frame at once."""
        with self._wake:
            self._viewers = self._viewers | {viewer}
            self._wake.notify()
        if self._last is not None:
            viewer.show(self._last)

    def leave(self, viewer: Viewer) -> None:
        """Somebody watches no more; the steps that they asked for are not made,
        and without viewers none is.
        """
        with self._wake:
            self._viewers = self._viewers - {viewer}
            left = [c for c in self._commands if not (c.do == "step" and c.viewer is viewer)]
            self._commands = collections.deque(left)
            if not self._viewers:
                self._steps = 0

    def post(self, command: Command) -> None:
        """Take a command; it acts before the next move.

        Of each kind at most one waits for each viewer: the newest wins, or two become one.
        """
        with self._wake:
            if self._ended:
                if command.viewer is not None:
                    command.viewer.tell(
                        told(
                            StreamDiTError(
                                "the stream has ended",
                                given=self._failed,
                                remedy="start the server anew",
                            )
                        )
                    )
                return
            same = [c for c in self._commands if c.do == command.do and c.viewer is command.viewer]
            if same and command.do in ("save", "branch"):
                return  # of this moment it is done already
            if same:  # there is never more than one
                self._commands.remove(same[0])
                command = replace(command, given=_together(same[0], command))
            self._commands.append(command)
            self._wake.notify()

    def settings(self) -> dict[str, Any]:
        """Return what a page shows as settings."""
        partition = self.live.partition
        return {
            "kind": "settings",
            "partition": str(partition),
            "chunks": partition.chunks,
            "micro_steps": partition.micro_steps,
            "scope": self.live.scope,
            "transition": self.live.transition,
            "fps": self.fps,
            "paused": self.paused,
            "ended": self._ended,
            "saved": list(self._saved),
            "recording": self.recording,
            "latency_frames": 0 if self.live.scope == "buffer" else partition.latency_frames,
        }

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while True:
                with self._wake:
                    while not (self._ended or self._commands or self._may_move(self._when(due))):
                        self._wake.wait(
                            None if self._still() else max(0.0, self._when(due) - time.monotonic())
                        )
                    if self._ended:
                        return
                    commands = list(self._commands)
                    self._commands.clear()
                for command in commands:
                    self._obey(command)
                if self._may_move(self._when(due)):
                    now = time.monotonic()
                    on_time = 0 <= now - due < LATE_S
                    due = (due if on_time else now) + self._period
                    with self._wake:
                        self._steps = max(0, self._steps - 1)
                    self._move()
        except Exception as error:
            log.exception("the stream has ended")
            self._failed = str(error)
            self._tell_all(
                told(
                    StreamDiTError(
                        "the stream has ended", given=error, remedy="look at the server's log"
                    )
                )
            )
        finally:
            self._ended = True
            self._tell_all(self.settings())
            try:
                self._end_recording()
            except Exception:  # a full disk, say
                log.exception("the film could not be finished")
            finally:
                self.live.close()

    @property
    def _period(self) -> float:
        return self.live.partition.chunk_frames / self.fps

    def _when(self, due: float) -> float:
        """Return when the next move is made: when it is due, or, if a new prompt waits, sooner."""
        return due - max(0.0, self._period - EARLY_S) if self._hurry else due

    def _still(self) -> bool:
        """Whether nothing moves, however long one waits."""
        return (self.paused and not self._steps) or (self._rests and not self._viewers)

    def _may_move(self, due: float) -> bool:
        return not self._still() and (self.paused or time.monotonic() >= due)

    def _move(self) -> None:
        if self._narrator is not None:
            said = self._narrator.due(self.live.number / self.live.world.spec.fps)
            if said is not None:
                self._obey(Command(do="say", given={"text": said}))
        self._hurry = False
        with self._turn:
            frames = self.live.move()
        self._moves += 1
        now = time.monotonic()
        obeyed = [command for command, move in self._said if move <= self._moves]
        self._said = [(command, move) for command, move in self._said if move > self._moves]
        for command in obeyed:
            if command.viewer is not None and "id" in command.given:
                ms, number = round(1000 * (now - command.came), 1), frames[0].number
                command.viewer.tell(
                    {"kind": "obeyed", "id": command.given["id"], "number": number, "ms": ms}
                )
        self._times.extend([now] * len(frames))
        while self._times and now - self._times[0] > 2:
            self._times.popleft()
        rate = (
            (len(self._times) - 1) / max(1e-6, now - self._times[0])
            if len(self._times) > 1
            else 0.0
        )
        buffer = [{"prompt": slot.prompt, "done": slot.done} for slot in self.live.buffer()]
        for shown in frames:
            self._publish(shown, buffer, rate)
        per_snapshot = max(1, round(SNAPSHOT_S * self.live.world.spec.fps))
        if not self._snapshots or self.live.number - self._snapshots[-1][0] >= per_snapshot:
            self._snapshots.append((self.live.number, self.live.state()))

    def _publish(self, shown: Shown, buffer: list[dict[str, Any]], rate: float) -> None:
        header = {
            "number": shown.number,
            "prompt": shown.prompt,
            "understood": shown.understood,
            "buffer": buffer,
            "fps": round(rate, 1),
        }
        self.newest = shown
        self._last = pack(header, [shown.picture] + ([] if shown.twin is None else [shown.twin]))
        for viewer in self._viewers:
            viewer.show(self._last)
        if self._recording is not None:
            self._film(self._recording, shown)

    def _film(self, recording: Recording, shown: Shown) -> None:
        """Add a frame to the film; one that cannot go on ends, and the stream does not."""
        try:
            recording.add(shown)
            if recording.frames < LONGEST_FILM and recording.size < MAX_FILM_BYTES:
                return
            film, frames = self._end_recording()
            if film is not None:
                self._tell_all({"kind": "recorded", "name": film.name, "frames": frames})
        except Exception as error:
            recording.drop()
            self._recording = None
            if isinstance(error, OSError):  # a full disk, say
                log.error("the film has ended: %s", error)
            else:
                log.exception("the film has ended")
            self._tell_all(
                told(
                    StreamDiTError(
                        "the film has ended", given=error, remedy="is there room on the disk?"
                    )
                )
            )
        self._settled()

    def _obey(self, command: Command) -> None:
        try:
            with self._turn:
                answer = getattr(self, f"_do_{command.do}")(command)
        except Exception as error:  # one command must not end a stream that others watch
            if not isinstance(error, StreamDiTError):
                log.exception("a command failed: %s", command.do)
                error = StreamDiTError(
                    "that failed",
                    given=f"{command.do}: {error}",
                    remedy="the server's log says more",
                )
            elif command.viewer is None:
                log.warning("%s", error)
            if command.viewer is not None:
                command.viewer.tell(self.settings())  # the page may show what was refused
                command.viewer.tell(told(error))
            return
        if answer is not None and command.viewer is not None:
            command.viewer.tell(answer)
        self._settled()

    def _settled(self) -> None:
        """Tell everybody the settings if they have changed."""
        settings = self.settings()
        if settings != self._told:
            self._told = settings
            self._tell_all(settings)

    def _tell_all(self, message: dict[str, Any]) -> None:
        for viewer in self._viewers:
            viewer.tell(message)

    def _do_say(self, command: Command) -> None:
        before, move = self.live.prompt, self._moves + 1 + self.live.delay
        self.live.say(command.given["text"])
        self._hurry = self._hurry or self.live.prompt != before
        self._said = [
            (c, m) for c, m in self._said if c.viewer is not command.viewer or m != move
        ] + [(command, move)]

    def _do_set(self, command: Command) -> None:
        given, cut = command.given, self.live.partition
        if "chunks" in given or "micro_steps" in given:
            cut = Partition(
                references=cut.references,
                chunks=given.get("chunks", cut.chunks),
                chunk_frames=cut.chunk_frames,
                micro_steps=given.get("micro_steps", cut.micro_steps),
            )
        self.live.set(partition=cut, scope=given.get("scope"), transition=given.get("transition"))
        self.fps = given.get("fps", self.fps)
        self._times.clear()

    def _do_pause(self, command: Command) -> None:
        self.paused, self._steps = command.given["on"], 0

    def _do_step(self, command: Command) -> None:
        self.paused = True
        if command.viewer is None or command.viewer in self._viewers:
            self._steps = min(MAX_STEPS, self._steps + command.given.get("count", 1))

    def _do_save(self, _command: Command) -> None:
        if len(self._saved) >= MOST_SAVED:
            raise StreamDiTError(
                "too many saved states",
                given=len(self._saved),
                allowed=MOST_SAVED,
                remedy="start the server anew",
            )
        self._saved[f"{len(self._saved) + 1}: frame {self.live.number}"] = self.live.state()

    def _do_restore(self, command: Command) -> None:
        name = command.given["name"]
        if name not in self._saved:
            raise StreamDiTError(
                "no such saved state",
                given=name,
                allowed=", ".join(self._saved) or "none yet",
                remedy="save one first",
            )
        self._go_back(self._saved[name])

    def _do_rewind(self, command: Command) -> None:
        wanted = self.live.number - command.given["seconds"] * self.live.world.spec.fps
        while len(self._snapshots) > 1 and self._snapshots[-1][0] > wanted:
            self._snapshots.pop()
        if self._snapshots:
            self._go_back(self._snapshots[-1][1])

    def _do_begin(self, command: Command) -> None:
        self.live.begin(command.given.get("seed", self.live.number))
        self._snapshots.clear()

    def _do_record(self, command: Command) -> dict[str, Any] | None:
        if command.given["on"]:
            if self._recording is None:
                with writing_to(self._folder, "choose another folder with --out"):
                    self._folder.mkdir(parents=True, exist_ok=True)
                    check_room(self._folder)
                path = (
                    self._folder
                    / f"stream-{self.name}-{time.strftime('%Y%m%d-%H%M%S')}-{self.live.number}.mp4"
                )
                self._recording = Recording(
                    path, max(1.0, min(60.0, self.fps)), self.live.simulator is not None
                )
            return None
        film, frames = self._end_recording()
        return None if film is None else {"kind": "recorded", "name": film.name, "frames": frames}

    def _do_branch(self, _command: Command) -> dict[str, Any]:
        if self._branch is None:
            raise StreamDiTError("streams cannot branch here", remedy="use the page's server")
        return {"kind": "branched", "name": self._branch(self.live.branch())}

    def _go_back(self, state: dict[str, Any]) -> None:
        self.live.restore(state)
        self._said.clear()
        while self._snapshots and self._snapshots[-1][0] > self.live.number:
            self._snapshots.pop()

    def _end_recording(self) -> tuple[Path | None, int]:
        recording, self._recording = self._recording, None
        return (None, 0) if recording is None else (recording.close(), recording.frames)
