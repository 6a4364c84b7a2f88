"""Secrets in a ShareGPT file: how many, how fast, and false alarms on code.

python tests/bench/redact.py --input "$CHATDATA_SHAREGPT" --humaneval HumanEval.jsonl.gz

Each finding in code is printed with what stands around it, to be judged by eye.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import _dump
import click
import polars as pl

from chatdata.sources import File
from chatdata.steps import evaluation_sets, redact, secrets

_BLOCK = re.compile(r"^[ \t]*```[^\n]*\n(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)


def table(title: str, texts: pl.Series) -> list[tuple[str, str]]:
    """Prints what is found in texts. Returns each finding with its surroundings."""
    seconds, secrets_by_text = _dump.timed(lambda: secrets.find(texts))
    counts = Counter(secret.kind for in_text in secrets_by_text.values() for secret in in_text)
    holding = Counter(
        kind for in_text in secrets_by_text.values() for kind in {secret.kind for secret in in_text}
    )
    lines = texts.str.count_matches("\n").sum() + len(texts)
    print(f"\n{title}: {len(texts)} texts, {texts.str.len_chars().sum():,} characters, ", end="")
    print(f"{lines:,} lines, {seconds:.1f} s")
    print("| kind | texts | found | different |\n|---|--:|--:|--:|")
    for kind in secrets.KINDS:
        values = {
            secret.value
            for in_text in secrets_by_text.values()
            for secret in in_text
            if secret.kind == kind
        }
        print(f"| {kind} | {holding[kind]} | {counts[kind]} | {len(values)} |")
    return [
        (secret.kind, " ".join(texts[number][max(0, secret.start - 40) : secret.end + 20].split()))
        for number, in_text in secrets_by_text.items()
        for secret in in_text
    ]


@click.command()
@click.option("--input", "path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--humaneval", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--show", default=25, show_default=True, help="Findings of a kind to print.")
def main(path: Path, humaneval: Path, show: int) -> None:
    """Prints the tables of RESULTS.md, and findings in code to judge by eye."""
    messages = _dump.messages(path)
    seconds, (_, counts) = _dump.timed(lambda: redact.replace(messages, list(secrets.KINDS)))
    print(f"redacted: {messages.height} messages in {seconds:.1f} s, {counts.entry()}")
    table("messages", messages["content"].unique(maintain_order=True))
    blocks = [block for text in messages["content"] for block in _BLOCK.findall(text)]
    in_code = table("blocks of code", pl.Series(blocks).unique(maintain_order=True))
    table("HumanEval", evaluation_sets.texts(File(humaneval, "HumanEval"), [])["text"])
    for kind in secrets.KINDS:
        contexts = sorted({around for kind_of_secret, around in in_code if kind_of_secret == kind})
        for around in random.Random(0).sample(contexts, min(show, len(contexts))):
            print(f"{kind}: {around[:160]}")


if __name__ == "__main__":
    main()
