"""Answers of a model to a file of prompts, many at a time.

Prompts of a batch are padded on the left, where a mask hides the padding: an answer is the same
as if its prompt were alone. Answers come into a journal beside the file as they are made, so that
a run that is killed goes on; the file is written at the end, in the order of the prompts.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chatdata.core.errors import ChatdataError, OutputError
from chatdata.core.hashing import sha256_file, sha256_json
from trainer.evaluation import batches
from trainer.evaluation.endpoint import Endpoint, Question, Reply
from trainer.evaluation.journal import Lines
from trainer.evaluation.prompts import Prompt
from trainer.evaluation.writing import write_json, write_lines

if TYPE_CHECKING:
    from trainer.chat.generation import ChatModel, Sampling

Progress = Callable[[int, int], object]  # answers that are there, and all


class Made(NamedTuple):
    """An answer; `finish_reason` is stop, length, or refused, where `error` says why."""

    answer: str
    tokens: int
    finish_reason: str
    error: str | None = None


class _Row(NamedTuple):
    """A prompt as token ids."""

    prompt: Prompt
    ids: list[int]


def answer(
    chat_model: ChatModel,
    sampling: Sampling,
    prompts: Sequence[Prompt],
    out: Path,
    *,
    batch_size: int = 32,
    system: str | None = None,
    about: dict[str, Any],
    progress: Progress = lambda done, of: None,
) -> list[dict[str, Any]]:
    """Answers the prompts that no earlier run has answered, and writes the lines of `out`.

    `about` tells the run from others: the model, and all settings. Returns the lines. Raises
    OutputError where the journal beside `out` is that of another run.
    """
    with _Journal(out, _run(about, system, prompts)) as journal:
        left = [prompt for prompt in prompts if prompt.id not in journal.made]
        progress(len(journal.made), len(prompts))
        for made in _answers(chat_model, sampling, left, batch_size, system):
            for prompt, words in made:
                journal.add(prompt, words)
            progress(len(journal.made), len(prompts))
    return _finish(journal, prompts, out, about | {"system": system})


def ask(
    endpoint: Endpoint,
    prompts: Sequence[Prompt],
    out: Path,
    *,
    system: str | None = None,
    about: dict[str, Any],
    progress: Progress = lambda done, of: None,
) -> list[dict[str, Any]]:
    """As `answer`, by the model `about["model"]` behind an endpoint.

    Raises HubError where the endpoint says that requests are wrong, and OutputError where some have
    failed in every try: the next run asks for these.
    """
    by_id = {prompt.id: prompt for prompt in prompts}
    with _Journal(out, _run(about, system, prompts)) as journal:
        left = [prompt for prompt in prompts if prompt.id not in journal.made]
        progress(len(journal.made), len(prompts))
        questions = [Question(p.id, about["model"], _messages(p, system)) for p in left]

        async def keep() -> list[Reply]:
            failed = []
            async for reply in endpoint.ask(questions):
                if reply.text is None:
                    failed.append(reply)
                    continue
                ended = reply.finish_reason or "stop"
                made = Made(reply.text, reply.written, ended, reply.refusal)
                journal.add(by_id[reply.key], made)
                progress(len(journal.made), len(prompts))
            return failed

        if failed := asyncio.run(keep()):
            raise OutputError(
                f"{len(failed)} of {len(prompts)} prompts have no answer ({failed[0].failure}); "
                "run the command again to ask for these alone."
            )
    return _finish(journal, prompts, out, about | {"system": system})


def _run(about: dict[str, Any], system: str | None, prompts: Sequence[Prompt]) -> str:
    """What tells a run from others."""
    return sha256_json([about, system, [[prompt.id, prompt.prompt] for prompt in prompts]])


def _messages(prompt: Prompt, system: str | None) -> list[dict[str, str]]:
    head = [{"role": "system", "content": system}] if system else []
    return [*head, {"role": "user", "content": prompt.prompt}]


def _finish(
    journal: _Journal, prompts: Sequence[Prompt], out: Path, about: dict[str, Any]
) -> list[dict[str, Any]]:
    """Writes the lines of `out` and the summary beside it, and removes the journal."""
    lines = [_line(prompt, journal.made[prompt.id], about) for prompt in prompts]
    write_lines(out, lines)
    summary = _summary(prompts, lines, about) | {"sha256": sha256_file(out)}
    write_json(out.with_name(f"{out.stem}.summary.json"), summary)
    journal.path.unlink()
    return lines


def _summary(
    prompts: Sequence[Prompt], lines: Sequence[dict[str, Any]], about: dict[str, Any]
) -> dict[str, Any]:
    """What a reader has to know who compares the answers with others."""
    shown = dict(about)
    if shown.get("endpoint"):
        shown["endpoint"] = Endpoint(shown["endpoint"]).address
    if shown.get("few_shot"):
        shown["few_shot"] = f"sha256:{sha256_json(shown['few_shot'])}"
    packages = ("openai",) if shown.get("endpoint") else ("torch", "transformers")
    asked = sha256_json([[prompt.id, prompt.prompt] for prompt in prompts])
    return {
        "answers": len(lines),
        "tokens": sum(line["tokens"] for line in lines),
        "finish_reasons": dict(sorted(Counter(line["finish_reason"] for line in lines).items())),
        "settings": shown,
        "prompts": f"sha256:{asked}",
        "versions": {name: metadata.version(name) for name in packages},
    }


def _line(prompt: Prompt, made: Made, about: dict[str, Any]) -> dict[str, Any]:
    """A line of the file; `id, prompt, answer`, and what is known beside."""
    known = {"id": prompt.id, "prompt": prompt.prompt, "answer": made.answer, **prompt.beside}
    how = {"tokens": made.tokens, "finish_reason": made.finish_reason}
    return known | how | ({"error": made.error} if made.error else {}) | {"model": about["model"]}


# -------------------------------------------------------------------------------------- the model


def _answers(
    chat_model: ChatModel,
    sampling: Sampling,
    prompts: Sequence[Prompt],
    batch_size: int,
    system: str | None,
) -> Iterator[list[tuple[Prompt, Made]]]:
    """Yields answers as they end, the longest prompts first: what does not fit fails at once."""
    rows, refused = [], []
    for prompt in prompts:
        try:
            window = chat_model.prompt_window(_messages(prompt, system), sampling)
            rows.append(_Row(prompt, window.ids))
        except ChatdataError as error:
            refused.append((prompt, Made("", 0, "refused", str(error))))
    if refused:
        yield refused
    rows.sort(key=lambda row: -len(row.ids))
    for ended in batches.generate(chat_model, sampling, [row.ids for row in rows], batch_size):
        yield [(rows[number].prompt, _made(chat_model, ids)) for number, ids in ended]


def _made(chat_model: ChatModel, ids: list[int]) -> Made:
    writer, tokenizer = chat_model.writer, chat_model.tokenizer
    text = str(tokenizer.decode(ids, skip_special_tokens=True))
    words = "".join(writer.read([text]))
    is_stopped = bool(ids) and ids[-1] in chat_model.stop_ids()
    is_stopped = is_stopped or any(stop in text for stop in writer.stop_strings)
    return Made(words, len(ids), "stop" if is_stopped else "length")


# ------------------------------------------------------------------------------------ the journal


class _Journal:
    """The answers of a run, a line each in a hidden file beside `out`."""

    def __init__(self, out: Path, run: str) -> None:
        self.path = out.with_name(f".{out.name}.journal.jsonl")
        out.parent.mkdir(parents=True, exist_ok=True)
        self._lines = Lines(self.path)
        if not self._lines.kept:
            self._lines.add(run)
        first, *made = self._lines.kept or [run]
        if first != run:
            self.__exit__()
            raise OutputError(
                f"'{self.path}' is of a run with another model or other settings; remove that "
                "file, or choose another --out."
            )
        self.made = {id: Made(*values) for id, values in made}

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.__exit__(None, None, None)

    def add(self, prompt: Prompt, made: Made) -> None:
        """Keeps an answer."""
        self.made[prompt.id] = made
        self._lines.add([prompt.id, made])
