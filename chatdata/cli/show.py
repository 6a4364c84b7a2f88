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
from chatdata.render import token_spans
from chatdata.steps import filters

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
    facts = manifest.read(folder)
    kind = "tokens" if facts["render"] else "messages"
    splits = [split] if split else [name for name, own in facts["splits"].items() if own["rows"]]
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
    decode = token_spans.decoder(folder) if facts["render"] else None
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
