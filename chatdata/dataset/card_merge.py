"""A new dataset card merged with a card that users have edited.

chatdata manages the YAML keys in `MANAGED` and the text between its two markers; the rest is the
user's and stays.
"""

from __future__ import annotations

import re
from typing import Any

from chatdata.core import config
from chatdata.core.errors import ConfigError

MANAGED = ("configs", "dataset_info", "license", "language", "size_categories")
_BEGIN = "<!-- chatdata: what follows is made from manifest.json -->"
_END = "<!-- chatdata: what follows is yours -->"
_CHANGELOG = "\n## Changelog\n"


def with_markers(page: str) -> str:
    """The card with the text of the page between the markers."""
    yaml, body = _parts(page)
    return f"---\n{yaml}---\n\n{_BEGIN}\n{body.replace('<!--', '< !--')}\n{_END}\n"


def merge(new: str, published: str | None) -> str:
    """The card `new` with what users have added to the published card.

    The published YAML keeps all keys but those in `MANAGED`; the published text keeps what stands
    outside the markers, and the entries of the changelog. Raises ConfigError where the published
    card has broken YAML or a marker without the second marker.
    """
    if published is None:
        return new
    yaml, body = _parts(new)
    published_yaml, published_body = _parts(published)
    head = config.merge_yaml(published_yaml, yaml, MANAGED, "the published README.md")
    before, earlier, after = _around(published_body)
    _, managed, _ = _around(body)
    return f"---\n{head}---\n{before}{_BEGIN}{_with_history(managed, earlier)}\n{_END}{after}"


def managed_values(card: str) -> dict[str, Any]:
    """The managed keys of the YAML of a card. Raises ConfigError for broken YAML."""
    values = config.parse_yaml(_parts(card)[0], "README.md") or {}
    return {key: values[key] for key in MANAGED if key in values}


def managed_text(card: str) -> str:
    """The managed text of a card, up to the changelog."""
    return _around(_parts(card)[1])[1].partition(_CHANGELOG)[0]


def _parts(card: str) -> tuple[str, str]:
    """The YAML of a card, perhaps empty, and its text."""
    text = card.replace("\r\n", "\n")
    head = re.match(r"---[ \t]*\n(.*?\n)?---[ \t]*\n?", text, re.DOTALL)
    return (head[1] or "", text[head.end() :]) if head else ("", text)


def _around(body: str) -> tuple[str, str, str]:
    """The text before, between and after the markers; without markers all text is before them."""
    begins, ends = body.count(_BEGIN), body.count(_END)
    if begins == ends == 0:
        return (f"\n{body.strip()}\n\n" if body.strip() else "\n"), "", "\n"
    before, _, rest = body.partition(_BEGIN)
    managed, end, after = rest.partition(_END)
    if begins != 1 or ends != 1 or not end:
        raise ConfigError(
            f"the published README.md has `{_BEGIN}` {begins} times and `{_END}` {ends} times, "
            "but it should have each once, in this order; correct that card, and push again."
        )
    return before, managed, after


def _with_history(new: str, published: str) -> str:
    """The new managed text with all entries of the published changelog.

    A published entry of the new version stays too, since a version does not change.
    """
    head, title, entries = new.partition(_CHANGELOG)
    earlier = published.partition(_CHANGELOG)[2]
    return head + title + "".join((_entries(entries) | _entries(earlier)).values())


def _entries(changelog: str) -> dict[str, str]:
    """The entries of a changelog by their versions, newest first."""
    parts = re.split(r"^(?=### )", changelog, flags=re.MULTILINE)[1:]
    return {part.split()[1]: f"\n{part.strip()}\n" for part in parts}
