"""The parts of an answer that its message may name as the only parts that may be learnt."""

from __future__ import annotations

from collections.abc import Collection

KEY = "train_parts"  # of a message: as it is read, in the table of messages, as it is published

NAMES = ("reasoning", "answer", "tool_calls", "end")  # in the order of an answer's text
SEPARATOR = ","  # between names in the table of messages


def joined(names: Collection[str]) -> str | None:
    """Some of `NAMES` as they stand in the table of messages; None where they are all of them."""
    chosen = [name for name in NAMES if name in names]
    return SEPARATOR.join(chosen) if len(chosen) < len(NAMES) else None


def fault(learnt: Collection[str]) -> str | None:
    """Why these parts of an answer cannot be all that is learnt; None where they can."""
    if "reasoning" in learnt and "tool_calls" in learnt and "answer" not in learnt:
        return (
            "the answer is left out between reasoning and tool_calls, and a token may hold the end "
            "of a part and the start of the next; learn the answer too, or only one of its "
            "neighbours"
        )
    if set(learnt) <= {"end"}:
        return "no part is learnt but the end; learn the answer"
    return None
