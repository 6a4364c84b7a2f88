"""The dataset card: a page by which a stranger can judge the data, made from the manifest alone."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import jinja2

from chatdata import config, ledger
from chatdata.errors import ConfigError
from chatdata.manifest import Manifest

PAGE = "README.md"


def text(manifest: Manifest, before: Manifest | None = None) -> str:
    """The `README.md` of a dataset. `before` is the manifest of the version before it."""
    facts = {
        **manifest,
        "configs": _configs(manifest),
        "reasons": _reasons(manifest),
        "certificate": _certificate(manifest),
        "known_languages": [lang for lang in manifest["languages"] if len(lang) == 2],
    }
    return _template().render(facts)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters["cell"] = _cell
    source = Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8")
    return environment.from_string(source)


def pages(manifest: Manifest, before: Manifest | None = None) -> dict[str, str]:
    """The files of a dataset that are written from its manifest alone, by their names."""
    return {PAGE: text(manifest, before)}


def merged(new: str, published: str | None) -> str:
    """The card `new`, with what users added to the published one: keys of the YAML, sections."""
    head, body = _parts(new)
    own_head, own_body = _parts(published or "")
    values, own_values = _values(head), _values(own_head)
    titles = dict(_sections(body))
    own = [text for title, text in _sections(own_body) if title not in titles]
    if own_values.keys() <= values.keys() and not own:
        return new
    return f"---\n{config.dump_yaml({**own_values, **values})}---\n{body}{''.join(own)}"


def _parts(card: str) -> tuple[str, str]:
    """The YAML of a card and what follows it."""
    found = re.fullmatch(r"---\n(.*?\n)---\n(.*)", card, re.DOTALL)
    return (found[1], found[2]) if found else ("", card)


def _values(head: str) -> dict[str, Any]:
    values = config.parse_yaml(head, "the card's metadata") if head else {}
    if not isinstance(values, dict):
        raise ConfigError(f"the metadata of the published card is no mapping: {head[:40]!r}.")
    return values


def _sections(body: str) -> list[tuple[str, str]]:
    """The sections of a page that have a title of the second level, with their text."""
    texts = re.split(r"^(?=## )", body, flags=re.MULTILINE)[1:]
    return [(text.splitlines()[0], text) for text in texts]


def _cell(value: object) -> str:
    """A value that cannot break out of its cell of a Markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _configs(manifest: Manifest) -> list[dict[str, Any]]:
    splits = [name for name, own in manifest["splits"].items() if own["rows"]]
    names = ["messages", *(["tokens"] if manifest["render"] else [])]
    return [{"name": name, "splits": splits} for name in names]


def _reasons(manifest: Manifest) -> list[dict[str, Any]]:
    counts = manifest["counts"]
    names = {reason: None for count in counts.values() for reason in count["dropped"]}
    return [
        {
            "name": name,
            "about": ledger.about(name),
            **{unit: count["dropped"].get(name, 0) for unit, count in counts.items()},
        }
        for name in names
    ]


def _certificate(manifest: Manifest) -> dict[str, int]:
    """The certificate's probes and sample, added up."""
    if not manifest["render"]:
        return {}
    found = manifest["render"]["certificate"]
    return {key: found["probes"][key] + found["sample"][key] for key in found["probes"]}
