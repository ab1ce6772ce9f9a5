"""The stream in a window of its own, steered by keys.

Takes: a stream.  Gives: nothing.  Knows nothing of: networks.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live.channel import Channel, Command
from streamdit_gym.live.lines import hear_lines
from streamdit_gym.live.recording import drawn
from streamdit_gym.live.story import Narrator
from streamdit_gym.live.stream import Live

TITLE = "streamdit_gym: 1-9 or Q W E A S D Z X C steer, space pauses, . steps, b goes back, r records, Esc ends"
PLACES = {
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


def meaning(key: str, menu: list[str], channel: Channel) -> Command | None:
    """Return what a key asks for; None for keys that mean nothing."""
    directions = {
        " ".join(w for w in ("up", "down", "left", "right") if w in phrase.split()): phrase
        for phrase in menu
    }
    if key in PLACES and PLACES[key] in directions:
        return Command(do="say", given={"text": directions[PLACES[key]]})
    if key.isdigit() and 0 < int(key) <= len(menu):
        return Command(do="say", given={"text": menu[int(key) - 1]})
    if key == " ":
        return Command(do="pause", given={"on": not channel.paused})
    if key == ".":
        return Command(do="step", given={})
    if key == "b":
        return Command(do="rewind", given={"seconds": 3.0})
    if key == "r":
        return Command(do="record", given={"on": not channel.recording})
    return None


def show(live: Live, fps: float, folder: Path, narrator: Narrator, listen: bool = False) -> None:
    """Show a stream until Esc or the window is closed; if it listens, lines of standard input are
    prompts.

    Raises:
        StreamDiTError: if there is no display.
    """
    if sys.platform.startswith("linux") and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    ):
        live.close()
        raise StreamDiTError(
            "no display for a window", remedy="leave --window out and use the page"
        )
    twin = live.simulator is not None
    channel = Channel(live, fps, threading.Lock(), folder, narrator=narrator)
    channel.start()
    if listen:
        hear_lines(channel)
    seen = 0
    try:
        while channel.alive:
            shown = channel.newest
            if shown is not None and shown.number != seen:
                seen = shown.number
                cv2.imshow(TITLE, np.ascontiguousarray(drawn(shown, twin)[..., ::-1]))
            key = cv2.waitKey(5)
            if key == 27 or (seen and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1):
                break
            command = meaning(chr(key & 0xFF).lower(), live.menu, channel) if key >= 0 else None
            if command is not None:
                channel.post(command)
            time.sleep(0.001)
    finally:
        channel.stop()
        cv2.destroyAllWindows()
