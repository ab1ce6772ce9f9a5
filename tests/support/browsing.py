"""`streamdit-gym play` as people start it, and a real browser that shows its page."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (
        path
        for path in map(
            Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
        )
        if path.is_file()
    ),
    None,
)


class Server:
    """`streamdit-gym play` as people start it."""

    def __init__(self, folder: Path, port: int = 0, *more: str, world: str = "PushT") -> None:
        arguments = f"play {world} --port {port} --out {folder} --set fps=30 show=page".split()
        command = [sys.executable, "-W", "ignore", "-m", "streamdit_gym", *arguments, *more]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.address = re.findall(r"http://\S+", self.process.stdout.readline())[0]
        self.port = int(re.findall(r":(\d+)/", self.address)[0])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(20) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def launched_browser() -> Iterator[Any]:
    """Start a browser without a screen."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield browser
        browser.close()


def wait_until(page: Any, expression: str, seconds: float = 10.0) -> None:
    """Wait until an expression is true.

    The page's content policy forbids Playwright's own way, which evaluates text in the page.
    """
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.02)
