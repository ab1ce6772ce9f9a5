"""All sessions of a server."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from streamdit_gym.checks import shown
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.errors import StreamDiTError, UnknownNameError
from streamdit_gym.live.live_session import LiveSession
from streamdit_gym.live.live_stream import LiveStream
from streamdit_gym.live.parallel_simulator import has_reference_simulator
from streamdit_gym.live.prompt_schedule import PromptSchedule
from streamdit_gym.live.stream_controller import SessionOptions
from streamdit_gym.live.stream_protocol import SteeredStream

FIRST_SESSION = "1"  # the one that never rests
MAX_SESSIONS = 4
MAX_VIEWERS = 64


class SessionRegistry:
    """Opens and finds sessions; they take turns.

    Args:
        film_folder: where films go.
        fps: frames per second of new sessions; None: each world's own.
    """

    def __init__(self, film_folder: Path, fps: float | None = None) -> None:
        self.film_folder = film_folder
        self.fps = fps
        self.sessions: dict[str, LiveSession] = {}
        self._num_opened = 0
        self._model_lock = threading.Lock()

    def open(self, live: SteeredStream, schedule: PromptSchedule | None = None) -> str:
        """Start a session and return its name.

        All but the first rest while nobody watches, and give way to new ones.

        Raises:
            StreamDiTError: if there are too many that somebody watches.
        """
        others = dict(self.sessions)
        if len(others) >= MAX_SESSIONS:
            unwatched = self._unwatched_session()
            if unwatched is None:
                live.close()
                raise StreamDiTError(
                    "too many streams",
                    given=len(others),
                    allowed=MAX_SESSIONS,
                    remedy="use one that is there",
                )
            others.pop(unwatched).end()
        self._num_opened += 1
        options = SessionOptions(
            fps=self.fps or live.description.fps,
            film_folder=self.film_folder,
            model_lock=self._model_lock,
            name=str(self._num_opened),
            schedule=schedule,
            rests_unwatched=bool(others),
            open_branch=self.open,
            open_world=partial(self.open_world, device=str(live.device)),
        )
        session = LiveSession(live, options)
        self.sessions = {**others, session.name: session}
        session.start()
        return session.name

    def open_world(self, name: str, device: str) -> str:
        """Return the name of a session that shows a shipped world, started if there is none.

        Raises:
            StreamDiTError: see `open`.
        """
        world = shared_world(name, device)
        for session in self.sessions.values():
            # not by its name: another bundle may have the same
            live = session.live
            if session.is_alive and isinstance(live, LiveStream) and live.world is world:
                return session.name
        return self.open(LiveStream(world, reference_simulator=has_reference_simulator(world)))

    def refusal(self, name: str) -> str | None:
        """Return why no other viewer may watch a session; None: they may."""
        if name not in self.sessions:
            printable = shown(name[:60])[1:-1]
            return str(UnknownNameError("stream", printable, self.sessions))
        num_viewers = sum(session.num_viewers for session in self.sessions.values())
        if num_viewers >= MAX_VIEWERS:
            return f"too many viewers: {MAX_VIEWERS} are there already"
        return None

    def close(self) -> None:
        """Stop every session."""
        for session in self.sessions.values():
            session.stop()

    def _unwatched_session(self) -> str | None:
        for name, session in self.sessions.items():
            if name != FIRST_SESSION and not session.num_viewers:
                return name
        return None
