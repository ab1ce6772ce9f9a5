"""Prompts from standard input, applied as they arrive."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading

from streamdit_gym.checks import check_prompt
from streamdit_gym.errors import ArgumentError
from streamdit_gym.live.command_queue import Command
from streamdit_gym.live.live_session import LiveSession
from streamdit_gym.live.prompt_schedule import PARSE_ERRORS, prompt_field

log = logging.getLogger("streamdit_gym")

ALLOWED = 'allowed: a prompt, or {"prompt": "..."}'


def read_prompts_from_stdin(session: LiveSession) -> threading.Thread:
    """Start a thread that sends each line of standard input to a session, and return the thread.

    A line is a prompt, plain or as ``{"prompt": "..."}``.
    """
    thread = threading.Thread(target=_read_lines, args=(session,), daemon=True)
    thread.start()
    return thread


def _read_lines(session: LiveSession) -> None:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # one bad byte does not end the input
    for raw_line in sys.stdin:
        line = raw_line.strip()
        if not line:
            continue
        try:
            prompt = _parse_prompt(line, session.live.description.max_prompt_chars)
        except PARSE_ERRORS as error:
            reason = error if isinstance(error, ArgumentError) else ALLOWED
            log.warning("cannot read a line: %s\n  %s", ascii(line[:80]), reason)
        else:
            session.post(Command(name="prompt", arguments={"text": prompt}))


def _parse_prompt(line: str, max_chars: int) -> str:
    if not line.startswith("{"):
        return check_prompt(line, max_chars)
    return check_prompt(prompt_field(json.loads(line)), max_chars)
