"""Where the page is served: host, port, and the names under which a proxy shows it."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from streamdit_gym.checks import check_str
from streamdit_gym.errors import ArgumentError, StreamDiTError

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1", "[::1]")
ALL_INTERFACES = ("0.0.0.0", "::", "")
SEND_BUFFER_BYTES = 1 << 15  # what the system holds for a viewer who does not read
ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
HOST_NAME = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")


def check_root_path(path: str) -> str:
    """Return a proxy's path without its last slash; empty: none.

    Raises:
        ArgumentError: if it is no path.
    """
    stripped = check_str("root path", path).rstrip("/")
    if stripped and not ROOT_PATH.fullmatch(stripped):
        raise ArgumentError(
            "no path of a proxy",
            given=repr(path),
            allowed="letters, digits and . _ ~ - between slashes",
            remedy="such as /lab",
        )
    return stripped


def check_host_name(name: str) -> str:
    """Return a host's name in small letters.

    Raises:
        ArgumentError: if it is no host name.
    """
    if not HOST_NAME.fullmatch(check_str("host", name)):
        raise ArgumentError(
            "no name of a host",
            given=repr(name),
            allowed="a name or an address, without scheme and port",
            remedy="such as lab.example",
        )
    return name.lower()


def split_proxies(addresses: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the path and the names of hosts in a proxy's addresses.

    Args:
        addresses: each a host, a host and a path (``lab.example/lab``), or a path.

    Raises:
        ArgumentError: if they have different paths; `ServerAddress` checks the rest.
    """
    root_paths = []
    hosts = []
    for address in addresses:
        host, slash, path = address.partition("/")
        root_paths.append(slash + path)
        if host or not path:
            hosts.append(host)
    if len(set(root_paths)) > 1:
        raise ArgumentError(
            "a page has one path",
            given=", ".join(addresses),
            allowed="addresses with the same path",
            remedy="let the proxy show it under one path",
        )
    return "".join(root_paths[:1]), tuple(hosts)


@dataclass(frozen=True, kw_only=True)
class ServerAddress:
    """Where the page is served.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0: any free one.
        root_path: path under which a proxy shows the page.
        allow_hosts: names under which a proxy shows the page.

    Raises:
        ArgumentError: if the path or a name is none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    root_path: str = ""
    allow_hosts: Sequence[str] = ()

    def __post_init__(self) -> None:
        allow_hosts = tuple(check_host_name(name) for name in self.allow_hosts)
        object.__setattr__(self, "root_path", check_root_path(self.root_path))
        object.__setattr__(self, "allow_hosts", allow_hosts)

    @property
    def is_public(self) -> bool:
        """Whether others than this machine's users can reach it; then it needs a token."""
        return self.host not in LOOPBACK_HOSTS or bool(self.allow_hosts)

    def listen(self) -> socket.socket:
        """Return a socket that listens here.

        Raises:
            StreamDiTError: if the host or port cannot be used.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # With the protocol named, asyncio turns Nagle's algorithm off, which would hold frames
        # back for 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        try:
            listener.bind((self.host, self.port))
            listener.listen()  # visitors who come before the server is up wait
        except (OSError, ValueError, TypeError) as error:  # a bad name may be any of the three
            listener.close()
            raise StreamDiTError(
                "the port cannot be used",
                given=f"{self.host!a}:{self.port}: {error}",
                remedy="choose another with --port",
            ) from error
        return listener

    def url(self, port: int, token: str | None) -> str:
        """Return the address to visit, with the token if there is one.

        Args:
            port: the port that was bound.
            token: the token.
        """
        # nobody can visit "all interfaces"
        name = socket.gethostname() if self.host in ALL_INTERFACES else self.host
        if ":" in name:
            name = f"[{name}]"
        return f"http://{name}:{port}/{token_query(token)}"

    def proxy_url(self, token: str | None) -> str | None:
        """Return the address behind the proxy, with the token if there is one; None: no proxy."""
        if not self.allow_hosts and not self.root_path:
            return None
        name = self.allow_hosts[0] if self.allow_hosts else "HOST"
        return f"https://{name}{self.root_path}/{token_query(token)}"


def token_query(token: str | None) -> str:
    """Return the query that carries a token; empty without one."""
    return f"?token={token}" if token else ""
