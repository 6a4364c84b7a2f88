"""The way to keep what was dropped, for each reason: settings of a build, or what to mend."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chatdata.core.ledger import BECAUSE, BELOW, DISLIKED, FORGOTTEN, GOES_WITH, REASONS
from chatdata.steps import filters
from chatdata.steps.filters import FILTERS

# The id of what something goes with; ids may hold spaces.
_CULPRIT = re.compile(
    rf"(?:{'|'.join([BECAUSE, GOES_WITH, BELOW])})(.+?)(?:, whose .*)?$", re.DOTALL
)

_MEND = "no setting does; mend the file there"
# Words where no setting keeps it, or where the value is a matter of choice.
_WAYS = {
    "bad_json": _MEND,
    "damaged": _MEND,
    "bad_value": _MEND,
    "bad_message": _MEND,
    "no_id": _MEND,
    "no_turns": _MEND,
    "rootless": "no setting does; add the messages above it to the input",
    "cycle": _MEND,
    "unknown_record": "write it in a form that a source reads (docs/reading.md), or choose another "
    "`format` of the source",
    "preference": "read it by source `auto`, or write what was chosen as the end of `messages`",
    "duplicate_id": "no setting does; where it says what the first of this id says nothing is "
    "lost, else give it another id",
    "joined": "nothing is lost: the conversation that is named has its turns",
    "prefix_of_another": "nothing is lost: its turns stand in the conversation that is named",
    "forgotten": "take its id out of the file that `forget` names",
    "not_sampled": "a larger `weight` or `cap` of its source",
    "unrenderable": "another `render.template` or tokenizer, or correct what the template refuses",
    "too_long": "a larger `render.max_tokens`, or render: {overflow: cut} or {overflow: split}",
    "too_many_paths": "a larger `threads.max_paths`, or threads: {policy: best_rank}",
    "unranked": "no setting does; pairs take answers that somebody has ranked",
    "untrained": "no setting does; pairs take answers that may be trained",
    "no_rival": "no setting does; it needs a second answer to the same question, ranked and kept",
    "no_trained_tokens": "other parts in `render.train_on`, or answers that may be trained",
}
# Settings by the reason; each keeps it, at least from this reason.
_SETTINGS = {
    "not_selected": ["threads.policy=all_leaves"],
    "repeated_role": ["threads.repeated_role=merge"],
    "leading_turn": ["threads.start=any"],
    "trailing_turn": ["threads.end=any"],
    "too_many_pairs": ["threads.pairs=adjacent"],
    "not_paired": ["threads.pairs=all", "threads.margin=1"],
}
# The numbers of a detail that a key must be as large as.
_NUMBERS = {
    "too_long": ("render.max_tokens", re.compile(r"(\d+) tokens, \d+ allowed")),
    "too_many_paths": ("threads.max_paths", re.compile(r"(\d+) paths, which repeat 0 turns")),
}
# Ways to keep what is too long, where `render.overflow` says already what becomes of it.
_SHORTER = {
    "cut": "a larger `render.max_tokens`, or render: {overflow: split}",
    "split": "a larger `render.max_tokens`, or render: {overflow: cut} for what stands before it",
}
_OF_DISLIKED = "no setting does, for nobody learns from it; `threads.pairs` makes pairs of it"
_WAYS_OF_TREES = ("rootless", "cycle")  # what goes with another message can name none to keep
_CODE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*")  # of a language


def to_keep(
    row: Mapping[str, Any], recipe: Mapping[str, Any], details: Mapping[str, str] | None = None
) -> str:
    """How what a row of the ledger says was dropped could be kept, in words.

    `recipe` is that of the dataset, as plain values; `details` are those of messages by their ids,
    since what goes with a message goes for what is wrong with that.
    """
    first, *more = [" ".join(map(_option, way)) for way in settings(row, recipe, details)] or [""]
    if not first:
        return f"to keep it: {_without_settings(row, recipe)}"
    if more:
        return f"to keep it: {first}, or it alone: {more[0]}"
    is_of_filter = row["reason"] not in REASONS and _culprit(row) is None
    change = f", or change '{row['reason']}' in the recipe's `drop`" if is_of_filter else ""
    return f"to keep it: {first}{change}"


def settings(
    row: Mapping[str, Any], recipe: Mapping[str, Any], details: Mapping[str, str] | None = None
) -> list[list[str]]:
    """The ways to keep what a row says was dropped, each as settings (`KEY=VALUE`) of a build: the
    first keeps what is like it, too. Nothing where no setting keeps it."""
    reason, detail, culprit = row["reason"], row["detail"] or "", _culprit(row)
    if reason in _always() or reason == FORGOTTEN:  # whatever `keep` names
        return []
    if reason in REASONS and (culprit is None or reason in _WAYS_OF_TREES):
        return list(_of_threads(reason, detail, recipe))
    if culprit:
        detail = (details or {}).get(culprit, "")
    kept = [*(recipe.get("keep") or []), culprit or _named(row)]
    keep = f"keep={json.dumps(kept, ensure_ascii=False)}"
    return [*_of_filter(reason, detail, recipe), [keep]]


def _of_threads(reason: str, detail: str, recipe: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yields the settings that spare what was dropped by no filter."""
    key, pattern = _NUMBERS.get(reason, ("", None))
    if pattern is not None and (number := pattern.match(detail)):
        yield [f"{key}={number[1]}"]
    if reason in _SETTINGS and detail != DISLIKED:
        has_top_k = reason == "not_selected" and (recipe.get("threads") or {}).get("top_k")
        yield [*_SETTINGS[reason], *(["threads.top_k=null"] if has_top_k else [])]


def _of_filter(reason: str, detail: str, recipe: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yields the settings of a filter that spare what has this detail."""
    language = _CODE.match(detail)
    if reason == "wrong_language" and language:
        allowed = _options(recipe, reason).get("allow", ["en"])
        yield [f"drop.{reason}.allow=[{','.join([*allowed, language[0]])}]"]


def _options(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The options of a filter in a recipe; none where it has no such filter."""
    return next((entry[name] for entry in recipe.get("drop") or [] if name in entry), {})


def _culprit(row: Mapping[str, Any]) -> str | None:
    """The id of the message with which something goes."""
    named = _CULPRIT.match(row["detail"] or "")
    return named[1] if named else None


def culprits(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of the messages with which what rows of the ledger tell of goes."""
    return {id for row in rows if row["reason"] and (id := _culprit(row)) is not None}


def _always() -> set[str]:
    return {drop.filter.name for drop in filters.always()}


def _without_settings(row: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """What could be done where no setting keeps it."""
    if row["reason"] in _always():
        where = "that message" if _culprit(row) else "it"
        return f"no setting does; correct {where} in the file, for no template can write it"
    if row["reason"] == "too_long":
        overflow = (recipe.get("render") or {}).get("overflow") or ""
        return _SHORTER.get(overflow, _WAYS["too_long"])
    if row["detail"] == DISLIKED:
        return _OF_DISLIKED
    return _WAYS.get(row["reason"], "another recipe")


def _named(row: Mapping[str, Any]) -> str:
    """The id by which `keep` names what a row says was dropped."""
    name: str = row["id"] if _is_of_message(row) else row["conversation"] or row["id"]
    return name


def _is_of_message(row: Mapping[str, Any]) -> bool:
    """Whether a filter looks at messages; a function of a file looks at what its row is of."""
    if row["reason"] in FILTERS:
        return FILTERS[row["reason"]].unit == "message"
    return bool(row["unit"] == "message")


def _option(setting: str) -> str:
    """A setting as it is written in a shell."""
    return f"--set {shlex.quote(setting)}"
