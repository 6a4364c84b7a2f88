"""Regular expressions that are compiled when they are first used.

Compiling the large ones of a step takes longer than importing the rest of its module, and most
commands import steps only to name them.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _Lazy:
    """Stands for a pattern, whose methods it takes over one by one when they are asked for."""

    def __init__(self, text: Any, flags: int) -> None:
        self._given = (text, flags)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(re.compile(*self._given), name)  # which `re` remembers
        setattr(self, name, value)  # so that the next use costs what that of a pattern does
        return value


def lazy(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """What can be used as the pattern of this text: by its methods, and not in place of a text."""
    return cast("re.Pattern[AnyStr]", _Lazy(text, flags))
