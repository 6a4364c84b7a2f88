"""Functions of a user's Python file, run from its text.

The text is read once and travels with a build, so that every process runs what was hashed. The file
may import what is installed, and no file beside it.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from chatdata.core.config import nearest_sentence
from chatdata.core.errors import ExtensionError

SUFFIX = ".py"


class Reference(NamedTuple):
    """A function of a file: `rules.py:shouting`."""

    file: str
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.function}"


def parse(text: Any) -> Reference:
    """The function that a recipe names. Raises ValueError for anything but FILE.py:FUNCTION."""
    file, _, function = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    if not file.endswith(SUFFIX) or not function.isidentifier():
        raise ValueError(f"python is {text!r}; write FILE.py:FUNCTION, such as rules.py:shouting")
    return Reference(file, function)


def read(path: Path) -> str:
    """The text of a file. Raises ExtensionError where it is missing or no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ExtensionError(
            f"the Python file '{path}' cannot be read ({why}); a recipe names it by its path from "
            "the recipe, as `python: FILE.py:FUNCTION`."
        ) from None


def sha256(text: str) -> str:
    """The SHA-256 of the text of a file."""
    return hashlib.sha256(text.encode()).hexdigest()


def function(label: str, name: str, text: str) -> Callable[..., Any]:
    """The function of this name in a file with this text, which is run.

    Raises ExtensionError where the text is not Python, raises anything itself, or has no such
    function.
    """
    module = _module(label, text)
    value = getattr(module, name, None)
    if not callable(value):
        functions = [key for key, item in vars(module).items() if _is_its(item, module)]
        raise ExtensionError(
            f"'{label}' has no function '{name}'; {nearest_sentence(name, functions)}"
        )
    made: Callable[..., Any] = value
    return made


def _is_its(value: Any, module: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__


@functools.lru_cache(64)
def _module(label: str, text: str) -> ModuleType:
    module = ModuleType(f"chatdata_python_{sha256(text)[:16]}")
    module.__file__ = label
    sys.modules[module.__name__] = module  # where dataclasses look for their annotations
    try:
        exec(compile(text, label, "exec"), vars(module))
    except SyntaxError as error:
        raise ExtensionError(
            f"'{label}', line {error.lineno}: this is not Python ({error.msg})."
        ) from None
    except Exception as error:
        raise ExtensionError(
            f"'{label}' fails while it is loaded ({type(error).__name__}: {error}); it may import "
            "installed packages, and no file beside it."
        ) from error
    return module
