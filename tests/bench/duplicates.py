"""Near duplicates in a ShareGPT file: clusters, speed, what hashing misses, planted repeats.

python tests/bench/duplicates.py --input "$CHATDATA_SHAREGPT"
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import _dump
import click
import numpy as np
import polars as pl

from chatdata.steps import duplicates, likeness, minhash
from chatdata.steps.filters import FILTERS
from chatdata.steps.likeness import Alike, Sets
from chatdata.steps.minhash import Numbers

Turns = list[tuple[str, str]]
Change = Callable[[Turns, random.Random], Turns]


def alike_of(name: str, threshold: float) -> Alike:
    """The options of a filter, with another threshold."""
    options = FILTERS[name].options().model_dump()
    return Alike(threshold, options["permutations"], options["ngram"], options["seed"])


def fetch(keys: pl.DataFrame) -> tuple[list[Numbers], list[Numbers]]:
    """The sets of some rows, all of which are in memory here."""
    shingles, words = ([row.to_numpy() for row in keys[name]] for name in likeness.FETCHED)
    return shingles, words


def keys_of(name: str, messages: pl.DataFrame, alike: Alike) -> pl.DataFrame:
    """What a filter compares of conversations."""
    filter_ = FILTERS[name]
    compared = filter_.expression(**filter_.options().model_dump()).first()
    keys = duplicates.keys(messages, compared, True, filter_.against)
    return likeness.with_sets(keys, alike)


def row(name: str, threshold: float, messages: pl.DataFrame) -> str:
    """Keys, clusters and repeats by one filter, as a row of a table."""
    alike = alike_of(name, threshold)
    keyed, keys = _dump.timed(lambda: keys_of(name, messages, alike))
    clustered, cluster = _dump.timed(lambda: likeness.clusters(keys, alike, fetch))
    members = duplicates.members(keys, cluster)
    repeats = likeness.repeats(members, "longest", alike, fetch)
    sizes = members["cluster"].value_counts()["count"]
    numbers = [keys.height, len(sizes), sizes.max(), repeats.height]
    seconds = f"{keyed:.1f} | {clustered:.1f} | {messages.height / (keyed + clustered):,.0f}"
    return f"| `{name}` | {threshold} | {' | '.join(map(str, numbers))} | {seconds} |"


# ------------------------------------------------------------------------------- what is found


def pairs(keys: pl.DataFrame, alike: Alike) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """The pairs of rows that are alike, by all pairs, and the candidates."""
    sets = Sets.of(keys, alike.threshold, fetch)
    true = set()
    for number in range(keys.height):
        scores = sets.scores(number, np.arange(number + 1, keys.height))
        true |= {(number, number + 1 + int(offset)) for offset in np.flatnonzero(scores)}
    buckets = minhash.buckets(keys["signature"].to_numpy(), *alike.bands())
    candidates = {p for rows in buckets for p in itertools.combinations(sorted(rows.tolist()), 2)}
    return true, candidates


def words_changed(share: float) -> Change:
    """Changes this share of all words."""

    def change(turns: Turns, draw: random.Random) -> Turns:
        new = ("this", "well", "maybe", "Anna", "17")
        return [
            (role, re.sub(r"\S+", lambda m: draw.choice(new) if draw.random() < share else m[0], t))
            for role, t in turns
        ]

    return change


def a_word(role: str) -> Change:
    """Changes a word of a turn of a role."""

    def change(turns: Turns, draw: random.Random) -> Turns:
        place = draw.choice([i for i, turn in enumerate(turns) if turn[0] == role] or [0])
        words = turns[place][1].split(" ")
        words[draw.randrange(len(words))] = "maybe"
        return [*turns[:place], (turns[place][0], " ".join(words)), *turns[place + 1 :]]

    return change


def written_otherwise(turns: Turns, draw: random.Random) -> Turns:
    """Changes case, markup and white space."""
    return [(role, re.sub(r"[*`#]", "", text).upper().replace("\n", " \n")) for role, text in turns]


def with_thanks(turns: Turns, draw: random.Random) -> Turns:
    """Adds an exchange of thanks."""
    return [*turns, ("user", "Thank you!"), ("assistant", "You're welcome! Feel free to ask.")]


CHANGES: dict[str, Change] = {
    "a word of a question": a_word("user"),
    "a word of an answer": a_word("assistant"),
    "0.5 % of all words": words_changed(0.005),
    "1 % of all words": words_changed(0.01),
    "2 % of all words": words_changed(0.02),
    "case, markup, white space": written_otherwise,
    "an exchange of thanks added": with_thanks,
}


def table(talks: Sequence[Turns]) -> pl.DataFrame:
    """Conversations as messages."""
    rows = [(f"{i:06d}", n, *turn) for i, turns in enumerate(talks) for n, turn in enumerate(turns)]
    columns = ["conversation", "position", "role", "content"]
    messages = pl.DataFrame(rows, columns, orient="row").with_columns(
        group="conversation", message=pl.format("{}#{}", "conversation", "position")
    )
    empty = [pl.lit(None, pl.String).alias(name) for name in ("reasoning", "tool_calls")]
    return messages.with_columns(empty)


def planted(talks: Sequence[Turns], name: str) -> tuple[int, int]:
    """How many conversations a change was made to, and of how many the copy is connected."""
    draw, alike = random.Random(name), alike_of("near_duplicate", 0.8)
    copies = [CHANGES[name](turns, draw) for turns in talks]
    keys = keys_of("near_duplicate", table([*talks, *copies]), alike)
    cluster = likeness.clusters(keys, alike, fetch)
    of = dict(zip(keys["conversation"].cast(pl.Int64), cluster, strict=True))
    both = [i for i in range(len(talks)) if i in of and of[i] == of.get(i + len(talks))]
    return len(talks), len(both)


def template(rows: int) -> list[Turns]:
    """Prompts of 120 words that all have and 25 of each, with an answer of each."""
    draw, shared = random.Random(0), " ".join(f"shared{i}" for i in range(120))

    def some(number: int) -> str:
        return " ".join(f"w{draw.randint(0, 10**6)}" for _ in range(number))

    return [[("user", f"{shared} {some(25)}"), ("assistant", some(30))] for _ in range(rows)]


@click.command()
@click.option("--input", "path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--sample", default=500, show_default=True, help="Conversations for all pairs.")
def main(path: Path, sample: int) -> None:
    """Prints the tables of RESULTS.md."""
    messages = _dump.messages(path)
    print(f"{messages['conversation'].n_unique()} conversations, {messages.height} messages")
    print("| filter | threshold | compared | clusters | largest | dropped ", end="")
    print("| keys s | clusters s | messages/s |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, threshold in itertools.product(
        ("near_duplicate", "near_duplicate_prompt"), (0.7, 0.8, 0.9)
    ):
        print(row(name, threshold, messages), flush=True)
    of_answers = messages.filter(pl.col("role") == "assistant").group_by("conversation")
    long = of_answers.agg(pl.col("content").str.count_matches(r"\w+").sum()).filter(
        pl.col("content") >= 50
    )
    some = random.Random(0).sample(sorted(long["conversation"]), min(sample, long.height))
    chosen = messages.filter(pl.col("conversation").is_in(some)).sort("conversation", "position")
    roles = chosen.group_by("conversation", maintain_order=True).agg(
        pl.col("role").cast(pl.String), "content"
    )
    talks = [
        list(zip(*turns, strict=True)) for turns in roles.select("role", "content").iter_rows()
    ]
    print("\n| changed | planted | found |\n|---|--:|--:|")
    for name in CHANGES:
        print(f"| {name} | {' | '.join(map(str, planted(talks, name)))} |", flush=True)
    print("\n| threshold | alike, by all pairs | found | candidates |\n|--:|--:|--:|--:|")
    draw = random.Random(1)
    copies = [words_changed(draw.uniform(0, 0.05))(turns, draw) for turns in talks]
    for threshold in (0.7, 0.8, 0.9):
        alike = alike_of("near_duplicate", threshold)
        keys = keys_of("near_duplicate", table([*talks, *copies]), alike)
        true, candidates = pairs(keys, alike)
        print(f"| {threshold} | {len(true)} | {len(true & candidates)} | {len(candidates)} |")
    print("\n| prompts of one template | `near_duplicate` s | `near_duplicate_prompt` s |")
    print("|--:|--:|--:|")
    for rows in (1000, 2000, 4000):
        seconds = [_of_template(name, rows) for name in ("near_duplicate", "near_duplicate_prompt")]
        print(f"| {rows} | {' | '.join(f'{each:.1f}' for each in seconds)} |", flush=True)


def _of_template(name: str, rows: int) -> float:
    """Seconds to compare conversations of one template."""
    alike, messages = alike_of(name, 0.8), table(template(rows))
    seconds, _ = _dump.timed(
        lambda: likeness.clusters(keys_of(name, messages, alike), alike, fetch)
    )
    return seconds


if __name__ == "__main__":
    main()
