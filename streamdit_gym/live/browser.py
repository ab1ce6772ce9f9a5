"""Opening the page in a browser without showing its token to other users of the machine.

Takes: an address.  Gives: an open page.  Knows nothing of: servers.

A command line can be read by every local user, so the browser is given a file that only this user
can read, and that leads to the address.
"""

from __future__ import annotations

import contextlib
import html
import os
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

KEPT_S = 30.0  # a browser that is not running yet needs a while


@contextlib.contextmanager
def redirect_file(address: str) -> Iterator[Path]:
    """Write a page that leads to an address, for this user alone; it is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="streamdit-gym-") as folder:  # nobody else can enter it
        path = Path(folder) / "open.html"
        target = html.escape(address, quote=True)
        text = f'<!doctype html><meta http-equiv="refresh" content="0; url={target}"><a href="{target}">the stream</a>'
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(text)
        yield path


@contextlib.contextmanager
def open_page(address: str, secret: bool) -> Iterator[None]:
    """Open an address; what leads to a secret one is gone after half a minute, or at the end."""
    done = threading.Event()

    def lead() -> None:
        if not secret:
            webbrowser.open(address)
            return
        with redirect_file(address) as path:
            webbrowser.open(path.as_uri())
            done.wait(KEPT_S)

    thread = threading.Thread(target=lead, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(2)
