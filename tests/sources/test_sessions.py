"""Sessions of agents: answers in a piece, parallel calls with all results, branches as branches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from chatdata import sources
from chatdata.sources import File
from chatdata.sources.unread import UnreadKeys
from chatdata.steps import filtering, filters, threads, trees

_AT = "2026-01-01T00:00:00.000Z"


def line(kind: str, id: str, parent: str | None, content: Any, **more: Any) -> dict[str, Any]:
    message = {"role": kind, "content": content}
    if "answer" in more:
        message["id"] = more.pop("answer")
    common = {"type": kind, "uuid": id, "parentUuid": parent, "sessionId": "s", "timestamp": _AT}
    return {**common, "message": message, **more}


def call(id: str, city: str) -> list[dict[str, Any]]:
    return [{"type": "tool_use", "id": id, "name": "weather", "input": {"city": city}}]


def result(id: str, words: str) -> list[dict[str, Any]]:
    return [{"type": "tool_result", "tool_use_id": id, "content": words}]


def words(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]


PARALLEL = [
    line("user", "u", None, "How cold?"),
    line("assistant", "a1", "u", [{"type": "thinking", "thinking": "Two cities."}], answer="m"),
    line("assistant", "a2", "a1", call("t1", "Oslo"), answer="m"),
    line("assistant", "a3", "a2", call("t2", "Rome"), answer="m"),
    line("user", "r1", "a2", result("t1", "-3"), toolUseResult={"stdout": "-3"}),
    line("user", "r2", "a3", result("t2", "12"), toolUseResult={"stdout": "12"}),
    line("assistant", "b", "r2", words("Oslo -3, Rome 12."), answer="n"),
]


def read(folder: Path, *lines: Any) -> tuple[pl.DataFrame, dict[str, dict[str, int]]]:
    path = folder / "a.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in lines))
    batches = list(sources.get("auto").read([File(path, "a.jsonl")], "x", "x"))
    keys = UnreadKeys()
    for batch in batches:
        keys.add(batch.unread)
    return pl.concat([batch.rows for batch in batches]), keys.counts()


def paths(nodes: pl.DataFrame, **options: Any) -> dict[str, list[Any]]:
    marked = filtering.mark(nodes, filters.always())
    messages = trees.linearize(marked, threads.Threads(**options)).messages
    columns = ("conversation", "role", "reasoning", "content", "tool_calls")
    spoken: dict[str, list[Any]] = {}
    for id, *turn in messages.select(columns).iter_rows():
        spoken.setdefault(id.rpartition("/")[2], []).append(tuple(turn))
    return spoken


def test_parallel_calls_are_a_message_with_all_its_results(tmp_path: Path) -> None:
    nodes, unread = read(tmp_path, *PARALLEL)
    ((asked, called, first, second, told),) = paths(nodes).values()
    assert asked == ("user", None, "How cold?", None)
    assert called[:3] == ("assistant", "Two cities.", None)
    cities = [made["function"]["arguments"]["city"] for made in json.loads(called[3])]
    assert cities == ["Oslo", "Rome"]
    assert (first[2], second[2]) == ("-3", "12")
    assert told[2] == "Oslo -3, Rome 12."
    assert set(nodes["group"]) == {"x/s"}
    assert unread == {}


def test_what_was_asked_again_is_a_branch_and_a_sub_agent_a_root(tmp_path: Path) -> None:
    more = [
        line("user", "v", "b", "And now?"),
        line("assistant", "c", "v", words("The same."), answer="o"),
        line("user", "w", "b", "And tomorrow?"),
        line("assistant", "d", "w", words("Warmer."), answer="p"),
        line("user", "k", None, "Look it up.", isSidechain=True),
        line("assistant", "l", "k", words("Done."), answer="q", isSidechain=True),
    ]
    nodes, _ = read(tmp_path, *PARALLEL, *more)
    spoken = paths(nodes)
    assert {id: len(turns) for id, turns in spoken.items()} == {"c": 7, "d": 7, "l": 2}
    assert spoken["c"][:5] == spoken["d"][:5]
    best = paths(nodes, policy="best_rank")
    assert set(best) == {"d", "l"}


def test_what_the_model_does_not_see_is_left_out_and_attachments_are_counted(
    tmp_path: Path,
) -> None:
    common = {"sessionId": "s", "timestamp": _AT}
    lines = [
        {"type": "file-history-snapshot", "messageId": "u", "snapshot": {}},
        line("user", "u", None, "How cold?"),
        {"type": "attachment", "uuid": "t", "parentUuid": "u", "attachment": {"x": 1}, **common},
        line("assistant", "e", "t", words("API Error: 529"), answer="m", isApiErrorMessage=True),
        {"type": "system", "uuid": "y", "parentUuid": "e", "content": "a note", **common},
        line("assistant", "b", "y", words("Three below."), answer="n"),
    ]
    nodes, unread = read(tmp_path, *lines)
    assert [turn[2] for turn in paths(nodes)["b"]] == ["How cold?", "Three below."]
    assert unread == {"messages": {"attachment": 1, "content": 1}}


def test_a_compacted_session_goes_on_from_its_summary(tmp_path: Path) -> None:
    boundary = {"type": "system", "subtype": "compact_boundary", "logicalParentUuid": "b"}
    lines = [
        *PARALLEL,
        {**boundary, "uuid": "z", "parentUuid": None, "sessionId": "s", "timestamp": _AT},
        line("user", "s1", "z", "So far: it is cold.", isCompactSummary=True),
        line("assistant", "s2", "s1", words("Noted."), answer="o"),
    ]
    nodes, _ = read(tmp_path, *lines)
    assert [turn[2] for turn in paths(nodes)["s2"]] == ["So far: it is cold.", "Noted."]
    assert set(nodes["group"]) == {"x/s"}


# -------------------------------------------------------------------------------------------- Codex


def event(kind: str, **payload: Any) -> dict[str, Any]:
    return {"timestamp": _AT, "type": kind, "payload": payload}


def message(role: str, text: str) -> dict[str, Any]:
    part = "output_text" if role == "assistant" else "input_text"
    content = [{"type": part, "text": text}]
    return event("response_item", type="message", role=role, content=content)


def test_codex_thoughts_and_calls_are_with_their_answer(tmp_path: Path) -> None:
    summary = [{"type": "summary_text", "text": "I look."}]
    thought = {"type": "reasoning", "summary": summary, "encrypted_content": "gAAA"}
    patch = {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "*** x"}
    nodes, unread = read(
        tmp_path,
        event("session_meta", id="s", instructions="Be brief."),
        message("developer", "Ask first."),
        message("user", "Mend it."),
        event("event_msg", type="user_message", message="Mend it."),
        event("response_item", **thought),
        event("response_item", **patch),
        event("response_item", type="custom_tool_call_output", call_id="c", output="done"),
        message("assistant", "Mended."),
    )
    ((system, developer, asked, called, ran, told),) = paths(nodes).values()
    assert [turn[0] for turn in (system, developer, asked)] == ["system", "developer", "user"]
    assert called[1] == "I look."
    assert json.loads(called[3])[0]["function"]["arguments"] == {"input": "*** x"}
    assert (ran[0], ran[2], told[2]) == ("tool", "done", "Mended.")
    assert unread == {"messages": {"encrypted_content": 1}}


def test_a_compacted_history_of_codex_begins_anew_or_is_refused(tmp_path: Path) -> None:
    kept = [{"type": "message", "role": "user", "content": "So far: mended."}]
    before = [event("session_meta", id="s"), message("user", "Mend."), message("assistant", "Yes.")]
    after = [message("assistant", "Noted.")]
    nodes, _ = read(tmp_path, *before, event("compacted", replacement_history=kept), *after)
    assert [[turn[2] for turn in turns] for turns in paths(nodes).values()] == [
        ["Mend.", "Yes."],
        ["So far: mended.", "Noted."],
    ]
    nodes, _ = read(tmp_path, *before, event("compacted", message="So far."), *after)
    assert [[turn[2] for turn in turns] for turns in paths(nodes).values()] == [["Mend.", "Yes."]]


# --------------------------------------------------------------------------------------- verifiers


def trace(*nodes: tuple[int | None, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A record of a finished run; an assistant's message is sampled."""
    made = [
        {"parent": parent, "message": message, "sampled": message["role"] == "assistant"}
        for parent, message in nodes
    ]
    return {"version": 1, "id": "t", "task": {"type": "Weather"}, "nodes": made, **more}


def test_a_trace_is_a_tree_in_which_context_is_not_trained(tmp_path: Path) -> None:
    tool = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}}
    call = {"id": "c", "name": "weather", "arguments": '{"city": "Oslo"}'}
    record = trace(
        (None, {"role": "system", "content": "Be brief."}),
        (0, {"role": "user", "content": "How cold?"}),
        (1, {"role": "assistant", "reasoning_content": "I look.", "tool_calls": [call]}),
        (2, {"role": "tool", "tool_call_id": "c", "content": "-3"}),
        (3, {"role": "assistant", "content": "Three below."}),
        (1, {"role": "assistant", "content": "Cold."}),
        (None, {"role": "user", "content": "So far: it is cold."}),
        (6, {"role": "assistant", "content": "Noted."}),
        tools=[tool],
        rewards={"right": {"score": 1.0}},
    )
    record["nodes"][5]["sampled"] = False
    nodes, unread = read(tmp_path, record)
    spoken = paths(nodes)
    assert {id: [turn[2] for turn in turns] for id, turns in spoken.items()} == {
        "4": ["Be brief.", "How cold?", None, "-3", "Three below."],
        "5": ["Be brief.", "How cold?", "Cold."],
        "7": ["So far: it is cold.", "Noted."],
    }
    (called,) = json.loads(spoken["4"][2][3])
    assert (called["id"], called["function"]["arguments"]) == ("c", {"city": "Oslo"})
    assert spoken["4"][2][1] == "I look."
    untrained = nodes.filter(pl.col("role") == "assistant", pl.col("train").not_())
    assert untrained["content"].to_list() == ["Cold."]
    (listed,) = nodes["tools"].drop_nulls().unique()
    assert json.loads(listed) == [{"type": "function", "function": tool}]
    assert unread == {"records": {"rewards": 1, "task": 1, "version": 1}}


def test_a_trace_whose_message_stands_behind_nothing_is_an_orphan(tmp_path: Path) -> None:
    asked = {"role": "user", "content": "How cold?"}
    told = {"role": "assistant", "content": "Cold."}
    nodes, _ = read(tmp_path, trace((None, asked), (7, told)))
    assert paths(nodes) == {}
