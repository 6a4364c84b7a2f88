"""The quality filters on a ShareGPT file: how much each removes, and a sample to judge by eye.

python tests/bench/quality.py --input "$CHATDATA_SHAREGPT" --show 20
"""

from __future__ import annotations

import random
from pathlib import Path

import _dump
import click

from chatdata.steps import quality_filters
from chatdata.steps.filtering import Drop
from chatdata.steps.filters import FILTERS


@click.command()
@click.option("--input", "path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--show", default=0, help="Messages of each filter to print, drawn by a seed.")
@click.option("--only", multiple=True, help="These filters alone.")
def main(path: Path, show: int, only: tuple[str, ...]) -> None:
    """Prints the table of RESULTS.md."""
    messages = _dump.messages(path)
    print(f"{messages['conversation'].n_unique()} conversations, {messages.height} messages")
    print("| filter | messages | conversations | s |\n|---|--:|--:|--:|")
    functions = (*quality_filters.MESSAGE, *quality_filters.CONVERSATION)
    names = ["truncated", *(function.__name__ for function in functions)]
    samples = {}
    for name in only or names:
        drop = Drop(FILTERS[name], FILTERS[name].options().model_dump(), "drop")
        seconds, hit = _dump.timed(lambda drop=drop: messages.filter(drop.expression()))  # type: ignore[misc]
        shown = "–" if FILTERS[name].unit == "conversation" else str(hit.height)
        print(f"| `{name}` | {shown} | {hit['conversation'].n_unique()} | {seconds:.1f} |")
        samples[name] = hit.sort("message")
    for name, hit in samples.items():
        numbers = random.Random(0).sample(range(hit.height), min(show, hit.height))
        for row in hit[numbers].iter_rows(named=True):
            text = row["content"]
            shown = repr(text[-150:] if name == "truncated" else text[:150])
            print(f"{name} {row['message']} {len(text)}: {shown}")


if __name__ == "__main__":
    main()
