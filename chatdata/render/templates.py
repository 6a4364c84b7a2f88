"""The list of templates. `chatdata list` shows all of them, and a recipe may name any.

An entry imports what it needs to render when it is first asked to: whoever reads the list needs
none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from chatdata.core.extensions import Registry
from chatdata.render.template_spec import BUILT_IN, TemplateSpec

if TYPE_CHECKING:
    from chatdata.render.template import TemplateOptions
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


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """An entry of the list of templates: a value, which fits every tokenizer."""

    spec: TemplateSpec

    @property
    def about(self) -> str:
        """A line about the template."""
        return self.spec.about

    def unused(self, options: TemplateOptions) -> str | None:
        """Which options are set in vain: those of Jinja."""
        if not options.variables and not options.date and not options.add_end:
            return None
        return (
            "variables, date and add_end are for template 'tokenizer', and this is "
            f"'{self.spec.name}'"
        )

    def prepare(
        self, folder: Path | None, name: str, options: TemplateOptions, work: Path
    ) -> Path | None:
        """The tokenizer's folder, or `work` with what transformers makes of it."""
        from chatdata.render import built_in

        return built_in.prepare(folder, name, work)

    def load(self, folder: Path | None, name: str, options: TemplateOptions) -> Tokenizer:
        """The tokenizer `name` with the template's tokens added."""
        from chatdata.render import built_in

        return built_in.load(folder, name, self.spec, options.system)

    def label(self, tokenizer_name: str) -> str:
        """The name of the template."""
        return self.spec.name


@dataclass(frozen=True, slots=True)
class CarriedTemplate:
    """An entry of the list of templates: the chat template that the tokenizer carries."""

    about = "the chat template that the tokenizer carries, whatever it does"

    def unused(self, options: TemplateOptions) -> str | None:
        """Which options are set in vain: a default system text."""
        if options.system is None:
            return None
        return "system is for templates of ours; the tokenizer's own may take a variable for it"

    def prepare(
        self, folder: Path | None, name: str, options: TemplateOptions, work: Path
    ) -> Path | None:
        """A new folder `work` with what transformers makes of the tokenizer."""
        from chatdata.render import carried_template

        return carried_template.prepare(folder, name, options, work)

    def load(self, folder: Path | None, name: str, options: TemplateOptions) -> Tokenizer:
        """The tokenizer with its chat template, from a folder that `prepare` made."""
        from chatdata.render import carried_template

        return carried_template.load(folder, name, options)

    def label(self, tokenizer_name: str) -> str:
        """The name of the tokenizer, without its owner and revision."""
        return tokenizer_name.partition("@")[0].rpartition("/")[2]


def _adopt(name: str, thing: Any, package: str) -> TemplateSource:
    """The template that a package adds, as a `TemplateSpec` or as a `TemplateSource`."""
    source: TemplateSource = BuiltIn(thing) if isinstance(thing, TemplateSpec) else thing
    if missing := [part for part in ("about", "prepare", "load") if not hasattr(source, part)]:
        raise TypeError(f"it is neither a TemplateSpec nor a TemplateSource: no `{missing[0]}`")
    return source


_OURS: dict[str, TemplateSource] = {
    **{name: BuiltIn(spec) for name, spec in BUILT_IN.items()},
    "tokenizer": CarriedTemplate(),
}

TEMPLATES: Registry[TemplateSource] = Registry(_OURS, "template", "chatdata.templates", _adopt)
