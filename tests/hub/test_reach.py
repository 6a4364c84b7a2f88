"""A Hub that is not there is known within seconds, whatever keeps silent on the way."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from chatdata import hub
from chatdata.core.errors import HubError, SourceError
from chatdata.hub import client, reach
from chatdata.hub.repository import Repository
from tests.support.loopback import Hub

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


# ------------------------------------------------------------------- whatever is asked of it


@pytest.fixture
def hole() -> Iterator[str]:
    """The address of a port that swallows what is sent to it: its queue is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
def test_nothing_is_tried_again_where_nobody_answers(
    hole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself the client waits 20 seconds for a connection, and tries some requests six times."""
    monkeypatch.setattr(constants, "ENDPOINT", hole)
    template = f"{hole}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    repository, commit = Repository.named("org/data"), "a" * 40
    asked: list[Callable[[], object]] = [
        repository.refs,
        lambda: repository.resolve("main"),
        lambda: repository.tree(commit),
        lambda: repository.read("manifest.json", commit),
        lambda: repository.schema("x.parquet", commit),
        repository.api.whoami,
        lambda: client.check_reach("x"),
    ]
    for ask in asked:
        with pytest.raises(HubError, match="nobody answers at 127"), client.reaching("org/data"):
            client.retrying(client.quiet)(ask)


@pytest.mark.slow
def test_a_slow_hub_is_waited_for(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.faults.add("GET ", delay=reach.SECONDS + 1)
    assert Repository.named("org/nothing").refs_if_there() is None
    assert len(hub.asked("GET")) == 1


def test_who_has_answered_is_not_asked_again_within_a_task(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short loss within a push is for the client, which tries again."""
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    assert reach.is_reachable()
    monkeypatch.setattr(socket, "create_connection", None)
    assert reach.is_reachable()
    monkeypatch.undo()
    reach.ask_again()
