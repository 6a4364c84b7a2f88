"""The dataset card: a page by which a stranger can judge the data, made from the manifest alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from chatdata import ledger
from chatdata.clean import CLEANERS
from chatdata.manifest import Manifest


def text(manifest: Manifest) -> str:
    """The `README.md` of a dataset."""
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters["cell"] = _cell
    source = Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8")
    facts = {
        **manifest,
        "configs": _configs(manifest),
        "reasons": _reasons(manifest),
        "certificate": _certificate(manifest),
        "cleaned": manifest.get("cleaned"),
        "cleaners": {name: own.about for name, own in CLEANERS.items()},
        "known_languages": [lang for lang in manifest["languages"] if len(lang) == 2],
    }
    return environment.from_string(source).render(facts)


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
