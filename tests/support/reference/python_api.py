"""The page of the public names of the package."""

from __future__ import annotations

import inspect
import re
from typing import Any

import chatdata
from tests.support.reference.models import Wordless, prose

_HEAD = """\
# Python

`import chatdata` is light: a name is imported when it is first used. What the command line does,
these do.

"""

_ANNOTATION = re.compile(r"(: |-> )'([^']*)'")
_FUNCTION = re.compile(r"<function (\w+) at 0x\w+>")


def page() -> str:
    """The public names: signature and docstring."""
    return _HEAD + "\n".join(_name(name) for name in sorted(chatdata.__all__))


def _name(name: str) -> str:
    thing = getattr(chatdata, name)
    doc = inspect.getdoc(thing)
    if not doc:
        raise Wordless(f"chatdata.{name} has no docstring")
    return f"## chatdata.{name}\n\n```text\n{_signature(name, thing)}\n```\n\n{prose(doc)}\n"


def _signature(name: str, thing: Any) -> str:
    """The signature, a parameter a line where it is long."""
    if inspect.isclass(thing):
        return f"class {name}({thing.__bases__[0].__name__})"
    signature = inspect.signature(thing)
    line = _FUNCTION.sub(r"\1", _ANNOTATION.sub(r"\1\2", f"{name}{signature}"))
    if len(line) <= 90:
        return line
    head, _, rest = line.partition("(")
    parameters, _, returned = rest.rpartition(") -> ")
    return f"{head}(\n    " + parameters.replace(", ", ",\n    ") + f",\n) -> {returned}"
