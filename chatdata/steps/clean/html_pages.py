"""Is a text the HTML of a chat page?

A text is HTML where markup is the whole of it: it begins with a block element and ends with a
tag, and either its first element is marked as a page's rendering of Markdown, or it holds none
but the elements and attributes that such a rendering has, and is not laid out as source code is
(no tag is indented). So a question about a page's source, with the source in it, stays as it is.

No parser is imported here: most dumps hold no such page, and the import takes a tenth of a second.
"""

from __future__ import annotations

import re

TAG = re.compile(r"""<(/?)([A-Za-z][A-Za-z0-9-]*)((?:"[^"]*"|'[^']*'|[^'"<>])*)>""")
_ATTRIBUTE = re.compile(r"""([^\s"'=/]+)(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"']+))?""")
_CLASS = re.compile(r"""\bclass\s*=\s*["']?([^"'>]*)""", re.IGNORECASE)
_PREFORMATTED = re.compile(r"</?pre\b", re.IGNORECASE)
_INDENTED_TAG = re.compile(r"\n[ \t]+<")

# The class of what ChatGPT's page, and GitHub's, render from Markdown.
_MARKS = {"markdown", "markdown-body"}
BLOCKS = re.compile(
    "^(?:p|div|pre|ul|ol|dl|h[1-6]|table|blockquote|hr|article|section)$", re.IGNORECASE
)
_INLINE = re.compile(
    "li|dt|dd|code|thead|tbody|tfoot|tr|th|td|caption|strong|em|b|i|u|s|del|ins|mark|sup|sub|a|img"
    "|span|br|kbd|small|input|button|svg|path|rect|line|polyline|circle|g"
    "|math|semantics|annotation|m[a-z]+",
    re.IGNORECASE,
)
_ATTRIBUTES = re.compile(
    "class|href|src|alt|title|start|align|colspan|rowspan|rel|target|lang|dir|type|checked|disabled",
    re.IGNORECASE,
)
_DRAWN = re.compile("svg|path|rect|line|poly.*|circle|g|math|m[a-z]+", re.IGNORECASE)


def is_html(text: str) -> bool:
    """Whether the whole text is the HTML of a chat page, by the rule above."""
    stripped = text.strip()
    first = TAG.match(stripped)
    if first is None or first[1] or not BLOCKS.fullmatch(first[2]):
        return False
    is_whole = stripped.endswith(">")
    if _is_marked(first[3]):
        return is_whole or _is_cut_off(stripped, first[2])
    return is_whole and _is_rendered(stripped)


def _is_marked(attributes: str) -> bool:
    classes = _CLASS.search(attributes)
    return classes is not None and not _MARKS.isdisjoint(str(classes[1]).split())


def _is_cut_off(text: str, name: str) -> bool:
    """Whether an element of this name is still open at the end of the text."""
    signs = [tag[1] for tag in TAG.finditer(text) if tag[2].lower() == name.lower()]
    return bool(signs.count("") > signs.count("/"))


def _is_rendered(text: str) -> bool:
    """Whether text holds what a rendering of Markdown has and nothing else."""
    outside = _PREFORMATTED.split(text)[::2]
    if "<!" in text or "<?" in text or any(map(_INDENTED_TAG.search, outside)):
        return False
    tags = list(TAG.finditer(text))
    if not all(BLOCKS.fullmatch(tag[2]) or _INLINE.fullmatch(tag[2]) for tag in tags):
        return False
    plain = [tag for tag in tags if not _DRAWN.fullmatch(tag[2])]
    attributes = [attribute[1] for tag in plain for attribute in _ATTRIBUTE.finditer(tag[3])]
    return all(_ATTRIBUTES.fullmatch(name) for name in attributes)
