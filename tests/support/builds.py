"""Recipes with their inputs, built, and the files and rows of what was built."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from chatdata import build_dataset, load_recipe
from chatdata.dataset import reader
from tests.support.conversations import random_conversation, random_tree

TREES = """
name: t
version: 1.0.0
source: {oasst: {}}
drop: [deleted, {wrong_language: {allow: [en]}}, duplicate]
split: {test_percent: 30}
render: {tokenizer: bytes, max_tokens: 120, overflow: cut}
max_dropped: 1.0
"""


TALKS = """
name: s
version: 1.0.0
source: {sharegpt: {}}
threads: {start: user, end: assistant}
drop: [empty, not_alternating, too_few_turns, duplicate]
split: {test_percent: 30}
render: {tokenizer: bytes, template: chatml, max_tokens: 3000}
max_dropped: 1.0
"""


ONCE = """
name: once
version: 1.0.0
source: {oasst: {}}
threads: {train_once: true}
split: {test_percent: 30}
render: {tokenizer: bytes}
max_dropped: 1.0
"""


SHAREGPT_ROLES = {"user": "human", "assistant": "gpt", "system": "system"}


def tree_file(folder: Path, shuffle: int | None = None, seeds: int = 40) -> Path:
    rows = [row for seed in range(seeds) for row in random_tree(seed)]
    rows = random.Random(shuffle).sample(rows, len(rows)) if shuffle is not None else rows
    path = folder / "trees.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n{bad\n")
    return path


def talk_file(folder: Path, seeds: int = 80) -> Path:
    talks = []
    for seed in range(seeds):
        turns = random_conversation(seed % 60)
        turns_of_file = [{"from": SHAREGPT_ROLES[role], "value": text} for role, text in turns]
        talks.append({"id": f"c{seed % 70}_{seed % 3}", "conversations": turns_of_file})
    path = folder / "talks.json"
    path.write_text(json.dumps(talks)[:-1])
    return path


def make(
    folder: Path, text: str, data: Path | None, name: str, *settings: str, **options: Any
) -> Path:
    """Builds a recipe into a folder; another build there gives way."""
    (folder / "r.yaml").write_text(text)
    out, options = folder / name, {"force": True, **options}
    inputs = [] if data is None else [str(data)]
    build_dataset(load_recipe(folder / "r.yaml", settings), out, inputs=inputs, **options)
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(folder: Path, kind: str = "messages") -> list[dict[str, Any]]:
    return reader.scan(folder, kind).collect().to_dicts()
