"""What renders a dataset again, by any name of it: a folder, a published version, or a URL."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from chatdata.pipeline import add_rendering as adding
from chatdata.pipeline import remove_rendering as removing
from chatdata.pipeline import render_again as rendering
from chatdata.publish import pull

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


def _of_any_name(function: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """The function, whose `folder` may also be a published version unless that would be changed."""

    @functools.wraps(function)
    def called(*given: _Given.args, **options: _Given.kwargs) -> _Made:
        bound = inspect.signature(function).bind(*given, **options)
        folder = bound.arguments["folder"]
        if pull.is_published(folder):
            is_copied = bound.arguments.get("out") is not None
            bound.arguments["folder"] = (pull.folder if is_copied else pull.changeable)(folder)
        return function(*bound.args, **bound.kwargs)

    return called


render_dataset = _of_any_name(rendering.render_again)
add_rendering = _of_any_name(adding.add_rendering)
remove_rendering = _of_any_name(removing.remove_rendering)
