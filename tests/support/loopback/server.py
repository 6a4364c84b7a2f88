"""The server: routes by the path as it was sent, a thread, a port of its own."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.loopback import commits, files, lfs
from tests.support.loopback.faults import Entry, Faults, Message, Receive, Send
from tests.support.loopback.store import Refused, Store
from tests.support.loopback.wire import Call, Options, refusal

Handler = Callable[[Call], Awaitable[Response]]

API = "/api/(?P<kind>datasets|models|spaces)/(?P<name>[^/]+/[^/]+)"
PAGE = "/(?P<kind>datasets/|spaces/)?(?P<name>[^/]+/[^/]+)"
LARGE = "/lfs/(?P<kind>datasets|models|spaces)/(?P<name>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})"
# Revisions and the paths of trees are quoted as a whole, so they hold no slash here.
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/api/whoami-v2", commits.whoami),
    ("POST", "/api/repos/create", commits.create),
    ("DELETE", "/api/repos/delete", commits.delete),
    ("POST", "/api/validate-yaml", commits.validate_yaml),
    ("PUT", f"{API}/settings", commits.settings),
    ("GET", f"{API}/auth-check", commits.auth_check),
    ("GET", f"{API}(/revision/(?P<revision>[^/]+))?", files.info),
    ("GET", f"{API}/tree/(?P<revision>[^/]+)(/(?P<path>.+))?", files.tree),
    ("POST", f"{API}/paths-info/(?P<revision>[^/]+)", files.paths_info),
    ("GET", f"{API}/refs", commits.refs),
    ("GET", f"{API}/commits/(?P<revision>[^/]+)", commits.history),
    ("POST|DELETE", f"{API}/branch/(?P<branch>[^/]+)", commits.branch),
    ("POST|DELETE", f"{API}/tag/(?P<revision>[^/]+)", commits.tag),
    ("POST", f"{API}/preupload/(?P<revision>[^/]+)", commits.preupload),
    ("POST", f"{API}/commit/(?P<revision>[^/]+)", commits.commit),
    ("GET", f"{API}/xet-(?P<access>read|write)-token/(?P<revision>[^/]+)", commits.xet_token),
    ("POST", f"{PAGE}?[.]git/info/lfs/objects/batch", lfs.batch),
    ("PUT", LARGE, lfs.put),
    ("PUT", f"{LARGE}/part/(?P<number>[0-9]+)", lfs.put_part),
    ("POST", f"{LARGE}/complete", lfs.complete),
    ("POST", f"{LARGE}/verify", lfs.verify),
    ("GET|HEAD", f"{PAGE}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", files.resolve),
    ("GET|HEAD", "/cdn/(?P<sha256>[0-9a-f]{64})", files.large),
]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]


@dataclass
class Hub:
    """A Hub that is being served."""

    endpoint: str
    store: Store
    faults: Faults
    options: Options

    @property
    def log(self) -> list[Entry]:
        """What was asked, in order."""
        return self.faults.log

    def asked(self, pattern: str = "") -> list[str]:
        """The requests that begin as a pattern says."""
        return [entry.request for entry in self.log if re.match(pattern, entry.request)]


def _app(store: Store, options: Options) -> Starlette:
    async def endpoint(request: Request) -> Response:
        raw = request.scope["raw_path"].decode()
        for methods, pattern, handler in ROUTES:
            match = re.fullmatch(pattern, raw)
            if match and request.method in methods.split("|"):
                call = Call(request, store, options, match.groupdict(default=""))
                try:
                    return await handler(call)
                except Refused as refused:
                    return refusal(refused)
        return refusal(Refused(404, f"no such route: {request.method} {raw}"))

    return Starlette(routes=[Route("/{rest:path}", endpoint, methods=METHODS)])


def _as_a_proxy_gets_it(app: Any) -> Any:
    """Takes `GET http://host/path`, which is what a proxy is sent, for `GET /path`."""

    async def called(scope: Message, receive: Receive, send: Send) -> None:
        raw = re.sub(rb"^https?://[^/]+", b"", scope["raw_path"])
        await app({**scope, "raw_path": raw, "path": raw.decode()}, receive, send)

    return called


@contextlib.contextmanager
def serve(folder: Path, **options: Any) -> Iterator[Hub]:
    """Serves a Hub whose content is kept below a folder; `options` are those of `Options`."""
    folder.mkdir(parents=True, exist_ok=True)
    store, settings = Store(folder), Options(**options)

    def user_of(header: str) -> str | None:
        user = store.users.get(header.removeprefix("Bearer "))
        return user.name if user else None

    faults = Faults(_app(store, settings), user_of)  # type: ignore[arg-type]
    with listen(_as_a_proxy_gets_it(faults)) as endpoint:
        yield Hub(endpoint, store, faults, settings)


@contextlib.contextmanager
def listen(app: Any) -> Iterator[str]:
    """Serves an app on a port of its own. Yields the address."""
    config = uvicorn.Config(
        app,
        log_level="critical",
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    # asyncio sends at once (TCP_NODELAY) where the socket says that it is of TCP; else each answer,
    # written as head and body, waits 40 ms for the client to acknowledge its head.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
