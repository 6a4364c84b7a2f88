"""Compares every row of tokens of a built folder with transformers' `apply_chat_template`.

chatdata build sharegpt --input "$CHATDATA_SHAREGPT" --set drop=[] --out out/s \
    --set render='{template: starchat, tokenizer: data/tokenizers/starcoder}'
python tests/bench/parity.py out/s --workers 2

Reads what was published and nothing else: the messages, the tokenizer with its template, the
rows of tokens. Ends with status 1 where a row differs.
"""

from __future__ import annotations

import functools
import multiprocessing
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import polars as pl

from chatdata.core import row_id
from chatdata.dataset import manifest

BATCH = 200  # rows


@functools.cache
def reference(folder: Path) -> Any:
    """The tokenizer as it was saved beside the rows, and the control tokens of its own."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return tokenizer, re.compile("|".join(map(re.escape, special)))


def compare(
    folder: Path, variables: dict[str, Any], rows: list[tuple[str, Any, Any]]
) -> Counter[str]:
    """Counts rows that are the same, that differ, and that quote control tokens."""
    tokenizer, control = reference(folder)
    counts: Counter[str] = Counter()
    for name, turns, ids in rows:
        counts["rows"] += 1
        if any(control.search(turn["content"]) for turn in turns):
            counts["quoting"] += 1
            continue
        expected = tokenizer.apply_chat_template(
            turns, tokenize=True, return_dict=False, **variables
        )
        same = expected == ids
        counts["same" if same else "differ"] += 1
        counts["tokens"] += len(ids)
        if not same:
            print(f"{name} differs", file=sys.stderr)
    return counts


def rows(folder: Path) -> Iterator[list[tuple[str, Any, Any]]]:
    """Yields (id, turns, ids) in batches. Of several rows of a conversation, each ends with the
    next of its answers."""
    conversations = {
        id: turns
        for path in sorted((folder / "messages").glob("*.parquet"))
        for id, turns in pl.read_parquet(path, columns=["id", "messages"]).iter_rows()
    }
    seen: Counter[str] = Counter()
    batch: list[tuple[str, Any, Any]] = []
    for path in sorted((folder / "tokens").glob("*.parquet")):
        for id, ids in _ids(path):
            turns = conversations.get(id)
            if turns is None:
                conversation = row_id.conversation_of(id)
                whole = conversations[conversation]
                answers = [i for i, turn in enumerate(whole) if turn["role"] == "assistant"]
                turns = whole[: answers[seen[conversation]] + 1]
                seen[conversation] += 1
            batch.append((id, turns, ids))
            if len(batch) == BATCH:
                yield batch
                batch = []
    yield batch


def _ids(path: Path) -> Iterator[tuple[str, list[int]]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=["id", "input_ids"]):
        yield from zip(batch["id"].to_pylist(), batch["input_ids"].to_pylist(), strict=True)


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--workers", default=1, show_default=True)
def main(folder: Path, workers: int) -> None:
    """Compares all rows of FOLDER, which must not have been split with carried context."""
    begin = time.perf_counter()
    render = manifest.read(folder)["render"]
    variables = render["template"].get("variables", {})
    total: Counter[str] = Counter()
    work = functools.partial(compare, folder, variables)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for counts in pool.imap(work, rows(folder)):
            total += counts
    name = f"template {render['template']['name']}, tokenizer {render['tokenizer']['name']}"
    print(f"{name}: {dict(total)} in {time.perf_counter() - begin:.0f} s")
    sys.exit(1 if total["differ"] or not total["same"] else 0)


if __name__ == "__main__":
    main()
