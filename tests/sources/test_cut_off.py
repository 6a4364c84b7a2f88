"""Answers that a server stopped before their end: the words are context, and no end is learnt."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.reading import read, unread

ASKED = {"role": "user", "content": "q"}
SAID = {"role": "assistant", "content": "a"}


def _message(reason: str) -> dict[str, Any]:
    return {"messages": [ASKED, SAID | {"finish_reason": reason}]}


def _log(reason: str) -> dict[str, Any]:
    choice = {"index": 0, "message": SAID, "finish_reason": reason}
    return {"request": {"messages": [ASKED]}, "response": {"choices": [choice]}}


def _responses(reason: str) -> dict[str, Any]:
    answer = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "a"}],
    }
    is_whole = reason == "stop"
    beside = {} if is_whole else {"incomplete_details": {"reason": "max_output_tokens"}}
    status = "completed" if is_whole else "incomplete"
    return {"input": "q", "output": [answer], "status": status, **beside}


def _session(reason: str) -> dict[str, Any]:
    """The answer alone: a line is a message."""
    message = {"id": "m", **SAID, "stop_reason": reason}
    return {"type": "assistant", "uuid": "u", "parentUuid": None, "sessionId": "s"} | {
        "message": message
    }


def _chatgpt(reason: str) -> dict[str, Any]:
    content = {"content_type": "text", "parts": ["a"]}
    kind = {"length": "max_tokens"}.get(reason, reason)
    answer = {"author": {"role": "assistant"}, "content": content}
    answer["metadata"] = {"finish_details": {"type": kind}}
    return {"mapping": {"x": {"message": answer, "parent": None}}, "current_node": "x"}


def _librechat(reason: str) -> dict[str, Any]:
    answer = {"messageId": "m", "isCreatedByUser": False, "text": "a"}
    answer["unfinished"] = reason != "stop"
    return {"conversationId": "c", "messages": [answer]}


FORMS = [_message, _log, _responses, _session, _chatgpt, _librechat]


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize("form", FORMS)
def test_what_was_cut_off_is_not_learnt(form: Any, reason: str) -> None:
    rows, problems = read("auto", [form(reason)])
    assert problems == []
    answers = rows.filter(role="assistant")
    assert answers.select("content", "train").rows() == [("a", reason == "stop")]
    names = {name for keys in unread("auto", form(reason)).values() for name in keys}
    assert names <= {"metadata"}  # of ChatGPT, where more stands that nobody reads


@pytest.mark.parametrize("reason", [{"type": "length"}, 5, None])
def test_reasons_in_another_form_say_nothing(reason: Any) -> None:
    rows, problems = read("jsonl", [_message(reason)])
    assert problems == []
    assert rows["train"].to_list() == [False, True]


def test_a_flag_says_more_than_the_reason() -> None:
    record = {"messages": [ASKED, SAID | {"finish_reason": "length", "train": True}]}
    assert read("jsonl", [record])[0]["train"].to_list() == [False, True]


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("key", ["prefix", "partial"])
def test_the_beginning_of_an_answer_is_no_answer_and_a_log_has_the_whole(
    key: str, repeats: bool
) -> None:
    begun = {"role": "assistant", "content": "{", key: True}
    assert read("jsonl", [{"messages": [ASKED, begun]}])[0]["train"].to_list() == [False, False]
    rest = {"role": "assistant", "content": '{"a": 1}' if repeats else '"a": 1}'}
    choices = [{"message": rest, "finish_reason": "stop"}]
    record = {"request": {"messages": [ASKED, begun]}, "response": {"choices": choices}}
    rows, problems = read("auto", [record])
    assert problems == []
    assert rows.select("content", "train").rows() == [("q", False), ('{"a": 1}', True)]
    assert unread("auto", record) == {}


def test_words_under_the_same_key_are_counted() -> None:
    record = {"messages": [ASKED, SAID | {"prefix": "Some words."}]}
    assert read("jsonl", [record])[0]["train"].to_list() == [False, True]
    assert unread("jsonl", record)["messages"] == {"prefix": 1}
