"""Real texts whose language people have declared: for a test and a benchmark.

Tables of (set, message, text, lang, half). The halves are parted by a hash of the text: errors are
to be looked at in half 0 alone, so that half 1 says what the detector does on texts it was not
made with.
"""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from chatdata import sources
from chatdata.core.hashing import hash64
from chatdata.sources import File
from tests.support.conversations import table

COLUMNS = ("set", "message", "text", "lang")

# Messages of OASST1 that are in another language than their label says, as far as the author can
# tell. Nothing was tuned for them; the benchmark counts with and without.
MISLABELLED = {
    "986d4c7f-d502-443a-8429-2f675283b890": "es",
    "9caf0013-9ca1-44d2-bbee-2ad6f5e3c23a": "es",
    "e8d20b31-e618-4001-a1b5-860d1fba05a9": "es",
    "c10fb0e3-efd0-4e69-aa38-8a316e6d78cd": "es",
    "26588953-e256-43a3-b6eb-8d457c302702": "es",
    "d0c20d25-3125-4021-b2a1-b73bab91f46b": "es",
    "d01fa1b3-a00e-4847-a7b6-cc52c83ea98b": "es",
    "0fc6d64b-835b-45b8-89fb-826b0a608b35": "es",  # a greeting
    "56f4d9ec-b5f1-462e-99f8-74d8113b048e": "de",
    "ba22e91f-c68c-4e10-95ee-de5f25009bef": "de",  # with a translation in brackets
    "1297f276-d209-4cd5-9f8a-d15ade601980": "de",
    "cff250be-3e5b-4345-9661-a3ace7bc58c9": "de",
    "92846be2-5c8a-41d2-8909-033cd7e051af": "ja",
    "8f7219e5-247e-404e-b7c7-604874b04cff": "zh",  # a greeting
    "e2c0def2-b4a2-4e39-8d8b-aa84f1c9d777": "vi",  # a greeting
    "cc0a3aaa-3e1d-4f5b-8956-e2fe4395c584": "is",  # Old Norse, rather
    "49804ea3-8d11-4501-be48-a35d36eb81a3": "und",  # Quenya
    "a995d3ce-ac00-42fe-827e-303de9154dab": "en",
    "0def27e3-24a9-4225-ad91-d70fd7191159": "en",
}


def _table(rows: Iterable[tuple[str, str, str, str]]) -> pl.DataFrame:
    table = pl.DataFrame(list(rows), schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
    table = table.unique(["set", "text", "lang"], keep="first", maintain_order=True)
    half = [sha256(b"h" + text.encode()).digest()[0] % 2 for text in table["text"]]
    return table.with_columns(half=pl.Series(half, dtype=pl.Int8))


def messages(data: Path) -> pl.DataFrame:
    """Messages of OASST1, each alone: `oasst1` in English and in 14 other languages."""
    return _table(_messages(data))


def _messages(data: Path) -> Iterator[tuple[str, str, str, str]]:
    path = data / "langid" / "oasst1_messages_labelled.jsonl"
    for row in map(json.loads, path.read_text().splitlines()):
        yield "messages", row["message_id"], row["text"], row["lang"]
    path = data / "oasst1-en-100-trees" / "en_100_tree.jsonl"
    for tree in map(json.loads, path.read_text().splitlines()):
        for node in walk(tree["prompt"]):
            yield "messages", node["message_id"], node["text"], node["lang"]


def trees(data: Path) -> list[pl.DataFrame]:
    """The English trees of OASST1, as rows of NODES, and its threads in other languages."""
    paths = ["oasst1-validation-en/en-validation.jsonl", "oasst1-en-100-trees/en_100_tree.jsonl"]
    files = [File(data / path, path) for path in paths]
    batches = sources.get("oasst").read(files, "oasst", "oasst1")
    path = data / "oasst1-best-replies-multilingual" / "threads_534_non_english.jsonl"
    threads = [json.loads(line) for line in path.read_text().splitlines()]
    turns = {thread["message_id"]: thread["messages"] for thread in threads}
    turns_by_id = {
        id: [(turn["role"], turn["content"]) for turn in thread] for id, thread in turns.items()
    }
    declared = {thread["message_id"]: thread["lang"] for thread in threads}
    rows = table(turns_by_id).with_columns(lang=pl.col("conversation").replace_strict(declared))
    return [pl.concat([batch.rows for batch in batches]), rows]


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields a message of a nested tree and all below it."""
    yield node
    for reply in node.get("replies") or []:
        yield from walk(reply)


def sentences(data: Path, each: int) -> pl.DataFrame:
    """Sentences of the web in 79 languages, `each` of them for a language."""
    return _table(_sentences(data, each))


def _sentences(data: Path, each: int) -> Iterator[tuple[str, str, str, str]]:
    with tarfile.open(data / "langid" / "sentences.tar.gz") as archive:
        for member in sorted(archive.getmembers(), key=lambda entry: entry.name):
            file = archive.extractfile(member)
            lines = file.read().decode().splitlines() if file else []
            lines = sorted(lines, key=lambda line: hash64(line, "order"))
            for number, line in enumerate(lines[:each]):
                lang = Path(member.name).stem
                yield "sentences", f"{lang}-{number}", line, lang


def sharegpt(data: Path, lang: str) -> list[list[str]]:
    """The turns of 1,000 ShareGPT conversations: `en`, or `zh` translated into Chinese."""
    if lang == "en":
        path = data / "sharegpt-en-1k" / "sharegpt92k_sample.json.gz"
        conversations = json.loads(gzip.decompress(path.read_bytes()))
    else:
        path = data / "sharegpt-zh-1k" / "sharegpt_zh_1K_format.jsonl.gz"
        conversations = map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines())
    return [
        [turn["value"] for turn in conversation["conversations"]] for conversation in conversations
    ]
