"""An OpenAI-compatible endpoint: the command of transformers that serves a model."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import NoReturn

from chatdata.core.errors import ConfigError


def command(model: str, host: str, port: int, seed: int | None) -> list[str]:
    """The command line of `transformers serve` for one model.

    Control tokens in what a client sends are tokenised as text.
    """
    template = json.dumps({"sanitize_control_tokens": True})
    line = [sys.executable, "-m", "transformers.cli.transformers", "serve", model]
    line += ["--host", host, "--port", str(port), "--chat-template-kwargs", template]
    return line if seed is None else [*line, "--default-seed", str(seed)]


def run(model: str, host: str, port: int, seed: int | None) -> NoReturn:
    """Becomes the server: signals reach it, and its status is the command's.

    Raises ConfigError where a package that it needs is missing.
    """
    missing = [own for own in ("fastapi", "openai", "uvicorn") if not importlib.util.find_spec(own)]
    if missing:
        raise ConfigError(f"--serve needs {missing[0]}; pip install 'chatdata[demo]'.")
    line = command(model, host, port, seed)
    os.execv(line[0], line)
