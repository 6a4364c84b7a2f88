"""How much disk a build needs while it runs, beside its input: said before it begins.

Measured on the turns of ShareGPT V3 (tests/bench/memory.py): a build holds at most 2.5 times the
bytes of its input, 1.2 as it was read and 1.3 as conversations, and the rows of a shard until its
end is known, 0.4 times the input, with tokens 2.4, and of large inputs a bounded number. Short
messages need up to eight times: each is a row, whatever it says. What a filter of messages takes
out early is not held, so that less is asked for here than was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatdata.dataset.shards import SHARD_BYTES
from chatdata.pipeline.input_files import InputFiles
from chatdata.pipeline.recipe import Recipe


@dataclass(frozen=True, slots=True)
class _Spill:
    """How many bytes a build holds for each byte of its input, and how many more wait for the end
    of a shard, at most those of so many shards."""

    held: float
    waiting: float
    shards: int


_MESSAGES = _Spill(2.0, 0.4, 1)
_WITH_TOKENS = _Spill(2.5, 2.0, 2)


def least(recipe: Recipe, given: InputFiles) -> int:
    """The bytes that a build needs at least on the disk of its output."""
    spill, size = _WITH_TOKENS if recipe.render else _MESSAGES, given.text_bytes
    return int(size * spill.held + min(size * spill.waiting, spill.shards * SHARD_BYTES))
