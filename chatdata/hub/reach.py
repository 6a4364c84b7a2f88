"""Whether the Hub can be reached at all, said within seconds.

The client tries for half a minute to reach a Hub that is not there.
"""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import constants

SECONDS = 3.0
_PORTS = {"http": 80, "https": 443}


def is_reachable(seconds: float = SECONDS) -> bool:
    """Whether somebody answers, within some seconds, where the Hub or the proxy before it is.

    A name server that says nothing counts as well, which no time limit of a socket holds for.
    """
    host, port = address(constants.ENDPOINT)
    answers: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=seconds).close()
        except OSError:
            return
        answers.append(True)

    trying = threading.Thread(target=connect, daemon=True)
    trying.start()
    trying.join(seconds)
    return bool(answers)


def address(endpoint: str) -> tuple[str, int]:
    """The host and port to which the client connects: those of a proxy, where one is set."""
    url = urlsplit(endpoint)
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return url.hostname or "", url.port or _PORTS.get(url.scheme, 1080)
