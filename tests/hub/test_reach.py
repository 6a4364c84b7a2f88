"""A Hub that is not there is known within seconds, whatever keeps silent on the way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from chatdata import hub
from chatdata.core.errors import SourceError
from chatdata.hub import reach

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def port() -> Iterator[int]:
    """A port where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_somebody_who_listens_is_reached(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    assert reach.is_reachable()


def test_nobody_is_not_reached(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free}")
    assert not reach.is_reachable()


def test_a_name_server_that_says_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real name servers cannot be made silent here, so the look-up waits in their place."""
    asked = threading.Event()

    def says_nothing(*_: object, **__: object) -> object:
        asked.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", says_nothing)
    start = time.monotonic()
    assert not reach.is_reachable(seconds=0.2)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ("hub.example", 443)),
        ({"https_proxy": "http://proxy.example:3128"}, ("proxy.example", 3128)),
        ({"all_proxy": "socks5://proxy.example"}, ("proxy.example", 1080)),
        ({"https_proxy": "proxy.example:8080"}, ("proxy.example", 8080)),
        ({"https_proxy": "http://p:1", "no_proxy": "hub.example"}, ("hub.example", 443)),
    ],
)
def test_the_proxy_is_asked_where_there_is_one(
    variables: dict[str, str], expected: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert reach.address("https://hub.example") == expected


def test_a_dataset_without_network_fails_at_once_and_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    start = time.monotonic()
    with pytest.raises(SourceError, match=r"cannot be reached.*--input PATH\.$"):
        hub.fetch("org/data", "a" * 40, ["*"], "dataset")
    assert time.monotonic() - start < 20  # by itself the client tries longer
