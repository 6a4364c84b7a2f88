"""Prints how plain the words of the pages are: reading ease, grade, long sentences.

    python -m tests.bench.plain_language [PAGE ...]

Needs the extra `docs`. Code, tables and targets of links are left out; code within a line counts as
a word of two syllables. Reading ease: 60 and more is plain English, below 30 is hard. Grade: years
at school.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

ROOT = Path(__file__).parents[2]
_LONG = 30  # words of a long sentence


class Score(NamedTuple):
    """How plain a page is."""

    page: str
    words: int
    ease: float
    grade: float
    words_per_sentence: float
    long: int


def prose(page: str) -> str:
    """The sentences of a page: without code, tables, headings and marks."""
    text = re.sub(r"^```.*?^```$|^<!--.*?-->$", "", page, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(\||#|!\[).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "option", text)
    return re.sub(r"[*_>]", "", re.sub(r"^\s*(?:[-*]|\d+\.) ", "\n", text, flags=re.MULTILINE))


def sentences(page: str) -> Iterator[str]:
    """Yields the sentences of a page, their words apart."""
    for paragraph in re.split(r"\n\s*\n", prose(page)):
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
            words = re.findall(r"[A-Za-z0-9'’-]+", sentence)
            if len(words) > 2:
                yield " ".join([*words, "."])


def score(path: Path) -> Score:
    """The score of a page."""
    import readability

    listed = list(sentences(path.read_text(encoding="utf-8")))
    measures = readability.getmeasures(listed, lang="en")
    grades, info = measures["readability grades"], measures["sentence info"]
    return Score(
        str(path.relative_to(ROOT)),
        int(info["words"]),
        grades["FleschReadingEase"],
        grades["Kincaid"],
        info["words_per_sentence"],
        sum(len(sentence.split()) > _LONG for sentence in listed),
    )


@click.command()
@click.argument("pages", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(pages: tuple[Path, ...]) -> None:
    """Prints a line for each of PAGES (by default all), the hardest first, and the mean of all
    words. Needs the extra `docs`."""
    written = [p for p in (ROOT / "docs").rglob("*.md") if p.parent.name != "reference"]
    paths = [page.resolve() for page in pages] or [ROOT / "README.md", *written]
    scores = sorted(map(score, paths), key=lambda each: each.ease)
    print("| page | words | reading ease | grade | words a sentence | sentences over 30 |")
    print("|---|--:|--:|--:|--:|--:|")
    for page, words, ease, grade, length, long in scores:
        print(f"| {page} | {words:,} | {ease:.0f} | {grade:.1f} | {length:.1f} | {long} |")
    total = sum(each.words for each in scores)
    ease = sum(each.ease * each.words for each in scores) / total
    print(f"\n{len(scores)} pages, {total:,} words, mean reading ease {ease:.0f}")


if __name__ == "__main__":
    main()
