"""Chromium on this machine alone, and what it asks of others."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
# Where Chromium calls by itself, whatever is open in it.
_OF_THE_BROWSER = re.compile(r"(?<!fonts)\.(google|googleapis|gvt1)\.com[:/]")


class Proxy(threading.Thread):
    """The browser's proxy for every other machine, which only notes the requests."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.asked: list[str] = []

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = self.server.accept()
                with visitor:
                    line = visitor.recv(4096).split(b"\r\n")[0].decode()
                if not _OF_THE_BROWSER.search(line):
                    self.asked.append(line)


@contextlib.contextmanager
def chromium(proxy: Proxy) -> Iterator[Any]:
    """A browser that reaches other machines through the proxy. Skips where there is none."""
    api = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("there is no Chromium; apt-get install chromium")
    with api.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=BROWSER,
            args=["--no-sandbox", "--disable-gpu"],
            proxy={"server": f"http://127.0.0.1:{proxy.port}", "bypass": "127.0.0.1"},
        )
        yield browser
        browser.close()
