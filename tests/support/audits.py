"""Conversations and rows of tokens for audits, and what an audit finds in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from click.testing import CliRunner, Result

from chatdata.cli import main
from chatdata.core import schema
from chatdata.verify.audit import auditing, findings, known
from chatdata.verify.audit.checks import CHECKS
from chatdata.verify.audit.findings import Check, Comparison
from chatdata.verify.audit.inputs import Messages
from chatdata.verify.audit.known import Known

Turn = dict[str, Any]
KEY = "AKIAIOSFODNN7" + "QZXW2LM"
CALL = '[{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": %s}}]'
TOOLS = '[{"type": "function", "function": {"name": "weather"}}]'


def call(arguments: object = {}, **more: Any) -> Turn:
    return {"role": "assistant", "tool_calls": CALL % json.dumps(arguments), **more}


def calls(*ids: str) -> Turn:
    """An answer with a call for each id."""
    function = {"name": "weather", "arguments": {}}
    listed = [{"id": id, "type": "function", "function": function} for id in ids]
    return {"role": "assistant", "tool_calls": json.dumps(listed)}


def user(content: str = "What is it like outside?", **more: Any) -> Turn:
    return {"role": "user", "content": content, **more}


def answer(content: str | None = "Sunny and warm.", **more: Any) -> Turn:
    return {"role": "assistant", "content": content, **more}


def tool(content: str = "19 degrees", **more: Any) -> Turn:
    return {"role": "tool", "content": content, **more}


def system(content: str = "Be brief.", role: str = "system") -> Turn:
    return {"role": role, "content": content}


def batch(*talks: Sequence[Turn], split: str | None = None, **more: Any) -> Messages:
    """Conversations as a batch of rows of MESSAGES."""
    rows = [
        {
            "conversation": f"x/{number}",
            "message": f"x/{number}#{position}",
            "position": position,
            "where": f"x.jsonl:{number + 1}",
            "train": turn["role"] == "assistant",
            "talk": number + 1,
            "split": split,
            **turn,
        }
        for number, turns in enumerate(talks)
        for position, turn in enumerate(turns)
    ]
    table = schema.MESSAGES | {"talk": pl.UInt32, "split": pl.String}
    return Messages(pl.DataFrame(rows, schema=table), len(talks), [], **more)


def check_named(kind: findings.Kind, name: str) -> Check | Comparison:
    return next(check for check in CHECKS[kind] if check.name == name)


def cases(kind: findings.Kind, name: str, batches: Sequence[Any], facts: Known) -> findings.Cases:
    check = check_named(kind, name)
    assert not facts.unmet(check.needs)
    if isinstance(check, Comparison):
        return check.conclude(pl.concat([check.gather(each) for each in batches]))
    return sum((check.look(each, facts) for each in batches), findings.Cases())


# rows of tokens

BEGIN, PAD, END, HEAD, ASK, BLANK = 1, 2, 3, 4, 5, 6
TINY = Known(
    begin=BEGIN,
    pad=PAD,
    ends=frozenset([END]),
    header=(HEAD, 7),
    size=50,
    blanks=frozenset([BLANK]),
)


def row(text: str) -> dict[str, list[int]]:
    """A row of ids; those after `+` are trained, `p` marks padding that is not attended to."""
    parts = text.split()
    ids = [int(part.strip("+p")) for part in parts]
    return {
        "input_ids": ids,
        "labels": [i if "+" in part else -100 for i, part in zip(ids, parts, strict=True)],
        "attention_mask": [int("p" not in part) for part in parts],
    }


# files


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def audited(*paths: Path, tokenizer: Path | None = None) -> dict[str, findings.Result]:
    """The results that are faults or remarks, by the names of their checks."""
    facts = known.of_tokenizer(tokenizer, "t") if tokenizer else known.without_tokenizer()
    audit = auditing.audit(list(paths), facts)
    return {result.check.name: result for result in audit.results if result.cases.count}


def faults(results: dict[str, findings.Result]) -> dict[str, int]:
    return {
        name: result.cases.count for name, result in results.items() if result.outcome == "fault"
    }


def write_jsonl(path: Path, rows: list[Any]) -> None:
    path.write_text("\n".join(json.dumps(each) for each in rows) + "\n")
