"""For people at a terminal: conversations with their masks, tables of counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tokenizers
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatdata.core import row_id
from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import OutputError
from chatdata.dataset import manifest, reader
from chatdata.dataset.manifest import Counts, PackEntry, Splits
from chatdata.render import token_spans
from chatdata.render.entries import EngineEntry, ParityCounts, RenderEntry
from chatdata.steps import filters
from chatdata.steps.clean import CleanedEntry

_TRAINED = "bold green"
_CONTEXT = "dim"
_CONTROL = " underline"  # added to either: a control token, not text that looks like one
_MARKS = ("⟦", "⟧")  # around trained text where there are no colours

# Control characters would act on the terminal; their pictures do not.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}


def conversations(
    folder: Path, console: Console, *, id: str | None, number: int, split: str | None
) -> None:
    """Prints conversations of a built folder; trained text is green, or in ⟦ ⟧ without colours.

    Raises OutputError where no row has the id.
    """
    described = manifest.read(folder)
    kind = "tokens" if described.render else "messages"
    filled = [name for name, entry in described.splits.items() if entry.rows]
    splits = [split] if split else filled
    rows = reader.scan(folder, kind, splits)
    chosen = rows.filter(_is_of(id)) if id else rows.head(number)
    table = chosen.collect()
    if table.is_empty():
        raise OutputError(
            f"no row of '{folder}' has the id '{id}'; `chatdata explain {folder} {id}` says "
            "what became of it."
        )
    names = [row_id.conversation_of(id) for id in table["id"]]
    ids = pl.Series([*table["id"], *names]).implode()
    said = reader.scan(folder, "messages", splits).filter(pl.col("id").is_in(ids))
    about = {row["id"]: row for row in said.select("id", "source", "lang").collect().to_dicts()}
    decode = token_spans.decoder(folder) if described.render else None
    for row in table.iter_rows(named=True):
        own = about.get(row["id"]) or about[row_id.conversation_of(row["id"])]
        _heading(row, own, console)
        body = _tokens(row, decode, console) if decode else _messages(row, console)
        console.print(body, soft_wrap=True)
        console.print()
    _legend(console, rendered=decode is not None)


def _is_of(id: str) -> pl.Expr:
    """Whether a row has this id, or is one of several rows of the conversation that has it."""
    row = pl.col("id")
    several = row.str.starts_with(f"{id}#") & row_id.has_span(row)
    return (row == id) | several


def _heading(row: Mapping[str, Any], about: Mapping[str, Any], console: Console) -> None:
    facts = [row["split"], about["source"], about["lang"] or "language unknown"]
    if "length" in row:
        facts.append(f"{row['trained']} of {row['length']} tokens trained")
    title = Text(visible(row["id"]), style="bold")
    console.print(title.append("  " + ", ".join(facts), style="not bold cyan"), soft_wrap=True)


def _tokens(row: Mapping[str, Any], decoder: tokenizers.Tokenizer, console: Console) -> Text:
    text = Text()
    if not _has_colours(console):
        is_trained = np.asarray(row["labels"]) != IGNORE_INDEX
        for start, end in token_spans.equal_spans(is_trained).tolist():
            words = decoder.decode(row["input_ids"][start:end], skip_special_tokens=False)
            _put(text, words, bool(is_trained[start]), console)
        return text
    for span in token_spans.text_spans(row, decoder):
        style = (_TRAINED if span.is_trained else _CONTEXT) + _CONTROL * span.is_control
        text.append(visible(span.text), style=style)
    return text


def _messages(row: Mapping[str, Any], console: Console) -> Text:
    text = Text()
    for message in row["messages"]:
        text.append(f"{message['role']}: ", style="cyan")
        _put(text, message["content"], message["role"] == "assistant", console)
        text.append("\n")
    return text


def _put(text: Text, words: str, trained: bool, console: Console) -> None:
    if trained and not _has_colours(console):
        text.append(_MARKS[0] + visible(words) + _MARKS[1])
    else:
        text.append(visible(words), style=_TRAINED if trained else _CONTEXT)


def _has_colours(console: Console) -> bool:
    return console.color_system is not None and not console.no_color


def visible(text: str) -> str:
    """A text of which control characters are shown, not acted upon."""
    return text.translate(_PICTURES)


def _legend(console: Console, *, rendered: bool) -> None:
    note = Text()
    _put(note, "trained" if rendered else "spoken by the assistant", True, console)
    if _has_colours(console):
        note.append("  context", style=_CONTEXT)
        if rendered:
            note.append("  ").append("control token", style=_CONTEXT + _CONTROL)
    console.print(note)


# -------------------------------------------------------------------------------------- tables


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
        counted: ParityCounts = getattr(render.certificate, name)
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


def _altered(counted: ParityCounts) -> str:
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
