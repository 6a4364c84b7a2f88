"""The server of the page: on this machine alone, for the page alone, and only to read.

A page elsewhere can make a browser ask this server: by its address, or by a name that it lets mean
this machine (DNS rebinding). The browser says so in `Host`, `Origin` and `Sec-Fetch-Site`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chatdata.cli.browse.queries import Browser, query_of
from chatdata.core.errors import ChatdataError
from chatdata.dataset import report
from chatdata.verify import comparison

ADDRESS = "127.0.0.1"
_HERE = Path(__file__).parent
# Style, script and data of this server; no frame, no form, nothing of any other server.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    """A server of a built folder, at a free port where `port` is 0."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0, before: Path | None = None) -> None:
        self.browser = Browser(folder, before)
        self.pages = _pages(folder)
        super().__init__((ADDRESS, port), Handler)

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.server_address[1]}/"

    def answer(self, path: str, values: Mapping[str, str]) -> Any:
        """What is asked for, ready to be JSON. Raises KeyError where there is no such path."""
        ask: dict[str, Callable[[], Any]] = {
            "/api/facts": self.browser.facts,
            "/api/rows": lambda: self.browser.rows(query_of(values)),
            "/api/dropped": lambda: self.browser.dropped(query_of(values)),
            "/api/conversation": lambda: self.browser.conversation(values.get("id", "")),
            "/api/changes": lambda: self.browser.changes(query_of(values)),
            "/api/change": lambda: self.browser.change(values.get("id", "")),
            "/api/tree": lambda: self.browser.tree(values.get("id", "")),
        }
        return ask[path]()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a page that was closed before its answer came, else what went wrong."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def refusal(self, headers: Mapping[str, str]) -> str | None:
        """Why a request with these headers is refused; None where it is not."""
        host, origin = headers.get("Host", ""), headers.get("Origin")
        port = self.server_address[1]
        if host not in (f"{ADDRESS}:{port}", f"localhost:{port}"):
            return f"the page is not served at this name; open {self.url}"
        is_foreign = headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        if is_foreign or (origin is not None and origin != f"http://{host}"):
            return f"another page has asked; open {self.url}"
        return None


class Handler(BaseHTTPRequestHandler):
    """Answers a request to read; every other method is refused by its base."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "chatdata", ""
    timeout = 60

    def do_GET(self) -> None:
        """Answers with a file of the page, or with what it asks for."""
        asked = urlsplit(self.path)
        if refusal := self.server.refusal(_headers(self.headers)):
            self._send(403, refusal.encode(), "text/plain")
        elif asked.path in self.server.pages:
            self._send(200, *self.server.pages[asked.path])
        else:
            status, value = self._value(asked.path, dict(parse_qsl(asked.query)))
            text = json.dumps(value, ensure_ascii=False).encode(errors="replace")
            self._send(status, text, "application/json")

    def _value(self, path: str, values: Mapping[str, str]) -> tuple[int, Any]:
        try:
            return 200, self.server.answer(path, values)
        except KeyError:
            return 404, {"error": f"there is no {path} here"}
        except ChatdataError as error:
            return 400, {"error": str(error)}

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: words that are looked for stay between the page and the server."""


def _headers(headers: Any) -> dict[str, str]:
    """The headers of a request; of headers that come twice, which no browser sends, all joined."""
    return {name: ", ".join(headers.get_all(name)) for name in headers}


def _pages(folder: Path) -> dict[str, tuple[bytes, str]]:
    """The files of the page, by their paths, with their kinds."""
    style = report.style() + comparison.style() + (_HERE / "page.css").read_text(encoding="utf-8")
    return {
        "/": ((_HERE / "page.html").read_bytes(), "text/html"),
        "/page.css": (style.encode(), "text/css"),
        "/page.js": ((_HERE / "page.js").read_bytes(), "text/javascript"),
    }
