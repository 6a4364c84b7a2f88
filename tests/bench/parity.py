"""Compares every row of tokens of a built folder with transformers' `apply_chat_template`.

chatdata build sharegpt --input "$CHATDATA_SHAREGPT" --set drop=[] --out out/s \
    --set render='{template: starchat, tokenizer: data/tokenizers/starcoder}'
python tests/bench/parity.py out/s --workers 2

Reads what was published and nothing else: the messages with their tools, the tokenizer with its
template, the rows of tokens, the variables that a conversation gives its template, and from the
manifest those of all conversations. Imports nothing of chatdata, so it shares no code with the
certificate. Ends with status 1 where a row differs.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

BATCH = 200  # rows
FLAGS = {"train", "weight", "train_parts"}  # which no template is given
SPAN = re.compile(r"(.*)#(?:[0-9]+-)?([0-9]+)", re.DOTALL)  # ID#FIRST-LAST or ID#LAST


class Row(NamedTuple):
    """A row of tokens, and the messages that it holds."""

    id: str
    messages: list[dict[str, Any]]
    tools: str | None
    variables: dict[str, Any]  # which the conversation gives its template
    ids: list[int]


class Facts(NamedTuple):
    """What the manifest says of the template."""

    name: str
    variables: dict[str, Any]
    reasoning_key: str
    takes_parts: bool  # words are a list of parts


def facts_of(folder: Path) -> Facts:
    """What the manifest of a folder says of the template."""
    render = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["render"]
    template = render["template"]
    key = template.get("reasoning_key") or "reasoning_content"
    name = f"template {template['name']}, tokenizer {render['tokenizer']['name']}"
    variables = template.get("variables") or {}
    return Facts(name, variables, key, template.get("takes_parts", False))


# ----------------------------------------------------------------------------------------- rows


def batches(folder: Path) -> Iterator[list[Row]]:
    """Yields the rows of a folder in batches."""
    conversations = {
        row["id"]: row
        for path in sorted((folder / "messages").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    }
    for path in sorted((folder / "tokens").glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=["id", "input_ids"]):
            pairs = zip(batch["id"].to_pylist(), batch["input_ids"].to_pylist(), strict=True)
            yield [_row(id, ids, conversations) for id, ids in pairs]


def _row(id: str, ids: list[int], conversations: dict[str, Any]) -> Row:
    """The row with its messages: all of its conversation, or those up to the last that it names."""
    conversation = conversations.get(id)
    last = None
    if conversation is None:
        span = SPAN.fullmatch(id)
        assert span is not None, f"row {id} has no conversation"
        conversation, last = conversations[span[1]], int(span[2]) + 1
    variables = json.loads(conversation.get("chat_template_kwargs") or "{}")
    return Row(id, conversation["messages"][:last], conversation["tools"], variables, ids)


# ----------------------------------------------------------------------------------- comparison


@functools.cache
def reference(folder: Path) -> Any:
    """The tokenizer as it was saved beside the rows, and a pattern of its special tokens."""
    import transformers

    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return tokenizer, re.compile("|".join(map(re.escape, special)))


def compare(folder: Path, facts: Facts, rows: list[Row]) -> Counter[str]:
    """Counts rows that are the same, rows that differ, and by their reason rows left out."""
    tokenizer, special = reference(folder)
    counts: Counter[str] = Counter(rows=len(rows))
    for row in rows:
        messages = [_message(message, facts) for message in row.messages]
        tools = json.loads(row.tools) if row.tools else None
        if special.search(json.dumps([messages, tools], ensure_ascii=False)):
            counts["skipped: quotes a control token"] += 1
            continue
        variables = {**facts.variables, **row.variables}
        expected = _expected(tokenizer, messages, tools, variables)
        counts["tokens"] += len(row.ids)
        counts["same" if expected == row.ids else "differing"] += 1
        if expected != row.ids:
            print(f"{row.id} differs", file=sys.stderr)
    return counts


def _message(message: dict[str, Any], facts: Facts) -> dict[str, Any]:
    """A published message as `apply_chat_template` takes it: no flags, no nulls, calls parsed."""
    given = {key: value for key, value in message.items() if value is not None and key not in FLAGS}
    given.setdefault("content", None)
    if "tool_calls" in given:
        given["tool_calls"] = json.loads(given["tool_calls"])
    if "reasoning_content" in given:
        given[facts.reasoning_key] = given.pop("reasoning_content")
    if facts.takes_parts and given["content"] is not None:
        given["content"] = [{"type": "text", "text": given["content"]}]
    return given


def _expected(
    tokenizer: Any, messages: list[dict[str, Any]], tools: Any, variables: dict[str, Any]
) -> list[int] | None:
    """The ids of transformers; None where the template refuses the conversation.

    A message without words has the content None, or "" where the template cannot take None.
    """
    error = None
    for no_words in (None, ""):
        given = [
            {**message, "content": no_words} if message["content"] is None else message
            for message in messages
        ]
        try:
            ids = tokenizer.apply_chat_template(
                given, tools=tools, tokenize=True, return_dict=False, **variables
            )
            return list(ids)
        except Exception as raised:  # what a template raises is up to the template
            error = raised
    print(f"refused: {error}", file=sys.stderr)
    return None


def main() -> None:
    """Compares all rows of a folder, which must not have been split with carried context."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    begin = time.perf_counter()
    facts = facts_of(arguments.folder)
    total: Counter[str] = Counter(rows=0, differing=0)
    work = functools.partial(compare, arguments.folder, facts)
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for counts in pool.imap_unordered(work, batches(arguments.folder)):
            total += counts
    total.setdefault("differing", 0)
    print(f"{facts.name}: {dict(total)} in {time.perf_counter() - begin:.0f} s")
    sys.exit(1 if total["differing"] or not total["same"] else 0)


if __name__ == "__main__":
    main()
