"""A guard before the page: requests of this page alone, and nothing from other servers.

A page elsewhere can make a browser ask this server: by its address, or by a name that it lets mean
this machine (DNS rebinding). The browser says so in `Host` and `Origin`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

# Scripts and styles come with the page; images may be part of the page; nothing else is loaded.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'"
)
_HEADERS = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]


class LocalOnly:
    """Passes on what this page asks, and refuses other pages, other names and uploads.

    `host` is the name or address at which the page is served. With every response the browser is
    told to load nothing from other servers.
    """

    def __init__(self, app: Any, host: str) -> None:
        self.app = app
        self.host = host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a request: passed on, its response with headers added, or refused."""

        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif (refusal := self.refusal(_headers(scope))) is None:
            await self.app(scope, receive, with_policy)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            plain = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 403, "headers": plain})
            await send({"type": "http.response.body", "body": refusal.encode()})

    def refusal(self, headers: Mapping[str, str]) -> str | None:
        """Why a request with these headers is refused; None where it is not."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_this_machine(host):
            return (
                "the page is not served at this name; open the address that the command has printed"
            )
        if origin is not None and urlsplit(origin).netloc != host:
            return "another page has asked; open the address that the command has printed"
        if headers.get("content-type", "").lower().startswith("multipart/"):
            return "the page takes no files"
        return None

    def _is_this_machine(self, host: str) -> bool:
        """Whether a host is no name that a stranger can let mean this machine."""
        name = urlsplit(f"//{host}").hostname or ""
        return name in ("localhost", self.host) or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _headers(scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a request; of headers that come twice, which no browser sends, all joined."""
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers
