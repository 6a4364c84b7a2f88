"""On a terminal, lines are broken between words, and no word is lost or broken."""

from __future__ import annotations

import random

import pytest
from rich.console import Console
from rich.text import Text

from chatdata.cli import terminal
from chatdata.cli.wrapping import stretches, wrap

WORDS = [
    "a",
    "of",
    "words",
    "ünïcödé",
    "漢字",
    "a/long/path/without/any/space/at/all",
    "✓",
    "x" * 90,
]


def lines(seed: int) -> str:
    chance = random.Random(seed)
    made = [chance.choices(WORDS, k=chance.randrange(12)) for _ in range(5)]
    return "\n".join(" " * chance.randrange(6) + " ".join(words) for words in made)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("width", [20, 80])
def test_no_word_is_broken_or_lost_and_no_line_is_too_long(seed: int, width: int) -> None:
    text = lines(seed)
    wrapped = wrap(text, width)
    assert wrapped.split() == text.split()
    for line in wrapped.split("\n"):
        is_a_word = len(line.split()) == 1
        assert is_a_word or Text(line).cell_len <= width, line


def test_lines_that_fit_stay_as_they_are() -> None:
    text = "  two  spaces \n\n\tand a tab"
    assert wrap(text, 80) == text


def test_what_follows_a_mark_stands_under_its_words() -> None:
    assert wrap("  ✓ one two three", 11) == "  ✓ one two\n    three"
    assert wrap("  one two three", 10) == "  one two\n  three"
    verdict = "ok      rows    all of them and more of it"
    assert wrap(verdict, 34) == f"ok      rows    all of them and\n{'':16}more of it"
    assert wrap("✓ rows  all of them", 16) == "✓ rows  all of\n        them"


def test_wide_characters_count_twice() -> None:
    assert stretches("漢字 漢字", 8)[0] == [3]
    assert stretches("abcd efg", 8)[0] == []


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_console_breaks_lines_as_words_are_on_a_terminal_alone(width: int) -> None:
    text = Text("  ✓ ").append("words and more words " * 9, style="green")
    for is_terminal in (True, False):
        console = terminal._console_class()(
            force_terminal=is_terminal,
            width=width,
            record=True,
            file=_Nowhere(),
            legacy_windows=False,
        )
        assert isinstance(console, Console)
        console.print(text, soft_wrap=True)
        shown = console.export_text().rstrip("\n").split("\n")
        assert max(map(len, shown)) <= width if is_terminal else len(shown) == 1
        assert " ".join(shown).split() == text.plain.split()


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass
