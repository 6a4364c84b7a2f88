"""A process that has imported the real clients, and forks one for each command it is given.

Importing them takes seconds, a fork milliseconds; a test that kills a client at every request
needs many. Reads commands from stdin and answers on stdout, a line of JSON each.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import traceback
from typing import Any

import huggingface_hub.hf_api  # noqa: F401
import rich.progress  # noqa: F401
from pydantic import BaseModel

import chatdata.dataset.card
import chatdata.publish.doctor
import chatdata.publish.pull
import chatdata.publish.push
from chatdata.cli import main

# What builds and checks import when they come to it.
LATER = (
    "chatdata.cli.show",
    "chatdata.pipeline.build",
    "chatdata.render.auto_tokenizer",
    "chatdata.render.built_in",
    "chatdata.steps.clean.markdown",
    "chatdata.verify.dataset_diff",
    "fasttext",
    "langcodes",
    "phonenumbers",
    "PIL.PngImagePlugin",
)


def _loopback_only() -> None:
    """Makes a connection to another machine an error, in every client."""
    connect = socket.socket.connect

    def guarded(connection: socket.socket, address: Any) -> None:
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            assert address[0] in ("127.0.0.1", "::1", "localhost"), f"network access: {address}"
        connect(connection, address)

    socket.socket.connect = guarded  # type: ignore[method-assign]


def _complete(model: type[BaseModel]) -> None:
    """Builds the validators of chatdata's models, which they build at their first use."""
    if model.__module__.startswith("chatdata."):
        model.model_rebuild()
    for narrower in model.__subclasses__():
        _complete(narrower)


def _run(command: dict[str, Any]) -> None:
    """Runs a command, and ends the process."""
    code = 70
    try:
        os.environ.update(command["environment"])
        os.chdir(command.get("folder", "."))
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(command[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        if "code" in command:
            exec(command["code"], {"__name__": "__main__"})
            code = 0
        else:
            main(command["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Answers commands until stdin ends."""
    for name in (*LATER, *sys.argv[1:]):
        importlib.import_module(name)
    chatdata.dataset.card._template()  # compiled once
    _complete(BaseModel)
    _loopback_only()
    os.fsync = lambda handle: None  # a test does not wait for a disk
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            _, status = os.waitpid(command["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                _run(command)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
