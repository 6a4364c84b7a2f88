"""An OpenAI-compatible endpoint that is asked many things at a time, each of them once."""

from __future__ import annotations

import asyncio
import os
import re
import urllib.parse
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from chatdata.core.errors import ConfigError, HubError

_WRONG = (400, 401, 403, 404, 405, 422)  # what no second try can mend
_TOO_LONG = re.compile(
    r"context[ _](?:length|size|window)|maximum context|too (?:long|large)", re.IGNORECASE
)
_CUT = ("length", "content_filter")  # why a reply may end without a word


class Question(NamedTuple):
    """Messages for a model; `key` tells the question from all others."""

    key: str
    model: str
    messages: list[Any]


class Reply(NamedTuple):
    """What a model said, and the tokens that it read and wrote, as the endpoint counts them.

    `text` is None where the request failed in every try, which `failure` tells. It is empty, and
    `finish_reason` is "refused", where the model has no room for the question, as `refusal` says.
    """

    key: str
    text: str | None
    finish_reason: str | None = None
    read: int = 0
    written: int = 0
    failure: str | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint and how it is asked. The key to it is that of the environment, OPENAI_API_KEY."""

    url: str
    temperature: float = 0.0
    max_tokens: int = 1024
    concurrency: int = 8
    retries: int = 6
    timeout_s: float = 120.0

    @property
    def address(self) -> str:
        """The URL without what may be secret: a user, a password, a query."""
        parts = urllib.parse.urlsplit(self.url)
        place = parts.netloc.rpartition("@")[2]
        return urllib.parse.urlunsplit((parts.scheme, place, parts.path, "", ""))

    async def ask(self, questions: Sequence[Question]) -> AsyncIterator[Reply]:
        """Yields the reply to each question as it comes, whatever the order.

        Requests are repeated after errors of the server and of the network, and as late as
        `Retry-After` asks for. Raises HubError where the endpoint says that the request is wrong.
        """
        import openai

        client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            max_retries=self.retries,
            timeout=self.timeout_s,
        )
        turns = asyncio.Semaphore(self.concurrency)

        async def one(question: Question) -> Reply:
            async with turns:
                return await self._reply(client, question)

        async with client:
            tasks = [asyncio.create_task(one(question)) for question in questions]
            try:
                for task in asyncio.as_completed(tasks):
                    yield await task
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _reply(self, client: Any, question: Question) -> Reply:
        import openai

        try:
            answer = await client.chat.completions.create(
                model=question.model,
                messages=question.messages,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
            return _read(question, answer)
        except openai.APIStatusError as error:
            if error.status_code in (400, 413, 422) and _TOO_LONG.search(error.message):
                why = _short(error.message)
                return Reply(question.key, "", "refused", refusal=why)
            if error.status_code in _WRONG:
                raise HubError(
                    f"the endpoint {self.address} refuses model '{question.model}' with status "
                    f"{error.status_code}: {_short(error.message)}; correct --endpoint, --model or "
                    "OPENAI_API_KEY."
                ) from None
            return Reply(question.key, None, failure=f"status {error.status_code}")
        except (openai.OpenAIError, ValueError) as error:  # ValueError: an answer that is no JSON
            return Reply(question.key, None, failure=_short(f"{type(error).__name__}: {error}"))


def check_installed() -> None:
    """Raises ConfigError where the client of endpoints is not installed."""
    import importlib.util

    if importlib.util.find_spec("openai") is None:
        raise ConfigError("an endpoint is asked by the package openai; run `pip install openai`.")


def _read(question: Question, answer: Any) -> Reply:
    """The reply in an answer, which an endpoint may have written with any shape."""
    choices = getattr(answer, "choices", None) or [None]
    choice = choices[0] if isinstance(choices, list) else None
    message = getattr(choice, "message", None)
    text = getattr(message, "content", None)
    text = getattr(message, "refusal", None) if text is None else text
    finish_reason = getattr(choice, "finish_reason", None)
    if message is not None and text is None and finish_reason in _CUT:
        text = ""  # all of it was thought, or nothing may be shown: it is paid for
    if not isinstance(text, str):
        return Reply(question.key, None, failure="an answer without a message")
    usage = getattr(answer, "usage", None)
    read, written = (getattr(usage, f"{side}_tokens", None) for side in ("prompt", "completion"))
    return Reply(
        question.key,
        _whole(text),
        finish_reason,
        read if isinstance(read, int) else 0,
        written if isinstance(written, int) else 0,
    )


def _whole(text: str) -> str:
    """A text in which halves of characters are U+FFFD: no file can hold them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _short(text: str, limit: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}..."
