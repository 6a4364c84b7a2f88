"""What is compared: the answers of two to four models to the same prompts, and who sees them where.

A model is a letter: A for the first file, B for the second. People see places, never letters. The
folder of a contest holds `settings.json` and `answers.jsonl`, so that it needs the files no more.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chatdata.core.errors import ConfigError
from chatdata.core.files import place_file
from chatdata.core.hashing import sha256_file, sha256_json
from trainer.evaluation import answers, journal
from trainer.evaluation.answers import Answer

SETTINGS, ANSWERS = "settings.json", "answers.jsonl"
LETTERS = "ABCD"


class Item(NamedTuple):
    """A prompt with the answer of each model, by letter."""

    id: str
    prompt: str
    answers: dict[str, str]
    reference: str | None = None


class Contest(NamedTuple):
    """The prompts that all models have answered, in the order of the first file."""

    items: list[Item]
    settings: dict[str, Any]

    @property
    def letters(self) -> str:
        """The letters of the models."""
        return LETTERS[: len(self.settings["answers"])]

    def order(self, annotator: str, item: Item) -> str:
        """The letters of the models in the order in which an annotator sees their answers."""
        seed = sha256_json([self.settings["seed"], annotator, item.id])
        return "".join(random.Random(seed).sample(self.letters, len(self.letters)))


def of_files(files: Sequence[Path], seed: int) -> Contest:
    """The contest of two to four files of answers.

    Raises ConfigError for files that cannot be read or do not go together.
    """
    if not 2 <= len(files) <= len(LETTERS):
        raise ConfigError(f"{len(files)} files of answers are named; name two to four.")
    read = [{answer.id: answer for answer in answers.read(file)} for file in files]
    common = [id for id in read[0] if all(id in of for of in read)]
    if not common:
        names = ", ".join(f"'{file}'" for file in files)
        raise ConfigError(
            f"{names} have no id in common; let all models answer the same file of prompts."
        )
    settings = {
        "answers": {
            letter: f"sha256:{sha256_file(file)}"
            for letter, file in zip(LETTERS, files, strict=False)
        },
        "models": dict(zip(LETTERS, _names(files), strict=False)),
        "left_out": len(set().union(*read)) - len(common),
        "seed": seed,
    }
    return Contest([_item([of[id] for of in read]) for id in common], settings)


def _item(given: Sequence[Answer]) -> Item:
    """The answers to a prompt. Raises ConfigError where they answer different prompts."""
    prompts = {answer.prompt for answer in given}
    if len(prompts) > 1:
        raise ConfigError(
            f"the id '{given[0].id}' has {len(prompts)} different prompts; "
            "let all models answer the same file of prompts."
        )
    references = [answer.reference for answer in given if answer.reference is not None]
    texts = {letter: answer.answer for letter, answer in zip(LETTERS, given, strict=False)}
    return Item(given[0].id, given[0].prompt, texts, references[0] if references else None)


def _names(files: Sequence[Path]) -> list[str]:
    """The models of the files, with a letter where two have the same name."""
    names = [answers.model(file) for file in files]
    return [
        name if names.count(name) == 1 else f"{name} ({letter})"
        for name, letter in zip(names, LETTERS, strict=False)
    ]


def settle(contest: Contest, out: Path) -> None:
    """Writes a contest into its folder. Raises OutputError where the folder has something else."""
    settings = {key: contest.settings[key] for key in ("answers", "seed")}
    journal.check_same_run(settings, out, "contest")
    write_lines(out / ANSWERS, [_line(item) for item in contest.items])
    write(out / SETTINGS, json.dumps(contest.settings, indent=2) + "\n")


def load(out: Path) -> Contest:
    """The contest of a folder. Raises ConfigError where the folder holds none."""
    if not (out / SETTINGS).exists() or not (out / ANSWERS).exists():
        raise ConfigError(f"'{out}' holds no contest; name the folder that --out made.")
    settings = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    lines = (out / ANSWERS).read_text(encoding="utf-8").splitlines()
    return Contest([_of_line(json.loads(line)) for line in lines], settings)


def _line(item: Item) -> dict[str, Any]:
    """An item as `answers.jsonl` has it, which is as `pairs.jsonl` of a judge has a pair."""
    line = {"id": item.id, "prompt": item.prompt, **item.answers}
    return line | ({} if item.reference is None else {"reference": item.reference})


def _of_line(line: dict[str, Any]) -> Item:
    texts = {letter: line[letter] for letter in LETTERS if letter in line}
    return Item(line["id"], line["prompt"], texts, line.get("reference"))


def write_lines(path: Path, lines: Sequence[Any]) -> None:
    """Writes values as a line each."""
    write(path, "".join(json.dumps(line) + "\n" for line in lines))


def write(path: Path, text: str) -> None:
    """Writes a file at once, or not at all."""
    with place_file(path) as new:
        new.write_text(text, encoding="utf-8")
