"""What goes wrong, as a script: by request, before or after its effect, or in place of an answer.

hub.faults.add("POST .*/commit/", status=503)                 refused before it has an effect
hub.faults.add("POST .*/commit/", status=500, after=True)     done, but said to have failed
hub.faults.add("POST .*/commit/", drop=True, after=True)      done, and no answer
hub.faults.add("PUT ", delay=2)                               slow
hub.faults.add("GET .*parquet", truncate=100)                 breaks off within the body
hub.faults.window(3, seconds=1)                               429 for the next three requests
held = hub.faults.hold(7)                                     the 7th from now waits, done
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


async def body_of(receive: Receive) -> bytes | None:
    """The whole body of a request; None where its client has gone before the end."""
    body, is_whole = bytearray(), False
    while not is_whole:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        is_whole = not message.get("more_body")
    return bytes(body)


@dataclass
class Fault:
    """One thing that goes wrong with the requests that `where` matches (`METHOD /path`)."""

    where: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": "a fault of the script"}'
    after: bool = False  # the request has its effect first
    drop: bool = False  # the connection is closed in place of an answer
    delay: float = 0
    truncate: int | None = None  # bytes of the body that are sent
    first: Callable[[], object] | None = None
    times: int = 1
    skip: int = 0  # requests that pass before the first that does not

    def strikes(self, request: str) -> bool:
        """Whether it is this request's turn. Counts it."""
        if self.times <= 0 or not re.match(self.where, request):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Held:
    """A request that has had its effect and waits for its answer."""

    number: int
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Lets the answer go."""
        self.released.set()


@dataclass
class Entry:
    """What was asked."""

    request: str  # METHOD /path?query
    user: str | None
    time: float = field(default_factory=time.monotonic)
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Faults:
    """The app with the script around it, and the log of what was asked."""

    app: App
    user_of: Callable[[str], str | None]
    log: list[Entry] = field(default_factory=list)
    script: list[Fault] = field(default_factory=list)
    _held: Held | None = None

    def add(self, where: str, **options: Any) -> Fault:
        """Adds a fault to the script."""
        fault = Fault(where, **options)
        self.script.append(fault)
        return fault

    def window(self, times: int, seconds: int, where: str = "") -> Fault:
        """Too many requests: the next ones are told to come back after some seconds."""
        return self.add(where, status=429, headers={"Retry-After": str(seconds)}, times=times)

    def hold(self, number: int) -> Held:
        """Holds the answer of a request, counted from now on."""
        self._held = Held(len(self.log) + number)
        return self._held

    def clear(self) -> None:
        """Ends the script."""
        self.script.clear()
        self._held = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers a request, or not."""
        request = f"{scope['method']} {scope['raw_path'].decode()}"
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        user = self.user_of(headers.get("authorization", ""))
        query = scope["query_string"].decode()
        entry = Entry(f"{request}?{query}" if query else request, user, headers=headers)
        self.log.append(entry)
        held = self._held if self._held and self._held.number == len(self.log) else None
        fault = next((scripted for scripted in self.script if scripted.strikes(request)), None)
        answer = _Answer(entry, send, fault)
        if held is not None:
            await self._hold(held, scope, receive, answer)
        elif fault is None:
            await self.app(scope, receive, answer.send)
        else:
            await self._go_wrong(fault, scope, receive, answer)

    async def _hold(self, held: Held, scope: Message, receive: Receive, answer: _Answer) -> None:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, keep)
        held.reached.set()
        while not held.released.is_set():
            await asyncio.sleep(0.001)
        for message in messages:
            await answer.send(message)

    async def _go_wrong(
        self, fault: Fault, scope: Message, receive: Receive, answer: _Answer
    ) -> None:
        await asyncio.sleep(fault.delay)
        if fault.first is not None:
            fault.first()
        says_something_else = fault.status is not None or fault.drop
        if fault.after or not says_something_else:
            await self.app(scope, receive, _nothing if says_something_else else answer.send)
        if fault.drop:
            answer.close()
        elif fault.status is not None:
            await _drain(receive, done=fault.after)
            await answer.say(fault.status, fault.headers, fault.body)


class _Answer:
    """The way back to the client, which may break off."""

    def __init__(self, entry: Entry, send: Send, fault: Fault | None) -> None:
        self._entry, self._send = entry, send
        self._left = fault.truncate if fault else None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._entry.status = message["status"]
        elif self._left is not None:
            body = message.get("body", b"")[: self._left]
            self._left -= len(body)
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            self.close()
            return
        await self._send(message)

    async def say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        all_headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **headers,
        }
        pairs = [(key.lower().encode(), value.encode()) for key, value in all_headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """Closes the connection: `send` is a method of what uvicorn knows of this request."""
        self._send.__self__.transport.close()  # type: ignore[attr-defined]


async def _nothing(message: Message) -> None:
    """Sends nothing."""


async def _drain(receive: Receive, done: bool) -> None:
    """Reads what the client still sends, so that it comes to read the answer."""
    while not done:
        message = await receive()
        done = message["type"] == "http.disconnect" or not message.get("more_body", False)
