"""An OpenAI-compatible endpoint: the server of `transformers serve`, for a single model.

In front of it, what a client asks for is done or refused: answers end before a stop string,
`temperature` draws also from a model that is saved to answer greedily, and a parameter that is not
served is an error that names it.
"""

from __future__ import annotations

import importlib.util

from chatdata.core.errors import ConfigError

INSTALL = "pip install 'gradio>=6.31,<7' 'starlette>=1.0' 'transformers[serving]>=5.24,<6'"


def run(model: str, host: str, port: int, seed: int | None) -> None:
    """Serves a model until the process is told to end.

    Raises ConfigError for a package that the server needs and that is not installed.
    """
    needed = ("fastapi", "openai", "uvicorn")
    missing = [package for package in needed if not importlib.util.find_spec(package)]
    if missing:
        raise ConfigError(f"--serve needs {missing[0]}, which is not installed; run `{INSTALL}`.")
    import uvicorn

    from trainer.chat import endpoint

    uvicorn.run(endpoint.application(model, seed), host=host, port=port)
