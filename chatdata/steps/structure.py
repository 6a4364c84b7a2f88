"""Cleaners of whole messages: tags in content that say what a message is become columns.

    lift_reasoning    <think>...</think> before an answer
    lift_tools        <tool_call>, <tool_response> and <tools> of Hermes and Qwen
    drop_reasoning    the reasoning of all messages goes
    drop_variables    variables for chat templates go, all of them or some
    drop_weights      the weights of answers go
    drop_train_parts  the parts go that answers name as those that are learnt

A recipe lists these under `clean`, among the cleaners of texts. What cannot be lifted (JSON that is
broken, tags that do not match) stays as words, and is counted as left.
"""

from __future__ import annotations

import functools
import inspect
import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import polars as pl
from pydantic import Field

from chatdata.core.config import Given, Strict, Word, arguments_model
from chatdata.sources import tool_json


class Lifted(NamedTuple):
    """The messages, how many of them were changed, and whether each was left as words; None where
    none was."""

    messages: pl.DataFrame
    changed: int
    is_left: pl.Series | None = None


@dataclass(frozen=True, slots=True)
class RowCleaner:
    """A cleaner of whole messages, and its options. No package changes what it does."""

    name: str
    function: Callable[..., Lifted]
    options: type[Strict]
    about: str
    packages: tuple[str, ...] = ()


ROW_CLEANERS: dict[str, RowCleaner] = {}


def _cleans(function: Callable[..., Lifted]) -> Callable[..., Lifted]:
    name, about = function.__name__, (inspect.getdoc(function) or "").splitlines()[0]
    options = arguments_model(function, skip=1)
    ROW_CLEANERS[name] = RowCleaner(name, function, options, about)
    return function


# ---------------------------------------------------------------------------------------- reasoning

_THOUGHT = re.compile(r"\s*<think>(.*?)</think>", re.DOTALL)
_HAS_THOUGHT = r"^\s*<think>|^[^<]*</think>"


@_cleans
def lift_reasoning(messages: pl.DataFrame) -> Lifted:
    """`<think>...</think>` at the beginning of an answer becomes its reasoning.

    An empty thought goes. Tags that are not closed, or that stand within a thought, stay.
    """
    tagged = pl.when(pl.col("content").str.contains("think>", literal=True)).then("content")
    is_concerned = _is("assistant") & tagged.str.contains(_HAS_THOUGHT)
    return _lift(messages, is_concerned, _without_thought)


def _without_thought(content: str, row: _Row) -> _Row | None:
    thought = _THOUGHT.match(content)
    if thought is None or row.reasoning is not None:
        return None
    inner, rest = thought[1].strip("\n"), content[thought.end() :].lstrip("\n")
    if "<think>" in inner or rest.count("<think>") != rest.count("</think>"):
        return None
    reasoning = inner if inner.strip() else None
    words = rest if rest or not (reasoning or row.tool_calls) else None
    return row._replace(content=words, reasoning=reasoning)


_NO_WORDS = "nothing is left of it without its reasoning"


@_cleans
def drop_reasoning(messages: pl.DataFrame) -> Lifted:
    """The reasoning of all messages goes; a message that only thinks has no content then."""
    thinks = pl.col("reasoning").is_not_null()
    only_thinks = thinks & pl.col("content").is_null() & pl.col("tool_calls").is_null()
    changed = messages.select(thinks.sum()).item()
    messages = messages.with_columns(
        reasoning=pl.lit(None, pl.String),
        note=pl.when(only_thinks).then(pl.lit(_NO_WORDS)).otherwise("note"),
    )
    return Lifted(messages, changed)


# ------------------------------------------------------------------------------- weights and parts


@_cleans
def drop_weights(messages: pl.DataFrame) -> Lifted:
    """The weights of answers go: an answer is trained as every answer is, or not at all."""
    changed = messages.height - messages["weight"].null_count()
    return Lifted(messages.with_columns(weight=pl.lit(None, pl.Float64)), changed)


@_cleans
def drop_train_parts(messages: pl.DataFrame) -> Lifted:
    """The `train_parts` of answers go: the parts that are learnt are those of `train_on` alone."""
    changed = messages.height - messages["train_parts"].null_count()
    return Lifted(messages.with_columns(train_parts=pl.lit(None, pl.String)), changed)


# ---------------------------------------------------------------------------------------- variables


_Names = Annotated[
    Annotated[list[Word], Given] | None,
    Field(
        description="The variables that go; all of them unless they are named.",
        examples=[["enable_thinking"]],
    ),
]


@_cleans
def drop_variables(messages: pl.DataFrame, names: _Names = None) -> Lifted:
    """The variables of conversations for chat templates go: those of `names`, or all.

    What a template does not read is refused, so that no variable is ignored in silence.
    """
    before = messages["variables"]
    texts = before.drop_nulls().unique(maintain_order=True)
    fewer = {text: _without_variables(json.loads(text), names) for text in texts}
    new = [None if text is None else fewer[text] for text in before]
    variables = pl.Series("variables", new, pl.String)
    return Lifted(messages.with_columns(variables), int(before.ne_missing(variables).sum()))


def _without_variables(values: Mapping[str, Any], names: Sequence[str] | None) -> str | None:
    kept = {} if names is None else {k: v for k, v in values.items() if k not in names}
    return tool_json.as_json(kept).text if kept else None


# -------------------------------------------------------------------------------------------- tools

_CALL = re.compile(r"<tool_call>((?:(?!</?tool_call>).)*)</tool_call>", re.DOTALL)
_RESULT, _END_OF_RESULT = "<tool_response>", "</tool_response>"
_LIST, _END_OF_LIST = "<tools>", "</tools>"


@_cleans
def lift_tools(messages: pl.DataFrame) -> Lifted:
    """Calls at the end of an answer, results and lists of tools in tags become what they are.

    The tags are those of Hermes and Qwen: `<tool_call>`, a `<tool_response>` that is all of a turn,
    and `<tools>` in a system message. The words around a list of tools stay.
    """
    content = pl.col("content")
    answers = _is("assistant") & content.str.contains(r"(?m)^\s*<tool_call>")
    results = _is("user", "tool") & content.str.contains(rf"^\s*{_RESULT}")
    lists = _is("system", "developer") & content.str.contains(r"<tools>\s*[\[{]")
    called = _lift(messages, answers, _without_calls)
    reported = _lift(called.messages, results, _without_result)
    offered = _lift(reported.messages, lists, _without_tools)
    every = (called, reported, offered)
    with_tools = _for_conversation(messages, offered.messages)
    masks = [part.is_left for part in every if part.is_left is not None]
    is_left = functools.reduce(operator.or_, masks) if masks else None
    return Lifted(with_tools, sum(part.changed for part in every), is_left)


def _without_calls(content: str, row: _Row) -> _Row | None:
    start, inners = _calls_at_end(content)
    if not inners or row.tool_calls is not None:
        return None
    calls = tool_json.calls({"tool_calls": [tool_json.parsed(inner.strip()) for inner in inners]})
    words = content[:start].rstrip("\n")
    return row._replace(content=words or None, tool_calls=calls.text) if calls.text else None


def _calls_at_end(content: str) -> tuple[int, list[str]]:
    """Where the calls begin with which a content ends, on a line of their first, and the calls.

    A call is followed by white space, calls and the end alone.
    """
    calls = list(_CALL.finditer(content))
    ends = [0, *(call.end() for call in calls)]
    start, first, following = len(content), len(calls), len(content)
    for number in reversed(range(len(calls))):
        if content[ends[number + 1] : following].strip():
            break
        following = calls[number].start()
        before = content[ends[number] : following]
        blank = before[len(before.rstrip()) :]
        if "\n" in blank or blank == content[:following]:
            start = following - len(blank) + max(0, blank.find("\n"))
            start = 0 if blank == content[:following] else start
            first = number
    return start, [call[1] for call in calls[first:]]


def _without_result(content: str, row: _Row) -> _Row | None:
    words = tool_json.unwrapped(content)
    is_whole = words != content and _END_OF_RESULT not in words
    return row._replace(content=words, role="tool") if is_whole else None


def _without_tools(content: str, row: _Row) -> _Row | None:
    for start, block, end in _blocks(content):
        if tools := _listed(block.strip()):
            around = (content[:start].rstrip("\n"), content[end:].lstrip("\n"))
            words = "\n\n".join(part for part in around if part)
            return row._replace(content=words, tools=tool_json.joined([*row.listed(), tools]))
    return None


def _blocks(content: str) -> Iterator[tuple[int, str, int]]:
    """Yields where each block of tools begins, what stands between its tags, and where it ends."""
    start = content.find(_LIST)
    while start >= 0 and (end := content.find(_END_OF_LIST, start)) >= 0:
        yield start, content[start + len(_LIST) : end], end + len(_END_OF_LIST)
        start = content.find(_LIST, end)


def _listed(block: str) -> str | None:
    """The tools in a block: a JSON list, or an object on each line. None for neither."""
    listing = tool_json.listing(block)
    return listing.text or tool_json.listing(block.splitlines()).text


def _for_conversation(before: pl.DataFrame, lifted: pl.DataFrame) -> pl.DataFrame:
    """The messages with the tools that a system message has gained in all of the conversation."""
    gained = lifted.with_columns(is_new=lifted["tools"].ne_missing(before["tools"]))
    if "conversation" not in lifted.columns or not gained["is_new"].any():
        return lifted
    claim = ["conversation", "where"]  # two records may use one id
    new = pl.col("tools").filter("is_new").last().over(claim)
    is_linear = pl.col("conversation").is_not_null()
    tools = pl.when(is_linear).then(pl.coalesce(new, "tools")).otherwise("tools")
    return gained.with_columns(tools=tools).drop("is_new")


# ----------------------------------------------------------------------------------------- lifting


class _Row(NamedTuple):
    """What lifting looks at and changes of a message."""

    role: str
    content: str | None
    reasoning: str | None
    tool_calls: str | None
    tools: str | None

    def listed(self) -> list[str]:
        """The lists of tools that are known already."""
        return [self.tools] if self.tools else []


def _is(*roles: str) -> pl.Expr:
    return pl.col("role").is_in(roles)


def _lift(
    messages: pl.DataFrame, is_concerned: pl.Expr, lift: Callable[[str, _Row], _Row | None]
) -> Lifted:
    """The messages with those that are concerned as `lift` returns each, or left where None."""
    numbered = messages.with_row_index("row")
    concerned = numbered.filter(is_concerned)
    if concerned.is_empty():
        return Lifted(messages, 0)
    rows = concerned.select(pl.col("role").cast(pl.String), *_Row._fields[1:]).iter_rows()
    lifted = list(_lifted(rows, lift))
    changed = pl.DataFrame(
        [row or _UNCHANGED for row in lifted],
        schema={name: messages.schema[name] for name in _Row._fields},
        orient="row",
    )
    is_lifted = pl.Series([row is not None for row in lifted])
    is_left = numbered["row"].is_in(concerned["row"].filter(~is_lifted).implode())
    changed = changed.with_columns(concerned["row"]).filter(is_lifted)
    updated = numbered.update(changed, on="row", include_nulls=True, maintain_order="left")
    return Lifted(updated.drop("row"), changed.height, is_left)


_UNCHANGED = _Row("assistant", None, None, None, None)


def _lifted(
    rows: Iterable[tuple[str, ...]], lift: Callable[[str, _Row], _Row | None]
) -> Iterator[_Row | None]:
    for values in rows:
        row = _Row(*values)
        yield lift(row.content or "", row)
