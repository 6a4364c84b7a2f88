"""Files of answers: a line for each prompt, `{"id": ..., "prompt": ..., "answer": ...}`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chatdata.core.errors import ConfigError

_OPTIONAL = ("reference", "test")


class Answer(NamedTuple):
    """An answer to a prompt; `reference` is an answer that is known to be right, and `test` Python
    that raises nothing behind right code."""

    id: str
    prompt: str
    answer: str
    reference: str | None = None
    test: str | None = None


class Pair(NamedTuple):
    """Two answers to the same prompt."""

    id: str
    prompt: str
    first: str
    second: str
    reference: str | None


class Paired(NamedTuple):
    """The pairs of two files in the order of the first, and ids that one of them has alone."""

    pairs: list[Pair]
    only_first: list[str]
    only_second: list[str]


def read(path: Path) -> list[Answer]:
    """The answers of a file, in order.

    Raises ConfigError for a file that cannot be read, a line that is no answer, and an id that
    two lines have.
    """
    answers: dict[str, Answer] = {}
    for number, line in lines(path):
        answer = _answer(line, f"'{path}', line {number}")
        if answer.id in answers:
            raise ConfigError(
                f"'{path}', line {number}: the id '{answer.id}' was there before; give each answer "
                "an id of its own."
            )
        answers[answer.id] = answer
    if not answers:
        raise ConfigError(f"'{path}' has no answers; write lines of id, prompt and answer.")
    return list(answers.values())


def pair(first: Path, second: Path) -> Paired:
    """The answers of two files to the same prompts.

    Raises ConfigError where an id has two prompts, and where the files have no id in common.
    """
    left, right = read(first), {answer.id: answer for answer in read(second)}
    pairs = []
    for answer in left:
        match = right.get(answer.id)
        if match is None:
            continue
        if match.prompt != answer.prompt:
            raise ConfigError(
                f"the prompt of '{answer.id}' in '{first}' is another than in '{second}'; "
                "let both models answer the same file of prompts."
            )
        reference = answer.reference if answer.reference is not None else match.reference
        pairs.append(Pair(answer.id, answer.prompt, answer.answer, match.answer, reference))
    if not pairs:
        raise ConfigError(
            f"'{first}' and '{second}' have no id in common; let both models answer the same file "
            "of prompts."
        )
    ids = {answer.id for answer in left}
    only_first = [answer.id for answer in left if answer.id not in right]
    return Paired(pairs, only_first, [id for id in right if id not in ids])


def model(path: Path) -> str:
    """The model that all lines of a file of answers name, or else the name of the file."""
    first, *more = (objects(line, f"'{path}'").get("model") for _, line in lines(path))
    is_named = isinstance(first, str) and bool(first) and all(name == first for name in more)
    return str(first) if is_named else path.stem


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines of a file that say anything, with their numbers. Raises ConfigError for a
    file that cannot be read."""
    try:
        whole = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' cannot be read ({error}).") from None
    for number, line in enumerate(whole.split("\n"), 1):
        if line.strip():
            yield number, line


def objects(line: str, where: str) -> Mapping[str, Any]:
    """The object in a line. Raises ConfigError, which names `where`, for anything else."""
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: no JSON ({error}); write an object a line.") from None
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: {type(values).__name__} is no object; write keys and values.")
    return values


def text(value: object, where: str) -> str:
    """A value that is a text without half characters. Raises ConfigError for anything else."""
    if not isinstance(value, str) or any("\ud800" <= char <= "\udfff" for char in value):
        raise ConfigError(f"{where} is {_short(value)}; write a text.")
    return value


def _answer(line: str, where: str) -> Answer:
    values = objects(line, where)
    id = values.get("id")
    if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
        raise ConfigError(f"{where}: 'id' is {json.dumps(id)}; write a text or a whole number.")
    keys = ["prompt", "answer", *(key for key in _OPTIONAL if values.get(key) is not None)]
    return Answer(str(id), **{key: text(values.get(key), f"{where}: '{key}'") for key in keys})


def _short(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
