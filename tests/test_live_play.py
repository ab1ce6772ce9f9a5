"""Stories, films, the window: what the play command does without a page."""

from __future__ import annotations

import io
import json
import stat
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamdit_gym import World
from streamdit_gym.data.video import read_video
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live.browser import open_page
from streamdit_gym.live.channel import Channel
from streamdit_gym.live.place import Place, open_door
from streamdit_gym.live.play import play
from streamdit_gym.live.story import Narrator, read_story


def test_a_story_is_said_on_time_and_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "story.jsonl"
    path.write_text(
        '{"at": 2, "say": "move left"}\n\n{"at": 0.5, "say": "move up"}\n{"at": 0.6, "say": "move down"}\n'
    )
    narrator = Narrator(read_story(path))
    assert [narrator.due(t) for t in (0, 0.5, 0.5, 1, 3, 4)] == [
        None,
        "move up",
        None,
        "move down",
        "move left",
        None,
    ]
    path.write_text('{"at": 1, "say": "move up"}\n{"at": -1, "say": "x"}\n')
    with pytest.raises(StreamDiTError, match="line 2"):
        read_story(path)
    path.write_text(json.dumps({"at": 1, "say": "up " * 80}))
    with pytest.raises(StreamDiTError, match="200 characters"):
        read_story(path)
    for wrong in (
        '{"at": "1", "say": "x"}',
        '{"at": true, "say": "x"}',
        '{"at": 1, "say": "\\ud800"}',
        '{"at": 1e999, "say": "x"}',
        "[1]",
    ):
        path.write_text(wrong)
        with pytest.raises(StreamDiTError, match="line 1"):
            read_story(path)
    path.write_text("\n")
    with pytest.raises(StreamDiTError, match="nothing is said"):
        read_story(path)
    with pytest.raises(StreamDiTError, match="cannot be read"):
        read_story(tmp_path / "none.jsonl")


def told(**changes: Any) -> dict[str, Any]:
    settings = {
        "twin": False,
        "fps": None,
        "window": False,
        "script": None,
        "film": None,
        "seconds": None,
        "host": "127.0.0.1",
        "port": 0,
        "browser": False,
        "out": Path("runs/play"),
    }
    return {**settings, **changes}


def test_a_film_of_a_story(world: World, tmp_path: Path) -> None:
    script, film = tmp_path / "story.jsonl", tmp_path / "films" / "film.mp4"
    script.write_text('{"at": 0.5, "say": "move up"}\n')
    play(world, **told(twin=True, script=str(script), film=film, seconds=1.0))
    frames = read_video(film)
    assert frames.shape == (10, 432, 648, 3)
    assert np.abs(frames[4][-40:].astype(int) - frames[6][-40:]).max() > 50, (
        "the caption changes with the prompt"
    )
    assert [path.name for path in film.parent.iterdir()] == ["film.mp4"]
    with pytest.raises(StreamDiTError, match="needs a script"):
        play(world, **told(film=film))
    with pytest.raises(StreamDiTError, match="length out of range"):
        play(world, **told(film=film, script=str(script), seconds=-1.0))
    script.write_text('{"at": Infinity, "say": "move up"}\n')
    with pytest.raises(StreamDiTError, match="line 1"):
        play(world, **told(film=film, script=str(script)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"film": Path("f.mp4"), "window": True, "script": "s"}, "not both"),
        ({"film": Path("f.mp4"), "script": "-"}, "needs a script"),
        ({"seconds": 3.0}, "only a film"),
        ({"fps": 0.5}, "1 to 240"),
        ({"fps": float("nan")}, "to 240"),
        ({"port": 70000}, "65535"),
        ({"root_path": "lab"}, "such as /lab"),
        ({"root_path": "/a b"}, "such as /lab"),
        ({"allow_hosts": ("https://lab.example",)}, "without scheme"),
        ({"allow_hosts": ("*",)}, "without scheme"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    changes: dict[str, Any], said: str, world: World
) -> None:
    with pytest.raises(StreamDiTError, match=said):
        play(world, **told(**changes))


@pytest.mark.parametrize("host", ["a" * 300, "a\0b", "\udfff"])
def test_a_host_that_is_none_is_named(host: str) -> None:
    with pytest.raises(StreamDiTError, match="cannot be had"):
        open_door(Place(host=host, port=0))


def test_a_window_without_a_screen_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StreamDiTError, match="no display"):
        play(world, **told(window=True))


def test_keys_steer_the_window(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = iter([-1, ord("e"), -1, ord("r"), ord("3"), -1, ord("."), ord("?"), 27])
    monkeypatch.setattr("sys.stdin", io.StringIO("move down\n"))
    shown: list[tuple[int, ...]] = []
    posted: list[str] = []
    post = Channel.post

    def press(_ms: int) -> int:
        time.sleep(0.2)
        return next(keys)

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "imshow", lambda _title, picture: shown.append(picture.shape))
    monkeypatch.setattr(cv2, "waitKey", press)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda _title, _what: 1.0)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    monkeypatch.setattr(
        Channel,
        "post",
        lambda self, c: (posted.append(str(c.given.get("text", c.do))), post(self, c))[1],
    )
    play(world, **told(window=True, script="-", fps=20.0, out=tmp_path))
    assert posted == ["move down", "move up right", "record", "move up right", "step"]
    assert shown[0] == (432, 320, 3)
    assert len(list(tmp_path.glob("*.mp4"))) == 1, "the film is finished when the window is closed"


def test_a_port_that_is_taken_is_named(world: World) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StreamDiTError, match="--port"):
            play(world, **told(port=port))


def test_a_browser_is_led_to_the_token_by_a_file_of_this_user_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
        assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (
            0o600,
            0o700,
        )
    assert not path.parent.exists()
    with open_page("http://127.0.0.1:1/", secret=False):
        pass
    assert opened[1:] == ["http://127.0.0.1:1/"]
