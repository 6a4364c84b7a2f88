"""Whether the Hub can be reached at all, said within seconds.

By itself the client tries for half a minute to reach a Hub that is not there, and waits as long for
a network that swallows what is sent.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import constants

SECONDS = 2.0  # a lost packet is sent again after one
_REMEMBERED = 10.0  # seconds for which nobody is asked again after silence
_PORTS = {"http": 80, "https": 443}


@dataclass
class _Attempt:
    """A connection that is tried in the background."""

    endpoint: str
    start: float = field(default_factory=time.monotonic)
    is_answered: bool = False
    _thread: threading.Thread | None = None

    def begin(self, seconds: float) -> None:
        """Begins to connect. A name server that says nothing has no time limit of a socket."""
        self._thread = threading.Thread(target=self._connect, args=(seconds,), daemon=True)
        self._thread.start()

    def result(self, seconds: float) -> bool:
        """Whether somebody has answered, within some seconds of the start."""
        if self._thread is not None and not self.is_answered:
            self._thread.join(max(0.0, self.start + seconds - time.monotonic()))
        return self.is_answered

    def _connect(self, seconds: float) -> None:
        with contextlib.suppress(OSError, ValueError):
            socket.create_connection(address(self.endpoint), timeout=seconds).close()
            self.is_answered = True

    def holds(self) -> bool:
        """Whether nothing else need be tried: somebody answered, or was silent a moment ago."""
        is_recent = time.monotonic() - self.start < _REMEMBERED
        return self.endpoint == constants.ENDPOINT and (self.is_answered or is_recent)


_lock = threading.Lock()
_last: _Attempt | None = None


def begin(seconds: float = SECONDS) -> None:
    """Begins to find out whether the Hub can be reached, while the caller does something else."""
    _attempt(seconds)


def is_reachable(seconds: float = SECONDS) -> bool:
    """Whether somebody answers, within some seconds, where the Hub or the proxy before it is.

    Silence is remembered for a moment, an answer until `ask_again`.
    """
    return _attempt(seconds).result(seconds)


def ask_again() -> None:
    """Forgets that the Hub answered: what follows is another task, on another network maybe."""
    global _last
    with _lock:
        if _last is not None and _last.is_answered:
            _last = None


def is_asked(host: str) -> bool:
    """Whether a host is that of the Hub."""
    return host == (urlsplit(constants.ENDPOINT).hostname or "")


def shown_address() -> str:
    """The host and port that do not answer, for a message."""
    host, port = address(constants.ENDPOINT)
    return f"{host}:{port}"


def address(endpoint: str) -> tuple[str, int]:
    """The host and port to which the client connects: those of a proxy, where one is set."""
    url = urlsplit(endpoint)
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return url.hostname or "", url.port or _PORTS.get(url.scheme, 1080)


def _attempt(seconds: float) -> _Attempt:
    """The last attempt, or a new one where that does not hold."""
    global _last
    with _lock:
        if _last is None or not _last.holds():
            _last = _Attempt(constants.ENDPOINT)
            _last.begin(seconds)
        return _last
