"""HTML to Markdown: what does the HTML of a chat page say?

Conversion is markdownify's, on BeautifulSoup's tree by `html.parser`. What is ours: code is taken
to the letter, with its language; formulas are taken from their TeX; buttons and drawings go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bs4 import BeautifulSoup, CData, Tag
from bs4.element import NavigableString, PageElement
from bs4.exceptions import ParserRejectedMarkup
from markdownify import ATX, MarkdownConverter

from chatdata.steps.clean.html_pages import BLOCKS, TAG, is_html

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_VOID = re.compile("area|base|br|col|embed|hr|img|input|link|meta|source|wbr", re.IGNORECASE)
_MOST_DEPTH = 100  # the converter calls itself for each level
_MOST_WORK = 10_000_000  # characters and lines that are written again at each level they lie in
_MOST_TAGS = 100_000
_MOST_MOVES = 10_000_000  # of neighbours that are passed where an element is taken out
_SILENT = frozenset(
    ["button", "svg", "style", "script", "noscript", "template", "iframe", "select", "textarea"]
)
_MATHJAX = frozenset(["MathJax", "MathJax_Preview", "MathJax_Display"])
_KATEX = frozenset(["katex", "katex-display"])
_BAR = re.compile(r"\|")
_BLANKS = re.compile(r"[\t \r\n]+")
_START = re.compile(r"\d{1,9}")
_LANGUAGE = re.compile(r"(?:^|\s)(?:language|lang|highlight-source)-([^\s]+)")


def to_markdown(html: str) -> str:
    """What a page says, as Markdown.

    A page that cannot be parsed, is nested more than a hundred deep, has a comment without an end
    (on which the parser takes its time), or is as much work as no page of a chat is, is returned
    as it is.
    """
    is_heavy = _depth(html) > _MOST_DEPTH or html.count("<") > _MOST_TAGS
    if is_heavy or html.count("<!--") > html.count("-->"):
        return html
    try:
        soup = BeautifulSoup(html, "html.parser")
    except ParserRejectedMarkup:
        return html
    if not (_is_light(soup) and _simplify(soup)):
        return html
    _number_items(soup)
    markdown = str(_CONVERTER.convert_soup(soup)).strip()
    return f"\\{markdown}" if is_html(markdown) else markdown


def _depth(html: str) -> int:
    """How deeply the elements of a page are nested at most, by its tags."""
    depth = deepest = 0
    for tag in TAG.finditer(html):
        if tag[1]:
            depth = max(0, depth - 1)
        elif not _VOID.fullmatch(tag[2]):
            depth += 1
            deepest = max(deepest, depth)
    return deepest


def _is_light(soup: BeautifulSoup) -> bool:
    """Whether a page takes no more work than its length allows, by its tree.

    Each level writes the lines within it anew, and a list or a quotation makes each line longer.
    Each row of a table's head looks through the head for its rows.
    """
    work = rows = 0
    for nodes, (node, depth) in enumerate(_levels(soup)):
        words = str(node) if isinstance(node, NavigableString) else ""
        rows += isinstance(node, Tag) and node.name == "tr" and _is_named(node.parent, "thead")
        work += depth * (len(words) + depth * (1 + words.count("\n")))
        if depth > _MOST_DEPTH or work + 10 * rows * nodes > _MOST_WORK:
            return False
    return True


def _levels(soup: BeautifulSoup) -> Iterator[tuple[PageElement, int]]:
    """Yields the nodes of a page, each with the number of elements it lies in."""
    depths = {id(soup): 0}
    for node in soup.descendants:
        depth = depths[id(node.parent)] + isinstance(node, Tag)
        depths[id(node)] = depth
        yield node, depth


def _is_named(element: Tag | None, name: str) -> bool:
    return element is not None and element.name == name


# -------------------------------------------------------------------------------- before conversion


def _simplify(soup: BeautifulSoup) -> bool:
    """Puts into words what a page draws, and takes out what says nothing.

    Returns whether that was done: what lies between many others takes long to take out.
    """
    moves = 0
    for element in soup.find_all(True):
        parent = element.parent
        moves += sum(len(_siblings(bar.parent)) for bar in _bars(element))
        if moves > _MOST_MOVES:
            return False
        if not element.decomposed:
            _put_into_words(element, set(_classes(element)))
        moves += len(_siblings(parent)) if element.parent is not parent else 0
    return True


def _siblings(parent: Tag | None) -> list[PageElement]:
    return parent.contents if parent is not None else []


def _bars(element: Tag) -> list[NavigableString]:
    """The texts in a cell of a table that hold a bar, which would end the cell."""
    is_cell = element.name in ("td", "th") and not element.decomposed
    return list(element.find_all(string=_BAR)) if is_cell else []


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
        for text in _bars(element):
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
        words = _typed(code) if isinstance(code, Tag) else _typed(el).removeprefix("\n")
        words = words.removesuffix("\n")
        if not words.strip():
            return ""
        ticks = max((len(run) for run in re.findall("`{3,}", words)), default=2) + 1
        fence = "`" * ticks
        return f"\n\n{fence}{_language(el, code)}\n{words}\n{fence}\n\n"

    def convert_div(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """A block of words; words that a page shows as they were typed, to the letter."""
        words = text.strip()
        if "whitespace-pre-wrap" in _classes(el) and el.find(BLOCKS) is None:
            words = _typed(el).strip("\n")
        return f"\n\n{words}\n\n" if words else ""

    def convert_li(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """An item behind its sign; in an ordered list behind its number."""
        words = text.strip()
        sign = f"{el[_NUMBER]}. " if _is_named(el.parent, "ol") else "- "
        lines = (" " * len(sign) + line if line else "" for line in words.split("\n"))
        return sign + "\n".join(lines)[len(sign) :] + "\n" if words else "\n"

    def process_text(self, el: NavigableString, parent_tags: set[str]) -> str:
        """Words with blanks narrowed, which takes markdownify the square of their number."""
        converter: Any = super()
        if "pre" in parent_tags:
            return str(converter.process_text(el, parent_tags))
        narrowed = NavigableString(_BLANKS.sub(_narrow, str(el)))
        narrowed.parent = el.parent
        narrowed.previous_sibling, narrowed.next_sibling = el.previous_sibling, el.next_sibling
        return str(converter.process_text(narrowed, parent_tags))

    def should_convert_tag(self, tag: str) -> bool:
        """Whether a tag is converted; not where the class has something else of its name."""
        return tag not in ("soup", "fn-cache", "fn:cache", "fn_cache") and len(tag) < 20

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
    above = _typed(block, without=code).strip()
    return above if re.fullmatch(r"[\w+#.-]{1,20}", above) else ""


def _narrow(blanks: re.Match[str]) -> str:
    return " " if blanks[0].strip("\t ") == "" else "\n"


def _typed(element: Tag, without: Tag | None = None) -> str:
    """The words of an element as they were typed, with its line breaks; of one in it without."""
    skipped = {id(node) for node in without.descendants} if without is not None else set()
    nodes = (node for node in element.descendants if id(node) not in skipped)
    return "".join(filter(None, map(_typed_node, nodes)))


def _typed_node(node: PageElement) -> str:
    if isinstance(node, Tag):
        return "\n" if node.name == "br" else ""
    return str(node) if type(node) in (NavigableString, CData) else ""


_NUMBER = "data-number"  # an attribute that is written here, and read by the converter


def _number_items(soup: BeautifulSoup) -> None:
    """Writes into each item of an ordered list its number, for which a converter would count."""
    for listing in soup.find_all("ol"):
        start = str(listing.get("start"))
        number = int(start) if _START.fullmatch(start) else 1
        for item in listing.find_all("li", recursive=False):
            item[_NUMBER] = str(number)
            number += 1
