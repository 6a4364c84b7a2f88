"""An OpenAI-compatible endpoint whose replies, and whose faults, are those of a function."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """What a request asks for: a model, and the two answers in their order."""

    model: str
    prompt: str
    first: str
    second: str
    number: int  # of the request, from 0


class Response(NamedTuple):
    """A response that is no plain reply."""

    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()


Judge = Callable[[Asked], "str | Response"]


@dataclass
class Scripted:
    """An endpoint that is running."""

    url: str
    judge: Judge
    asked: list[Asked] = field(default_factory=list)


def _parts(text: str) -> list[str]:
    """The prompt and the two answers that a judge is asked about; of other requests the prompt."""
    if "\n</answer 2 " not in text:
        return [text, "", ""]
    return [_block(text, name) for name in ("request", "answer 1", "answer 2")]


def _block(text: str, name: str) -> str:
    (content,) = re.findall(rf"<{name} (?:\w{{8}})>\n(.*?)\n</{name} \w{{8}}>", text, re.DOTALL)
    return str(content)


def completion(text: str | None, finish_reason: str = "stop") -> str:
    """The body of a response with this reply."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    values = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
    return json.dumps({**values, "choices": [choice], "usage": usage})


@contextlib.contextmanager
def serve(judge: Judge) -> Iterator[Scripted]:
    """Runs the endpoint on a free port."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            values: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = values["messages"][-1]["content"]
            with lock:
                asked = Asked(values["model"], *_parts(text), len(scripted.asked))
                scripted.asked.append(asked)
            reply = scripted.judge(asked)
            response = Response(200, completion(reply)) if isinstance(reply, str) else reply
            body = response.body.encode()
            with contextlib.suppress(OSError):  # the client may be gone
                self.send_response(response.status)
                for name, value in (("Content-Type", "application/json"), *response.headers):
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scripted = Scripted(f"http://127.0.0.1:{server.server_address[1]}/v1", judge)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
