"""HumanEval: a model writes functions, and their tests say how many are right.

A base model goes on from the head of the function, as in the paper (Chen et al., 2021), and stops
where the function ends. A chat model is asked for the whole function.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase, set_seed

from chatdata.core.errors import ChatdataError, ConfigError, OutputError, SourceError
from chatdata.core.hashing import hash64, sha256_json
from trainer.chat import few_shot
from trainer.chat.generation import ChatModel, Sampling
from trainer.chat.prompt_window import Message
from trainer.evaluation import batches, programs, sandbox
from trainer.evaluation.benchmarks.estimates import pass_at_k
from trainer.evaluation.journal import Lines

NAME = "humaneval"
KS = (1, 10, 100)
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")  # the paper's: a function has ended
QUESTION = (
    "Write this Python function. Answer with the whole function, its imports and what it calls, "
    "in a single fenced block.\n\n```python\n{prompt}```"
)

Progress = Callable[[int, int], object]
Texts = dict[tuple[str, int], str]  # by problem and sample


class Problem(NamedTuple):
    """A function to write."""

    task_id: str
    prompt: str
    entry_point: str
    test: str


class Settings(NamedTuple):
    """How answers are drawn."""

    samples: int
    temperature: float
    max_new_tokens: int
    seed: int


class Completion:
    """Writes a prompt as it is, and ends what a base model adds where the function ends."""

    stop_strings: Sequence[str] = STOPS
    stop_tokens: Sequence[str] = ()
    examples = 0

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def ids(self, messages: Sequence[Message], without: int = 0) -> list[int]:
        """The ids of the prompt."""
        encode: Any = self.tokenizer.encode
        return list(encode(messages[-1]["content"]))

    def read(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces up to the end of the function."""
        return few_shot.until(pieces, self.stop_strings)

    def tuned_tokens(self, messages: Sequence[Message]) -> None:
        """None: what a tuned model would need is not asked."""


def find(data: Path) -> Path:
    """The file of problems in a folder, or the file itself. Raises ConfigError without one."""
    listed = [data] if data.is_file() else sorted(data.rglob("*[hH]uman[eE]val*.jsonl*"))
    if not listed:
        raise ConfigError(
            f"'{data}' has no HumanEval.jsonl or HumanEval.jsonl.gz; name the file, or its folder, "
            "with --data."
        )
    return listed[0]


def read(path: Path, limit: int | None) -> list[Problem]:
    """The problems of a file, the first `limit`. Raises SourceError for a line that is none."""
    whole = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    problems = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            row = json.loads(line)
            problems.append(Problem(*(row[key] for key in Problem._fields)))
        except (ValueError, KeyError, TypeError):
            raise SourceError(
                f"'{path}', line {number}: no task_id, prompt, entry_point and test."
            ) from None
    return problems[:limit]


def data_hash(problems: Sequence[Problem]) -> str:
    """A hash of the problems."""
    return sha256_json([list(problem) for problem in problems])


@dataclass(frozen=True)
class Run:
    """A model, and the problems that it is asked."""

    chat_model: ChatModel
    problems: Sequence[Problem]
    settings: Settings
    is_templated: bool
    batch_size: int = 8
    written: Progress = lambda done, of: None
    tried: Progress = lambda done, of: None

    def measure(self, journal: Path) -> list[dict[str, Any]]:
        """A row for each problem. What an earlier run has made stands in files named `journal`,
        which are removed at the end."""
        answered, judged = (journal.with_name(f"{journal.name}.{n}.jsonl") for n in (1, 2))
        answered.parent.mkdir(parents=True, exist_ok=True)
        rows = self.judge(self.answers(answered), judged)
        answered.unlink()
        judged.unlink()
        return rows

    def answers(self, journal: Path) -> Texts:
        """The answers by problem and sample; those in the journal are not made again.

        Each batch has a seed of its own: a run that was killed goes on with the same answers.
        """
        samples, size = range(self.settings.samples), self.batch_size
        jobs = [(problem, number) for number in samples for problem in self.problems]
        grouped = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        with Lines(journal) as lines:
            made: Texts = {(task_id, number): text for task_id, number, text in lines.kept}
            for place, batch in enumerate(grouped, 1):
                if any((problem.task_id, number) not in made for problem, number in batch):
                    set_seed(hash64(f"{self.settings.seed} {place}", NAME) % 2**32)
                    texts = self._write([problem for problem, _ in batch])
                    for (problem, number), text in zip(batch, texts, strict=True):
                        made[problem.task_id, number] = text
                        lines.add([problem.task_id, number, text])
                self.written(min(len(jobs), place * size), len(jobs))
        return made

    def _write(self, problems: Sequence[Problem]) -> list[str]:
        """What the model writes; nothing for a problem that does not fit its context."""
        sampling = _sampling(self.settings)
        texts = [""] * len(problems)
        prompts: list[tuple[int, list[int]]] = []
        for place, problem in enumerate(problems):
            content = (
                QUESTION.format(prompt=problem.prompt) if self.is_templated else problem.prompt
            )
            with contextlib.suppress(_TooLong):
                prompts.append((place, self._ids(content, sampling)))
        asked = [ids for _, ids in prompts]
        for ended in batches.generate(self.chat_model, sampling, asked, len(asked) or 1):
            for number, written in ended:
                place, ids = prompts[number]
                texts[place] = _text(self.chat_model, ids, written)
        return texts

    def _ids(self, content: str, sampling: Sampling) -> list[int]:
        try:
            return self.chat_model.prompt_window(
                [{"role": "user", "content": content}], sampling
            ).ids
        except ConfigError:
            raise
        except ChatdataError as error:
            raise _TooLong from error

    def judge(self, texts: Texts, journal: Path) -> list[dict[str, Any]]:
        """A row for each problem: its answers, which of them pass, and the pass@k of that.

        Raises ConfigError and OutputError where no program can be run.
        """
        rows = []
        with Lines(journal) as lines:
            known = {(task_id, number): status for task_id, number, status in lines.kept}
            for place, problem in enumerate(self.problems, 1):
                for number in range(self.settings.samples):
                    if (key := (problem.task_id, number)) not in known:
                        code = program(problem, texts[key], self.is_templated)
                        known[key] = _status(code, problem)
                        lines.add([*key, known[key]])
                rows.append(_row(problem, texts, known, self.settings.samples))
                self.tried(place, len(self.problems))
        return rows


class _TooLong(Exception):
    """A problem that does not fit the context of the model."""


def _sampling(settings: Settings) -> Sampling:
    return Sampling(
        temperature=settings.temperature,
        top_p=0.95 if settings.temperature else 1.0,
        top_k=0,
        repetition_penalty=1.0,
        max_new_tokens=settings.max_new_tokens,
    )


def _text(chat_model: ChatModel, prompt: Sequence[int], written: Sequence[int]) -> str:
    """What was written behind a prompt. Decoded with it: alone, some tokenizers drop the first
    space, which is Python's indentation."""
    decode: Any = chat_model.tokenizer.decode
    before = decode(list(prompt), skip_special_tokens=True)
    whole = decode([*prompt, *written], skip_special_tokens=True)
    return "".join(chat_model.writer.read([whole[len(before) :]]))


# -------------------------------------------------------------------------------- what is right


def program(problem: Problem, text: str, is_templated: bool) -> str:
    """The program of an answer: what was given, and what the model has written."""
    if not is_templated:
        return problem.prompt + text
    code = programs.find(text, check(problem)).text or text
    head, _, _ = problem.prompt.rpartition(f"def {problem.entry_point}(")
    if f"def {problem.entry_point}(" in code:
        return head + code
    return problem.prompt + textwrap.indent(textwrap.dedent(code), "    ")


def check(problem: Problem) -> str:
    """The test behind a program: raises nothing where the function is right."""
    return f"{problem.test}\ncheck({problem.entry_point})\n"


def _status(code: str, problem: Problem) -> str:
    ran = sandbox.run(code, test=check(problem))
    if ran.status == "not_run":
        raise OutputError(f"a program could not be run ({ran.error}); run the command again.")
    return ran.status


def _row(
    problem: Problem,
    texts: Texts,
    known: Texts,
    samples: int,
) -> dict[str, Any]:
    keys = [(problem.task_id, number) for number in range(samples)]
    statuses = [known[key] for key in keys]
    passed = statuses.count("passed")
    return {
        "task": NAME,
        "doc_id": problem.task_id,
        "doc_hash": sha256_json(list(problem)),
        "responses": [texts[key] for key in keys],
        "statuses": statuses,
        "metrics": {f"pass@{k}": pass_at_k(samples, passed, k) for k in KS if k <= samples},
    }
