"""An OpenAI-compatible endpoint: `transformers serve` for a single model."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import NoReturn

from chatdata.core.errors import ConfigError

INSTALL = "pip install 'gradio>=6.31,<7' 'starlette>=1.0' 'transformers[serving]>=5.24,<6'"


def command(model: str, host: str, port: int, seed: int | None) -> list[str]:
    """The command line of `transformers serve` for a model.

    Control tokens in the text that a client sends are tokenised as text.
    """
    template = json.dumps({"sanitize_control_tokens": True})
    line = [sys.executable, "-m", "transformers.cli.transformers", "serve", model]
    line += ["--host", host, "--port", str(port), "--chat-template-kwargs", template]
    return line if seed is None else [*line, "--default-seed", str(seed)]


def run(model: str, host: str, port: int, seed: int | None) -> NoReturn:
    """Replaces this process by the server, which gets its signals and sets the exit status.

    Raises ConfigError for a package that the server needs and that is not installed.
    """
    needed = ("fastapi", "openai", "uvicorn")
    missing = [package for package in needed if not importlib.util.find_spec(package)]
    if missing:
        raise ConfigError(f"--serve needs {missing[0]}, which is not installed; run `{INSTALL}`.")
    line = command(model, host, port, seed)
    os.execv(line[0], line)
