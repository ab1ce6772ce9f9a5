"""Opening the page in a browser without showing its token to other users of the machine.

Every local user can read a command line. So the browser gets a file that only this user can
read and that redirects to the address.
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

REDIRECT_S = 30.0  # a browser that is not running yet needs a while
PAGE = (
    '<!doctype html><meta http-equiv="refresh" content="0; url={address}">'
    '<a href="{address}">the stream</a>'
)


@contextlib.contextmanager
def redirect_file(address: str) -> Iterator[Path]:
    """Write a page that redirects to an address, readable by this user alone; remove it after."""
    page = PAGE.format(address=html.escape(address, quote=True))
    with tempfile.TemporaryDirectory(prefix="streamdit-gym-") as folder:  # mode 0700
        path = Path(folder) / "open.html"
        with open(path, "x", opener=_open_private) as file:
            file.write(page)
        yield path


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def open_page(address: str, secret: bool) -> Iterator[None]:
    """Open an address in the browser.

    Args:
        address: the address.
        secret: whether to hide it behind a redirect, which is removed after half a minute or on
            exit.
    """
    finished = threading.Event()

    def open_it() -> None:
        if not secret:
            webbrowser.open(address)
            return
        with redirect_file(address) as path:
            webbrowser.open(path.as_uri())
            finished.wait(REDIRECT_S)

    thread = threading.Thread(target=open_it, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join(2)
