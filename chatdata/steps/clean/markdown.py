"""HTML to Markdown: is this text the HTML of a chat page, and what does it say?

A text is HTML where markup is the whole of it: it begins with a block element and ends with a
tag, and either its first element is marked as a page's rendering of Markdown, or it holds none
but the elements and attributes that such a rendering has, and is not laid out as source code is
(no tag is indented). So a question about a page's source, with the source in it, stays as it is.

Conversion is markdownify's, on BeautifulSoup's tree by `html.parser`. What is ours: code is taken
to the letter, with its language; formulas are taken from their TeX; buttons and drawings go.
"""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, Tag
from bs4.exceptions import ParserRejectedMarkup
from markdownify import ATX, MarkdownConverter

_TAG = re.compile(r"""<(/?)([A-Za-z][A-Za-z0-9-]*)((?:"[^"]*"|'[^']*'|[^'"<>])*)>""")
_ATTRIBUTE = re.compile(r"""([^\s"'=/]+)(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"']+))?""")
_CLASS = re.compile(r"""\bclass\s*=\s*["']?([^"'>]*)""", re.IGNORECASE)
_PREFORMATTED = re.compile(r"</?pre\b", re.IGNORECASE)
_INDENTED_TAG = re.compile(r"\n[ \t]+<")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

# The class of what ChatGPT's page, and GitHub's, render from Markdown.
_MARKS = {"markdown", "markdown-body"}
_BLOCKS = re.compile(
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
_VOID = re.compile("area|base|br|col|embed|hr|img|input|link|meta|source|wbr", re.IGNORECASE)
_MOST_DEPTH = 100  # the converter calls itself for each level
_SILENT = frozenset(
    ["button", "svg", "style", "script", "noscript", "template", "iframe", "select", "textarea"]
)
_MATHJAX = frozenset(["MathJax", "MathJax_Preview", "MathJax_Display"])
_KATEX = frozenset(["katex", "katex-display"])
_LANGUAGE = re.compile(r"(?:^|\s)(?:language|lang|highlight-source)-([^\s]+)")


def is_html(text: str) -> bool:
    """Whether the whole text is the HTML of a chat page, by the rule above."""
    stripped = text.strip()
    first = _TAG.match(stripped)
    if first is None or first[1] or not _BLOCKS.fullmatch(first[2]):
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
    signs = [tag[1] for tag in _TAG.finditer(text) if tag[2].lower() == name.lower()]
    return bool(signs.count("") > signs.count("/"))


def _is_rendered(text: str) -> bool:
    """Whether text holds what a rendering of Markdown has and nothing else."""
    outside = _PREFORMATTED.split(text)[::2]
    if "<!" in text or "<?" in text or any(map(_INDENTED_TAG.search, outside)):
        return False
    tags = list(_TAG.finditer(text))
    if not all(_BLOCKS.fullmatch(tag[2]) or _INLINE.fullmatch(tag[2]) for tag in tags):
        return False
    plain = [tag for tag in tags if not _DRAWN.fullmatch(tag[2])]
    attributes = [attribute[1] for tag in plain for attribute in _ATTRIBUTE.finditer(tag[3])]
    return all(_ATTRIBUTES.fullmatch(name) for name in attributes)


def to_markdown(html: str) -> str:
    """What a page says, as Markdown.

    A page that cannot be parsed, is nested more than a hundred deep, or has a comment without an
    end (on which the parser takes its time) is returned as it is.
    """
    if _depth(html) > _MOST_DEPTH or html.count("<!--") > html.count("-->"):
        return html
    try:
        soup = BeautifulSoup(html, "html.parser")
    except ParserRejectedMarkup:
        return html
    _simplify(soup)
    markdown = str(_CONVERTER.convert_soup(soup)).strip()
    return f"\\{markdown}" if is_html(markdown) else markdown


def _depth(html: str) -> int:
    """How deeply the elements of a page are nested at most, by its tags."""
    depth = deepest = 0
    for tag in _TAG.finditer(html):
        if tag[1]:
            depth = max(0, depth - 1)
        elif not _VOID.fullmatch(tag[2]):
            depth += 1
            deepest = max(deepest, depth)
    return deepest


# -------------------------------------------------------------------------------- before conversion


def _simplify(soup: BeautifulSoup) -> None:
    """Puts into words what a page draws, and takes out what says nothing."""
    for element in soup.find_all(True):
        if not element.decomposed:
            _put_into_words(element, set(_classes(element)))


def _put_into_words(element: Tag, classes: set[str]) -> None:
    name = element.name
    if name in _SILENT or element.has_attr("hidden") or not classes.isdisjoint(_MATHJAX):
        is_tex = str(element.get("type")).startswith("math/tex")
        _write_formula(element, element) if is_tex else element.decompose()
    elif name == "math" or not classes.isdisjoint(_KATEX):
        _write_formula(element, element.find("annotation"))
    elif name == "input" and element.get("type") == "checkbox":
        element.replace_with("[x]" if element.has_attr("checked") else "[ ]")
    elif name == "img" and str(element.get("src")).startswith("data:"):
        element.replace_with(str(element.get("alt") or ""))
    elif name in ("td", "th"):
        for text in element.find_all(string=re.compile(r"\|")):
            text.replace_with(str(text).replace("|", "\\|"))


def _write_formula(formula: Tag, source: object) -> None:
    """Puts a formula's TeX in its place, between dollars."""
    tex = source.get_text().strip() if isinstance(source, Tag) else ""
    is_display = "katex-display" in _classes(formula) or "display" in str(formula.get("type"))
    if tex and formula.parent is not None:
        formula.replace_with(f"$${tex}$$" if is_display else f"${tex}$")


def _classes(element: Tag) -> list[str]:
    return [str(name) for name in element.get_attribute_list("class") if name]


# --------------------------------------------------------------------------------------- conversion


class _Converter(MarkdownConverter):
    """markdownify, with code to the letter and nothing escaped that reads well as it is."""

    def convert_pre(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """A block of code in a fence longer than any in it, its blank lines kept."""
        code = el.find("code")
        for line in el.find_all("br"):
            line.replace_with("\n")
        words = code.get_text() if isinstance(code, Tag) else el.get_text().removeprefix("\n")
        words = words.removesuffix("\n")
        if not words.strip():
            return ""
        ticks = max((len(run) for run in re.findall("`{3,}", words)), default=2) + 1
        fence = "`" * ticks
        return f"\n\n{fence}{_language(el, code)}\n{words}\n{fence}\n\n"

    def convert_div(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """A block of words; words that a page shows as they were typed, to the letter."""
        words = text.strip()
        if "whitespace-pre-wrap" in _classes(el) and el.find(_BLOCKS) is None:
            for line in el.find_all("br"):
                line.replace_with("\n")
            words = el.get_text().strip("\n")
        return f"\n\n{words}\n\n" if words else ""

    def escape(self, text: str, parent_tags: set[str]) -> str:
        """Words as they are, but for what Markdown would read as an entity."""
        return _ENTITY.sub(r"\\\g<0>", text)


_CONVERTER = _Converter(heading_style=ATX, bullets="-", strip_pre=None)


def _language(block: Tag, code: object) -> str:
    """The language of a block of code: by its class, else by the words above it."""
    for element in (code, block):
        if isinstance(element, Tag):
            named = _LANGUAGE.search(" ".join(_classes(element)))
            if named:
                return named[1]
    if not isinstance(code, Tag):
        return ""
    above = "".join(text for text in block.find_all(string=True) if code not in text.parents)
    return above.strip() if re.fullmatch(r"[\w+#.-]{1,20}", above.strip()) else ""
