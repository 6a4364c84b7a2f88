"""The server of `transformers serve` for a model, with what is done or refused in front of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from transformers import GenerationConfig
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.response import ResponseHandler
from transformers.cli.serving.server import build_server
from transformers.cli.serving.systemone import SystemOneHandler
from transformers.cli.serving.transcription import TranscriptionHandler
from transformers.cli.serving.utils import BaseHandler, GenerationState, set_torch_seed

from chatdata.core.errors import ConfigError
from trainer.chat import parameters, stop_strings
from trainer.model import pretrained

# Control tokens in the text that a client sends are tokenised as text.
_TEMPLATE = {"sanitize_control_tokens": True}


def application(model: str, seed: int | None) -> Any:
    """The server of a model, which is loaded. Raises ConfigError where it cannot be loaded."""
    if seed is not None:
        set_torch_seed(seed)
    try:
        manager, state = ModelManager(force_model=model), GenerationState()
    except (OSError, ValueError) as error:
        raise ConfigError(f"'{model}' cannot be loaded: {pretrained.reason(error)}") from None
    app = build_server(
        manager,
        _Chat(manager, state, _TEMPLATE),
        _Completion(manager, state),
        _Response(manager, state, _TEMPLATE),
        TranscriptionHandler(manager, state),
        SystemOneHandler(manager, state, _TEMPLATE),
        state,
    )
    app.middleware("http")(_front)
    return app


class _Drawing(BaseHandler):
    """Draws where a request has a temperature, also from a model that is saved as greedy."""

    def _build_generation_config(self, body: dict[str, Any], *args: Any, **options: Any) -> Any:
        settings: GenerationConfig = super()._build_generation_config(body, *args, **options)
        if body.get("temperature"):
            settings.do_sample = True
        return settings


class _Chat(ChatCompletionHandler, _Drawing):
    pass


class _Completion(CompletionHandler, _Drawing):
    pass


class _Response(ResponseHandler, _Drawing):
    async def handle_request(self, body: dict[str, Any], request_id: str) -> Any:
        """Answers in one piece where a client does not say `stream`, as OpenAI does."""
        return await super().handle_request({"stream": False, **body}, request_id)


async def _front(request: Request, pass_on: Callable[[Request], Awaitable[Any]]) -> Response:
    """Refuses what is not served, and cuts answers before the stop strings of a request."""
    body = await _body(request)
    if body is None:
        return await pass_on(request)
    refused = parameters.refusal(request.url.path, body)
    if refused is not None:
        return _error(*refused)
    response = await pass_on(request)
    stops = parameters.stops(body)
    if not stops or response.status_code != 200:
        return response
    if body.get("stream"):
        cut = stop_strings.cut_events(response.body_iterator, stops)
        return StreamingResponse(cut, media_type="text/event-stream")
    pieces = [piece async for piece in response.body_iterator]
    return JSONResponse(stop_strings.cut_reply(b"".join(pieces), stops))


async def _body(request: Request) -> dict[str, Any] | None:
    """What is asked of a model; None for any other request, and for one that cannot be read."""
    if request.method != "POST" or request.url.path not in parameters.SERVED:
        return None
    try:
        body = await request.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _error(parameter: str, message: str) -> JSONResponse:
    """An error as OpenAI's clients read it."""
    error = {"message": message, "type": "invalid_request_error", "param": parameter, "code": None}
    return JSONResponse({"error": error}, status_code=400)
