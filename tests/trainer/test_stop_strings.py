"""Answers are cut before stop strings, however they come; what is not served is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trainer.chat import parameters, stop_strings

LETTERS = some.text("abc", max_size=12)
STOPS = some.lists(some.text("abc", min_size=1, max_size=4), min_size=1, max_size=3)


def letter_by_letter(text: str, stops: list[str]) -> tuple[str, bool]:
    """The text before the first stop string that is complete, and whether there is any."""
    for size in range(len(text) + 1):
        ended = [stop for stop in stops if text[:size].endswith(stop)]
        if ended:
            return text[: size - max(map(len, ended))], True
    return text, False


@given(some.lists(LETTERS, max_size=5), STOPS)
def test_pieces_are_cut_as_the_whole(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    expected, is_cut = letter_by_letter(whole, stops)
    start = stop_strings.first(whole, stops)
    assert whole[:start] == expected
    cutter = stop_strings.Cutter(stops)
    shown = "".join(map(cutter.feed, pieces))
    assert expected.startswith(shown)
    assert (shown + cutter.rest(), cutter.is_cut) == (expected, is_cut)


def test_a_piece_is_shown_as_soon_as_no_stop_string_can_begin_in_it() -> None:
    cutter = stop_strings.Cutter(["User:"])
    assert [cutter.feed(piece) for piece in ("Hi. Us", "e it. ", "User", ":")] == [
        "Hi. ",
        "Use it. ",
        "",
        "",
    ]


def events(chunks: list[dict[str, Any]], size: int) -> AsyncIterator[bytes]:
    """The events of a stream, in pieces that end anywhere."""
    content = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), size):
            yield content[start : start + size]

    return pieces()


@pytest.mark.parametrize("size", [7, 10_000])
@pytest.mark.parametrize("in_delta", [True, False])
def test_events_are_cut_and_keep_what_else_they_hold(size: int, in_delta: bool) -> None:
    words: list[tuple[str | None, str | None]] = [("a b", None), (" ST", None), ("OP", None)]
    chunks: list[dict[str, Any]] = [
        {"choices": [{"delta": {"content": text}} if in_delta else {"text": text}]}
        for text, _ in words
    ]
    last: dict[str, Any] = {"finish_reason": "length"} | ({"delta": {}} if in_delta else {})
    chunks.append({"choices": [last], "usage": {"total_tokens": 3}})

    async def collect() -> list[str]:
        return [made async for made in stop_strings.cut_events(events(chunks, size), ["STOP"])]

    made = [json.loads(event.removeprefix("data: ")) for event in asyncio.run(collect())]
    choices = [chunk["choices"][0] for chunk in made]
    texts = [(c["delta"].get("content") if in_delta else c.get("text")) or "" for c in choices]
    assert "".join(texts) == "a b "
    assert choices[-1]["finish_reason"] == "stop"
    assert made[-1]["usage"] == {"total_tokens": 3}


CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"model": "m", "messages": [], "n": 1, "logprobs": None, "user": "u", "stop": []}),
        (CHAT, {"presence_penalty": 0.0, "tool_choice": "auto", "stream_options": {}}),
        ("/v1/completions", {"prompt": "a", "best_of": 1, "echo": False, "stop": ["a", "b"]}),
        ("/v1/responses", {"input": "a", "store": True, "truncation": "disabled"}),
    ],
)
def test_what_asks_for_what_is_done_is_served(path: str, body: dict[str, Any]) -> None:
    assert parameters.refusal(path, body) is None


@pytest.mark.parametrize(
    ("path", "name", "value", "words"),
    [
        (CHAT, "n", 3, "'n' is not served by this endpoint; leave it out, or send 1."),
        (CHAT, "n", True, "'n' is not served"),
        (CHAT, "logprobs", True, "leave it out, or send false."),
        (CHAT, "best", 1, "'best' is not served by this endpoint; leave it out."),
        (CHAT, "stop", "", "none of them empty"),
        (CHAT, "stop", ["a", 1], "a list of strings"),
        ("/v1/completions", "logit_bias", {"5": 1}, "'logit_bias' is not served"),
        ("/v1/responses", "previous_response_id", "x", "leave it out."),
    ],
)
def test_what_would_be_passed_over_is_refused(path: str, name: str, value: Any, words: str) -> None:
    refused = parameters.refusal(path, {"model": "m", name: value})
    assert refused is not None
    assert refused[0] == name
    assert words in refused[1]
