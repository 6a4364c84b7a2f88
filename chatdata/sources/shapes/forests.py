"""Trees and messages of Open Assistant, which the source `oasst` reads."""

from __future__ import annotations

from chatdata.sources import oasst
from chatdata.sources.shapes._base import Forest, has


def _is_tree(record: object) -> bool:
    return oasst.is_record(record) and isinstance(record, dict) and has(record, "prompt")


def _is_thread(record: object) -> bool:
    return isinstance(record, dict) and isinstance(record.get("thread"), list)


def _is_message(record: object) -> bool:
    is_plain = oasst.is_record(record) and not _is_tree(record) and not _is_thread(record)
    return is_plain and has(record, "text", "role")


SHAPES = (
    Forest(name="OASST trees", keys=("message_tree_id", "prompt"), fits=_is_tree),
    Forest(name="OASST threads", keys=("thread",), fits=_is_thread),
    Forest(name="OASST messages", keys=("message_id", "text", "role"), fits=_is_message),
)
