"""Pairs of ranked answers of a built folder, for people at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text

from chatdata.cli.choosing import Choice
from chatdata.cli.terminal import visible
from chatdata.core.constants import SPLITS
from chatdata.core.errors import OutputError
from chatdata.dataset import manifest, reader
from chatdata.dataset.rows import words_of

_STYLES = {"chosen": "green", "rejected": "red"}


def find(folder: Path, choice: Choice) -> list[dict[str, Any]]:
    """The pair with this id, or the pairs of the question with this id, or else pairs that fit what
    is asked for.

    Raises OutputError where the folder has no pairs, or none that fits.
    """
    described = manifest.read(folder)
    if described.pairs is None:
        raise OutputError(
            f"'{folder}' has no pairs; build it with --set threads.pairs=best_worst, where its "
            "source has ranks."
        )
    rows = reader.scan(folder, "pairs", [choice.split] if choice.split else SPLITS)
    rows = rows.filter(*choice.of_columns())
    if choice.id:
        table = rows.filter(pl.any_horizontal(pl.col("id", "question") == choice.id)).collect()
    elif choice.seed is None:
        table = rows.head(choice.number).collect()
    else:
        every = rows.collect()
        table = every[choice.places(every.height)]
    if table.is_empty():
        raise OutputError(_nothing(folder, choice))
    tokens = described.pair_tokens
    if tokens is None or not tokens.splits.total("rows"):
        return table.to_dicts()
    lengths = reader.scan(folder, "pair-tokens").select(
        "id", "prompt_length", *(pl.col(f"{side}_ids").list.len() for side in _STYLES)
    )
    of_table = lengths.filter(pl.col("id").is_in(table["id"].implode())).collect()
    return table.join(of_table, on="id", how="left", maintain_order="left").to_dicts()


def _nothing(folder: Path, choice: Choice) -> str:
    if choice.id:
        return (
            f"no pair of '{folder}' has the id '{choice.id}', and none is of a question of that "
            "id; `chatdata explain` says of an answer why it is in no pair."
        )
    return f"no pair of '{folder}' fits what is asked for."


def print_pairs(pairs: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Prints pairs: the prompt, the answer that people preferred, and the other answer."""
    for pair in pairs:
        details = ", ".join([pair["split"], pair["source"], pair["lang"] or "language unknown"])
        head = Text(visible(pair["id"]), style="bold")
        console.print(head.append(f"  {details}", style="not bold cyan"), soft_wrap=True)
        if "prompt_length" in pair:
            console.print(Text(_in_tokens(pair), style="cyan"), soft_wrap=True)
        body = Text()
        for message in pair["prompt"]:
            body.append(f"{message['role']}: ", style="cyan")
            body.append(f"{visible(words_of(message))}\n", style="dim")
        for side, style in _STYLES.items():
            body.append(f"{side}, rank {pair[f'{side}_rank']}: ", style=f"bold {style}")
            body.append(f"{visible(words_of(pair[side][0]))}\n", style=style)
        console.print(body, soft_wrap=True)


def _in_tokens(pair: Mapping[str, Any]) -> str:
    """How long the sides of a pair are, in words."""
    prompt = pair["prompt_length"]
    if prompt is None:
        return "no row of tokens"
    answers = (f"{pair[f'{side}_ids'] - prompt:,} {side}" for side in _STYLES)
    return f"tokens: {prompt:,} of the prompt, {', '.join(answers)}"
