"""What `trees` should do, said a second time and independently: recursive, on plain dicts."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
Preferred = tuple[list[str], str, str]  # the ids of a prompt, of the better and the worse answer


def conversation_ids(  # noqa: C901 - in one piece, to be read beside the table of policies
    rows: list[Row], policy: str, k: int = 1, end: str = "assistant", on_removed: str = "cut"
) -> set[str]:
    """The ids of the conversations of flat OASST rows.

    Messages that are `deleted` are cut away, or passed over where there are others, and the
    conversations that hold them dropped, but for what is trimmed anyway.
    """
    ids: set[str] = set()
    paths: list[list[Row]] = []
    by_parent: dict[Any, list[Row]] = {}
    for row in rows:
        by_parent.setdefault(row["parent_id"], []).append(row)

    def merit(row: Row) -> tuple[Any, ...]:
        rank, date = row.get("rank"), row.get("created_date")
        return (
            bool(row.get("deleted")),
            rank is None,
            rank or 0,
            date is None,
            date or "",
            row["message_id"],
        )

    def is_followed(row: Row) -> bool:
        return on_removed == "drop" or not row.get("deleted")

    def walk(path: list[Row]) -> None:
        replies = [r for r in by_parent.get(path[-1]["message_id"], []) if is_followed(r)]
        replies.sort(key=merit)
        answers = [r for r in replies if r["role"] == "assistant"]
        if policy == "best_rank":
            replies = replies[:1]
        if policy == "top_k":
            replies = answers[:k] + [r for r in replies if r["role"] != "assistant"]
        if path[-1]["role"] == "assistant" if policy == "all_prefixes" else not replies:
            paths.append(path)
        for reply in replies:
            walk([*path, reply])

    for root in by_parent.get(None, []):
        if is_followed(root):
            walk([root])
    if end == "assistant" and policy != "all_prefixes":
        paths = [_up_to_answer(path) for path in paths]
    paths = [path for path in paths if not any(row.get("deleted") for row in path)]
    if end == "assistant" and policy != "all_prefixes":
        inner = {row["message_id"] for path in paths for row in path[:-1]}
        paths = [path for path in paths if path and path[-1]["message_id"] not in inner]
    for path in paths:
        ids.add(f"oasst1/{path[0]['message_id']}/{path[-1]['message_id']}")
    return ids


def _up_to_answer(path: list[Row]) -> list[Row]:
    while path and path[-1]["role"] != "assistant":
        path = path[:-1]
    return path


def preferred(rows: list[Row], policy: str, margin: int = 1) -> list[Preferred]:
    """The pairs of ranked answers of flat OASST rows, of which what is `deleted` is cut away."""
    pairs: list[Preferred] = []

    def walk(path: list[Row]) -> None:
        replies = [
            row
            for row in rows
            if row["parent_id"] == path[-1]["message_id"] and not row.get("deleted")
        ]
        ranked = [r for r in replies if r["role"] == "assistant" and r.get("rank") is not None]
        ranked.sort(key=lambda row: (row["rank"], row["message_id"]))
        for better in ranked:
            below = [row for row in ranked if row["rank"] > better["rank"]]
            if policy == "adjacent":
                below = [row for row in below if row["rank"] == min(r["rank"] for r in below)]
            if policy == "best_worst":
                below = below[-1:] if better is ranked[0] else []
            prompt = [row["message_id"] for row in path]
            pairs.extend(
                (prompt, better["message_id"], worse["message_id"])
                for worse in below
                if worse["rank"] - better["rank"] >= margin
            )
        for reply in replies:
            walk([*path, reply])

    for root in rows:
        if root["parent_id"] is None and not root.get("deleted"):
            walk([root])
    return pairs
