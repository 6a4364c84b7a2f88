"""What the page asks of a built folder: a page of rows, a conversation, a tree, what was dropped.

Ids, sources, languages and lengths are held in memory. Words are read from the Parquet files, of
the rows that are shown alone; a search for words reads them all, once.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import tokenizers
from tokenizers.decoders import DecodeStream

from chatdata.cli import choosing, show_rows, show_tree
from chatdata.cli.choosing import Choice
from chatdata.core import ledger, row_id
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import OutputError
from chatdata.dataset import card, dropped, manifest, reader, report
from chatdata.dataset.rows import words_of
from chatdata.render import token_parts, token_spans
from chatdata.verify import comparison
from chatdata.verify.comparison import Comparison

ROWS = 25  # of a page
_BEGINNING = 240  # characters of a row that a list shows
_MOST_TOKENS = 20_000  # of a conversation that is shown
_MOST_CHARACTERS = 100_000  # of a text that is shown
_ORDERS = {
    "longest": ("length", True),
    "shortest": ("length", False),
    "least trained": ("share", False),
    "most trained": ("share", True),
}


@dataclass(frozen=True, slots=True)
class Query:
    """What rows are asked for; what is empty is no limit. `page` counts from 0."""

    words: str = ""
    source: str = ""
    lang: str = ""
    split: str = ""
    reason: str = ""
    least: int | None = None
    most: int | None = None
    order: str = ""
    kind: str = ""  # of a change, of `row_changes.KINDS`
    page: int = 0


class Browser:
    """A built folder that is read a page of rows at a time. Values are ready to be JSON."""

    def __init__(self, folder: Path, before: Path | None = None) -> None:
        """Reads ids, sources, languages and lengths, and what changed since `before`.

        Raises OutputError as `reader.scan` does.
        """
        self.folder = folder
        self._compared = Comparison(before, folder) if before else None
        self._manifest = manifest.read(folder)
        self._index = _index(folder, is_rendered=self._manifest.render is not None)
        self._decoder = show_rows.decoder(folder)
        self._says = functools.lru_cache(maxsize=8)(self._rows_that_say)
        self._lock = threading.Lock()  # a search is made once, whoever waits for it

    def facts(self) -> dict[str, Any]:
        """What the dataset is, and the values of each filter with how many rows have them."""
        described = self._manifest
        reasons = [
            {"name": reason["name"], "about": reason["about"], "number": sum(_counts(reason))}
            for reason in card.reasons(described)
            if sum(_counts(reason))
        ]
        return {
            "name": described.name,
            "version": described.version,
            "about": described.about,
            "rows": self._index.height,
            "is_rendered": described.render is not None,
            "sources": _numbers(self._index["source"]),
            "languages": _numbers(self._index["lang"].fill_null("unknown")),
            "splits": _numbers(self._index["split"]),
            "reasons": sorted(reasons, key=lambda reason: -reason["number"]),
            "has_words": dropped.is_in(self.folder),
            "costs": report.costs(self.folder),
            "longest": described.lengths["tokens"].max if described.render else None,
            "compared": self._compared and _compared(self._compared),
        }

    def rows(self, query: Query) -> dict[str, Any]:
        """A page of the rows that fit, and how many fit."""
        fitting = self._index.filter(*_limits(query))
        if query.words:
            with self._lock:
                fitting = fitting.filter(pl.col("row").is_in(self._says(query.words).implode()))
        if query.order in _ORDERS and "length" in fitting.columns:
            column, descending = _ORDERS[query.order]
            fitting = fitting.sort(column, descending=descending, maintain_order=True)
        page = fitting.slice(query.page * ROWS, ROWS)
        words = self._beginnings(page["row"].to_list())
        listed = page.drop("row", "share", strict=False).to_dicts()
        rows = [{**row, **words[n]} for row, n in zip(listed, page["row"], strict=True)]
        return {"number": fitting.height, "of": ROWS, "rows": rows}

    def conversation(self, id: str) -> dict[str, Any]:
        """A conversation: where it comes from, its messages, and its rows of tokens."""
        shown = show_rows.find(self.folder, Choice(1, id=id)).rows
        rows, left = [], _MOST_TOKENS
        for row in shown if self._decoder else ():
            rows.append(self._tokens(row, left))
            left -= len(rows[-1]["tokens"])
        first = shown[0]
        messages = first.columns.get("messages", first.taught)
        about = {"source": first.source, "lang": first.lang, "split": first.columns["split"]}
        return {"id": id, **about, "rows": rows, "messages": [_message(turn) for turn in messages]}

    def tree(self, id: str) -> dict[str, Any]:
        """The tree of a conversation as a list, each message with its depth."""
        (tree,) = show_tree.find(self.folder, Choice(1, id=id))
        nodes = [_node(node, depth) for node, depth in _walk(tree.roots)]
        elsewhere = [_node(node, depth) for node, depth in _walk(tree.elsewhere)]
        return {"group": tree.group, "nodes": nodes, "elsewhere": elsewhere}

    def changes(self, query: Query) -> dict[str, Any]:
        """A page of the conversations that differ from those before, of a kind.

        Raises OutputError for a kind that there is not.
        """
        numbers = self._compared.numbers if self._compared else {}
        if self._compared is None or query.kind not in numbers:
            raise OutputError(f"nothing is '{query.kind}'; known: {', '.join(numbers) or 'none'}.")
        listed = self._compared.listed(query.kind)
        if query.words:
            listed = listed.filter(pl.col("id").str.contains(_pattern(query.words)))
        page = listed.slice(query.page * ROWS, ROWS).to_dicts()
        words: dict[str, dict[str, Any]] = {}
        for folder in self._compared.folders:
            wanted = pl.col("id").is_in([row["id"] for row in page])
            table = reader.scan(folder, "messages").filter(wanted).select("id", "messages")
            words |= {id: _beginning(turns) for id, turns in table.collect().iter_rows()}
        rows = [{**row, **words[row["id"]]} for row in page]
        return {"number": listed.height, "of": ROWS, "rows": rows}

    def change(self, id: str) -> dict[str, Any]:
        """A conversation of both folders. Raises OutputError where neither has it."""
        if self._compared is None:
            raise OutputError("nothing is compared; --against names what came before.")
        return self._compared.pair(id)

    def dropped(self, query: Query) -> dict[str, Any]:
        """A page of what was dropped: with its words where the folder has them."""
        if not dropped.is_in(self.folder):
            return self._listed(query)
        chosen = dropped.select(
            self.folder,
            reason=query.reason or None,
            words=query.words or None,
            source=query.source or None,
            places=lambda height: list(range(height))[query.page * ROWS :][:ROWS],
        )
        entries = [[_outcome(row) for row in entry.to_dicts()] for entry in chosen.entries]
        return {"number": chosen.number, "of": ROWS, "entries": entries}

    def _listed(self, query: Query) -> dict[str, Any]:
        """A page of what the ledger says was dropped."""
        is_told = pl.col("unit").is_in([ledger.ANSWER, ledger.REPEAT]).not_()
        rows = reader.scan_ledger(self.folder).filter(is_told, outcome="dropped")
        limits = {"reason": query.reason, "source": query.source}
        rows = rows.filter(*(pl.col(name) == value for name, value in limits.items() if value))
        if query.words:
            names = [pl.col(name).str.contains(_pattern(query.words)) for name in ("id", "detail")]
            rows = rows.filter(pl.any_horizontal(*names).fill_null(False))
        number = rows.select(pl.len()).collect().item()
        page = rows.slice(query.page * ROWS, ROWS).collect()
        return {"number": number, "of": ROWS, "entries": [[_outcome(r)] for r in page.to_dicts()]}

    def _rows_that_say(self, words: str) -> pl.Series:
        """The numbers of the rows that say words, or have them in their id."""
        pattern = _pattern(words)
        rows = reader.scan(self.folder, "messages").with_row_index("row")
        says = pl.col("id").str.contains(pattern) | choosing.says(pattern)
        return rows.filter(says).select("row").collect()["row"]

    def _beginnings(self, places: list[int]) -> dict[int, dict[str, Any]]:
        """How each of these rows begins, and how many turns it has, by the numbers of the rows."""
        table = reader.scan(self.folder, "messages").select("messages")
        slices = [table.slice(place, 1) for place in places]
        texts = pl.concat(slices).collect()["messages"].to_list() if slices else []
        return {n: _beginning(turns) for n, turns in zip(places, texts, strict=True)}

    def _tokens(self, row: show_rows.Row, most: int) -> dict[str, Any]:
        """A row of tokens: of each its id, its text, its part, and whether it is trained."""
        assert self._decoder is not None
        columns, special = row.columns, token_spans.special_ids(self._decoder)
        parts = token_parts.of_row(columns, row.taught, self._decoder)
        texts = _texts(columns["input_ids"][: max(0, most)], self._decoder)
        rows = zip(columns["input_ids"], texts, parts, columns["labels"], strict=False)
        tokens = [
            [id, text, str(part), label != IGNORE_INDEX, id in special]
            for id, text, part, label in rows
        ]
        numbers = {name: columns[name] for name in ("id", "length", "trained")}
        return {**numbers, "tokens": tokens, "about": list(row.about)}


# -------------------------------------------------------------------------------------- parts


def _index(folder: Path, *, is_rendered: bool) -> pl.DataFrame:
    """A row for each conversation: number, id, source, lang, split, and its longest row."""
    rows = reader.scan(folder, "messages").select("id", "source", "lang", "split")
    rows = rows.with_row_index("row")
    if not is_rendered:
        return rows.collect()
    tokens = reader.scan(folder, "tokens").select("id", "length", "trained").collect()
    index = rows.collect()
    is_alone = pl.col("id").is_in(index["id"].implode())
    home = pl.when(is_alone).then("id").otherwise(row_id.conversations_of(pl.col("id")))
    sizes = tokens.group_by(id=home).agg(
        pl.col("length").max(),
        pl.col("trained").sum(),
        share=pl.col("trained").sum() / pl.col("length").sum(),
    )
    return index.join(sizes, on="id", how="left", maintain_order="left")


def _texts(ids: list[int], decoder: tokenizers.Tokenizer) -> Iterator[str]:
    """Yields the text of each token. Of a character of several tokens the last has it."""
    stream = DecodeStream(skip_special_tokens=False)
    for id in ids:
        try:
            yield stream.step(decoder, id) or ""
        except Exception:  # a tokenizer whose texts change with what follows
            stream = DecodeStream(skip_special_tokens=False)
            yield decoder.decode([id], skip_special_tokens=False)


def _limits(query: Query) -> Iterator[pl.Expr]:
    """Yields what must hold of the columns of a row that fits."""
    for name in ("source", "split"):
        if value := getattr(query, name):
            yield pl.col(name) == value
    if query.lang:
        yield pl.col("lang").fill_null("unknown") == query.lang
    if query.least is not None:
        yield pl.col("length") >= query.least
    if query.most is not None:
        yield pl.col("length") <= query.most


def _compared(compared: Comparison) -> dict[str, Any]:
    """What is compared: both versions, how many conversations are of each kind, numbers."""
    before = compared.difference.before
    kinds = [
        {"name": kind, "number": number, "about": comparison.ABOUT[kind]}
        for kind, number in compared.numbers.items()
    ]
    about = {"before": f"{before['name']} {before['version']}", "kinds": kinds}
    glance = [(words, *numbers) for words, numbers in compared.glance()]
    return {**about, "the_same": compared.difference.rows["the_same"], "glance": glance}


def _pattern(words: str) -> str:
    pattern = Choice(1, words=words).pattern()
    assert pattern is not None
    return pattern


def _counts(reason: Mapping[str, Any]) -> list[int]:
    return [reason[unit] for unit in ("records", "messages", "conversations")]


def _numbers(values: pl.Series) -> dict[str, int]:
    """How many rows have each value, the most frequent first."""
    counts = values.value_counts().rows()
    return dict(sorted(counts, key=lambda item: (-item[1], item[0])))


def _beginning(turns: list[dict[str, Any]]) -> dict[str, Any]:
    first = next((turn for turn in turns if turn["role"] == "user"), turns[0])
    return {"turns": len(turns), "begins": " ".join(words_of(first)[:2000].split())[:_BEGINNING]}


def _message(turn: Mapping[str, Any]) -> dict[str, Any]:
    is_trained = turn.get("train", turn["role"] == "assistant")
    text = words_of(turn)
    shown = {"role": turn["role"], "words": text[:_MOST_CHARACTERS], "trained": bool(is_trained)}
    return {**shown, "left": max(0, len(text) - _MOST_CHARACTERS)}


def _outcome(row: Mapping[str, Any]) -> dict[str, Any]:
    """What became of something, with its words as far as they are known."""
    names = ("unit", "id", "conversation", "reason", "detail", "source", "place", "role", *_WORDS)
    given = {name: row[name] for name in names if row.get(name) is not None}
    return {name: str(value)[:_MOST_CHARACTERS] for name, value in given.items()}


_WORDS = ("content", "reasoning", "tool_calls")


def _walk(roots: list[show_tree.Node]) -> Iterator[tuple[show_tree.Node, int]]:
    """Yields each message with its depth, in the order in which a tree is read."""
    waiting = [(node, 0) for node in reversed(roots)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        deeper = depth + 1 if len(node.below) > 1 or depth == 0 else depth
        waiting += [(child, deeper) for child in reversed(node.below)]


def _node(node: show_tree.Node, depth: int) -> dict[str, Any]:
    words = " ".join(node.words[:2000].split())[:_BEGINNING]
    about = {"role": node.role, "id": node.id, "mark": node.mark, "reason": node.reason}
    return {**about, "depth": depth, "words": words}


_TEXTS = ("words", "source", "lang", "split", "reason", "order", "kind")


def query_of(values: Mapping[str, str]) -> Query:
    """The query that the parameters of an address ask for.

    Raises OutputError for a number that is none.
    """
    texts = {n: values.get(n, "") for n in _TEXTS}
    return Query(
        **texts,
        least=_number(values, "least"),
        most=_number(values, "most"),
        page=_number(values, "page") or 0,
    )


def _number(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise OutputError(f"{name} is '{text}', which is not a number; give digits alone.")
    return int(text) if text else None
