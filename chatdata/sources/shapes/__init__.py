"""The shapes that the source `auto` knows: each a name, a strict test of a record, and a reader.

A family of shapes is a module here with a tuple `SHAPES`. No record that is whole fits two shapes;
a file whose first records do is refused.
"""

from __future__ import annotations

from chatdata.sources.shapes import (
    exports,
    forests,
    lists,
    pairs,
    preferences,
    sessions,
    templated,
    tools,
    vendors,
    verdicts,
)
from chatdata.sources.shapes._base import Shape

SHAPES: tuple[Shape, ...] = (
    *lists.SHAPES,
    *vendors.SHAPES,
    *exports.SHAPES,
    *tools.SHAPES,
    *preferences.SHAPES,
    *verdicts.SHAPES,
    *sessions.SHAPES,
    *forests.SHAPES,
    *templated.SHAPES,
    *pairs.SHAPES,
)
