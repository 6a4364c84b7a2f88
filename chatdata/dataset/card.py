"""The dataset card: a page by which a stranger can judge the data, made from the manifest alone.

What users write on a card stays: `card_merge` puts the new page into the card that is published.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from chatdata.core import config
from chatdata.dataset import (
    audited,
    card_merge,
    croissant,
    hub_configs,
    limitations,
    manifest_diff,
    plots,
)
from chatdata.dataset.manifest import Listing, Manifest
from chatdata.steps import filters
from chatdata.steps.cleaning import CLEANERS

PAGE = "README.md"
PAGES = (PAGE, croissant.FILE)  # made from the manifest, which therefore has no hash of them
_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)


def text(manifest: Manifest, before: Manifest | Listing | None = None) -> str:
    """The `README.md` of a dataset. `before` is the manifest of the preceding version."""
    configs = hub_configs.of(manifest)
    extensions = {entry.name: entry.about for entry in manifest.extensions or ()}
    values = {
        **dict(manifest),
        "cards_yaml": config.dump_yaml(_yaml(configs)),
        "size": next((size for limit, size in _SIZES if _rows(manifest) < limit), "1B<n<10B"),
        "known_languages": _languages(manifest),
        "configs": configs,
        "origins": list(origins(manifest)),
        "reasons": reasons(manifest),
        "certificate": certificate(manifest),
        "straddling": manifest.render.certificate.total.straddling if manifest.render else 0,
        "cleaners": {**{name: cleaner.about for name, cleaner in CLEANERS.items()}, **extensions},
        "filters": list(_filters(manifest)),
        "limits": limitations.limits(manifest),
        "citations": limitations.citations(manifest),
        "plots": plots.about(manifest),
        "audit": audited.current(manifest),
        "recipe_yaml": config.dump_yaml(manifest.recipe.as_json()),
        "repo": manifest.recipe.repo,
        "changelog": manifest_diff.entry(manifest, before),
    }
    return card_merge.with_markers(_template().render(values))


def pages(manifest: Manifest, before: Manifest | Listing | None = None) -> dict[str, str]:
    """The texts of the files that are made from the manifest alone, by file name."""
    return {PAGE: text(manifest, before), croissant.FILE: croissant.text(manifest)}


def with_words_of_users(page: str, folder: Path, before: Manifest) -> str:
    """The new `README.md` `page`, with what users have added to that of `folder`, whose manifest is
    `before`. Raises ConfigError as `card_merge.merge` does."""
    path = folder / PAGE
    earlier = path.read_text(encoding="utf-8") if path.is_file() else page
    return page if earlier in (page, text(before)) else card_merge.merge(page, earlier)


# ------------------------------------------------------------------------------------- the page


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters |= {
        "cell": _cell,
        "code": _code,
        "code_cell": _code_cell,
        "number": number,
        "fence": _fence,
        "variable": _variable,
    }
    return environment.from_string(
        Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8")
    )


def _cell(value: object) -> str:
    """The value as text that cannot break out of a cell of a Markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _code(value: object) -> str:
    """The value as inline code, whatever the value contains."""
    words = " ".join(str(value).split())
    ticks = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    return f"{ticks} {words} {ticks}" if len(ticks) > 1 else f"`{words}`"


def _code_cell(value: object) -> str:
    """The value as inline code in a cell of a Markdown table."""
    return _code(value).replace("|", "\\|")


def _fence(value: str) -> str:
    """A fence of code that is longer than any fence in the text."""
    return "`" * max(3, 1 + max(map(len, re.findall("`+", value)), default=0))


def _variable(name: str) -> str:
    """The name of a table as the name of a variable of Python."""
    return re.sub(r"\W", "_", name)


def number(value: float) -> str:
    """The number with commas between thousands."""
    return f"{value:,}"


def _rows(manifest: Manifest) -> int:
    return manifest.splits.total("rows")


def _yaml(configs: list[hub_configs.Config]) -> dict[str, Any]:
    """What the YAML says of the configs."""
    return {
        "configs": [_data_files(config) for config in configs],
        "dataset_info": [_dataset_info(config) for config in configs],
    }


def _data_files(config: hub_configs.Config) -> dict[str, Any]:
    patterns = {split: config.table.pattern(split) for split in config.rows}
    return {
        "config_name": config.name,
        **({"default": True} if config.name == hub_configs.DEFAULT else {}),
        "data_files": [{"split": split, "path": path} for split, path in patterns.items()],
    }


def _dataset_info(config: hub_configs.Config) -> dict[str, Any]:
    return {
        "config_name": config.name,
        "features": hub_configs.features(config.schema),
        "splits": [
            {"name": split, "num_bytes": config.bytes[split], "num_examples": rows}
            for split, rows in config.rows.items()
        ],
    }


def _filters(manifest: Manifest) -> Iterator[str]:
    """Yields each filter of the recipe as code, with its options in words."""
    for name, options in manifest.recipe.filters.items():
        given = [
            f"{key} {_words(value)}"
            for key, value in options.items()
            if value is not None and (key, value) != ("on_removed", "cut")
        ]
        yield f"`{name}`" + (f" ({_cell(', '.join(given))})" if given else "")


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _languages(manifest: Manifest) -> list[str]:
    """The ISO 639 codes among the languages, without their regions."""
    codes = [lang.partition("-")[0] for lang in manifest.languages]
    return list(dict.fromkeys(code for code in codes if len(code) in (2, 3)))


def origins(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yields each source with its place, its licence and its files."""
    for kind, options in manifest.recipe.source.items():
        name = options.name or kind
        files = [file for file in manifest.sources if file.name == name]
        yield {
            "name": name,
            "kind": kind,
            "repo": options.repo,
            "revision": options.revision,
            "license": options.license,
            "replaced": limitations.is_replaced(manifest, kind),
            "embedded": limitations.is_embedded(options),
            "files": files,
        }


def reasons(manifest: Manifest) -> list[dict[str, Any]]:
    """Each reason with its meaning, and how many of each unit were dropped for the reason."""
    counts = dict(manifest.counts.items())
    names = {reason: None for count in counts.values() for reason in count.dropped}
    abouts = {entry.name: entry.about for entry in manifest.extensions or ()}
    return [
        {
            "name": name,
            "about": abouts[name] if name in abouts else filters.about(name),
            **{unit: count.dropped.get(name, 0) for unit, count in counts.items()},
        }
        for name in names
    ]


def certificate(manifest: Manifest) -> list[tuple[str, int, int]]:
    """The lines of the certificate: words, how many were looked at, and how many are wrong."""
    if manifest.render is None:
        return []
    counts = manifest.render.certificate.total
    answers, behind = counts.answers, counts.prompts + counts.thoughts
    ending = answers - counts.ends_left_out
    ends = ("answers whose end token is trained", ending, ending - counts.stops_trained)
    return [
        ("rows that are, token by token, the template's", counts.compared, counts.differences),
        ("rows that quote a control token and forge none", counts.quoting, counts.forged),
        *([ends] if manifest.render.learns_ends else []),
        ("answers whose labels are theirs alone", answers, counts.headers_trained),
        ("answers that begin right behind their generation prompt", behind, 0),
    ]
