"""A tiny open model on the page, in a real browser: 600 frames, steered by typed sentences."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright")
from support.browsing import CHROMIUM, Server, launched_browser, wait_until
from support.tiny_wan import diffusers, write_folder

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]
FRAMES = 600
WARM_FRAMES = 150  # until memory has settled
MAX_GROWTH_MIB = 128  # of moments to go back to, until a minute of them is kept
MIN_FRAME_RATE = 2.0
PATIENCE_MS = 120_000  # the model and the browser share a machine
SETTINGS = (
    "fps=30",
    "partition=K2N3c2s1",
    "clip_steps=2",
    "frame_size=32,48",
    "dtype=float32",
    "prompt=a cat",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    diffusers()
    folder = tmp_path_factory.mktemp("wan")
    model = write_folder(folder / "tiny-wan", "SkyReelsV2Transformer3DModel")
    running = Server(folder, 0, *SETTINGS, "--device", "cpu", world=f"wan:{model}")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched_browser() as browser:
        yield browser


def resident_mib(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def number_of(page: Any) -> int:
    return int(page.evaluate("Number(document.querySelector('#image').dataset.number)"))


def wait_for_frame(page: Any, number: int) -> None:
    wait_until(page, f"document.querySelector('#image').dataset.number >= {number}", 120.0)


def test_sentences_steer_600_frames_on_the_page(server: Server, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.address)
    wait_for_frame(page, 1)
    assert page.inner_text("#world") == "tiny-wan, stream 1"
    assert "K2N3c2s1" in page.inner_text("#partition")
    assert page.locator("#chunks").is_hidden()
    assert page.locator("#transition").is_hidden()
    assert page.locator("#fps").is_visible()
    assert page.get_attribute("#text", "maxlength") == "1000"
    wait_for_frame(page, WARM_FRAMES)
    memory = resident_mib(server)
    start_number = number_of(page)
    start_time = time.monotonic()
    for round_number in range(4):
        sentence = ["rain falls", "fire burns"][round_number % 2]
        page.locator("#prompt_scope").select_option(["chunk", "buffer"][round_number // 2])
        page.fill("#text", sentence)
        page.keyboard.press("Enter")
        wait_until(page, f"document.querySelector('#prompt').textContent === {sentence!r}", 60.0)
        wait_for_frame(page, WARM_FRAMES + (round_number + 1) * (FRAMES - WARM_FRAMES) // 4)
    frame_rate = (number_of(page) - start_number) / (time.monotonic() - start_time)
    growth = resident_mib(server) - memory
    assert growth < MAX_GROWTH_MIB, f"{growth:+.1f} MiB of {memory:.0f}"
    assert frame_rate > MIN_FRAME_RATE
    page.click("#branch")
    page.wait_for_selector("#links a")
    page.keyboard.press("Escape")
    assert page.locator("#problem").is_hidden()
    page.close()
    assert not errors


def test_what_an_open_model_does_not_take_is_told_on_the_page(server: Server, browser: Any) -> None:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(server.address)
    wait_for_frame(page, 1)
    page.evaluate("send('configure', {chunks: 2})")
    wait_until(page, "!document.querySelector('#problem').hidden")
    assert "stays as it was loaded" in page.inner_text("#problem")
    page.close()
