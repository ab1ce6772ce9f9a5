"""The page in a real browser."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamdit_gym.data.video import read_video

pytest.importorskip("uvicorn")
from support.browsing import CHROMIUM, Server, launched_browser, wait_until
from support.pushed_dot import write_dot_file
from support.serving import proxying

pytest.importorskip("playwright")
pytest.importorskip("starlette")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


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
    with launched_browser() as browser:
        yield browser


@pytest.fixture
def page(server: list[Server], browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server[0].address)
    wait_until(page, "document.querySelector('#image').dataset.number > 0")
    yield page
    page.close()
    assert not errors


def pusher_position(page: Any) -> tuple[float, float]:
    """Return the middle of the blue pixels of the generated image."""
    x, y = page.evaluate(
        """() => {
            const canvas = document.querySelector("#image");
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            let n = 0, x = 0, y = 0;
            for (let i = 0; i < data.length; i += 4) {
                if (data[i + 2] - data[i] < 80 || data[i + 2] - data[i + 1] < 60) continue;
                n++, x += (i / 4) % width, y += Math.floor(i / 4 / width);
            }
            return [x / n, y / n];
        }"""
    )
    return x, y


def wait_for_prompt(page: Any, text: str) -> None:
    wait_until(page, f"document.querySelector('#prompt').textContent === {text!r}")


def test_a_typed_prompt_and_held_keys_move_the_pusher(page: Any) -> None:
    page.click("#actions >> text='move down right'")
    page.wait_for_timeout(1500)
    start = pusher_position(page)
    page.fill("#text", "please go to the left")
    page.keyboard.press("Enter")
    wait_for_prompt(page, "please go to the left")
    page.wait_for_timeout(700)
    assert pusher_position(page)[0] < start[0] - 8
    page.keyboard.press("Escape")
    page.keyboard.down("ArrowUp")
    wait_for_prompt(page, "move up")
    page.keyboard.down("d")
    wait_for_prompt(page, "move up right")
    page.keyboard.up("d")
    page.wait_for_timeout(700)
    page.keyboard.up("ArrowUp")
    wait_for_prompt(page, "stay")
    assert pusher_position(page)[1] < start[1] - 8
    box = page.locator("#image").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 5, box["y"] + box["height"] / 2)
    wait_for_prompt(page, "move right")
    match = re.match(r"(\d+) ms", page.inner_text("#latency"))
    assert match
    assert int(match[1]) < 500
    page.keyboard.press("1")
    wait_for_prompt(page, "stay")


def test_sliders_cut_the_buffer_and_the_strip_shows_it(page: Any) -> None:
    assert page.locator("#buffer li").count() == 1
    page.locator("#chunks").fill("4")
    wait_until(page, "document.querySelectorAll('#buffer li').length === 4")
    assert "K4N4c1s1, 3 frames of latency" in page.inner_text("#partition")
    assert [text.split(" %")[0] for text in page.locator("#buffer li").all_inner_texts()] == [
        "25",
        "50",
        "75",
        "100",
    ]
    page.locator("#micro_steps").fill("2")
    wait_until(page, "document.querySelector('#partition').textContent.includes('K4N4c1s2')")
    page.locator("#prompt_scope").select_option("buffer")
    wait_until(page, "!document.querySelector('#partition').textContent.includes('latency')")
    for name, value in (("#chunks", "1"), ("#micro_steps", "1")):
        page.locator(name).fill(value)
    page.locator("#prompt_scope").select_option("chunk")
    wait_until(page, "document.querySelector('#partition').textContent === 'K4N1c1s1'")


def test_pause_step_save_go_back_and_branch(page: Any, browser: Any) -> None:
    number = "Number(document.querySelector('#image').dataset.number)"
    page.keyboard.press("Space")
    wait_until(page, "document.querySelector('#status').textContent === 'paused'")
    page.wait_for_timeout(200)
    at = page.evaluate(number)
    page.click("#save")
    wait_until(page, "document.querySelector('#saved').value !== ''")
    page.keyboard.press(".")
    wait_until(page, f"{number} === {at + 1}")
    page.click("#step")
    wait_until(page, f"{number} === {at + 2}")
    page.click("#restore")
    page.click("#step")
    wait_until(page, f"{number} === {at + 1}")
    page.click("#branch")
    page.wait_for_selector("#links a")
    with page.expect_popup() as opened:
        page.click("#links a")
    wait_until(opened.value, "document.querySelector('#image').dataset.number > 0")
    assert "stream 2" in opened.value.inner_text("#world")
    opened.value.close()
    page.click("#pause")
    wait_until(page, "document.querySelector('#status').textContent === 'live'")


def test_another_shipped_world_opens(page: Any) -> None:
    assert page.locator("#dimensions input").count() == 0
    page.locator("#worlds").select_option("PushT-Continuous")
    page.click("#open")
    page.wait_for_url("**stream=*")
    wait_until(page, "document.querySelector('#image').dataset.number > 0")
    assert page.inner_text("#world").startswith("PushT-Continuous")
    assert page.locator("#dimensions input").count() == 2
    assert page.locator("#worlds").input_value() == "PushT-Continuous"


def test_recording_and_downloading(page: Any, tmp_path: Path) -> None:
    page.keyboard.press("r")
    wait_until(page, "document.querySelector('#record').textContent === 'Stop recording'")
    number = page.evaluate("Number(image.dataset.number)")
    wait_until(page, f"Number(image.dataset.number) > {number + 20}")
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
    assert {
        "text",
        "move up",
        "pause",
        "record",
        "saved",
        "chunks",
        "fps",
        "prompt_scope",
    } <= reached


def test_the_page_says_that_the_server_is_gone_and_comes_back_by_itself(
    page: Any, server: list[Server], folder: Path
) -> None:
    server[0].stop()
    wait_until(page, "!document.querySelector('#problem').hidden")
    assert "gone away" in page.inner_text("#problem")
    assert page.inner_text("#status") == "not connected"
    server[0] = Server(folder, server[0].port)
    wait_until(page, "document.querySelector('#status').textContent === 'live'", 20.0)
    assert page.locator("#problem").is_hidden()
    before = page.evaluate("document.querySelector('#image').dataset.number")
    time.sleep(0.5)
    assert page.evaluate("document.querySelector('#image').dataset.number") != before


def test_a_server_that_falls_silent_is_noticed_and_what_is_said_meanwhile_is_not_lost_in_silence(
    page: Any, server: list[Server]
) -> None:
    server[0].process.send_signal(signal.SIGSTOP)
    try:
        wait_until(
            page, "document.querySelector('#problem').textContent.includes('fallen silent')", 12.0
        )
        page.keyboard.press("2")
        assert "was not sent" in page.inner_text("#problem")
    finally:
        server[0].process.send_signal(signal.SIGCONT)
    wait_until(page, "document.querySelector('#status').textContent === 'live'", 20.0)


def test_the_page_lives_below_a_proxys_path(browser: Any, folder: Path) -> None:
    server = Server(
        folder, 0, "--proxy", "127.0.0.1"
    )  # the proxy sends another name on than the visitor's
    token = server.address.split("?")[1]
    try:
        with proxying(server.port, "/lab", host="localhost:8000") as outer:
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{outer}/lab/?{token}")
            wait_until(page, "document.querySelector('#image').dataset.number > 0")
            page.click("#actions >> text='move up'")
            wait_for_prompt(page, "move up")
            page.close()
    finally:
        server.stop()


def test_the_prompts_limit_is_shown_and_kept(page: Any) -> None:
    page.fill("#text", "move up")
    assert page.inner_text("#text-length") == "7 of 200 characters"
    assert page.get_attribute("#text", "maxlength") == "200"
    assert "100 films" in page.inner_text("#film-limits")


def test_sliders_steer_a_box_between_its_words(browser: Any, tmp_path: Path) -> None:
    server = Server(tmp_path / "films", world=str(write_dot_file(tmp_path)))
    try:
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.goto(server.address)
        wait_until(page, "document.querySelector('#image').dataset.number > 0")
        assert page.locator("#dimensions input").count() == 2
        assert page.inner_text("#dimensions .marks >> nth=0").split("\n")[0] == "far left"
        page.locator("#dimension-0").fill("0.9")
        wait_for_prompt(page, "x far right; y still")
        assert page.inner_text("#dimension-0-value") == "0.9"
        page.click("#actions >> text='y up'")
        wait_for_prompt(page, "x still; y up")
        wait_until(page, "document.querySelector('#dimension-1').value === '-0.5'")
        assert page.locator("#dimension-0").input_value() == "0"
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.close()
    finally:
        server.stop()
