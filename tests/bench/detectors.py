"""Recall and precision of redaction on real-shaped strings, beside public detectors.

python -m venv beside && beside/bin/pip install detect-secrets presidio-analyzer scrubadub
python -m tests.bench.detectors --beside beside/bin/python

The strings are those of `tests/support/secret_strings.py`, all made up. A secret counts as masked
where findings of a detector, of whichever kind, cover it from end to end. A look-alike counts as a
false alarm where anything in it is found.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import click
import polars as pl

import chatdata
from chatdata.steps import secrets
from tests.support import secret_strings
from tests.support.secret_strings import Example

Spans = list[tuple[int, int]]


def ours(texts: list[str]) -> tuple[float, list[Spans]]:
    """The seconds that `secrets.find` takes, and what it finds in each text."""
    secrets.find(pl.Series(texts))  # what is imported or loaded once
    begin = time.process_time()
    by_text = secrets.find(pl.Series(texts))
    seconds = time.process_time() - begin
    spans = [[(f.start, f.end) for f in by_text.get(n, [])] for n in range(len(texts))]
    return seconds, spans


def is_masked(example: Example, spans: Spans) -> bool:
    """Whether spans cover all that is to be found in an example, from end to end."""
    covered = {place for start, end in spans for place in range(start, end)}
    return all(covered.issuperset(range(start, end)) for start, end in example.spans)


def is_touched(example: Example, spans: Spans) -> bool:
    """Whether each thing that is to be found is found at least in part."""
    return all(any(s < end and start < e for s, e in spans) for start, end in example.spans)


def rows(examples: list[Example], spans: list[Spans]) -> dict[str, str]:
    """What a detector does, by the name of a row of the table."""
    sizes, masked, touched = Counter[str](), Counter[str](), Counter[str]()
    for example, held in zip(examples, spans, strict=True):
        sizes[example.group] += 1
        masked[example.group] += is_masked(example, held) if example.spans else bool(held)
        touched[example.group] += is_touched(example, held) if example.spans else 0
    groups = {example.group: bool(example.spans) for example in examples}
    table = {
        f"{group}, {sizes[group]}": f"{masked[group]} ({touched[group]})"
        if holds
        else f"{masked[group]} false"
        for group, holds in groups.items()
    }
    right = sum(masked[group] for group, holds in groups.items() if holds)
    false = sum(masked[group] for group, holds in groups.items() if not holds)
    table["right of all that is found"] = f"{right / max(1, right + false):.3f}"
    return table


@click.command()
@click.option("--beside", type=click.Path(exists=True, path_type=Path), help="A Python with them.")
def main(beside: Path | None) -> None:
    """Prints the table of RESULTS.md."""
    examples = secret_strings.examples()
    texts = [example.text for example in examples]
    seconds, spans = ours(texts)
    columns = {f"chatdata {chatdata.__version__}": (seconds, spans)}
    if beside is not None:
        child = Path(__file__).with_name("_detectors.py")
        command = [str(beside), str(child)]
        run = subprocess.run(command, input=json.dumps(texts), stdout=subprocess.PIPE, text=True)
        for name, entry in json.loads(run.stdout).items():
            columns[f"{name} {entry['version']}"] = (entry["seconds"], entry["spans"])
    tables = {name: rows(examples, spans) for name, (_, spans) in columns.items()}
    print(f"| masked whole (in part) | {' | '.join(columns)} |\n|---|{'--:|' * len(columns)}")
    for row in next(iter(tables.values())):
        print(f"| {row} | {' | '.join(table[row] for table in tables.values())} |")
    print(f"| seconds of CPU | {' | '.join(f'{s:.2f}' for s, _ in columns.values())} |")


if __name__ == "__main__":
    sys.exit(main())
