"""The list of templates. `chatdata list` shows all of them, and a recipe may name any."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from chatdata.core.extensions import Registry
from chatdata.render import carried_template
from chatdata.render.built_in import BuiltIn, entry_of
from chatdata.render.template import TemplateOptions
from chatdata.render.template_spec import BUILT_IN
from chatdata.render.tokenizer import Tokenizer


class TemplateSource(Protocol):
    """An entry in the list of templates: how a template comes to stand on a tokenizer."""

    @property
    def about(self) -> str:
        """A line about the template, for `chatdata list`."""
        ...

    def unused(self, options: TemplateOptions) -> str | None:
        """Which of these options the template has no use for, in words; None where it uses all."""
        ...

    def prepare(
        self, folder: Path | None, name: str, options: TemplateOptions, work: Path
    ) -> Path | None:
        """The folder to `load` from: the tokenizer's, or `work`, made for the template.

        Raises RenderError where the tokenizer has not what the template needs.
        """
        ...

    def load(self, folder: Path | None, name: str, options: TemplateOptions) -> Tokenizer:
        """The tokenizer `name` with the template, from a folder that `prepare` gave.

        None stands for the built-in tokenizer of bytes. Raises RenderError where the template
        cannot be rendered exactly with this tokenizer.
        """
        ...

    def label(self, tokenizer_name: str) -> str:
        """What the rows are called where they are published."""
        ...


def _adopt(name: str, thing: Any, package: str) -> TemplateSource:
    """The template that a package adds, as a `TemplateSpec` or as a `TemplateSource`."""
    source: TemplateSource = entry_of(thing)
    if missing := [part for part in ("about", "prepare", "load") if not hasattr(source, part)]:
        raise TypeError(f"it is neither a TemplateSpec nor a TemplateSource: no `{missing[0]}`")
    return source


_OURS: dict[str, TemplateSource] = {
    **{name: BuiltIn(spec) for name, spec in BUILT_IN.items()},
    carried_template.NAME: carried_template.CarriedTemplate(),
}

TEMPLATES: Registry[TemplateSource] = Registry(_OURS, "template", "chatdata.templates", _adopt)
