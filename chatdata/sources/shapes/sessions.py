"""Sessions of agents, a file each: Claude Code and Codex; and rollouts and traces of verifiers.

A session is a tree: questions that were asked again and sub-agents are branches, and a history that
was compacted begins anew, as the model saw it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chatdata.sources import jsonl, tool_json
from chatdata.sources._blocks import more_keys
from chatdata.sources._linear import Reading, Turn
from chatdata.sources._message import MESSAGE_KEYS, was_cut_off
from chatdata.sources.shapes._base import (
    Conversations,
    Node,
    Record,
    Sessions,
    Tree,
    Trees,
    are_objects,
    has,
)
from chatdata.sources.shapes._planting import (
    Sprout,
    chained,
    microseconds,
    planted,
    turns_of_blocks,
)
from chatdata.sources.shapes.vendors.openai import ITEM_KEYS, of_items
from chatdata.sources.values import identifier

# -------------------------------------------------------------------------------------- Claude Code

_SPOKEN = ("user", "assistant")
# What tells of a line; what an `attachment` holds is not looked at, so it is counted.
_CLAUDE_LINE = frozenset(
    [
        *("type", "uuid", "parentUuid", "logicalParentUuid", "sessionId", "message", "timestamp"),
        *("isSidechain", "isMeta", "isApiErrorMessage", "toolUseResult", "cwd", "version"),
        *("sourceToolAssistantUUID", "gitBranch", "userType", "requestId", "leafUuid", "summary"),
        *("agentId", "isCompactSummary", "subtype", "level", "snapshot", "messageId"),
    ]
)


def _is_claude_line(record: object) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("type"), str):
        return False
    if record["type"] in _SPOKEN:
        return has(record, "uuid", "sessionId") and isinstance(record.get("message"), dict)
    is_named = any(key in record for key in ("sessionId", "leafUuid", "snapshot"))
    return is_named and "payload" not in record


@dataclass(slots=True)
class _Answer:
    """An answer, which a session writes as a line for each block, and the results of its calls."""

    id: str
    parent: str | None
    created: int | None
    blocks: list[Any] = field(default_factory=list)
    is_cut_off: bool = False
    results: list[tuple[str, list[Any], int | None]] = field(default_factory=list)

    def end(self) -> str:
        """The id behind which the session goes on."""
        return self.results[-1][0] if self.results else self.id

    def sprouts(self, parent: str | None) -> Iterator[Sprout]:
        """Yields the answer and the results of its calls, one behind the other."""
        turns = turns_of_blocks("assistant", self.blocks)
        if self.is_cut_off:
            turns = [*turns[:-1], turns[-1]._replace(train=False)]
        yield from chained(self.id, parent, turns, self.created)
        above = self.id
        for id, blocks, created in self.results:
            yield from chained(id, above, turns_of_blocks("user", blocks), created)
            above = id


def _read_claude_code(lines: Sequence[Any]) -> Tree:
    named = [line for line in lines if isinstance(line.get("uuid"), str)]
    of_line = _answers(named)
    sprouts: list[Sprout] = []
    for line in named:
        id, parent = line["uuid"], _behind(identifier(line.get("parentUuid")), of_line)
        answer = of_line.get(id)
        if answer is not None:
            is_first = answer.id == id
            sprouts += answer.sprouts(_behind(answer.parent, of_line)) if is_first else []
            continue
        turns = _claude_turns(line)
        sprouts += chained(id, parent, turns, microseconds(line.get("timestamp")))
    main = [line["uuid"] for line in named if _is_spoken(line) and not line.get("isSidechain")]
    current = _behind(main[-1], of_line) if main else None
    session = next((id for line in lines if (id := identifier(line.get("sessionId")))), None)
    return Tree(session, planted(sprouts, current), _CLAUDE_LINE, lines, _CLAUDE_LINE)


def _is_spoken(line: Record) -> bool:
    return line["type"] in _SPOKEN and line.get("isApiErrorMessage") is not True


def _answers(lines: Sequence[Any]) -> dict[str, _Answer]:
    """The answer of each line that belongs to an answer, by the id of the line."""
    by_message: dict[object, _Answer] = {}
    by_call: dict[object, _Answer] = {}
    of_line: dict[str, _Answer] = {}
    for line in lines:
        if not _is_spoken(line):
            continue
        id, message = line["uuid"], line["message"]
        created = microseconds(line.get("timestamp"))
        blocks = _blocks(message)
        if line["type"] == "assistant":
            new = _Answer(id, identifier(line.get("parentUuid")), created)
            answer = by_message.setdefault(identifier(message.get("id")) or id, new)
            answer.blocks += blocks
            answer.is_cut_off |= was_cut_off(message)
            calls = [b for b in blocks if b.get("type") == "tool_use"]
            by_call.update({identifier(b.get("id")): answer for b in calls})
            of_line[id] = answer
        elif (called := _called(blocks, by_call)) is not None:
            called.results.append((id, blocks, created))
            of_line[id] = called
    return of_line


def _blocks(message: Record) -> list[Any]:
    content = message.get("content")
    if are_objects(content):
        return list(content)
    return [{"type": "text", "text": content}]


def _called(blocks: Sequence[Record], by_call: Mapping[object, _Answer]) -> _Answer | None:
    """The answer whose calls have the results among these blocks."""
    results = [block for block in blocks if block.get("type") == "tool_result"]
    ids = [identifier(block.get("tool_use_id")) for block in results]
    return next((by_call[id] for id in ids if id is not None and id in by_call), None)


def _behind(id: str | None, of_line: Mapping[str, _Answer]) -> str | None:
    """Where a line stands whose parent is this: behind all results of an answer."""
    answer = of_line.get(id) if id is not None else None
    return id if answer is None else answer.end()


def _claude_turns(line: Record) -> list[Turn]:
    """The turns of a line that is no answer; none of what the model does not see as a message."""
    if line["type"] != "user" or not _is_spoken(line):
        return []
    return turns_of_blocks("user", _blocks(line["message"]))


# -------------------------------------------------------------------------------------------- Codex

_ITEM = "response_item"
_CODEX_LINE = frozenset(["type", "payload", "timestamp"])


def _is_codex_line(record: object) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("type"), str):
        return False
    return isinstance(record.get("payload"), dict) and "timestamp" in record


def _read_codex(lines: Sequence[Any]) -> Tree:
    """The items of a session; a history that was compacted begins a tree of its own."""
    id, system = None, None
    histories: list[list[Any]] = [[]]
    for line in lines:
        payload = line["payload"]
        if line["type"] == "session_meta":
            id = id or identifier(payload.get("id"))
            system = system or _instructions(payload)
        elif line["type"] == "compacted":
            histories.append(_compacted(payload))
        elif line["type"] == _ITEM:
            histories[-1].append(payload)
    before = [{"role": "system", "content": system}] if system else []
    nodes = [node for n, items in enumerate(histories) for node in _history(n, before, items)]
    items = [line["payload"] for line in lines if line["type"] == _ITEM]
    return Tree(id, nodes, _CODEX_LINE, [*lines, *items], _CODEX_LINE | ITEM_KEYS)


def _instructions(payload: Record) -> str | None:
    given = payload.get("base_instructions") or payload.get("instructions")
    words = given.get("text") if isinstance(given, Mapping) else given
    return words if isinstance(words, str) and words else None


def _compacted(payload: Record) -> list[Any]:
    """The items with which a session goes on; where they are not stated, what stands for them is
    refused, with all that follows."""
    items = payload.get("replacement_history")
    return list(items) if are_objects(items) else [{"type": "compacted history"}]


def _history(number: int, before: list[Any], items: list[Any]) -> list[Node]:
    turns = jsonl.read_messages([*before, *of_items(items)]) if items else []
    return planted(chained(f"{number}", None, turns, None)) if turns else []


# ---------------------------------------------------------------------------------------- verifiers


def is_rollout(record: object) -> bool:
    """Whether a record is a rollout of verifiers: messages, and the reward that they got."""
    if not has(record, "prompt", "completion", "reward"):
        return False
    return are_objects(record["prompt"]) and are_objects(record["completion"])


def _read_rollout(record: Any) -> Reading:
    return jsonl.exchange(record, ("prompt", "completion"), ())


_TRACE = frozenset(["id", "nodes", "tools", "tool_defs"])
_NODE = frozenset(["parent", "message", "sampled", "tools"])


def _is_trace(record: object) -> bool:
    """Whether a record is a graph of messages, each with the number of the message before it."""
    if not has(record, "nodes") or not are_objects(record["nodes"]):
        return False
    return all(
        isinstance(node.get("message"), dict) and isinstance(node.get("parent"), int | None)
        for node in record["nodes"]
    )


def _read_trace(record: Record) -> Tree:
    """The messages of a trace. What no model call made is context, and is not trained."""
    nodes: list[Any] = record["nodes"]
    sprouts = [
        sprout
        for number, node in enumerate(nodes)
        for sprout in chained(
            str(number), _number(node.get("parent")), _trace_turns(record, node), None
        )
    ]
    messages = [*nodes, *(node["message"] for node in nodes)]
    return Tree(
        identifier(record.get("id")), planted(sprouts), _TRACE, messages, _NODE | MESSAGE_KEYS
    )


def _number(parent: object) -> str | None:
    return None if parent is None else str(parent)


def _trace_turns(record: Record, node: Record) -> list[Turn]:
    turns = jsonl.read_messages([node["message"]])
    is_sampled = node.get("sampled") is not False
    turns = [turn._replace(train=turn.train and is_sampled) for turn in turns]
    if node.get("parent") is not None:
        return turns
    tools = next((value for value in _tools_of(record, node) if tool_json.is_given(value)), None)
    listed = tool_json.listing(tools)
    if listed.fault:
        return [Turn("system", None, f"tools: {listed.fault}"), *turns]
    return [turn._replace(tools=listed.text) for turn in turns[:1]] + turns[1:]


def _tools_of(record: Record, node: Record) -> list[Any]:
    return [node.get("tools"), record.get("tools"), record.get("tool_defs")]


SHAPES = (
    Sessions(
        name="Claude Code session",
        keys=("uuid", "parentUuid", "sessionId", "message"),
        fits=_is_claude_line,
        read=_read_claude_code,
    ),
    Sessions(name="Codex session", keys=("type", "payload"), fits=_is_codex_line, read=_read_codex),
    Conversations(
        name="verifiers rollouts",
        keys=("prompt", "completion", "reward"),
        fits=is_rollout,
        read=_read_rollout,
        more_keys=more_keys,
    ),
    Trees(name="verifiers trace", keys=("nodes",), fits=_is_trace, read=_read_trace),
)
