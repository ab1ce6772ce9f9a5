"""The page's server: hands out the page and films, and connects viewers to sessions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from streamdit_gym.live.access_control import AccessControl
from streamdit_gym.live.film_recorder import FILM_PATTERN
from streamdit_gym.live.server_address import ServerAddress
from streamdit_gym.live.session_registry import FIRST_SESSION, SessionRegistry
from streamdit_gym.live.viewer_connection import POLICY_VIOLATION, serve_viewer

PAGE = Path(__file__).parent / "page"
MAX_REASON_BYTES = 120  # of the reason for which a socket is closed
CONTENT_POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"
PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
FILM_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}


def make_app(
    registry: SessionRegistry, address: ServerAddress, token: str | None = None
) -> ASGIApp:
    """Return the application.

    Args:
        registry: the sessions; they are closed when the application is.
        address: where the page is served.
        token: what every request must bring; needed where others can reach the address.

    Raises:
        StreamDiTError: if others can reach the address and there is no token.
    """
    access = AccessControl(address, token)
    trusted_hosts = Middleware(
        TrustedHostMiddleware, allowed_hosts=access.host_names, www_redirect=False
    )
    middleware = [trusted_hosts]
    if address.root_path:
        middleware.append(Middleware(_RootPathMiddleware, root_path=address.root_path))

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(registry.close)

    return Starlette(routes=_routes(registry, access), middleware=middleware, lifespan=lifespan)


class _RootPathMiddleware:
    """Removes the path under which a proxy shows the page, if the proxy has not done so."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app = app
        self.root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and path == self.root_path:
            # the page's addresses are relative to a path that ends in a slash
            query = scope["query_string"].decode("latin-1")
            redirect = RedirectResponse(f"{path}/?{query}" if query else f"{path}/")
            await redirect(scope, receive, send)
            return
        if path.startswith(f"{self.root_path}/"):
            scope = {**scope, "path": path.removeprefix(self.root_path)}
        await self.app(scope, receive, send)


def _routes(registry: SessionRegistry, access: AccessControl) -> list[BaseRoute]:
    async def send_page(request: Request) -> Response:
        refusal = access.refusal(request)
        if refusal:
            return _forbidden(refusal)
        return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)

    async def send_film(request: Request) -> Response:
        refusal = access.refusal(request)
        if refusal:
            return _forbidden(refusal)
        films = {path.name: path for path in registry.film_folder.glob(FILM_PATTERN)}
        path = films.get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("no such film", 404)
        return FileResponse(path, media_type="video/mp4", filename=path.name, headers=FILM_HEADERS)

    async def connect_viewer(socket: WebSocket) -> None:
        # a browser shows its page the reason of a close, but not of a refusal
        await socket.accept()
        name = socket.query_params.get("stream", FIRST_SESSION)
        refusal = access.refusal(socket) or registry.refusal(name)
        if refusal:
            reason = refusal.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            await socket.close(POLICY_VIOLATION, reason)
        else:
            await serve_viewer(socket, registry.sessions[name])

    return [
        Route("/", send_page),
        Route("/films/{name}", send_film),
        WebSocketRoute("/stream", connect_viewer),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]


def _forbidden(reason: str) -> Response:
    # a refused client does not hold its connection
    return PlainTextResponse(reason, 403, headers={"Connection": "close"})
