"""What is known of the messages around a message: by position, or in a tree by parent."""

from __future__ import annotations

import polars as pl

_CLAIM = ["conversation", "where"]  # two records may use one id


def nearest(messages: pl.DataFrame, known: pl.Series) -> pl.Series:
    """The `known` value of each message, or else of the nearest message that has a value.

    The nearest message of a conversation is the last before, or else the first after; in a tree
    the nearest above. Without any, the value is the most common value in the group, or null.
    `known` has a value or null for each row. The order of the rows does not matter.
    """
    rows = messages.with_columns(known=known, row=pl.int_range(pl.len()))
    near = _above(rows) if "parent" in rows.columns else _before_or_after(rows)
    return near.fill_null(_most_common(rows))


def _before_or_after(rows: pl.DataFrame) -> pl.Series:
    ordered = rows.sort(*_CLAIM, "position").with_columns(
        before=pl.col("known").forward_fill().over(_CLAIM),
        after=pl.col("known").backward_fill().over(_CLAIM),
    )
    return ordered.sort("row").select(pl.coalesce("known", "before", "after")).to_series()


def _most_common(rows: pl.DataFrame) -> pl.Series:
    counts = rows.drop_nulls("known").group_by("group", "known").len()
    counts = counts.sort("group", "len", "known", descending=[False, True, False])
    most = counts.unique("group", keep="first").select("group", common="known")
    return rows.join(most, on="group", how="left", maintain_order="left")["common"]


# -------------------------------------------------------------------------------------------- trees

_Key = tuple[str, str]  # group, message


def _above(rows: pl.DataFrame) -> pl.Series:
    """The known value of each message, or of the nearest message above; each is climbed once."""
    silent = rows.filter(pl.col("known").is_null())
    if silent.is_empty():
        return rows["known"]
    ordered = rows.sort("group", "message", "parent", "role", "content", "where")
    nodes = ordered.unique(["group", "message"], keep="first", maintain_order=True)
    index: dict[_Key, tuple[str | None, str | None]] = {
        (group, message): (parent, known)
        for group, message, parent, known in nodes.select(
            "group", "message", "parent", "known"
        ).iter_rows()
    }
    heard: dict[_Key, str | None] = {}
    for key in silent.select("group", "message").iter_rows():
        _climb(key, index, heard)
    langs = [heard[key] for key in silent.select("group", "message").iter_rows()]
    return rows["known"].scatter(silent["row"], pl.Series(langs, dtype=pl.String))


def _climb(
    start: _Key, index: dict[_Key, tuple[str | None, str | None]], heard: dict[_Key, str | None]
) -> None:
    """Notes the value that is heard at a message, and at all messages on the way to that value."""
    path: dict[_Key, None] = {}  # an ordered set
    key, value = start, None
    while key in index and key not in path:
        path[key] = None
        parent, value = index[key]
        if value is not None or parent is None:
            break
        key = key[0], parent
        if key in heard:
            value = heard[key]
            break
    heard.update(dict.fromkeys(path, value))
