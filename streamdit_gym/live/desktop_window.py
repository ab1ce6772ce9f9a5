"""A stream in a window of its own, steered by keys."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live.command_queue import Command
from streamdit_gym.live.film_recorder import draw_frame
from streamdit_gym.live.launch import PlayOptions
from streamdit_gym.live.live_session import LiveSession
from streamdit_gym.live.prompt_schedule import PromptSchedule
from streamdit_gym.live.stdin_prompts import read_prompts_from_stdin
from streamdit_gym.live.stream_controller import SessionOptions
from streamdit_gym.live.stream_frame import StreamFrame
from streamdit_gym.live.stream_protocol import SteeredStream

TITLE = (
    "streamdit_gym: 1-9 or Q W E A S D Z X C steer, space pauses, . steps, "
    "b goes back, r records, Esc ends"
)
ESCAPE = 27
REWIND_S = 3.0
DIRECTIONS = ("up", "down", "left", "right")
DIRECTION_KEYS = {
    "q": "up left",
    "w": "up",
    "e": "up right",
    "a": "left",
    "s": "",
    "d": "right",
    "z": "down left",
    "x": "down",
    "c": "down right",
}


def command_for_key(key: str, menu: Sequence[str], session: LiveSession) -> Command | None:
    """Return the command of a key; None for keys without one."""
    prompt = _prompt_for_key(key, menu, session.live.description.directions)
    if prompt is not None:
        return Command(name="prompt", arguments={"text": prompt})
    if key == " ":
        return Command(name="pause", arguments={"on": not session.is_paused})
    if key == ".":
        return Command(name="step", arguments={})
    if key == "b":
        return Command(name="rewind", arguments={"seconds": REWIND_S})
    if key == "r":
        return Command(name="record", arguments={"on": not session.is_recording})
    return None


def _prompt_for_key(key: str, menu: Sequence[str], directions: Mapping[str, str]) -> str | None:
    if key.isdecimal():
        return menu[int(key) - 1] if 0 < int(key) <= len(menu) else None
    direction = DIRECTION_KEYS.get(key)
    if directions:
        return None if direction is None else directions[direction]
    for phrase in reversed(menu):
        if _direction_of(phrase) == direction:
            return phrase
    return None


def _direction_of(phrase: str) -> str:
    words = phrase.split()
    return " ".join(word for word in DIRECTIONS if word in words)


def show_window(
    live: SteeredStream, schedule: PromptSchedule, options: PlayOptions, fps: float
) -> None:
    """Show a stream until Esc is pressed or the window is closed.

    Raises:
        StreamDiTError: if there is no display.
    """
    if not _has_display():
        live.close()
        raise StreamDiTError(
            "no display for a window", remedy="leave show=window out and use the page"
        )
    session_options = SessionOptions(
        fps=fps, film_folder=options.out, model_lock=threading.Lock(), schedule=schedule
    )
    session = LiveSession(live, session_options)
    session.start()
    if options.reads_stdin:
        read_prompts_from_stdin(session)
    try:
        _run_window(session)
    finally:
        session.stop()
        cv2.destroyAllWindows()


def _has_display() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _run_window(session: LiveSession) -> None:
    """Draw frames and handle keys until the window is closed."""
    with_simulator = session.live.description.has_simulator
    shown_frame: StreamFrame | None = None
    while session.is_alive:
        frame = session.newest
        if frame is not None and frame is not shown_frame:
            shown_frame = frame
            picture = draw_frame(frame, with_simulator)
            cv2.imshow(TITLE, np.ascontiguousarray(picture[..., ::-1]))
        key = cv2.waitKey(5)
        if key == ESCAPE or (shown_frame is not None and not _is_visible()):
            return
        if key >= 0:
            menu = session.live.description.menu
            command = command_for_key(chr(key & 0xFF).lower(), menu, session)
            if command is not None:
                session.post(command)
        time.sleep(0.001)


def _is_visible() -> bool:
    return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
