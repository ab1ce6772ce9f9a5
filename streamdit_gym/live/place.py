"""Where the page is served: address, port, and what a proxy makes of them.

Takes: names and numbers.  Gives: a socket that listens, and the address to visit.  Knows nothing
    of: streams, pages.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from streamdit_gym.checks import check_str
from streamdit_gym.errors import ArgumentError, StreamDiTError

LOCAL = ("localhost", "127.0.0.1", "::1", "[::1]")
EVERYWHERE = ("0.0.0.0", "::", "")
SENT_AHEAD = 1 << 15  # bytes that wait in the system for a viewer who does not read


def check_root_path(path: str) -> str:
    """Return the path of a proxy without its last slash; empty: none.

    Raises:
        ArgumentError: if it is no path.
    """
    cut = check_str("root path", path).rstrip("/")
    if cut and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", cut):
        raise ArgumentError(
            "no path of a proxy",
            given=repr(path),
            allowed="letters, digits and . _ ~ - between slashes",
            remedy="such as /lab",
        )
    return cut


def check_host_name(name: str) -> str:
    """Return the name of a host in small letters.

    Raises:
        ArgumentError: if it is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]", check_str("host", name)):
        raise ArgumentError(
            "no name of a host",
            given=repr(name),
            allowed="a name or an address, without scheme and port",
            remedy="such as lab.example",
        )
    return name.lower()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the page is served.

    Attributes:
        host: address to serve.
        port: port to serve; 0: any free one.
        root_path: path under which a proxy shows the page.
        allow_hosts: names under which a proxy shows the page.
        browser: whether to open the page.

    Raises:
        ArgumentError: if a path or name is none.
    """

    host: str
    port: int
    root_path: str = ""
    allow_hosts: Sequence[str] = ()
    browser: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "root_path", check_root_path(self.root_path))
        object.__setattr__(
            self, "allow_hosts", tuple(check_host_name(name) for name in self.allow_hosts)
        )


def open_door(place: Place) -> socket.socket:
    """Return the socket that is listened at.

    Raises:
        StreamDiTError: if it cannot be had.
    """
    # with the protocol named, asyncio turns Nagle's algorithm off, which would hold frames back for
    # 40 ms
    door = socket.socket(
        socket.AF_INET6 if ":" in place.host else socket.AF_INET,
        socket.SOCK_STREAM,
        socket.IPPROTO_TCP,
    )
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AHEAD)
    try:
        door.bind((place.host, place.port))
        door.listen()  # who comes before the server is up waits
    except (
        OSError,
        ValueError,
        TypeError,
    ) as error:  # a name that is none is a ValueError or, with a zero byte, a TypeError
        door.close()
        given = f"{place.host!a}:{place.port}: {error}"
        raise StreamDiTError(
            "the port cannot be had", given=given, remedy="choose another with --port"
        ) from error
    return door


def address_of(place: Place, port: int, token: str | None) -> str:
    """Return the address to visit, with the token if there is one."""
    name = (
        socket.gethostname() if place.host in EVERYWHERE else place.host
    )  # nobody can visit "every address"
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/" + (
        f"?token={token}" if token else ""
    )
