"""Cleaning: twice is once, no text is too odd, and what is not dirt survives to the letter."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from chatdata import prose
from chatdata.clean import CLEANERS, Cleaner, Step, add, clean, clean_texts, markdown
from chatdata.config import Strict
from tests.conversations import CONTENTS, HELLO, table

ALL = [Step(cleaner, {}) for cleaner in CLEANERS.values()]
BY_NAME = {step.cleaner.name: step for step in ALL}

DIRT = [
    *("<p>", "</p>", "<div class='markdown'>", "</div>", "<pre>", "</pre>", "<code>", "</code>"),
    *("<br>", "<table><tr><td>", "<ul><li>", "<!--", "<b", "&lt;", "&amp;lt;", "&#39;", "&#x200b;"),
    *("&amp;", "&nbsp;", "&lt;p&gt;", "&bogus;", "\\_", "\\\\_", "\\*", "_", "*", "`", "``", "```"),
    *("```\n", "~~~\n", "\n```python\n", "\n```\n", "Copy code", "\nCopy code\n", "python\nCopy\n"),
    *("sqlCopy codeSELECT", "Copy 3 chars / 1 words", "2 / 3", "\n1 / 1", "3 / 2", "Regenerate"),
    *("Regenerate response", "\u200b", "\u200c", "\u200d", "\u00ad", "\ufeff", "\u202e", "\x00"),
    *("\x1b[31m", "\x93", "\x85", "👩", "🏴", "\U000e0067", "\U000e007f", "م", "क", "ก", "\r\n"),
    *("\r", "\n", "\n\n\n\n", "  \n", "\t", " ", "\u2028", "\x0b", "\xa0", "\u3000", "a", "x1", "."),
    *(":", "> ", "- ", "https://a.org/x_y", "\n    indented\n", "$", "\\"),
]
dirty = st.lists(st.sampled_from(DIRT) | st.text(max_size=3), max_size=12).map("".join)
texts = dirty.map(lambda text: text.encode(errors="ignore").decode())


def cleaned(text: str, *names: str) -> str:
    """A text, cleaned by the cleaners of these names, or by all."""
    return clean_texts([text], [BY_NAME[name] for name in names] or ALL)[0][0]


# --------------------------------------------------------------------------------- properties


@pytest.mark.parametrize("name", CLEANERS)
@settings(max_examples=150)
@given(text=texts)
def test_cleaning_twice_is_cleaning_once(name: str, text: str) -> None:
    once = BY_NAME[name](text)
    assert BY_NAME[name](once) == once


@settings(max_examples=300)
@given(text=texts, steps=st.permutations(ALL))
def test_cleaning_by_all_twice_is_cleaning_once(text: str, steps: list[Step]) -> None:
    once, _ = clean_texts([text], steps)
    again, taken = clean_texts(once, steps)
    assert again == once
    assert taken == [{}]


@pytest.mark.parametrize("name", CLEANERS)
@settings(max_examples=150)
@given(text=texts)
def test_a_text_without_the_pattern_is_not_changed(name: str, text: str) -> None:
    step = BY_NAME[name]
    is_concerned = pl.DataFrame({"content": [text]}).select(step.concerns()).item()
    assert is_concerned or step.cleaner.function(text) == text
