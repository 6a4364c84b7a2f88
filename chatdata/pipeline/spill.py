"""How much disk a build needs while it runs, beside its input: said before it begins.

Measured on the turns of ShareGPT V3 (tests/bench/memory.py): a build holds at most 2.5 times the
bytes of its input, 1.2 as it was read and 1.3 as conversations. Short messages need up to eight
times: each is a row, whatever it says. What a filter of messages takes out early is not held, so
that less is asked for here than was measured.
"""

from __future__ import annotations

from chatdata.pipeline.input_files import InputFiles
from chatdata.pipeline.recipe import Recipe

MESSAGES, WITH_TOKENS = 2.0, 2.5  # of the bytes of input


def least(recipe: Recipe, given: InputFiles) -> int:
    """The bytes that a build needs at least on the disk of its output."""
    times = WITH_TOKENS if recipe.render else MESSAGES
    return int(given.text_bytes * times)
