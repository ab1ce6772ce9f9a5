"""`streamdit-gym play`: scripts, films, the window, and the address of the page."""

from __future__ import annotations

import io
import json
import socket
import stat
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamdit_gym import World
from streamdit_gym.cli.main import main
from streamdit_gym.data.video import read_video
from streamdit_gym.errors import ArgumentError, StreamDiTError
from streamdit_gym.live.browser import open_page
from streamdit_gym.live.command_queue import Command
from streamdit_gym.live.launch import PlayOptions, play
from streamdit_gym.live.live_session import LiveSession
from streamdit_gym.live.prompt_schedule import PromptSchedule, TimedPrompt, read_script
from streamdit_gym.live.server_address import ServerAddress, split_proxies


def test_a_schedule_returns_the_newest_prompt_that_is_due(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text(
        '{"at": 2, "prompt": "move left"}\n\n'
        '{"at": 0.5, "prompt": "move up"}\n'
        '{"at": 0.6, "prompt": "move down"}\n'
    )
    schedule = PromptSchedule(read_script(path))
    assert [schedule.due(seconds) for seconds in (0, 0.5, 0.5, 1, 3, 4)] == [
        None,
        "move up",
        None,
        "move down",
        "move left",
        None,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"at": 1, "prompt": "move up"}\n{"at": -1, "prompt": "x"}\n', "line 2"),
        (json.dumps({"at": 1, "prompt": "up " * 80}), "200 characters"),
        ('{"at": "1", "prompt": "x"}', "line 1"),
        ('{"at": true, "prompt": "x"}', "line 1"),
        ('{"at": 1, "prompt": "\\ud800"}', "line 1"),
        ('{"at": 1e999, "prompt": "x"}', "line 1"),
        ('{"at": Infinity, "prompt": "move up"}\n', "line 1"),
        ('{"at": 1, "text": "x"}', "line 1"),
        ("[1]", "line 1"),
        ("\n", "the script is empty"),
    ],
)
def test_a_bad_script_is_refused_and_the_line_named(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text(text)
    with pytest.raises(StreamDiTError, match=message):
        read_script(path)


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StreamDiTError, match="cannot be read"):
        read_script(tmp_path / "none.jsonl")


def test_a_script_in_the_former_format_is_read_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text('{"at": 1, "say": "move up"}\n')
    with pytest.deprecated_call(match="prompt"):
        assert read_script(path) == [TimedPrompt(at=1.0, prompt="move up")]


def test_a_film_of_a_script(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamdit_gym.live.launch.FILM_TAIL_S", 0.5)
    script = tmp_path / "script.jsonl"
    script.write_text('{"at": 0.5, "prompt": "move up"}\n')
    film = tmp_path / "films" / "film.mp4"
    play(world, PlayOptions(script=str(script), film=film))
    frames = read_video(film)
    assert frames.shape == (10, 432, 648, 3), "one second, with the simulator beside"
    captions = frames[:, -40:].astype(int)
    assert np.abs(captions[4] - captions[6]).max() > 50, "the caption changes with the prompt"
    assert [path.name for path in film.parent.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"film": Path("f.mp4"), "show": "window", "script": "s"}, "not both"),
        ({"film": Path("f.mp4"), "script": "-"}, "needs a script"),
        ({"film": Path("f.mp4")}, "needs a script"),
        ({"fps": 0.5}, "1 to 240"),
        ({"fps": float("nan")}, "to 240"),
        ({"address": ServerAddress(port=70000)}, "65535"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, Any], message: str, world: World
) -> None:
    with pytest.raises(StreamDiTError, match=message):
        play(world, PlayOptions(**options))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ({"root_path": "lab"}, "such as /lab"),
        ({"root_path": "/a b"}, "such as /lab"),
        ({"allow_hosts": ("https://lab.example",)}, "without scheme"),
        ({"allow_hosts": ("*",)}, "without scheme"),
    ],
)
def test_an_address_that_is_none_is_refused(address: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        ServerAddress(**address)


@pytest.mark.parametrize(
    ("proxies", "root_path", "hosts"),
    [
        ((), "", ()),
        (("lab.example",), "", ("lab.example",)),
        (("lab.example/lab", "lab.local/lab"), "/lab", ("lab.example", "lab.local")),
        (("/lab",), "/lab", ()),
    ],
)
def test_a_proxys_addresses_have_names_and_a_path(
    proxies: tuple[str, ...], root_path: str, hosts: tuple[str, ...]
) -> None:
    assert split_proxies(proxies) == (root_path, hosts)


def test_a_proxy_has_one_path() -> None:
    with pytest.raises(ArgumentError, match="the same path"):
        split_proxies(("lab.example/lab", "lab.local/other"))


@pytest.mark.parametrize("host", ["a" * 300, "a\0b", "\udfff"])
def test_a_host_that_is_none_is_named(host: str) -> None:
    with pytest.raises(StreamDiTError, match="cannot be used"):
        ServerAddress(host=host).listen()


def test_a_port_that_is_taken_is_named(world: World) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = ServerAddress(port=other.getsockname()[1])
        with pytest.raises(StreamDiTError, match="--port"):
            play(world, PlayOptions(address=address))


def test_an_address_is_shown_with_its_token() -> None:
    assert ServerAddress().url(8000, None) == "http://127.0.0.1:8000/"
    assert ServerAddress(host="::1").url(8000, None) == "http://[::1]:8000/"
    assert (
        ServerAddress(host="0.0.0.0").url(80, "x") == f"http://{socket.gethostname()}:80/?token=x"
    )
    proxied = ServerAddress(root_path="/lab/", allow_hosts=("Lab.example",))
    assert proxied.proxy_url("x") == "https://lab.example/lab/?token=x"
    assert ServerAddress().proxy_url(None) is None


def test_a_removed_option_names_what_to_do_instead(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "PushT", "--seconds", "3"]) == 2
    assert "five seconds after the script's last prompt" in capsys.readouterr().err


def test_a_window_without_a_screen_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StreamDiTError, match="no display"):
        play(world, PlayOptions(show="window"))


def test_keys_steer_the_window(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = iter([-1, ord("e"), -1, ord("r"), ord("3"), -1, ord("."), ord("?"), 27])
    shapes: list[tuple[int, ...]] = []
    posted: list[str] = []
    post = LiveSession.post

    def wait_key(_ms: int) -> int:
        time.sleep(0.2)
        return next(keys)

    def recording_post(session: LiveSession, command: Command) -> None:
        posted.append(str(command.arguments.get("text", command.name)))
        post(session, command)

    monkeypatch.setattr("sys.stdin", io.StringIO("move down\n"))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "imshow", lambda _title, picture: shapes.append(picture.shape))
    monkeypatch.setattr(cv2, "waitKey", wait_key)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda _title, _property: 1.0)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    monkeypatch.setattr(LiveSession, "post", recording_post)
    play(world, PlayOptions(show="window", script="-", fps=20.0, out=tmp_path))
    assert posted == ["move down", "move up right", "record", "move up right", "step"]
    assert shapes[0] == (432, 648, 3)
    assert len(list(tmp_path.glob("*.mp4"))) == 1, "the film is finished when the window is closed"


def test_a_browser_gets_the_token_from_a_private_file(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    address = "http://127.0.0.1:1/?token=secret"
    with open_page(address, secret=True):
        deadline = time.monotonic() + 5
        while not opened and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "secret" not in opened[0]
        path = Path(opened[0].removeprefix("file://"))
        assert f'content="0; url={address}"' in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()
    with open_page("http://127.0.0.1:1/", secret=False):
        pass
    assert opened[1:] == ["http://127.0.0.1:1/"]
