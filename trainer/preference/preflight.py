"""The checks of a run on pairs, and its first pair as it will be trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console

from chatdata.core.constants import IGNORE_INDEX
from trainer.preference import losses, pairs
from trainer.preference.batches import Items
from trainer.preference.pairs import Item
from trainer.preference.run import PairRun
from trainer.run import preflight, schedule
from trainer.run.preflight import Findings

_NAMED = 3  # of the pairs that are left out


def check(run: PairRun) -> Findings:
    """The results of all checks of a run on pairs."""
    instead = {
        "dataset": _dataset,
        "tokens": _tokens,
        "layout": _layout,
        "schedule": _schedule,
    }
    return preflight.check(run, {"objective": _objective, **instead})


def _objective(run: Any) -> str:
    objective = run.config.objective
    if objective == "reward":
        return "reward, a model that gives a score to an answer"
    beta = f"{objective}, beta {losses.beta(run.config):g}"
    if objective not in losses.WITH_REFERENCE:
        return f"{beta}, without a reference"
    return f"{beta}; the reference is the model before its first step"


def _dataset(run: Any) -> str:
    return f"{run.source.origin}; {pairs.check_files(run.source)}"


def _tokens(run: Any) -> str:
    test = "no pairs to test on" if run.test is None else f"{_split(run.test)} in the test split"
    return f"{_split(run.train)} in the train split; {test}; {_left_out(run)}"


def _split(items: Items) -> str:
    sizes = items.pairs.sizes()
    longest = int(sizes.sum(1).argmax())
    plural = "s" if len(items) > 1 else ""
    return (
        f"{len(items):,} pair{plural}, {int(sizes.sum()):,} tokens on both sides, in the longest "
        f"pair {sizes[longest][0]:,} and {sizes[longest][1]:,}"
    )


def _left_out(run: PairRun) -> str:
    """Which pairs are not trained: those that the build left out, and those that are too long."""
    built = pairs.entry(run.source).left_out
    parts = [f"{number} {reason} by the build" for reason, number in built.items() if number]
    if run.longer:
        names = ", ".join(run.longer[:_NAMED]) + (", ..." if len(run.longer) > _NAMED else "")
        limit = run.config.preference.max_length
        parts.append(f"{len(run.longer)} longer than max_length {limit} ({names})")
    return "left out: " + "; ".join(parts) if parts else "none is cut or left out"


def _layout(run: Any) -> str:
    counts = run.layout.counts
    if not run.trees:
        return f"a row for each answer, {counts['row_tokens']:,} tokens; {run.not_shared}"
    return (
        f"a prompt once for all answers to it: {counts['tokens']:,} tokens in place of "
        f"{counts['row_tokens']:,} ({counts['saved']:.1%} saved)"
    )


def _schedule(run: Any) -> str:
    training = run.config.training
    planned = schedule.schedule(len(run.train), training, run.here.ranks)
    return schedule.check(planned, training, "pairs", run.layout.counts["tokens"])


def show_batch(run: PairRun, console: Console) -> None:
    """Prints the first pair of the data, both answers behind their prompt."""
    item = run.train[0]
    preflight.show_rows(rows_of(item)[:2], run.tokenizer, console)


def rows_of(item: Item) -> Sequence[dict[str, list[int]]]:
    """The rows of an item: `input_ids` and `labels` of each answer behind the prompt."""
    prompt = item.prompt.tolist()
    ignored = [IGNORE_INDEX] * len(prompt)
    return [
        {
            "input_ids": prompt + answer.ids.tolist(),
            "labels": ignored + np.where(answer.is_trained, answer.ids, IGNORE_INDEX).tolist(),
        }
        for answer in item.answers
    ]
