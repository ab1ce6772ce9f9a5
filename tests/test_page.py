"""The page in a real browser."""

from __future__ import annotations

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

from streamdit_gym.data.video import read_video

pytest.importorskip("uvicorn")
from support.serving import proxying

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("starlette")
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
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


class Server:
    """`streamdit-gym play` as people start it."""

    def __init__(self, folder: Path, port: int = 0, *more: str) -> None:
        told = [
            "play",
            "PushT",
            "--port",
            str(port),
            "--no-browser",
            "--fps",
            "30",
            "--out",
            str(folder),
            *more,
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "streamdit_gym", *told],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = re.findall(r"http://\S+", self.process.stdout.readline())[0]
        self.port = int(re.findall(r":(\d+)/", self.address)[0])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(20) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[list[Server]]:
    running = [Server(folder)]  # a test puts another in its place
    yield running
    running[0].stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        yield made
        made.close()


@pytest.fixture
def page(server: list[Server], browser: Any) -> Iterator[Any]:
    made = browser.new_page(viewport={"width": 1200, "height": 900})
    troubles: list[str] = []
    made.on("pageerror", lambda error: troubles.append(str(error)))
    made.goto(server[0].address)
    until(made, "document.querySelector('#picture').dataset.number > 0")
    yield made
    made.close()
    assert not troubles


def until(page: Any, what: str, seconds: float = 10.0) -> None:
    """Wait until an expression is true; the page's own policy forbids Playwright's way of
    evaluating text in it again and again.
    """
    deadline = time.monotonic() + seconds
    while not page.evaluate(what):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def pusher(page: Any) -> tuple[float, float]:
    """The middle of what is blue in the generated picture."""
    x, y = page.evaluate(
        """() => {
            const canvas = document.querySelector("#picture");
            const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let n = 0, x = 0, y = 0;
            for (let i = 0; i < data.length; i += 4) {
                if (data[i + 2] - data[i] < 80 || data[i + 2] - data[i + 1] < 60) continue;
                n++, x += (i / 4) % width, y += Math.floor(i / 4 / width);
            }
            return [x / n, y / n];
        }"""
    )
    return x, y


def settle(page: Any, text: str) -> None:
    until(page, f"document.querySelector('#prompt').textContent === {text!r}")


def test_a_typed_prompt_and_held_keys_move_the_pusher(page: Any) -> None:
    page.click("#pad >> text='move down right'")
    page.wait_for_timeout(1500)
    begun = pusher(page)
    page.fill("#text", "please go to the left")
    page.keyboard.press("Enter")
    settle(page, "please go to the left")
    page.wait_for_timeout(700)
    assert pusher(page)[0] < begun[0] - 8
    page.keyboard.press("Escape")
    page.keyboard.down("ArrowUp")
    settle(page, "move up")
    page.keyboard.down("d")
    settle(page, "move up right")
    page.keyboard.up("d")
    page.wait_for_timeout(700)
    page.keyboard.up("ArrowUp")
    settle(page, "stay")
    assert pusher(page)[1] < begun[1] - 8
    page.mouse.click(
        *page.evaluate(
            "(() => { const b = picture.getBoundingClientRect(); return [b.right - 5, b.top + b.height / 2]; })()"
        )
    )
    settle(page, "move right")
    found = re.match(r"(\d+) ms", page.inner_text("#reaction"))
    assert found
    assert int(found[1]) < 500
    page.keyboard.press("1")
    settle(page, "stay")


def test_sliders_cut_the_buffer_and_the_strip_shows_it(page: Any) -> None:
    assert page.locator("#strip li").count() == 1
    page.locator("#chunks").fill("4")
    until(page, "document.querySelectorAll('#strip li').length === 4")
    assert "K4N4c1s1, 3 frames late" in page.inner_text("#partition")
    assert [text.split(" %")[0] for text in page.locator("#strip li").all_inner_texts()] == [
        "25",
        "50",
        "75",
        "100",
    ]
    page.locator("#micro_steps").fill("2")
    until(page, "document.querySelector('#partition').textContent.includes('K4N4c1s2')")
    page.locator("#scope").select_option("buffer")
    until(page, "!document.querySelector('#partition').textContent.includes('late')")
    for name, value in (("#chunks", "1"), ("#micro_steps", "1")):
        page.locator(name).fill(value)
    page.locator("#scope").select_option("chunk")
    until(page, "document.querySelector('#partition').textContent === 'K4N1c1s1'")


def test_pause_step_save_go_back_and_branch(page: Any, browser: Any) -> None:
    number = "Number(document.querySelector('#picture').dataset.number)"
    page.keyboard.press("Space")
    until(page, "document.querySelector('#state').textContent === 'paused'")
    page.wait_for_timeout(200)
    at = page.evaluate(number)
    page.click("#save")
    until(page, "document.querySelector('#saved').value !== ''")
    page.keyboard.press(".")
    until(page, f"{number} === {at + 1}")
    page.click("#step")
    until(page, f"{number} === {at + 2}")
    page.click("#restore")
    page.click("#step")
    until(page, f"{number} === {at + 1}")
    page.click("#branch")
    page.wait_for_selector("#links a")
    with page.expect_popup() as opened:
        page.click("#links a")
    until(opened.value, "document.querySelector('#picture').dataset.number > 0")
    assert "stream 2" in opened.value.inner_text("#world")
    opened.value.close()
    page.click("#pause")
    until(page, "document.querySelector('#state').textContent === 'live'")


def test_recording_and_downloading(page: Any, tmp_path: Path) -> None:
    page.keyboard.press("r")
    until(page, "document.querySelector('#record').textContent === 'Stop recording'")
    number = page.evaluate("Number(picture.dataset.number)")
    until(page, f"Number(picture.dataset.number) > {number + 20}")
    page.keyboard.press("r")
    page.wait_for_selector("#links a[download]")
    with page.expect_download() as download:
        page.click("#links a[download]")
    download.value.save_as(tmp_path / "film.mp4")
    assert len(read_video(tmp_path / "film.mp4")) > 8


def test_a_phone_and_the_keyboard_alone(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
    assert {"text", "move up", "pause", "record", "saved", "chunks", "fps", "scope"} <= reached


def test_the_page_says_that_the_server_is_gone_and_comes_back_by_itself(
    page: Any, server: list[Server], folder: Path
) -> None:
    server[0].stop()
    until(page, "!document.querySelector('#problem').hidden")
    assert "gone away" in page.inner_text("#problem")
    assert page.inner_text("#state") == "not connected"
    server[0] = Server(folder, server[0].port)
    until(page, "document.querySelector('#state').textContent === 'live'", 20.0)
    assert page.locator("#problem").is_hidden()
    before = page.evaluate("document.querySelector('#picture').dataset.number")
    time.sleep(0.5)
    assert page.evaluate("document.querySelector('#picture').dataset.number") != before


def test_a_server_that_falls_silent_is_noticed_and_what_is_said_meanwhile_is_not_lost_in_silence(
    page: Any, server: list[Server]
) -> None:
    server[0].process.send_signal(signal.SIGSTOP)
    try:
        until(
            page, "document.querySelector('#problem').textContent.includes('fallen silent')", 12.0
        )
        page.keyboard.press("2")
        assert "was not sent" in page.inner_text("#problem")
    finally:
        server[0].process.send_signal(signal.SIGCONT)
    until(page, "document.querySelector('#state').textContent === 'live'", 20.0)


def test_the_page_lives_below_a_proxys_path(browser: Any, folder: Path) -> None:
    server = Server(
        folder, 0, "--allow-host", "127.0.0.1"
    )  # the proxy sends another name on than the visitor's
    token = server.address.split("?")[1]
    try:
        with proxying(server.port, "/lab", host="localhost:8000") as outer:
            made = browser.new_page()
            made.goto(f"http://127.0.0.1:{outer}/lab/?{token}")
            until(made, "document.querySelector('#picture').dataset.number > 0")
            made.click("#pad >> text='move up'")
            settle(made, "move up")
            made.close()
    finally:
        server.stop()


def test_the_prompts_limit_is_shown_and_kept(page: Any) -> None:
    page.fill("#text", "move up")
    assert page.inner_text("#text-left") == "7 of 200 characters"
    assert page.get_attribute("#text", "maxlength") == "200"
    assert "100 films" in page.inner_text("#films")
