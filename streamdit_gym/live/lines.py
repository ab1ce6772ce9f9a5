"""Prompts of standard input, said as they come.

Takes: lines.  Gives: commands.  Knows nothing of: streams, networks.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import threading

from streamdit_gym.checks import check_prompt
from streamdit_gym.errors import ArgumentError
from streamdit_gym.live.channel import Channel, Command

log = logging.getLogger("streamdit_gym")


def hear_lines(channel: Channel) -> threading.Thread:
    """Say what is on standard input from now on: a prompt a line, plain or as ``{"say": "..."}``;
    return the thread that does.
    """
    thread = threading.Thread(target=_listen, args=(channel,), daemon=True)
    thread.start()
    return thread


def _listen(channel: Channel) -> None:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # one bad byte does not end the listening
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            channel.post(Command(do="say", given={"text": _prompt_of(line.strip())}))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = (
                error
                if isinstance(error, ArgumentError)
                else 'allowed: a prompt, or {"say": "..."}'
            )
            log.warning("cannot read a line: %s\n  %s", ascii(line.strip()[:80]), reason)


def _prompt_of(line: str) -> str:
    return check_prompt(json.loads(line)["say"] if line.startswith("{") else line)
