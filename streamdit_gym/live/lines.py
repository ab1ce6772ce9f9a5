"""Prompts of standard input, said as they come.

Takes: lines.  Gives: commands.  Knows nothing of: streams, networks.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import threading

from streamdit_gym.live.channel import Channel, Command

log = logging.getLogger("streamdit_gym")


def hear_lines(channel: Channel) -> threading.Thread:
    """Say what is on standard input from now on: a prompt a line, plain or as ``{"say": "..."}``; return the thread that does."""
    thread = threading.Thread(target=_listen, args=(channel,), daemon=True)
    thread.start()
    return thread


def _listen(channel: Channel) -> None:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # one bad byte does not end the listening
    for line in sys.stdin:
        text = line.strip()
        if text.startswith("{"):
            try:
                text = json.loads(text)["say"]
            except (ValueError, KeyError, TypeError, RecursionError):
                text = None
        if not isinstance(text, str):
            log.warning('cannot read a line: %s\n  allowed: a prompt, or {"say": "..."}', line.strip()[:80])
        elif text:
            channel.post(Command(do="say", given={"text": text}))
