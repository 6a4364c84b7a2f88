"""The tree that conversations of a built folder come from: what is kept, and what is not.

A folder holds the paths that are kept, and the ledger what was dropped; together they are the tree,
but for the places of dropped messages that nothing names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from chatdata.cli import choosing
from chatdata.cli.choosing import Choice
from chatdata.cli.terminal import visible
from chatdata.core import row_id
from chatdata.core.constants import SPLITS
from chatdata.core.errors import OutputError
from chatdata.dataset import dropped, reader
from chatdata.dataset.rows import words_of

_PARENT = re.compile(r"^(?:below|up to) (.+)$", re.DOTALL)
_TURN = re.compile(r"^turn (\d+)")
_LONGEST = 80  # columns of a line, where no terminal says how many fit
_STYLES = {"●": "bold green", "○": "", "✗": "yellow"}
_LEGEND = {"●": "on the path", "○": "kept elsewhere", "✗": "dropped"}


@dataclass(slots=True)
class Node:
    """A message of a tree, with what follows it."""

    role: str
    words: str
    id: str = ""
    mark: str = "○"
    reason: str = ""
    below: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shown:
    """A tree: the id of its group, its first messages, and those whose place nothing names."""

    group: str
    roots: list[Node]
    elsewhere: list[Node]


# ---------------------------------------------------------------------------------- the query


def find(folder: Path, choice: Choice) -> list[Shown]:
    """The trees of the conversations that fit. The path of the conversation with the id that is
    asked for is lit; where no id is, all that is kept is.

    Raises OutputError where nothing has the id.
    """
    groups = _groups(folder, choice)
    table = reader.scan(folder, "messages", SPLITS).filter(pl.col("group").is_in(groups.implode()))
    rows = table.select("id", "group", "messages").collect()
    outcomes = _outcomes(folder, groups, rows["id"])
    return [_tree(str(group), rows, outcomes, choice.id) for group in groups]


def _groups(folder: Path, choice: Choice) -> pl.Series:
    """The groups whose trees are shown, each once, in their order."""
    splits = [choice.split] if choice.split else list(SPLITS)
    rows = reader.scan(folder, "messages", splits).select("id", "group")
    if choice.id is not None:
        named = {choice.id, row_id.conversation_of(choice.id)}
        named |= set(reader.explain(folder, choice.id)["conversation"].drop_nulls())
        groups = rows.filter(pl.any_horizontal(pl.col("id", "group").is_in(named)))
        first = groups.select("group").unique(maintain_order=True).collect()["group"]
        if first.is_empty():
            raise OutputError(
                f"nothing is kept of the tree of '{choice.id}' in '{folder}'; `chatdata explain "
                f"{folder} {choice.id}` says why."
            )
        return first
    if choice.limits():
        ids = choosing.conversations(folder, choice, splits)
        rows = rows.filter(pl.col("id").is_in(ids.implode()))
    every = rows.select("group").unique(maintain_order=True).collect()["group"]
    return every[choice.places(every.len())]


def _outcomes(folder: Path, groups: pl.Series, ids: pl.Series) -> pl.DataFrame:
    """The rows of the ledger of these groups, with the words of what was dropped."""
    homes = pl.concat([groups, ids.cast(groups.dtype)]).implode()
    is_of_group = pl.col("id").str.replace(r"/[^/]*$", "").is_in(groups.implode())
    is_meant = pl.col("conversation").is_in(homes) | (
        (pl.col("unit") == "conversation") & (is_of_group | pl.col("id").is_in(homes))
    )
    rows = dropped.with_words(folder, reader.scan_ledger(folder).filter(is_meant).collect())
    held = [name for name in ("role", "content", "position") if name not in rows.columns]
    return rows.with_columns(pl.lit(None, pl.String).alias(name) for name in held)


# ----------------------------------------------------------------------------------- the tree


def _tree(group: str, rows: pl.DataFrame, outcomes: pl.DataFrame, lit: str | None) -> Shown:
    of_group = rows.filter(group=group)
    homes = {group, *of_group["id"]}
    mine = [row for row in outcomes.iter_rows(named=True) if _home(row, group) in homes]
    roots: list[Node] = []
    known: dict[str, Node] = {}
    path = _path_of(lit, of_group["id"].to_list(), mine)
    for id, messages in of_group.select("id", "messages").iter_rows():
        is_lit = path is None or id == path
        nodes = _add_path(roots, messages, is_lit=is_lit)
        known |= {name: nodes[turn] for name, turn in _kept(mine, id) if turn < len(nodes)}
    for name, node in known.items():
        node.id = name
    return Shown(group, roots, list(_add_dropped(mine, known, group)))


def _home(row: Mapping[str, Any], group: str) -> str:
    if row["unit"] == "conversation":
        return group if str(row["id"]).startswith(f"{group}/") else str(row["id"])
    return str(row["conversation"])


def _path_of(lit: str | None, ids: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The conversation whose path is lit; None where all are."""
    if lit is None:
        return None
    named = {lit, row_id.conversation_of(lit)}
    named |= {str(row["conversation"]) for row in rows if row["id"] == lit}
    return next((id for id in ids if id in named), None)


def _add_path(
    roots: list[Node], messages: Sequence[Mapping[str, Any]], *, is_lit: bool
) -> list[Node]:
    """Adds a conversation to a tree: what it shares with another stands there once."""
    nodes, siblings = [], roots
    for message in messages:
        words = words_of(message)
        same = (node for node in siblings if (node.role, node.words) == (message["role"], words))
        node = next(same, None)
        if node is None:
            node = Node(message["role"], words)
            siblings.append(node)
        node.mark = "●" if is_lit else node.mark
        nodes.append(node)
        siblings = node.below
    return nodes


def _kept(rows: Sequence[Mapping[str, Any]], conversation: str) -> Iterator[tuple[str, int]]:
    """Yields the id of each message that is kept in a conversation, and its turn."""
    for row in rows:
        turn = _TURN.match(row["detail"] or "")
        if turn and row["conversation"] == conversation and row["outcome"] == "kept":
            yield row["id"], int(turn[1])


def _add_dropped(
    rows: Sequence[Mapping[str, Any]], known: dict[str, Node], group: str
) -> Iterator[Node]:
    """Puts dropped messages below what they followed. Yields those of which nobody knows."""
    parents = _parents(rows, group)
    left = {
        str(row["id"]): Node(
            row["role"] or "message", row["content"] or "", row["id"], "✗", row["reason"]
        )
        for row in rows
        if row["unit"] == "message" and row["outcome"] == "dropped"
    }
    known |= left
    for id, node in left.items():
        parent = known.get(parents.get(id, ""))
        if parent is None or parent is node:
            yield node
        else:
            parent.below.append(node)


def _parents(rows: Sequence[Mapping[str, Any]], group: str) -> dict[str, str]:
    """What each dropped message follows, by their ids, where the ledger says so: `below` it, or the
    end of the path that is left of a conversation that ended with the message."""
    parents = {}
    for row in rows:
        named = _PARENT.match(row["detail"] or "")
        if named and row["outcome"] == "dropped":
            parents[str(row["id"]).removeprefix(f"{group}/")] = named[1]
    return parents


# ---------------------------------------------------------------------------------- the print


def print_trees(trees: Sequence[Shown], console: Console) -> None:
    """Prints trees, a line for each message."""
    for tree in trees:
        top = Tree(Text(visible(tree.group), style="bold"))
        for node in tree.roots:
            _grow(top, node, console, depth=1)
        if tree.elsewhere:
            rest = top.add(Text("somewhere in it; the ledger does not say below what", style="dim"))
            for node in tree.elsewhere:
                _grow(rest, node, console, depth=2)
        console.print(top)
        console.print()
    legend = Text()
    for mark, words in _LEGEND.items():
        legend.append(f"{mark} {words}  ", style=_STYLES[mark])
    console.print(legend)


def _grow(tree: Tree, node: Node, console: Console, depth: int) -> None:
    """Adds a message and what follows it; what has no branches is one entry of several lines."""
    chain = [node]
    while len(chain[-1].below) == 1:
        chain += chain[-1].below
    branch = tree.add(Text("\n").join(_label(each, console, depth) for each in chain))
    for child in chain[-1].below:
        _grow(branch, child, console, depth + 1)


def _label(node: Node, console: Console, depth: int) -> Text:
    """A message in a line: what became of it, who says it, its id, and how it begins."""
    style = _STYLES[node.mark]
    label = Text(f"{node.mark} {visible(node.role)}", style=style, no_wrap=True)
    if node.id:
        label.append(f" {visible(node.id)}", style="dim")
    if node.reason:
        label.append(f" ({visible(node.reason)})")
    room = (console.width if console.is_terminal else _LONGEST) - 4 * depth - label.cell_len - 2
    words = Text(visible(" ".join(node.words.split())) or "(says nothing)", style=style)
    words.truncate(max(20, room), overflow="ellipsis")
    return label.append(": ").append_text(words)
