"""The exported page in a real browser, without a server of ours behind it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.static_site import CHROMIUM, chromium, serving_folder

from streamdit_gym.actions import SpokenBox
from streamdit_gym.presets import partition_for
from streamdit_gym.world import World

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("playwright.sync_api")
from streamdit_gym.export.agreement import (
    FRAMES,
    MAX_GREY_LEVELS,
    SEED,
    actions_to_compare,
    engine_frames,
)
from streamdit_gym.export.browser_runtime import DownloadError, cached_runtime
from streamdit_gym.export.export_world import export_world

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]
LOADING_S = 120.0

# Draws frames with the page's own code and noise; the pixels come back as one text.
DRAW_FRAMES = """async ({ actions, seed }) => {
    const ort = await import("./runtime/ort.wasm.min.mjs");
    const { Stream, loadWorld } = await import("./stream.js");
    ort.env.wasm.numThreads = 1;
    const address = new URL(".", location.href);
    const stream = new Stream(ort, await loadWorld(ort, address, ["wasm"]));
    const prompt = (action) => {
        return Array.isArray(action) ? stream.values(action) : stream.phrase(action);
    };
    const [idle, ...played] = actions;
    await stream.start(0, seed, await prompt(idle));
    let pixels = "";
    for (const action of played) {
        const frame = await stream.decode(await stream.tick(await prompt(action)));
        pixels += String.fromCharCode(...frame);
    }
    return btoa(pixels);
}"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """An exported page that is served."""

    world: World
    address: str


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module", params=["PushT", "Crossroads", "Reacher"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The page of a world with a menu, of one with chance, and of one with continuous actions."""
    try:
        cached_runtime()
    except DownloadError as error:
        if error.__cause__ is None:  # not a matter of the connection: what came is another package
            raise
        pytest.skip(f"needs onnxruntime-web: {error.given}")
    world = World.from_pretrained(request.param)
    folder: Path = tmp_path_factory.mktemp("site") / request.param
    export_world(world, folder, to="web")
    with serving_folder(folder) as address:
        yield Site(world=world, address=address)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.set_default_timeout(1000 * LOADING_S)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert not errors


def javascript_actions(world: World, actions: list[Any]) -> list[Any]:
    """Return actions as the page's code takes them: rows of phrases, or lists of values."""
    language = world.spec.actions
    if isinstance(language, SpokenBox):
        return [np.asarray(action, np.float64).tolist() for action in actions]
    return [world.table.phrases.index(language.prompt(action)) for action in actions]


def test_a_browser_draws_what_the_engine_draws(site: Site, page: Any) -> None:
    world = site.world
    actions = actions_to_compare(world, FRAMES)
    page.goto(f"{site.address}world.json")  # the page's own stream would take half of the time
    prompts = javascript_actions(world, [world.spec.actions.idle, *actions])
    pixels = page.evaluate(DRAW_FRAMES, {"actions": prompts, "seed": SEED})
    browser_frames = np.frombuffer(base64.b64decode(pixels), np.uint8)
    start = torch.from_numpy(world.starts.latents[0].numpy())
    expected = engine_frames(world, partition_for(world, "reactive"), start, actions)
    difference = browser_frames.reshape(expected.shape).astype(int) - expected.astype(int)
    assert np.abs(difference).max() <= MAX_GREY_LEVELS


def frame_number(page: Any) -> int:
    return int(page.evaluate("document.querySelector('#image').dataset.number | 0"))


def wait_for_frames(page: Any, count: int) -> None:
    """Wait until so many more frames have been drawn."""
    number = frame_number(page) + count
    page.wait_for_function(f"document.querySelector('#image').dataset.number >= {number}")


def test_the_page_plays(site: Site, page: Any) -> None:
    page.goto(f"{site.address}?backend=wasm", wait_until="commit")
    assert page.is_disabled("#restart"), "there is no stream yet"
    assert page.is_disabled("#pause")
    wait_for_frames(page, 6)
    page.click("#restart")
    wait_for_frames(page, 2)
    assert page.inner_text("#status") == "live"
    assert "WebAssembly" in page.inner_text("#backend")
    assert page.locator("#buffer li.noisy canvas").count() >= 1
    idle = page.inner_text("#prompt")
    page.keyboard.down("ArrowLeft")
    assert page.inner_text("#prompt") != idle
    wait_for_frames(page, 2)
    page.keyboard.up("ArrowLeft")
    assert page.inner_text("#prompt") == idle
    box = page.locator("#image").bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    assert page.inner_text("#prompt") != idle
    page.mouse.up()
    assert page.inner_text("#prompt") == idle
    page.click("#pause")
    assert page.inner_text("#status") == "paused"
    page.click("#starts button >> nth=1")
    assert page.inner_text("#status") == "live"
    wait_for_frames(page, 2)


def test_a_page_without_its_networks_says_so(page: Any) -> None:
    source = Path(__file__).resolve().parent.parent / "streamdit_gym/export/site"
    with serving_folder(source) as address:
        page.goto(f"{address}?backend=wasm")
        page.wait_for_selector("#problem:not([hidden])")
        assert page.inner_text("#status") == "stopped"
