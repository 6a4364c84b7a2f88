"""Parameters of OpenAI's protocol: what the endpoint serves, and what is refused.

transformers passes over what it does not serve. A client that asks for three answers, or for
log-probabilities, is told so here.
"""

from __future__ import annotations

import json
from typing import Any

_SHARED = {"model", "stream", "temperature", "top_p", "seed", "generation_config"}
_TEXT = {"stop", "max_tokens", "frequency_penalty"}
SERVED = {
    "/v1/chat/completions": _SHARED
    | _TEXT
    | {"messages", "max_completion_tokens", "logit_bias", "tools", "chat_template_kwargs"},
    "/v1/completions": _SHARED | _TEXT | {"prompt"},
    "/v1/responses": _SHARED
    | {"input", "instructions", "max_output_tokens", "tools", "chat_template_kwargs"},
}
# What says nothing of the answer: who asks, what is kept, what may be computed faster.
_ASIDE = {
    *("user", "metadata", "store", "service_tier", "safety_identifier", "prediction"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "stream_options"),
}
# Values that ask for what is done anyway.
_USUAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "text": ({"format": {"type": "text"}}, {}),
    "modalities": (["text"],),
    "tool_choice": ("auto",),
    "parallel_tool_calls": (True,),
    "include": ([],),
    "background": (False,),
    "truncation": ("disabled",),
    "suffix": ("",),
}


def refusal(path: str, body: dict[str, Any]) -> tuple[str, str] | None:
    """The parameter for which a request is refused, and why; None where all are served."""
    for name, value in body.items():
        if name in SERVED[path] | _ASIDE or value is None:
            continue
        usual = _USUAL.get(name, ())
        if not any(value == one_of and type(value) in _kinds(one_of) for one_of in usual):
            way_out = f"leave it out, or send {json.dumps(usual[0])}" if usual else "leave it out"
            return name, f"'{name}' is not served by this endpoint; {way_out}."
    return _wrong_stop(body.get("stop"))


def _kinds(value: Any) -> tuple[type, ...]:
    """The types of JSON in which a value may come: 1 is no true."""
    return (int, float) if type(value) is int else (type(value),)


def stops(body: dict[str, Any]) -> list[str]:
    """The stop strings of a request."""
    given = body.get("stop") or []
    return [given] if isinstance(given, str) else list(given)


def _wrong_stop(given: Any) -> tuple[str, str] | None:
    strings = [given] if isinstance(given, str) else given or []
    if isinstance(strings, list) and all(isinstance(stop, str) and stop for stop in strings):
        return None
    return "stop", "'stop' takes a string, or a list of strings, none of them empty."
