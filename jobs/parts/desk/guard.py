"""Who may ask the desk, and for what: everything that reaches it from a network goes through here.

Reads: the Host that was asked for must be this machine's own, so that no other site can give itself our address (DNS
rebinding). With --host, visitors must have shown the token once; a cookie keeps it.
Writes: they must come from our own page too: its Origin, and the page's key in a header, which no other site can read.
"""

import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from jobs.parts.desk.config import DeskConfig

KEY_HEADER = "X-Desk-Key"
_COOKIE = "mangahue-desk"
_READS = ("GET", "HEAD")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Decides about each request.

    config: says who may ask.
    key: of this server's own page, new at each start.
    """

    def __init__(self, config: DeskConfig) -> None:
        self._token, self._loopback = config.token, config.is_loopback
        self.key = secrets.token_urlsafe(32)

    def middleware(self) -> Any:
        """For a web.Application."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                response = self._entering(request) or self._refusal(request) or await handler(request)
            except web.HTTPException as error:
                response = web.Response(status=error.status, text=error.reason)
            response.headers.update({name: text for name, text in HEADERS.items() if name not in response.headers})
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return guarded

    def _refusal(self, request: web.Request) -> web.Response | None:
        """Why a request is refused; None where it may pass."""
        why = self._why_not_read(request) or ("" if request.method in _READS else self._why_not_write(request))
        return web.Response(status=HTTPStatus.FORBIDDEN, text=why) if why else None

    def _entering(self, request: web.Request) -> web.Response | None:
        """A visitor with the token gets a cookie for it, and an address without it."""
        given = request.query.get("token", "")
        if not self._token or request.path != "/" or not _equal(given, self._token):
            return None
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/"})
        response.set_cookie(_COOKIE, self._token, httponly=True, samesite="Strict")
        return response

    def _why_not_read(self, request: web.Request) -> str:
        if self._loopback and _host_of(request.host) not in ("127.0.0.1", "localhost", "[::1]"):
            return f"this server is not {request.host}"
        if self._token and not _equal(request.cookies.get(_COOKIE, ""), self._token):
            return "open the address with ?token= and the token"
        return ""

    def _why_not_write(self, request: web.Request) -> str:
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"{request.scheme}://{request.host}":
            return f"{origin} may not change anything here"
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return "another site may not change anything here"
        if not _equal(request.headers.get(KEY_HEADER, ""), self.key):
            return "this server was started again since the page was opened: open it again"
        return ""


def _host_of(host: str) -> str:
    """A Host header without its port."""
    name, _, port = host.rpartition(":")
    return name if name and port.isdecimal() else host


def _equal(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
