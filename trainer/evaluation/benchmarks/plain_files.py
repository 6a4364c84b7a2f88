"""Plain files of benchmarks, as they are passed around, as a folder of tasks for lm-eval.

    arc/arc_challenge*.jsonl     an item a line (choices, query, gold) or an answer (question,
    arc/arc_easy*.jsonl          answer, label); a name with `val` or `train` holds the shots
    hellaswag/*.jsonl            HellaSwag's own lines
    mmlu/*.jsonl                 (subject, input, output), the letter being the output
    truthfulqa/*.csv             TruthfulQA.csv

The tasks are lm-eval's own: its files are copied, and only where the data is, is changed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chatdata.core.errors import SourceError
from chatdata.core.files import new_folder
from trainer import shipped

Item = dict[str, Any]

_SHOTS = re.compile(r"(?:^|[_.-])(?:val|valid|validation|train|dev|shots)(?:[_.-]|$)")
_MMLU = re.compile(
    r"\A(?:The following are .*?\n\n)?(.*)\nA\. (.*)\nB\. (.*)\nC\. (.*)\nD\. (.*)\nAnswer:\s*\Z",
    re.DOTALL,
)


class _Plain(NamedTuple):
    """Where the files of a task are, and how a file is read."""

    pattern: str
    folder: str  # of lm_eval/tasks
    read: Callable[[Path], Iterator[Item]]


def names(source: Path) -> list[str]:
    """The tasks of which `source` has plain files."""
    return [name for name in _PLAIN if _files(source, name)[0]]


def write(source: Path, wanted: Sequence[str], out: Path) -> None:
    """Writes the folder of tasks for lm-eval: `out` is such a folder afterwards, or as before.

    Raises SourceError for a file that has another form.
    """
    with new_folder(out, lambda folder: any(folder.glob("*.base"))) as work:
        for name in wanted:
            _write(source, name, work)


def _write(source: Path, name: str, work: Path) -> None:
    files, shots = _files(source, name)
    plain = _PLAIN[name]
    items = [item for file in files for item in plain.read(file)]
    examples = [item for file in shots for item in plain.read(file)]
    if not items:
        raise SourceError(f"'{files[0]}' has no items of {name}.")
    if name != "mmlu":
        return _write_task(name, name, plain.folder, (items, examples), work)
    subjects = sorted({item["subject"] for item in items})
    for subject in subjects:
        _write_task(
            f"mmlu_{subject}",
            "mmlu_subject",
            plain.folder,
            (_of_subject(items, subject), _of_subject(examples, subject)),
            work,
        )
    listed = "".join(f"  - mmlu_{subject}\n" for subject in subjects)
    (work / "mmlu.yaml").write_text(shipped.find("mmlu", "benchmarks").read_text() + listed)


def _of_subject(items: Sequence[Item], subject: str) -> list[Item]:
    return [item for item in items if item["subject"] == subject]


def _write_task(
    task: str, recipe: str, folder: str, items: tuple[list[Item], list[Item]], work: Path
) -> None:
    text = shipped.find(recipe, "benchmarks").read_text()
    text = text.replace("SUBJECT", task.removeprefix("mmlu_"))
    kinds = {f"{task}.jsonl": items[0], f"{task}.shots.jsonl": items[1]}
    if not items[1]:  # the item that is asked is not among its examples: lm-eval sees to that
        text = text.replace(f", shots: {task}.shots.jsonl", "")
        text = text.replace("fewshot_split: shots", "fewshot_split: test")
    for name, listed in kinds.items():
        if listed:
            (work / name).write_text("".join(json.dumps(item) + "\n" for item in listed))
    for base in re.findall(r"([\w-]+)\.base", text.partition("include:")[2].splitlines()[0]):
        (work / f"{base}.base").write_text(_own_text(folder, base))
    (work / f"{task}.yaml").write_text(text)


def _own_text(folder: str, name: str) -> str:
    """A task file of lm-eval, which finds its functions from anywhere."""
    import lm_eval

    home = Path(lm_eval.__file__).parent / "tasks" / folder
    path = home / f"{name}.yaml"
    path = path if path.is_file() else home / name
    if not path.is_file():
        raise SourceError(f"lm-eval has no subject '{name.removeprefix('mmlu_')}' of MMLU.")
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'^"?include"?:.*\n', "", text, flags=re.MULTILINE)
    module = "lm_eval.tasks." + folder.replace("/", ".")
    return text.replace("!function utils.", f"!function {module}.utils.")


def _files(source: Path, name: str) -> tuple[list[Path], list[Path]]:
    """The files with items of a task, and those with examples for prompts."""
    listed = sorted(source.glob(_PLAIN[name].pattern)) if source.is_dir() else []
    shots = [path for path in listed if _SHOTS.search(path.stem)]
    items = [path for path in listed if path not in shots]
    return (items, shots) if items else (shots, [])


# ------------------------------------------------------------------------------------- the forms


def _lines(path: Path) -> Iterator[Item]:
    """The lines of a file. Raises SourceError, with the line, for what is no JSON object."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield dict(json.loads(line))
            except ValueError:
                raise SourceError(f"'{path}', line {number}: no JSON object.") from None


def _arc(path: Path) -> Iterator[Item]:
    rows = _keyed(path, ("query", "choices", "gold"), ("question", "answer", "label"))
    if "query" in next(iter(rows), {}):
        for row in rows:
            yield _question(row["query"].removeprefix("Question: "), row["choices"], row["gold"])
        return
    for question, answers in _grouped(rows):
        # By their hash: the right answer would else always come first, and win every tie.
        answers.sort(key=lambda row: hashlib.sha256(row["answer"].encode()).digest())
        right = next(place for place, row in enumerate(answers) if row["label"])
        yield _question(question, [row["answer"] for row in answers], right)


def _question(question: str, choices: Sequence[str], right: int) -> Item:
    letters = [chr(ord("A") + place) for place in range(len(choices))]
    return {
        "question": question,
        "choices": {"text": list(choices), "label": letters},
        "answerKey": letters[right],
    }


def _grouped(rows: Sequence[Item]) -> Iterator[tuple[str, list[Item]]]:
    """The answers to each question; a second right answer begins the question anew."""
    group: list[Item] = []
    for row in rows:
        is_next = bool(group) and row["question"] != group[0]["question"]
        if is_next or (row["label"] and any(answer["label"] for answer in group)):
            yield group[0]["question"], group
            group = []
        group.append(row)
    if group:
        yield group[0]["question"], group


def _hellaswag(path: Path) -> Iterator[Item]:
    for row in _keyed(path, ("ctx_a", "ctx_b", "activity_label", "endings", "label")):
        keys = ("ind", "activity_label", "ctx_a", "ctx_b", "endings", "label")
        yield {key: row.get(key) for key in keys}


def _mmlu(path: Path) -> Iterator[Item]:
    for number, row in enumerate(_keyed(path, ("subject", "input", "output")), 1):
        match = _MMLU.match(row["input"])
        if match is None or row["output"] not in "ABCD":
            raise SourceError(f"'{path}', line {number}: no question with the answers A to D.")
        question, *choices = match.groups()
        answer = "ABCD".index(row["output"])
        subject = row["subject"]
        yield {"question": question, "subject": subject, "choices": choices, "answer": answer}


def _truthfulqa(path: Path) -> Iterator[Item]:
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                right, wrong = (
                    [text.strip() for text in row[f"{kind} Answers"].split(";") if text.strip()]
                    for kind in ("Correct", "Incorrect")
                )
                question = row["Question"].strip()
            except (KeyError, AttributeError):
                raise SourceError(
                    f"'{path}', line {number}: columns Question, Correct Answers and "
                    "Incorrect Answers are needed."
                ) from None
            labels = [1] * len(right) + [0] * len(wrong)
            yield {
                "question": question,
                "mc2_targets": {"choices": right + wrong, "labels": labels},
            }


def _keyed(path: Path, *forms: Sequence[str]) -> list[Item]:
    """The lines of a file, all with the keys of one of the forms. Raises SourceError else."""
    rows = list(_lines(path))
    for number, row in enumerate(rows, 1):
        if not any(set(form) <= set(row) for form in forms):
            expected = " or ".join(", ".join(form) for form in forms)
            raise SourceError(f"'{path}', line {number} has not the keys {expected}.")
    return rows


_PLAIN = {
    "arc_challenge": _Plain("arc/arc_challenge*.jsonl", "arc", _arc),
    "arc_easy": _Plain("arc/arc_easy*.jsonl", "arc", _arc),
    "hellaswag": _Plain("hellaswag/*.jsonl", "hellaswag", _hellaswag),
    "mmlu": _Plain("mmlu/*.jsonl", "mmlu/default", _mmlu),
    "truthfulqa_mc2": _Plain("truthfulqa/*.csv", "truthfulqa", _truthfulqa),
}
