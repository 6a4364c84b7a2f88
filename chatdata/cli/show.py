"""Counts, certificates and outcomes, for people at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatdata.cli.terminal import visible
from chatdata.dataset.entries import Counts, PackEntry, Splits
from chatdata.render.entries import EngineEntry, ParityEntry, RenderEntry
from chatdata.steps import filters
from chatdata.steps.clean import CleanedEntry


def counts(counts: Counts, console: Console) -> None:
    """Prints what was read, kept and dropped, by reason."""
    units = dict(counts.items())
    table = Table("", *units, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("read", *(str(count.read) for count in units.values()))
    table.add_row("kept", *(str(count.kept) for count in units.values()))
    reasons = {reason: None for count in units.values() for reason in count.dropped}
    for reason in reasons:
        numbers = [count.dropped.get(reason, 0) for count in units.values()]
        table.add_row(f"  {reason}", *(str(n) if n else "" for n in numbers), style="yellow")
    console.print(table)


def cleaned(steps: Mapping[str, CleanedEntry] | None, console: Console) -> None:
    """Prints how many messages each cleaner changed, if it changed any."""
    changed = {name: step.messages for name, step in (steps or {}).items() if step.messages}
    if changed:
        words = ", ".join(f"{name} {number}" for name, number in changed.items())
        console.print(f"messages cleaned: {words}", highlight=False, soft_wrap=True)


def splits(splits: Splits, console: Console) -> None:
    """Prints the rows and tokens of each split."""
    for name, split in splits.items():
        words = f"{name}: {split.rows} rows, {split.messages} messages"
        if split.tokens:
            share = 100 * split.trained_tokens / split.tokens
            if split.token_rows != split.rows:
                words += f", {split.token_rows} rows of tokens"
            words += f", {split.tokens} tokens, {share:.1f} % trained"
        console.print(words, highlight=False, soft_wrap=True)


def certificate(render: RenderEntry | None, console: Console) -> None:
    """Prints what the certificate found, in one line for the probes and one for the rows."""
    if render is None:
        console.print("nothing is rendered: set render.tokenizer to add token rows", style="dim")
        return
    console.print(_rendering(render), highlight=False, soft_wrap=True)
    for name in ("probes", "sample"):
        counted: ParityEntry = getattr(render.certificate, name)
        altered = _altered(counted)
        console.print(
            f"certificate, {name}: {counted.compared} compared, {counted.differences} differ; "
            f"{counted.quoting} quote control tokens, {counted.forged} forge one; "
            f"{counted.stops_trained} of {counted.answers} answers end with a trained "
            f"{render.template.stop}, {counted.texts_returned} are their text to the "
            f"letter, {altered}{counted.prompts} rows begin as the generation prompt does",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    console.print(_engine(render.certificate.engine), highlight=False, soft_wrap=True)


def _altered(counted: ParityEntry) -> str:
    """How many answers a tokenizer changes by itself; few do."""
    number = counted.texts_altered
    return f"{number} as the tokenizer alters it, " if number else ""


def packs(entries: Sequence[PackEntry], console: Console) -> None:
    """Prints how full the bins of each index are."""
    for index in entries:
        console.print(
            f"packed {index.split}: {index.rows} rows in {index.bins} bins of "
            f"{index.max_tokens} tokens, {index.fill:.1%} full",
            highlight=False,
        )


def _rendering(render: RenderEntry) -> str:
    template = render.template
    words = f"template {template.name}, tokenizer {render.tokenizer.name}"
    words += f", trained on {render.train_on}"
    if template.method is not None:
        words += f", written by {template.method}"
        words += "" if template.keeps_history else ", a row for each answer"
    return words


def _engine(engine: EngineEntry) -> str:
    words = f"ids by {engine.name}"
    if engine.audit is not None:
        audit = engine.audit
        words += (
            f"; of {audit['texts']} texts {audit['whole']} and {audit['excerpts']} excerpts were "
            f"compared with tokenizers, {audit['differences']} differ; "
            f"{audit['routed'] + audit['failed']} were left to it"
        )
    return words + (f" ({engine.remark})" if engine.remark else "")


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
    splits(Splits.model_validate(numbers["splits"]), console)
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
    counts(Counts.model_validate(numbers["counts"]), console)
