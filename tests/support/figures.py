"""The figures of docs/figures, drawn from the embedded sample as chatdata builds it.

`python -m tests.support.figures` draws them again. Colours follow the screen, light or dark.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
from tokenizers import Tokenizer

from chatdata import build_dataset, load_recipe
from chatdata.dataset import manifest, reader
from chatdata.sources import embedded
from chatdata.steps import split

FOLDER = Path(__file__).parents[2] / "docs" / "figures"
_CELL, _LINE = 9, 20  # of a character
_STYLE = """
.paper{fill:#fff;stroke:#d0d7de} .line{stroke:#8c959f;fill:none}
text{fill:#1f2328;font:13px ui-sans-serif,system-ui,sans-serif}
.mono{font:13px ui-monospace,Menlo,Consolas,monospace} .small{font-size:11px;fill:#59636e}
.user{fill:#ddf4ff;stroke:#54aeff} .kept{fill:#dafbe1;stroke:#4ac26b} .control{fill:#eac54f}
.gone{fill:#ffebe9;stroke:#ff8182;stroke-dasharray:4 3}
@media (prefers-color-scheme:dark){
.paper{fill:#161b22;stroke:#30363d} .line{stroke:#656c76}
text{fill:#e6edf3} .small{fill:#9198a1}
.user{fill:#0c2d6b;stroke:#388bfd} .kept{fill:#0f3d1c;stroke:#2ea043} .control{fill:#7a5c00}
.gone{fill:#4c1014;stroke:#f85149}}
"""


def _svg(width: int, height: int, title: str, parts: Iterator[str]) -> str:
    """A picture of a size with a title, on a sheet of its own."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n"
        f'<rect class="paper" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="6"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _box(x: float, y: float, width: float, kind: str, words: str, height: int = 24) -> str:
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height}" rx="4"/>'
        f'<text x="{x + 8:g}" y="{y + height / 2 + 4.5:g}">{escape(words)}</text>'
    )


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" xml:space="preserve">{escape(words)}</text>'


# ----------------------------------------------------------------------------------------- trees


def _nodes(tree: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yields the messages of a tree of the sample, each with its depth."""
    lines = embedded("chatdata:sample/oasst.trees.jsonl").read_text().splitlines()
    (prompt,) = [t["prompt"] for t in map(json.loads, lines) if t["message_tree_id"] == tree]
    stack = [(0, prompt)]
    while stack:
        depth, node = stack.pop()
        yield depth, node
        stack += [(depth + 1, reply) for reply in reversed(node.get("replies", []))]


def trees(folder: Path) -> str:
    """Two trees of the sample, what became of each message, and the conversations they make."""
    return _svg(760, 430, "Two message trees and the conversations that they make", _trees(folder))


def _trees(folder: Path) -> Iterator[str]:
    reasons = dict(reader.scan_ledger(folder).select("id", "reason").collect().iter_rows())
    y = 40
    yield _text(20, 26, "messages of two trees", "small") + _text(430, 26, "conversations", "small")
    for tree in ("bread", "sql-join"):
        parents: dict[int, float] = {}
        for depth, node in _nodes(tree):
            yield from _node(depth, node, y, reasons.get(node["message_id"]), parents)
            parents[depth], y = y, y + 28
        y += 12
    rows = reader.scan(folder, "messages").filter(pl.col("source") == "oasst").collect()
    y = 40
    for tree in ("bread", "sql-join"):
        for row in rows.filter(group=f"oasst1/{tree}").sort("id").to_dicts():
            yield _box(430, y, 300, "kept", row["id"].removeprefix("oasst1/"))
            trained = sum(m["role"] == "assistant" and m["train"] for m in row["messages"])
            yield _text(438, y + 38, f"{len(row['messages'])} turns, {trained} trained", "small")
            y += 52
        y += 20


def _node(
    depth: int, node: Mapping[str, Any], y: float, reason: str | None, parents: dict[int, float]
) -> Iterator[str]:
    x = 20 + 30 * depth
    if depth:
        above = parents[depth - 1] + 24
        yield f'<path class="line" d="M{x - 18} {above:g}V{y + 12:g}H{x}"/>'
    kind = "user" if node["role"] == "prompter" else "kept"
    words = f"{'user' if kind == 'user' else 'assistant'} {node['message_id']}"
    yield _box(x, y, 170, "gone" if reason else kind, words)
    if reason:
        yield _text(x + 180, y + 16, reason, "small")


# ----------------------------------------------------------------------------------------- masks

_ROW = "oasst1/tokens/tokens-a1b"
_WIDE = 74  # tokens on a line


def masks(folder: Path) -> str:
    """A row of the sample, token by token: what is trained, and what is a control token."""
    cells = list(_cells(folder))
    height = 46 + _LINE * len(_lines(cells))
    return _svg(40 + _CELL * _WIDE, height, f"The tokens of {_ROW}", _masks(cells))


def _cells(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields the text of each token of the row, and its kind."""
    row = reader.scan(folder, "tokens").filter(id=_ROW).collect().to_dicts()[0]
    loaded = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    control = manifest.read(folder).rendering.tokenizer.control_ids.values()
    for token, label in zip(row["input_ids"], row["labels"], strict=True):
        text = loaded.decode([token], skip_special_tokens=False)
        kind = "control" if token in control else ""
        yield text, f"{kind} {'kept' if label >= 0 else ''}".strip()


def _lines(cells: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The cells of each line: one ends with a line break, or where it is full."""
    lines: list[list[tuple[str, str]]] = [[]]
    used = 0
    for text, kind in cells:
        width = 1 if text == "\n" else len(text)
        if used + width > _WIDE:
            lines.append([])
            used = 0
        lines[-1].append((text, kind))
        used += width
        if text == "\n":
            lines.append([])
            used = 0
    return [line for line in lines if line]


def _masks(cells: list[tuple[str, str]]) -> Iterator[str]:
    trained = sum("kept" in kind for _, kind in cells)
    head = f"{len(cells)} tokens: {trained} are trained (green); control tokens are amber"
    yield _text(20, 24, head, "small")
    for number, line in enumerate(_lines(cells)):
        yield from _cell_line(line, 38 + _LINE * number)


def _cell_line(line: list[tuple[str, str]], y: int) -> Iterator[str]:
    x, words = 20, ""
    for text, kind in line:
        shown = "↵" if text == "\n" else text
        if kind:
            width = _CELL * len(shown)
            style = "kept" if "kept" in kind else "control"
            yield f'<rect class="{style}" x="{x}" y="{y}" width="{width}" height="{_LINE - 2}"/>'
            if kind == "control kept":
                yield f'<rect class="control" x="{x}" y="{y + 13}" width="{width}" height="5"/>'
        words += shown
        x += _CELL * len(shown)
    length = _CELL * len(words)
    yield (
        f'<text class="mono" x="20" y="{y + 14}" textLength="{length}" xml:space="preserve">'
        f"{escape(words)}</text>"
    )


# -------------------------------------------------------------------------------------- segments


def segments(folder: Path) -> str:
    """The same letters as a message's words and as the template's control token."""
    return _svg(700, 216, "The same letters, twice", _segments(folder))


def _segments(folder: Path) -> Iterator[str]:
    row = reader.scan(folder, "tokens").filter(id=_ROW).collect().to_dicts()[0]
    ids, quoted = row["input_ids"], list(b"<|end|>")
    place = next(i for i in range(len(ids)) if ids[i : i + 7] == quoted)
    stop = next(i for i in reversed(range(len(ids))) if row["labels"][i] >= 0)
    yield _text(20, 26, "a user asks about <|end|>: content is encoded as text", "small")
    for number, token in enumerate(ids[place : place + 7]):
        yield _box(20 + 62 * number, 38, 56, "user", str(token))
        yield _text(20 + 62 * number + 8, 80, f"token {place + number}", "small")
    yield _text(20, 118, "the template ends an answer: a segment of its own", "small")
    yield _box(20, 130, 56, "control", str(ids[stop]))
    yield _text(28, 172, f"token {stop}, trained", "small")
    yield _text(20, 200, f"{_ROW}: seven tokens of content against one of the template", "small")


# ------------------------------------------------------------------------------------ determinism


def splits(folder: Path) -> str:
    """The groups of the sample in the order of their hash, and the line between the splits."""
    return _svg(760, 150, "Groups by their hash", _splits(folder))


def _splits(folder: Path) -> Iterator[str]:
    groups = reader.scan(folder, "messages").select("group").collect()["group"].unique().sort()
    fractions = split.fraction(groups)
    about = "each group by its hash, from 0 to 1: below 0.2 (test_percent: 20) is test"
    yield _text(20, 26, about, "small")
    yield '<path class="line" d="M20 80H740"/>'
    for group, fraction in zip(groups, fractions, strict=True):
        kind = "user" if fraction < 0.2 else "kept"
        x = 20 + 720 * fraction
        name = f"<title>{escape(group)}</title>"
        yield f'<circle class="{kind}" cx="{x:.1f}" cy="80" r="6">{name}</circle>'
    yield '<path class="line" d="M164 52V108" stroke-dasharray="3 3"/>'
    test = int((fractions < 0.2).sum())
    yield _text(40, 130, f"test: {test} groups")
    yield _text(400, 130, f"train: {len(groups) - test} groups")


# -------------------------------------------------------------------------------------- versions


def versions(folder: Path) -> str:
    """The rows of two versions of the sample: those that stay, and those that go."""
    return _svg(760, 176, "The rows of two versions", _versions(folder))


def _versions(folder: Path) -> Iterator[str]:
    first = _ids(folder)
    with tempfile.TemporaryDirectory() as scratch:
        recipe = load_recipe("sample", ["threads.policy=best_rank"])
        build_dataset(recipe, Path(scratch) / "best")
        second = set(_ids(Path(scratch) / "best"))
    removed = len(set(first) - second)
    yield _text(20, 30, f"1.0.0: {len(first)} conversations, every path of a tree")
    yield _text(
        20, 106, f"2.0.0: best_rank takes one path of a tree; {removed} rows go, so it is major"
    )
    for number, id in enumerate(first):
        x = 20 + 24.5 * number
        name = f"<title>{escape(id)}</title>"
        kind = "kept" if id in second else "gone"
        yield f'<rect class="kept" x="{x:g}" y="42" width="20" height="28" rx="3">{name}</rect>'
        yield f'<rect class="{kind}" x="{x:g}" y="118" width="20" height="28" rx="3">{name}</rect>'
    yield _text(20, 166, "rows in their order, which a row that goes does not change", "small")


def _ids(folder: Path) -> list[str]:
    """The ids of the rows of a folder, in the order of the shards."""
    return reader.scan(folder, "messages").select("id").collect()["id"].to_list()


FIGURES: dict[str, Callable[[Path], str]] = {
    "trees.svg": trees,
    "masks.svg": masks,
    "segments.svg": segments,
    "splits.svg": splits,
    "versions.svg": versions,
}


def write() -> None:
    """Draws all figures from a build of the sample."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "sample"
        build_dataset("sample", folder, workers=1)
        for name, draw in FIGURES.items():
            (FOLDER / name).write_text(draw(folder), encoding="utf-8")


if __name__ == "__main__":
    write()
