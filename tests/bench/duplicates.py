"""Near duplicates in a ShareGPT file: clusters, speed, and what hashing misses or mistakes.

python tests/bench/duplicates.py --input "$CHATDATA_SHAREGPT"
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import _dump
import click
import numpy as np
import polars as pl

from chatdata.steps import duplicates
from chatdata.steps.duplicates import Alike, Shingles
from chatdata.steps.filters import FILTERS


def alike_of(name: str, threshold: float) -> Alike:
    """The options of a filter, with another threshold."""
    options = FILTERS[name].options().model_dump()
    return Alike(threshold, options["permutations"], options["ngram"], options["seed"])


def fetch(keys: pl.DataFrame) -> list[Shingles]:
    """The shingles of some rows, all of which are in memory here."""
    return [shingles.to_numpy() for shingles in keys["shingles"]]


def row(name: str, threshold: float, messages: pl.DataFrame) -> str:
    """Keys, clusters and repeats by one filter, as a row of a table."""
    alike = alike_of(name, threshold)
    compared = FILTERS[name].expression(**FILTERS[name].options().model_dump()).first()
    keys = duplicates.keys(messages, compared, by_tree=True)
    keyed, keys = _dump.timed(lambda: duplicates.with_shingles(keys, alike))
    clustered, cluster = _dump.timed(lambda: duplicates.alike(keys, alike, fetch))
    members = duplicates.members(keys, cluster)
    repeats = duplicates.repeats(members, "longest")
    sizes = members["cluster"].value_counts()["count"]
    chained = sum("by way" in detail for detail in duplicates.likeness(repeats, keys, alike, fetch))
    numbers = [keys.height, len(sizes), sizes.max(), repeats.height, chained]
    seconds = f"{keyed:.1f} | {clustered:.1f} | {messages.height / (keyed + clustered):,.0f}"
    return f"| `{name}` | {threshold} | {' | '.join(map(str, numbers))} | {seconds} |"


def pairs(keys: pl.DataFrame, alike: Alike) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """The pairs of rows that are alike, and the candidates."""
    sets = fetch(keys)
    true = set()
    for number, first in enumerate(sets[:-1]):
        similar = duplicates.jaccard(first, sets[number + 1 :]) >= alike.threshold
        true |= {(number, number + 1 + int(offset)) for offset in np.flatnonzero(similar)}
    buckets = duplicates._buckets(keys["signature"].to_numpy(), alike)
    candidates = {p for rows in buckets for p in itertools.combinations(sorted(rows.tolist()), 2)}
    return true, candidates


@click.command()
@click.option("--input", "path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--sample", default=500, show_default=True, help="Conversations for all pairs.")
def main(path: Path, sample: int) -> None:
    """Prints the tables of RESULTS.md."""
    messages = _dump.messages(path)
    print(f"{messages['conversation'].n_unique()} conversations, {messages.height} messages")
    print("| filter | threshold | compared | clusters | largest | dropped | in chains ", end="")
    print("| keys s | clusters s | messages/s |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, threshold in itertools.product(
        ("near_duplicate", "near_duplicate_prompt"), (0.7, 0.8, 0.9)
    ):
        print(row(name, threshold, messages), flush=True)
    print("\n| threshold | alike, by all pairs | found | candidates |\n|--:|--:|--:|--:|")
    ids = sorted(messages["conversation"].unique())
    some = random.Random(0).sample(ids, min(sample, len(ids)))
    chosen = messages.filter(pl.col("conversation").is_in(some))
    # Copies with words changed, so that there are pairs at every similarity.
    for threshold in (0.7, 0.8, 0.9):
        alike = alike_of("near_duplicate", threshold)
        texts = FILTERS["near_duplicate"].expression().first()
        keys = duplicates.keys(chosen, texts, by_tree=True)
        keys = pl.concat([keys, keys.with_columns(compared=_changed(keys["compared"]))])
        true, candidates = pairs(duplicates.with_shingles(keys, alike), alike)
        print(f"| {threshold} | {len(true)} | {len(true & candidates)} | {len(candidates)} |")


def _changed(texts: pl.Series) -> pl.Series:
    """The texts with 0 to 5 % of their words changed."""
    draw = random.Random(1)

    def change(text: str) -> str:
        share = draw.uniform(0, 0.05)
        words = text.split(" ")
        return " ".join("other" if draw.random() < share else word for word in words)

    return pl.Series([change(text) for text in texts])


if __name__ == "__main__":
    main()
