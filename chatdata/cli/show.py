"""Counts, certificates and outcomes, for people at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatdata.cli.terminal import visible
from chatdata.steps import filters


def counts(facts: Mapping[str, Any], console: Console) -> None:
    """Prints what was read, kept and dropped, by reason."""
    table = Table("", *facts["counts"], box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for key in ("read", "kept"):
        table.add_row(key, *(str(count[key]) for count in facts["counts"].values()))
    reasons = {r: None for count in facts["counts"].values() for r in count["dropped"]}
    for reason in reasons:
        numbers = [count["dropped"].get(reason, 0) for count in facts["counts"].values()]
        table.add_row(f"  {reason}", *(str(n) if n else "" for n in numbers), style="yellow")
    console.print(table)
    cleaned = {name: own["messages"] for name, own in (facts.get("cleaned") or {}).items()}
    if any(cleaned.values()):
        words = ", ".join(f"{name} {number}" for name, number in cleaned.items() if number)
        console.print(f"messages cleaned: {words}", highlight=False, soft_wrap=True)


def splits(facts: Mapping[str, Any], console: Console) -> None:
    """Prints the rows and tokens of each split."""
    for name, own in facts["splits"].items():
        words = f"{name}: {own['rows']} rows, {own['messages']} messages"
        if own.get("tokens"):
            share = 100 * own["trained_tokens"] / own["tokens"]
            if own["token_rows"] != own["rows"]:
                words += f", {own['token_rows']} rows of tokens"
            words += f", {own['tokens']} tokens, {share:.1f} % trained"
        console.print(words, highlight=False, soft_wrap=True)


def certificate(facts: Mapping[str, Any], console: Console) -> None:
    """Prints what the certificate found, in one line for the probes and one for the rows."""
    if not facts["render"]:
        console.print("nothing is rendered: set render.tokenizer to add token rows", style="dim")
        return
    render = facts["render"]
    console.print(_rendering(render), highlight=False, soft_wrap=True)
    for name in ("probes", "sample"):
        found = render["certificate"][name]
        console.print(
            f"certificate, {name}: {found['compared']} compared, {found['differences']} differ; "
            f"{found['quoting']} quote control tokens, {found['forged']} forge one; "
            f"{found['stops_trained']} of {found['answers']} answers end with a trained "
            f"{render['template']['stop']}, {found['texts_returned']} are their text to the "
            f"letter, {_altered(found)}{found['prompts']} rows begin as the generation prompt does",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    console.print(_engine(render["certificate"]["engine"]), highlight=False, soft_wrap=True)


def _altered(found: Mapping[str, int]) -> str:
    """How many answers a tokenizer changes by itself; few do."""
    number = found.get("texts_altered", 0)  # folders of earlier versions do not say
    return f"{number} as the tokenizer alters it, " if number else ""


def packs(entries: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Prints how full the bins of each index are."""
    for own in entries:
        console.print(
            f"packed {own['split']}: {own['rows']} rows in {own['bins']} bins of "
            f"{own['max_tokens']} tokens, {own['fill']:.1%} full",
            highlight=False,
        )


def _rendering(render: Mapping[str, Any]) -> str:
    template = render["template"]
    words = f"template {template['name']}, tokenizer {render['tokenizer']['name']}"
    words += f", trained on {render['train_on']}"
    if "method" in template:
        words += f", written by {template['method']}"
        words += "" if template["keeps_history"] else ", a row for each answer"
    return words


def _engine(engine: Mapping[str, Any]) -> str:
    words = f"ids by {engine['name']}"
    if "audit" in engine:
        own = engine["audit"]
        words += (
            f"; of {own['texts']} texts {own['whole']} and {own['excerpts']} excerpts were "
            f"compared with tokenizers, {own['differences']} differ; "
            f"{own['routed'] + own['failed']} were left to it"
        )
    return words + (f" ({engine['remark']})" if "remark" in engine else "")


def explanation(found: pl.DataFrame, console: Console) -> None:
    """Prints rows of the ledger, each as what became of it and why."""
    for row in found.iter_rows(named=True):
        head = Text(f"{row['unit']} ", style="dim").append(visible(row["id"]), style="bold")
        kept = row["outcome"] == "kept"
        head.append("  ").append(row["outcome"], style="green" if kept else "yellow")
        why = [] if kept else [f"{row['reason']}: {filters.about(row['reason'])}"]
        why += [row["detail"]] if row["detail"] else []
        why += [f"in {row['conversation']}"] if row["conversation"] else []
        console.print(head, soft_wrap=True)
        for line in why:
            console.print(Text(f"    {visible(line)}"), soft_wrap=True)


def stats(numbers: Mapping[str, Any], console: Console) -> None:
    """Prints the numbers of a dataset."""
    head = f"[bold]{numbers['name']} {numbers['version']}[/]  {numbers['content_hash']}"
    console.print(head, highlight=False, soft_wrap=True)
    splits(numbers, console)
    table = Table("", "min", "median", "p90", "p99", "max", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for key in ("turns", "characters", "length", "trained_length"):
        if key in numbers:
            table.add_row(key.replace("_", " "), *(str(value) for value in numbers[key].values()))
    console.print(table)
    for key in ("sources", "languages"):
        shares = ", ".join(f"{name} {rows}" for name, rows in numbers[key].items())
        console.print(f"rows by {key[:-1]}: {shares}", highlight=False, soft_wrap=True)
    counts(numbers, console)
