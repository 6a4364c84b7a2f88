"""The guard before the page of `chat --web`, asked over loopback as browsers and strangers ask."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from tests.support.commands import free_port
from tests.support.later import need
from trainer.chat.local_only import LocalOnly

need("uvicorn")


async def page(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the page"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port()
    config = uvicorn.Config(
        LocalOnly(page, "my-machine"),
        "127.0.0.1",
        port,
        log_level="error",
        lifespan="off",
        ws="none",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield port
    server.should_exit = True
    thread.join(30)


def ask(port: int, headers: dict[str, str]) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    named = {name: value.format(port) for name, value in headers.items()}
    connection.request("POST", "/gradio_api/upload", "{}", named)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:{}", "Origin": "http://localhost:{}"},
        {"Host": "127.0.0.1:{}", "Origin": "http://127.0.0.1:{}"},
        {"Host": "[::1]:{}"},
        {"Host": "my-machine:{}", "Origin": "http://my-machine:{}"},
        {"Content-Type": "application/json"},
    ],
)
def test_the_page_itself_is_answered_with_its_policy(port: int, headers: dict[str, str]) -> None:
    status, text, sent = ask(port, headers)
    assert (status, text) == (200, "the page")
    assert "frame-ancestors 'none'" in sent["content-security-policy"]
    assert sent["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Host": "rebound.example:{}"}, "not served at this name"),
        ({"Host": "rebound.example:{}", "Origin": "http://rebound.example:{}"}, "not served at"),
        ({"Host": "127.0.0.1.example"}, "not served at this name"),
        ({"Host": ""}, "not served at this name"),
        ({"Origin": "http://elsewhere.example"}, "another page has asked"),
        ({"Origin": "null"}, "another page has asked"),
        ({"Host": "localhost:{}", "Origin": "http://localhost:1"}, "another page has asked"),
        ({"Host": "localhost:{}", "Origin": "http://127.0.0.1:{}"}, "another page has asked"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "takes no files"),
        ({"Content-Type": "Multipart/Mixed; boundary=x"}, "takes no files"),
    ],
)
def test_strangers_and_uploads_are_refused(port: int, headers: dict[str, str], words: str) -> None:
    status, text, _ = ask(port, headers)
    assert status == 403
    assert words in text


@pytest.mark.parametrize(
    "origins",
    [
        ["http://elsewhere.example", "http://127.0.0.1:{}"],
        ["http://127.0.0.1:{}", "http://elsewhere.example"],
    ],
)
def test_a_header_that_comes_twice_is_not_believed(port: int, origins: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("POST", "/gradio_api/upload")
    for origin in origins:
        connection.putheader("Origin", origin.format(port))
    connection.endheaders()
    assert connection.getresponse().status == 403
    connection.close()
