"""What becomes of every defect of real ShareGPT dumps, beside FastChat's rules on the same.

python tests/bench/sharegpt.py --dump "$CHATDATA_SHAREGPT" --data "$CHATDATA_REAL_DATA"

Prints Markdown tables.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import fastchat_rules
import polars as pl

from chatdata import build_dataset, load_recipe
from chatdata.core.errors import ChatdataError
from chatdata.dataset import reader
from chatdata.dataset.manifest import Manifest
from chatdata.sources import File, Problem, get
from chatdata.steps.clean import clean, fences
from chatdata.steps.clean.html_pages import is_html

ZERO_WIDTH = "[\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad]"
TAG = r"(?i)</?(?:p|div|span|br|a|code|pre|ul|ol|li|table|tr|td|h[1-6])\b[^>]*>"
DIRT = {
    "zero-width characters": ZERO_WIDTH,
    "... and nothing else": f"^(?:{ZERO_WIDTH}|\\s)+$",
    "other control characters": "[\x00-\x08\x0e-\x1f\x7f-\x9f]",
    "`\\_` and `\\*` of a converter": r"\\[_*]",
    "`2 / 3` at the end": r"\d+ / \d+\s*$",
    "`Copy code`": "Copy code",
    "banner of an app": r"conversation is shared from \[",
    "notice of the content policy": "This content may violate our content policy",
    "character references": r"&(?:#\d+|#x[0-9a-fA-F]+|[a-z]{2,8});",
}


@dataclass(frozen=True)
class Built:
    """A dump as it was read, as it was cleaned, and what a build made of it."""

    raw: pl.DataFrame
    cleaned: pl.DataFrame
    problems: list[Problem]
    facts: Manifest
    outcomes: pl.DataFrame  # unit, id, reason (null: kept), detail

    def fate(self, unit: str, ids: Iterable[str]) -> str:
        """What became of messages or conversations, in words."""
        fates = self.outcomes.filter((pl.col("unit") == unit) & pl.col("id").is_in(list(ids)))
        kept = fates.filter(pl.col("reason").is_null())
        merged = kept.filter(pl.col("detail").str.starts_with("merged into")).height
        words = [f"{kept.height} kept" + (f", {merged} of them merged" if merged else "")]
        reasons = Counter(fates["reason"].drop_nulls().to_list())
        return ", ".join([*words, *(f"{n} `{reason}`" for reason, n in reasons.most_common())])

    def holding(self, pattern: str) -> pl.DataFrame:
        """The messages that hold a pattern, with `now`, what cleaning made of them."""
        rows = self.raw.with_columns(now=self.cleaned["content"])
        return rows.filter(pl.col("content").str.contains(pattern))


def build(path: Path) -> Built:
    """Reads and cleans a file as the recipe `sharegpt` says, and builds it."""
    recipe = load_recipe("sharegpt", ["max_dropped=1"])
    batches = list(get("sharegpt").read([File(path, path.name)], "sharegpt", "sharegpt"))
    raw = pl.concat([batch.rows for batch in batches])
    with tempfile.TemporaryDirectory() as folder:
        facts = build_dataset(recipe, Path(folder) / "out", inputs=[str(path)])
        ledger = reader.scan_ledger(Path(folder) / "out")
        outcomes = ledger.select("unit", "id", "reason", "detail").collect()
    raw = raw.with_columns(pl.col("role").cast(pl.String))
    problems = [problem for batch in batches for problem in batch.problems]
    return Built(raw, clean(raw, recipe.steps())[0], problems, facts, outcomes)


# ------------------------------------------------------------------------------------ defects

Row = tuple[str, int, str]  # the defect, how often it was found, what became of it


def ids(rows: pl.DataFrame) -> list[str]:
    """The conversations that rows are of."""
    return rows["conversation"].unique(maintain_order=True).to_list()


def structure(built: Built) -> list[Row]:
    """Defects of turns, counted in conversations."""
    raw = built.raw
    is_last = pl.col("position") == pl.col("position").max().over("conversation")
    first, last = raw.filter(pl.col("position") == 0), raw.filter(is_last)
    leading, asked = first.filter(role="assistant"), last.filter(role="user")
    again = raw.filter(pl.col("role") == pl.col("role").shift(1).over("conversation"))
    empty = raw.filter(pl.col("content").str.strip_chars() == "")
    without = [problem.id for problem in built.problems if problem.reason == "no_turns"]
    twice = len(set(without) & set(raw["conversation"]))
    ends = {(row["group"], row["content"]) for row in last.to_dicts()}
    repeated = sum((row["group"], row["content"]) in ends for row in leading.to_dicts())
    system = first.filter(role="system")
    checks = {
        "begins with an answer": (leading, f"{repeated} of these turns end another piece; "),
        "begins with a system turn": (system, ""),
        "one role twice in a row": (again, ""),
        "empty value": (empty, ""),
        "ends with a question": (asked, ""),
    }
    rows = [
        (name, len(ids(ids_by_check)), words + both(built, ids_by_check))
        for name, (ids_by_check, words) in checks.items()
    ]
    return [
        *rows,
        ("has no turns", len(without), f"{len(without)} `no_turns`"),
        ("id used twice", twice, "beside a record of the same id that has no turns"),
    ]


def both(built: Built, rows: pl.DataFrame) -> str:
    turns = built.fate("message", rows["message"])
    return f"turns: {turns}; conversations: {built.fate('conversation', ids(rows))}"


def texts(built: Built) -> list[Row]:
    """Defects of texts, counted in messages."""
    rows = []
    for name, pattern in DIRT.items():
        rows_with_text = built.holding(pattern).filter(pl.col("content").str.strip_chars() != "")
        left = rows_with_text.filter(pl.col("now").str.contains(pattern)).height
        words = f"gone from {rows_with_text.height - left}, left in {left}; "
        rows.append(
            (name, rows_with_text.height, words + built.fate("message", rows_with_text["message"]))
        )
    errors = built.outcomes.filter(pl.col("reason") == "error_answer", unit="message")
    rows_with_text = errors.filter(
        pl.col("detail").str.starts_with("goes with").not_().fill_null(True)
    )
    words = f"{errors.height} turns went, the questions among them"
    return [*rows, ("answers that are an error", rows_with_text.height, words), tags(built)]


def tags(built: Built) -> Row:
    """HTML: values that are HTML become Markdown, the others keep every tag."""
    rows_with_tags = built.holding(TAG)
    pages = sum(is_html(text) for text in rows_with_tags["content"])
    before_and_after = list(rows_with_tags.select("content", "now").iter_rows())
    same = sum(re.findall(TAG, old) == re.findall(TAG, new) for old, new in before_and_after)
    in_code = sum(re.search(TAG, fences.without_code(old)) is None for old, _ in before_and_after)
    words = f"{pages} are HTML as a whole, now Markdown; {same} keep every tag to the letter"
    words += (
        f" ({in_code} hold tags in code alone); {built.fate('message', rows_with_tags['message'])}"
    )
    return f"HTML tags (in {len(ids(rows_with_tags))} conversations)", rows_with_tags.height, words


def table(title: str, built: Built) -> None:
    print(f"\n### {title}\n\n| defect | found | what became of it |\n|---|--:|---|")
    for name, count, words in [*structure(built), *texts(built)]:
        if count:
            print(f"| {name} | {count:,} | {words} |")
    print(f"\nAll in all {summary(built)}.")


def summary(built: Built) -> str:
    """Read, kept and dropped of a build, in words."""
    words = []
    for unit, count in built.facts["counts"].items():
        why = ", ".join(f"{number} `{reason}`" for reason, number in count["dropped"].items())
        words.append(f"{count['kept']} of {count['read']} {unit}" + (f" ({why})" if why else ""))
    return "; ".join(words)


def attempt(path: Path) -> str:
    """The account of a small file, or the error with which its build ends."""
    try:
        built = build(path)
    except ChatdataError as error:
        return "refused: " + str(error).partition("; the first,")[2].partition(". The")[0].strip()
    cleaned = {name: figures["messages"] for name, figures in built.facts["cleaned"].items()}
    words = ", ".join(f"{name} {number}" for name, number in cleaned.items() if number)
    return summary(built) + (f"; cleaned: {words}" if words else "")


# -------------------------------------------------------------------------------- side by side


@dataclass
class Kept:
    """What a way of cleaning keeps: for each conversation its turns as (message id, text)."""

    conversations: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)

    def turns(self) -> list[tuple[str, str]]:
        return [turn for conversation in self.conversations.values() for turn in conversation]


def fastchat(raw: pl.DataFrame) -> Kept:
    """What FastChat's rules keep, of conversations whose first two turns differ."""
    kept, seen = Kept(), set()
    for (name,), rows in raw.group_by("conversation", maintain_order=True):
        result = fastchat_rules.conversation(rows.select("message", "role", "content").rows())
        if isinstance(result, str):
            kept.lost[result] += 1
        elif (first := tuple(text for _, text in result[:2])) in seen:
            kept.lost["duplicate"] += 1
        else:
            seen.add(first)
            kept.conversations[str(name)] = result
    return kept


def ours(built: Built) -> Kept:
    """What the build published."""
    is_kept = pl.col("reason").is_null() & (pl.col("unit") == "message")
    published = built.outcomes.filter(is_kept)["id"].implode()
    kept = Kept(lost=Counter(built.facts["counts"]["conversations"]["dropped"]))
    for row in built.cleaned.filter(pl.col("message").is_in(published)).to_dicts():
        turn = row["message"], row["content"]
        kept.conversations.setdefault(row["conversation"], []).append(turn)
    return kept


def code(text: str) -> list[str]:
    return [piece.strip() for piece, is_code in fences.blocks(text) if is_code]


def letters(text: str) -> int:
    return len(re.sub(r"[\W_]|\d+ / \d+", "", text))


def indents(text: str) -> int:
    return sum(len(line) - len(line.lstrip()) for line in text.split("\n") if line.strip())


def escapes(text: str) -> int:
    return len(re.findall(r"\\[_*]", text))


Change = Callable[[str, str], bool]
CHANGES: dict[str, Change] = {
    "changed at all": lambda old, new: old != new,
    "a fenced block is not what it was": lambda old, new: code(old) != code(new),
    "lines are indented less": lambda old, new: indents(new) < indents(old),
    "two letters or more are gone": lambda old, new: letters(old) - letters(new) > 1,
    "more `\\_` and `\\*` than before": lambda old, new: escapes(new) > escapes(old),
    "fewer": lambda old, new: escapes(new) < escapes(old),
}


def side_by_side(title: str, built: Built) -> None:
    source = dict(built.raw.select("message", "content").iter_rows())
    ways = {"FastChat's rules": fastchat(built.raw), "chatdata": ours(built)}
    named = set(ids(built.holding("(?i)openai|chatgpt")))
    rows: dict[str, list[int]] = {
        "conversations": [len(way.conversations) for way in ways.values()],
        "... of those that name OpenAI or ChatGPT": [
            len(named & way.conversations.keys()) for way in ways.values()
        ],
        "turns": [len(way.turns()) for way in ways.values()],
    }
    for name, change in CHANGES.items():
        rows[f"... {name}"] = [
            sum(change(source[id], new) for id, new in way.turns()) for way in ways.values()
        ]
    read = built.raw["conversation"].n_unique()
    print(f"\n### Side by side, {title}: {read:,} conversations, {len(source):,} turns\n")
    print_numbers(list(ways), rows)
    for name, way in ways.items():
        lost = ", ".join(f"{number} {reason}" for reason, number in way.lost.most_common())
        print(f"\nConversations lost by {name}: {lost}.")


def print_numbers(heads: Sequence[str], rows: dict[str, list[int]]) -> None:
    print("| kept | " + " | ".join(heads) + " |\n|---" + "|--:" * len(heads) + "|")
    for name, numbers in rows.items():
        print(f"| {name} | " + " | ".join(f"{number:,}" for number in numbers) + " |")


@click.command()
@click.option("--dump", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
def main(dump: Path, data: Path) -> None:
    """Builds the 125 MB dump and the smaller ones, and prints tables of their defects."""
    built = build(dump)
    table("The dump", built)
    for folder in ("sharegpt-en-1k", "sharegpt-zh-1k"):
        small = build(next((data / folder).glob("*.gz")))
        table(folder, small)
    print("\n### Other shapes\n\n| file | what became of it |\n|---|---|")
    for folder in ("sharegpt-raw-html", "sharegpt-format-demos"):
        for path in sorted((data / folder).iterdir()):
            print(f"| {path.name} | {attempt(path)} |")
    side_by_side("the dump", built)
    side_by_side("sharegpt-zh-1k", small)


if __name__ == "__main__":
    main()
