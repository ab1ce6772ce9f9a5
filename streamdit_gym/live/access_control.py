"""Who may use the page: this server's own pages, by a known host name, with the token."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.live.server_address import LOOPBACK_HOSTS, ServerAddress


class AccessControl:
    """Checks the origin and the token of requests.

    Args:
        address: where the page is served.
        token: what every request must bring; None: no token is needed.

    Raises:
        StreamDiTError: if others can reach the address and there is no token.
    """

    def __init__(self, address: ServerAddress, token: str | None) -> None:
        if address.is_public and not token:
            raise StreamDiTError(
                "an open server without a token",
                given=[address.host, *address.allow_hosts],
                allowed="127.0.0.1",
                remedy="give a token",
            )
        self._address = address
        self._token = token

    @property
    def host_names(self) -> Sequence[str]:
        """Names by which requests may call the server; ``*``: any."""
        if self._address.host not in LOOPBACK_HOSTS:
            return ["*"]  # there is a token: no other page can guess what to ask for
        return [*LOOPBACK_HOSTS, *self._address.allow_hosts]

    def refusal(self, request: HTTPConnection) -> str | None:
        """Return why a request is refused; None: it is allowed."""
        origin = request.headers.get("origin")
        if origin is not None and not self._is_own_page(origin, request.headers.get("host", "")):
            return (
                f"foreign origin {origin[:40]}: "
                "this server answers only its own page; behind a proxy: --proxy"
            )
        if self._token is not None and not self._has_token(request, self._token):
            return (
                "wrong or missing token: use the address that the server printed, with ?token=..."
            )
        return None

    def _has_token(self, request: HTTPConnection, token: str) -> bool:
        query_token = request.query_params.get("token", "")
        return secrets.compare_digest(query_token.encode(), token.encode())

    def _is_own_page(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
            name = parts.hostname or ""
        except ValueError:
            return False
        if not name:
            return False
        names = self._address.allow_hosts
        return parts.netloc == host or name in names or f"[{name}]" in names
