"""What a recipe takes out for good: conversations that the files of its `forget` name.

An id names a conversation, a piece that was joined to a conversation, a message, or a whole group
(a tree, a dialogue in pieces), as the ledger writes it. Of lists a name takes out the conversation
that it stands for or that holds it. Of a tree it takes out every conversation that holds the
message, and `TREE/MESSAGE` means the same. What is forgotten cannot be kept by `keep`, and no words
of it are held among what was dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from chatdata.core.errors import SourceError
from chatdata.core.hashing import sha256_file
from chatdata.core.ledger import FORGOTTEN, WORDS
from chatdata.core.schema import is_of_trees
from chatdata.steps import threads
from chatdata.steps.entries import ForgetFile, ForgottenEntry
from chatdata.steps.threads import Threads


@dataclass(frozen=True, slots=True)
class ForgetList:
    """The ids of files, and what the manifest says of the files."""

    ids: tuple[str, ...] = ()
    files: tuple[ForgetFile, ...] = ()

    def entry(self, known: Collection[str] | None) -> ForgottenEntry:
        """What the manifest holds, where `known` are the ids that name anything; None: nobody
        knows."""
        unknown = [] if known is None else [id for id in self.ids if id not in known]
        return ForgottenEntry(
            files=self.files, ids=len(self.ids), unknown=len(unknown), unknown_ids=tuple(unknown)
        )


def read(files: Iterable[tuple[Path, str]]) -> ForgetList:
    """The ids in files, given by path and label: an id a line.

    Blank lines, and lines that begin with `#`, are none. Raises SourceError for a file that is no
    text or that holds no id.
    """
    ids: dict[str, None] = {}
    entries: list[ForgetFile] = []
    for path, label in files:
        ids |= dict.fromkeys(_ids(path))
        entries.append(ForgetFile(path=label, sha256=sha256_file(path)))
    return ForgetList(tuple(ids), tuple(entries))


def _ids(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(
            f"'{path}' is no text (byte {error.start} is not UTF-8); `forget` names files with an "
            "id in each line."
        ) from None
    ids = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not ids:
        raise SourceError(f"'{path}' holds no id; write an id in each line, or leave it out.")
    return ids


# ----------------------------------------------------------------------------------- what is named


@dataclass(frozen=True, slots=True)
class Named:
    """What ids name among messages: whether each message is forgotten, which of the ids name any
    message, and all names of what is forgotten."""

    is_forgotten: pl.Series
    known: Counter[str]
    names: pl.Series


def find(messages: pl.DataFrame, options: Threads, ids: Sequence[str]) -> Named:
    """What ids name among messages, which are not threaded yet."""
    if not ids:
        nothing = pl.repeat(False, messages.height, dtype=pl.Boolean, eager=True)
        return Named(nothing, Counter(), pl.Series(dtype=pl.String))
    names = _names_of_trees(messages) if is_of_trees(messages) else _names(messages, options)
    hits = names.with_columns(pl.all().is_in(ids).fill_null(False))
    is_hit = hits.select(pl.any_horizontal(pl.all())).to_series()
    if not is_of_trees(messages):
        home = names["home"]
        is_hit = home.is_in(home.filter(is_hit).unique().implode())
    known = Counter(id for name in names for id in name.filter(name.is_in(ids)).to_list())
    lost = names.filter(is_hit)
    all_names = pl.concat([lost[name].alias("name") for name in lost.columns])
    return Named(is_hit, known, all_names.drop_nulls().unique())


def _names_of_trees(nodes: pl.DataFrame) -> pl.DataFrame:
    path = pl.concat_str("group", "message", separator="/")
    return nodes.select("group", "message", path=path)


def _names(messages: pl.DataFrame, options: Threads) -> pl.DataFrame:
    final = threads.names(messages, options)
    return messages.select("group", "conversation", "message").with_columns(
        piece=final["piece"], home=final["conversation"], turn=final["message"]
    )


# ----------------------------------------------------------------------------- what becomes of them


def mark(marked: pl.DataFrame, is_forgotten: pl.Series) -> pl.DataFrame:
    """The messages as `keeping.mark` marks them, those that are forgotten before all: each takes
    along the conversations that it stands in, and nothing spares it."""
    if not is_forgotten.any():
        return marked
    nothing = pl.lit(None, pl.String)
    values = {
        "removed_by": pl.lit(FORGOTTEN),
        "on_removed": pl.lit("drop"),
        "why": nothing,
        "spared_by": nothing,
        "spared_why": nothing,
    }
    return marked.with_columns(
        pl.when(is_forgotten).then(value).otherwise(name).alias(name)
        for name, value in values.items()
    )


def without_words(outcomes: pl.DataFrame, names: pl.Series, *, of_trees: bool) -> pl.DataFrame:
    """Outcomes without the words of what is forgotten, whose names these are. In a tree the detail
    names the message; a list goes as a whole."""
    if names.is_empty():
        return outcomes
    listed = names.implode()
    is_forgotten = pl.col("reason").eq_missing(FORGOTTEN)
    is_named = pl.col("id").is_in(listed) | pl.col("conversation").is_in(listed).fill_null(False)
    stays = (is_forgotten | is_named).not_()
    words = [name for name in WORDS if name not in ("place", "position", "role")]
    emptied = outcomes.with_columns(pl.when(stays).then(pl.col(name)) for name in words)
    if of_trees:
        return emptied
    return emptied.with_columns(detail=pl.when(is_forgotten.not_()).then("detail"))
