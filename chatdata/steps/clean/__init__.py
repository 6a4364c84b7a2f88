"""Cleaners: text to text, named for what they take care of.

The name of a function is the cleaner's name in a recipe and in the manifest; keyword arguments are
options. A cleaner is applied until it changes nothing more, and so is the list of cleaners of a
recipe: cleaning twice is cleaning once. A text that never comes to rest stays as it is.

What is left alone on purpose: the form of Unicode (NFC or not), no-break spaces within a line,
and text that was decoded wrongly (`â€™`): who pastes such text mostly asks about it.
"""

from __future__ import annotations

import html as character_references
import inspect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from chatdata.core.config import Strict, arguments_model
from chatdata.core.errors import ExtensionError
from chatdata.steps.clean import characters, fences, pages
from chatdata.steps.entries import CleanedEntry
from chatdata.steps.figures import Counts, add_counts

__all__ = [
    "CLEANERS",
    "SEPARATOR",
    "Cleaned",
    "Cleaner",
    "Step",
    "characters",
    "clean",
    "clean_texts",
    "fences",
    "html_pages",
    "markdown",
    "note_left",
    "pages",
]

SEPARATOR = ", "  # of the names of cleaners in `left_by`
_ROUNDS = 8  # after which a text that still changes is left as it was


@dataclass(frozen=True, slots=True)
class Cleaner:
    """A cleaner, its options, and a pattern without which no text concerns it.

    The pattern is one of Polars, cheap enough for a whole corpus; several are looked for as one,
    with `|` between. The versions of `packages` may change what the cleaner makes of a text.
    `is_left` says of a text after cleaning whether the cleaner has left it as it was, for the work
    that it would have been.
    """

    name: str
    function: Callable[..., str]
    pattern: str
    options: type[Strict]
    about: str
    packages: tuple[str, ...] = ()
    is_left: Callable[[str], bool] = lambda text: False


@dataclass(frozen=True, slots=True)
class Step:
    """A cleaner as a recipe lists it, with its options."""

    cleaner: Cleaner
    options: Mapping[str, Any]

    def concerns(self, column: str) -> pl.Expr:
        """Whether the text in a column may be changed by this cleaner."""
        return pl.col(column).str.contains(self.cleaner.pattern)

    def __call__(self, text: str) -> str:
        """The text with the cleaner applied until it changes nothing, or else as it was."""
        settled = text
        for _ in range(_ROUNDS):
            changed = self.cleaner.function(settled, **self.options)
            if changed == settled:
                return settled
            settled = changed
        return text


CLEANERS: dict[str, Cleaner] = {}


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What cleaning did. `by_cleaner`: how many messages changed, by how many characters fewer."""

    by_cleaner: Counts = field(default_factory=dict)

    def __add__(self, more: Cleaned) -> Cleaned:
        """What was done to both."""
        return Cleaned(add_counts(self.by_cleaner, more.by_cleaner))

    def entry(self) -> dict[str, CleanedEntry] | None:
        """What the manifest holds, by cleaner; None where no cleaner ran."""
        return {name: CleanedEntry(**counts) for name, counts in self.by_cleaner.items()} or None


def _cleans(
    pattern: str, packages: tuple[str, ...] = (), **more: Any
) -> Callable[[Callable[..., str]], Callable[..., str]]:
    def register(function: Callable[..., str]) -> Callable[..., str]:
        name = function.__name__
        options = arguments_model(function, skip=1)
        about = (inspect.getdoc(function) or "").splitlines()[0]
        CLEANERS[name] = Cleaner(name, function, pattern, options, about, packages, **more)
        return function

    return register


# ------------------------------------------------------------------------------------- the cleaners


def _is_html(text: str) -> bool:
    from chatdata.steps.clean import html_pages

    return text.lstrip().startswith("<") and html_pages.is_html(text)


@_cleans(
    r"^[\s\x1c-\x1f]*<[A-Za-z]",  # what Python strips, of which Rust calls four no white space
    ("beautifulsoup4", "markdownify", "python"),  # Python has the parser
    is_left=_is_html,
)
def html(text: str) -> str:
    """HTML that is the whole of a text becomes Markdown.

    Text that only holds markup, in fences or not, stays to the letter; see `html_pages.is_html`.
    A page that is more work than a page of a chat is stays as it is, and is counted as left.
    """
    if not _is_html(text):
        return text
    from chatdata.steps.clean import markdown

    return markdown.to_markdown(text)


_ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
_OPEN_ENTITY = re.compile(rf"&(?<!\\&){_ENTITY.removeprefix('&')}")  # quick: it begins with a sign
_TAG_IN_PROSE = re.compile(r"</?(?!https?:|mailto:)[A-Za-z][^<>]*>")


@_cleans(_ENTITY)
def entities(text: str) -> str:
    """Character references (`&lt;`, `&#39;`) outside code become the characters that they name.

    A text that holds tags outside code is source, and a text that would still hold references
    (`&amp;lt;`) is about references: both stay. A no-break space (`&nbsp;`) becomes a space.
    """
    if _TAG_IN_PROSE.search(fences.without_code(text)):
        return text
    decoded = fences.outside_code(text, _decode)
    about_markup = _TAG_IN_PROSE.search(decoded) and not _TAG_IN_PROSE.search(text)
    still = _OPEN_ENTITY.search(fences.without_code(decoded))
    return text if still or (about_markup and decoded.lstrip().startswith("<")) else decoded


def _decode(text: str) -> str:
    return _OPEN_ENTITY.sub(
        lambda entity: character_references.unescape(entity[0]).replace("\xa0", " "), text
    )


_LINK = re.compile(r"https?://[^\s<>\"']+|\]\([^()\s]*\)")
_IN_LINKS = ("://", "](")  # one of which each has
_BARE_UNDERSCORE = re.compile(r"_(?<!\\_)")  # quick: both begin with a sign
_ESCAPE = re.compile(r"\\(?<!\\\\)(?=[_*])")


@_cleans(r"\\[_*]")
def escapes(text: str) -> str:
    """The backslashes that a converter put before every `_` and `*` go.

    For dumps that were converted from HTML before. Concerns a text in which each `_` outside code
    and links has a backslash before it; a text with a bare `_` was not converted and stays.
    """
    words = fences.without_code(text)
    if any(sign in words for sign in _IN_LINKS):
        words = _LINK.sub("", words)
    if _BARE_UNDERSCORE.search(words):
        return text
    return fences.outside_code(text, lambda piece: _ESCAPE.sub("", piece))


@_cleans(pages.PATTERN)
def artefacts(text: str) -> str:
    """The words of the page around a text go: `Copy code`, `2 / 3`, notices, banners of apps."""
    return pages.without_page_words(text)


@_cleans(characters.PATTERN)
def invisible(text: str) -> str:
    """Characters that nobody sees go where neither an emoji nor a script needs them.

    Zero-width and control characters, byte order marks, soft hyphens, directions.
    """
    return characters.without_invisible(text)


_LINE_ENDS = "\r\v\f\u2028\u2029"  # each of which is looked for much faster than a set
_LINE_END = re.compile(f"[{_LINE_ENDS}](?:(?<=\r)\n)?")


@_cleans("(?:[^\\S\n]|[\x1c-\x1f])(?:\n|$)|^\\s|\n$|\n\n\n|[\r\v\f\u2028\u2029]")
def white_space(
    text: str,
    max_blank_lines: Annotated[int, Field(description="Blank lines in a row that stay.", ge=1)] = 2,
) -> str:
    """Blanks at line ends and blank lines at both ends of a text go, and all but a few between.

    Line ends become line feeds. Fenced code keeps its blanks and blank lines. Two blank lines in
    a row stay, since code without fences has them between functions.
    """
    lines = _LINE_END.sub("\n", text) if any(end in text for end in _LINE_ENDS) else text
    most = max_blank_lines + 1
    tidied = fences.outside_blocks(lines, lambda piece: _tidied(piece, most))
    head = re.match(r"(?:[^\S\n]*\n)*", tidied)
    return tidied[head.end() if head else 0 :].rstrip()


def _tidied(piece: str, most_newlines: int) -> str:
    lines = "\n".join(map(str.rstrip, piece.split("\n")))
    most = "\n" * most_newlines
    return re.sub(rf"{most}\n+", most, lines) if f"{most}\n" in lines else lines


# ------------------------------------------------------------------------------------ applying them


def clean(messages: pl.DataFrame, steps: Sequence[Step]) -> tuple[pl.DataFrame, Cleaned]:
    """The messages with their words cleaned, content and reasoning, and what each step did to how
    many of them. Reasoning of which nothing is left is none."""
    messages, cleaned = _clean_column(messages, "content", steps)
    if messages["reasoning"].null_count() == messages.height:
        return messages, cleaned
    messages, thoughts = _clean_column(messages, "reasoning", steps)
    thought = pl.col("reasoning")
    says_something = pl.when(thought.str.strip_chars() != "").then(thought)
    return messages.with_columns(says_something), cleaned + thoughts


def _clean_column(
    messages: pl.DataFrame, column: str, steps: Sequence[Step]
) -> tuple[pl.DataFrame, Cleaned]:
    counts = {step.cleaner.name: {"messages": 0, "characters": 0} for step in steps}
    # All patterns in one: a look at each character takes longer than what is looked for.
    of_any = "|".join(f"(?:{step.cleaner.pattern})" for step in steps)
    concerned = messages.filter(pl.col(column).str.contains(of_any))[column].value_counts()
    texts = concerned[column].to_list()
    try:
        cleaned, taken = clean_texts(texts, steps)
    except FailedText as error:
        raise _named(error, messages, column) from error
    for number, fewer in zip(concerned["count"], taken, strict=True):
        for name, characters_fewer in fewer.items():
            counts[name]["messages"] += number
            counts[name]["characters"] += number * characters_fewer
    left = _note_left(messages, column, steps, dict(zip(texts, cleaned, strict=True)))
    changed = {old: new for old, new in zip(texts, cleaned, strict=True) if old != new}
    replaced = pl.col(column).replace(list(changed), list(changed.values()))
    return left.with_columns(replaced) if changed else left, Cleaned(counts)


def _note_left(
    messages: pl.DataFrame, column: str, steps: Sequence[Step], cleaned: Mapping[str, str]
) -> pl.DataFrame:
    """The messages with the cleaners noted that should have changed the texts of a column, and left
    them. `cleaned` has the cleaned text of each text that concerns a cleaner."""
    for step in steps:
        left = [text for text, made in cleaned.items() if step.cleaner.is_left(made)]
        if left:
            is_left = messages[column].is_in(left).fill_null(False)
            messages = note_left(messages, is_left, step.cleaner.name)
    return messages


def note_left(messages: pl.DataFrame, is_left: pl.Series, name: str) -> pl.DataFrame:
    """The messages with the name of a cleaner in `left_by` of those that it left as they were."""
    is_noted = pl.col("left_by").str.split(SEPARATOR).list.contains(name).fill_null(False)
    names = pl.concat_str("left_by", pl.lit(name), separator=SEPARATOR, ignore_nulls=True)
    return messages.with_columns(
        left_by=pl.when(is_left & is_noted.not_()).then(names).otherwise("left_by")
    )


def clean_texts(
    texts: Sequence[str], steps: Sequence[Step]
) -> tuple[list[str], list[dict[str, int]]]:
    """The texts, cleaned by all steps in order until none changes anything.

    Returns with the texts, for each text, how many characters each step that changed it took away.
    """
    now = list(texts)
    taken: list[dict[str, int]] = [{} for _ in texts]
    active = list(range(len(texts)))
    for _ in range(_ROUNDS):
        before = [now[number] for number in active]
        for step in steps:
            _apply(step, now, active, taken)
        active = [n for n, old in zip(active, before, strict=True) if now[n] != old]
        if not active:
            return now, taken
    for number in active:  # it never comes to rest
        now[number], taken[number] = texts[number], {}
    return now, taken


def _cleaned(step: Step, text: str) -> str:
    """The text, cleaned. Raises ExtensionError, which carries the text, where a function fails."""
    try:
        return step(text)
    except ExtensionError as error:
        raise FailedText(str(error), text) from error


class FailedText(ExtensionError):
    """A cleaner that failed on a text."""

    def __init__(self, words: str, text: str) -> None:
        super().__init__(words)
        self.text = text


def _named(error: FailedText, messages: pl.DataFrame, column: str) -> ExtensionError:
    """The failure of a cleaner in words that name the first message with its text. A text that
    cleaners before have changed is that of no message."""
    hit = messages.filter(pl.col(column) == error.text).select("message", "where").head(1)
    where = [f"It was message '{message}' in {place}." for message, place in hit.iter_rows()]
    begins = f"It was in a text, cleaned before, that begins with {error.text[:40]!r}."
    return ExtensionError(" ".join([str(error), *(where or [begins])]))


def _apply(
    step: Step, now: list[str], active: Sequence[int], taken: Sequence[dict[str, int]]
) -> None:
    """Cleans the active texts in place, and adds to `taken` how many characters fewer they have."""
    contents = pl.DataFrame({"content": [now[n] for n in active]}, schema={"content": pl.String})
    concerned = contents.select(step.concerns("content")).to_series()
    for number in itertools.compress(active, concerned):
        cleaned = _cleaned(step, now[number])
        if cleaned != now[number]:
            fewer, name = taken[number], step.cleaner.name
            fewer[name] = fewer.get(name, 0) + len(now[number]) - len(cleaned)
            now[number] = cleaned
