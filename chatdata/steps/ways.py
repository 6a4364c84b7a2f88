"""The way to keep what was dropped, for each reason, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from chatdata.core.ledger import BECAUSE, BELOW, GOES_WITH, REASONS
from chatdata.steps import filters
from chatdata.steps.filters import FILTERS

# The id of what something goes with; ids may hold spaces.
_CULPRIT = re.compile(
    rf"(?:{'|'.join([BECAUSE, GOES_WITH, BELOW])})(.+?)(?:, whose .*)?$", re.DOTALL
)

_MEND = "mend the file there"
_WAYS = {
    "bad_json": _MEND,
    "damaged": _MEND,
    "bad_value": _MEND,
    "bad_message": _MEND,
    "no_id": _MEND,
    "no_turns": _MEND,
    "rootless": "add the messages above it to the input",
    "cycle": _MEND,
    "unknown_record": "write it in a form that a source reads (docs/reading.md), or choose another "
    "`format` of the source",
    "preference": "source `auto`, or write what was chosen as the end of `messages`",
    "duplicate_id": "give each record and message its own id",
    "too_many_paths": "a larger `threads.max_paths`, or threads: {policy: best_rank}",
    "not_selected": "threads: {policy: all_leaves} takes every path",
    "joined": "nothing is lost: the conversation that is named has its turns",
    "repeated_role": "threads: {repeated_role: merge} or {repeated_role: keep}",
    "leading_turn": "threads: {start: any}",
    "trailing_turn": "threads: {end: any}",
    "prefix_of_another": "nothing is lost: its turns stand in the conversation that is named",
    "forgotten": "take its id out of the file that `forget` names",
    "not_sampled": "a larger `weight` or `cap` of its source",
    "unrenderable": "another `render.template` or tokenizer, or correct what the template refuses",
    "too_long": "a larger `render.max_tokens`, or render: {overflow: cut} or {overflow: split}",
    "unranked": "answers that somebody has ranked",
    "untrained": "answers that may be trained",
    "no_rival": "a second answer to the same question that is ranked and kept",
    "too_many_pairs": "threads: {pairs: adjacent} or {pairs: best_worst}",
    "not_paired": "threads: {pairs: all}, or a smaller `threads.margin`",
    "no_trained_tokens": "other parts in `render.train_on`, or answers that may be trained",
}


_WAYS_OF_TREES = ("rootless", "cycle")  # what goes with another message can name none to keep


def to_keep(row: Mapping[str, Any]) -> str:
    """How what a row of the ledger says was dropped could be kept, in words."""
    reason, detail = row["reason"], row["detail"] or ""
    culprit = _CULPRIT.match(detail)
    if reason in {drop.filter.name for drop in filters.always()}:
        where = "that message" if culprit else "it"
        return f"to keep it: correct {where} in the file; no template can write what stands there"
    if reason not in _WAYS and reason not in REASONS:
        return f"to keep it: {_keep(row, culprit[1] if culprit else None)}"
    if culprit and reason not in _WAYS_OF_TREES:
        return f"to keep it: keep: [{_quoted(culprit[1])}] in the recipe"
    return f"to keep it: {_WAYS.get(reason, 'another recipe')}"


def _keep(row: Mapping[str, Any], culprit: str | None) -> str:
    """The `keep` that spares something from a filter, or the filter's options."""
    is_of_message = row["unit"] == "message"  # of a function of a file
    if row["reason"] in FILTERS:
        is_of_message = FILTERS[row["reason"]].unit == "message"
    named = culprit or row["id"] if is_of_message else row["conversation"] or row["id"]
    return f"keep: [{_quoted(named)}] in the recipe, or change '{row['reason']}' in its `drop`"


def _quoted(id: str) -> str:
    return json.dumps(id, ensure_ascii=False)
