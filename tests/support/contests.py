"""Contests of made-up answers, and judgements that somebody made of them by a rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainer.evaluation.arena import book as books
from trainer.evaluation.arena import contest as contests
from trainer.evaluation.arena.book import Judgement
from trainer.evaluation.arena.contest import Contest, Item

# From an item and the order of its answers on the page, the rank of each letter.
Rule = Callable[[Item, str], dict[str, int]]


def write(folder: Path, **answers: Sequence[str]) -> list[Path]:
    """Files of answers, a model each, to prompts q0, q1, ..."""
    files = []
    for name, texts in answers.items():
        rows = [
            {"id": f"q{i}", "prompt": f"Question {i}: what is {i} and {i}?", "answer": text}
            for i, text in enumerate(texts)
        ]
        files.append(folder / f"{name}.jsonl")
        files[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return files


def contest(folder: Path, number: int = 40, models: int = 2) -> Contest:
    """A contest in which the answers of A are longer at even prompts, and those of B at odd."""
    texts = {
        name: [name * (9 if i % 2 == at % 2 else 3) + str(i) for i in range(number)]
        for at, name in enumerate(("good", "fair", "poor", "vile")[:models])
    }
    return contests.of_files(write(folder, **texts), seed=0)


def judge(contest: Contest, annotator: str, rule: Rule, **more: Any) -> list[Judgement]:
    """What an annotator says who goes by a rule."""
    judgements = []
    for item in contest.items:
        order = contest.order(annotator, item)
        ranks = rule(item, order)
        of_places = tuple(ranks[letter] for letter in order)
        judgements.append(Judgement(annotator, item.id, order, of_places, **more))
    return judgements


def best_first(letters: str) -> Rule:
    """The same models come first everywhere; those of a rank are joined: `A BC`."""
    ranks = {letter: at for at, group in enumerate(letters.split(), 1) for letter in group}
    return lambda item, order: ranks


def by_place(item: Item, order: str) -> dict[str, int]:
    """The first answer on the page is the best."""
    return {letter: place for place, letter in enumerate(order, 1)}


def by_length(item: Item, order: str) -> dict[str, int]:
    """The longest answer is the best."""
    longest = sorted(order, key=lambda letter: -len(item.answers[letter]))
    return {letter: place for place, letter in enumerate(longest, 1)}


def saved(contest: Contest, out: Path, judgements: Sequence[Judgement]) -> None:
    """Writes judgements into the folder of a contest as the page does."""
    out.mkdir(exist_ok=True)
    contests.settle(contest, out)
    book = books.Book(contest, out)
    places = {item.id: at for at, item in enumerate(contest.items)}
    for judgement in judgements:
        values = judgement._asdict() | {"ranks": list(judgement.ranks)}
        book.save(judgement.annotator, places[judgement.id], values)
    book.close()
