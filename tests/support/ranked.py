"""A question with ranked answers, built with pairs of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from chatdata.cli import main
from chatdata.dataset import reader
from chatdata.verify.verification import verdicts_on
from tests.support.builds import make

PAIRED = """
name: paired
version: 1.0.0
source: {oasst: {}}
threads: {policy: all_leaves, pairs: all}
drop: [deleted]
split: {test_percent: 30}
max_dropped: 1.0
"""


def build(folder: Path, rows: list[dict[str, Any]], *settings: str) -> Path:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return make(folder, PAIRED, folder / "rows.jsonl", "out", *settings)


def pairs_of(out: Path) -> list[dict[str, Any]]:
    return reader.scan(out, "pairs").collect().to_dicts()


def said(id: str, parent: str | None, rank: int | None = None, **more: Any) -> dict[str, Any]:
    role = "assistant" if rank is not None else "prompter"
    words = {"message_id": id, "parent_id": parent, "message_tree_id": "u", "text": f"I am {id}"}
    return {**words, "role": role, "rank": rank, "lang": "en", **more}


FORK = [said("u", None), said("good", "u", 0), said("fair", "u", 1), said("poor", "u", 2)]


def problems(out: Path) -> dict[str, list[str]]:
    return {v.check: v.problems for v in verdicts_on(out) if v.outcome == "failed"}


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output
