"""The trained tokens of answers, compared with what serving code gives and a model has to write."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chatdata.core.constants import IGNORE_INDEX
from chatdata.render.chat_template import lost
from chatdata.render.conversation import Message
from chatdata.render.parity import ParityCounts, Reference, Row
from chatdata.render.parts import TrainParts
from chatdata.render.segments.unencoded import TrainOn, learnt_parts
from chatdata.render.token_spans import trained_spans
from chatdata.render.tokenizer import Tokenizer

_MOST_TOKENS = 1 << 22  # of what models are given before the answers of a row
_FEWEST = 8  # answers of a row that are compared, however long the row is
_NOTHING = np.empty(0, np.int32)


class Answer(NamedTuple):
    """An answer whose text is right, with the ids of its row and what a model is given before."""

    ids: npt.NDArray[np.int32]  # of the row
    first: int | None  # the place of the first id that is trained; None where parts are not
    prompt: str
    lead: str  # what the template writes after the prompt and the labels leave out
    known: npt.NDArray[np.int32] = _NOTHING  # the ids of what stands before `prompt`

    def begins_behind(self, given: list[int]) -> bool:
        """Whether the row begins with the known ids and these, and no more stands before what is
        trained."""
        start, end = len(self.known), len(self.known) + len(given)
        is_there = np.array_equal(self.ids[:start], self.known)
        is_there = is_there and self.ids[start:end].tolist() == given
        return is_there and self.first in (None, end)


def check_answers(
    counts: ParityCounts, row: Row, reference: Reference, quotes: bool, train_on: TrainOn
) -> Iterator[Answer]:
    """Yields the answers of a row that can be compared with their prompts, and counts all of them.

    Labels are not compared with answers where headers are trained as well. Of a row with very many
    answers some are compared, spread over it, and none by their parts, since each has the row
    before it; the others are counted as passed over.
    """
    if train_on in ("all", "assistant_with_header"):
        return
    by_parts = isinstance(train_on, TrainParts) or row.parts
    if by_parts and len(row.trained) > _most_answers(row):
        counts.passed_over += len(row.trained)
        return
    counts.in_parts += len(row.parts)
    for piece in _by_answer(row, reference, quotes):
        if isinstance(train_on, TrainParts) or piece.parts:
            yield from parts_of_answers(counts, piece, reference, quotes, learnt_parts(train_on))
        else:
            yield from whole_answers(counts, piece, reference, quotes)


def _most_answers(row: Row) -> int:
    """How many answers of a row are compared at most."""
    return max(_FEWEST, _MOST_TOKENS // max(1, len(row.ids)))


def _by_answer(row: Row, reference: Reference, quotes: bool) -> Iterator[Row]:
    """Yields a row once for each trained answer, with the labels from its prompt to the next.

    The row as it is where no message names parts of it, or where the prompts are not known.
    """
    prompts = _prompts(row, reference) if row.parts and not quotes else []
    if not prompts:
        yield row
        return
    starts = [_shared(row.ids.tolist(), ids) for ids in reference.encode(prompts)]
    spans = itertools.pairwise([0, *starts[1:], len(row.ids)])
    places = np.arange(len(row.ids))
    for place, (start, end) in zip(row.trained, spans, strict=True):
        labels = np.where((start <= places) & (places < end), row.labels, IGNORE_INDEX)
        parts = {at: learnt for at, learnt in row.parts.items() if at == place}
        yield replace(row, labels=labels, trained=[place], parts=parts)


def _prompts(row: Row, reference: Reference) -> list[str]:
    """What stands before each trained answer of a row; nothing where one of them is not known."""
    prompts = [reference.prompt(row, place) for place in row.trained]
    known = [prompt for prompt in prompts if prompt is not None]
    return known if len(known) == len(prompts) else []


def _shared(ids: list[int], beginning: list[int]) -> int:
    """The number of ids with which both begin."""
    pairs = enumerate(zip(ids, beginning, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(ids), len(beginning)))


def whole_answers(
    counts: ParityCounts, row: Row, reference: Reference, quotes: bool
) -> Iterator[Answer]:
    """Yields the answers of a row that can be compared with their prompts.

    Counts those that are looked at: each span of labels must be what the template writes for an
    answer, from the end of the generation prompt to the last token that the model has to write.
    """
    spans = trained_spans(row.labels).tolist()
    if len(spans) != len(row.trained):
        counts.fail(f"{len(row.trained)} answers are to be trained and {len(spans)} are")
    answers = list(zip(spans, row.trained, strict=False))
    looked_at = np.linspace(0, len(answers) - 1, min(len(answers), _most_answers(row)))
    counts.answers += len(looked_at)
    counts.passed_over += len(answers) - len(looked_at)
    for (start, end), place in (answers[number] for number in looked_at.astype(int)):
        trained, message = row.labels[start:end].tolist(), row.turns[place]
        is_stopped = _is_stopped(trained, message, reference.tokenizer)
        counts.stops_trained += is_stopped
        prompt = reference.prompt(row, place)
        kind, lead = _kind(trained, row, place, prompt, reference)
        setattr(counts, kind, getattr(counts, kind) + 1)
        if kind == "headers_trained" or not is_stopped:
            shown = (message["content"] or "")[:40]
            counts.fail(f"the labels of the answer {shown!r} are not that answer")
        elif kind != "straddling":
            yield from _with_prompt(counts, row, start, prompt, lead, quotes)


def _with_prompt(
    counts: ParityCounts, row: Row, first: int | None, prompt: str | None, lead: str, quotes: bool
) -> Iterator[Answer]:
    """Yields an answer to compare with its prompt; counts an answer that cannot be compared."""
    counts.in_quoting += quotes
    counts.unasked += not quotes and prompt is None
    if not quotes and prompt is not None:
        yield Answer(row.ids, first, prompt, lead)


# --------------------------------------------------------------------------------------- parts


def parts_of_answers(
    counts: ParityCounts, row: Row, reference: Reference, quotes: bool, of_recipe: TrainParts
) -> Iterator[Answer]:
    """Yields the answers of a row, of which parts are learnt, to compare with their prompts.

    The parts are those of the row, or else those `of_recipe`. The labels must hold the words of
    the parts that are learnt, and no more text than is left of what the template writes for the
    answers without the other parts.
    """
    parts = {place: row.parts.get(place, of_recipe) for place in row.trained}
    ids = row.labels[row.labels != IGNORE_INDEX].tolist()
    learnt = _without_space(reference.tokenizer.decode(ids))
    counts.answers += len(row.trained)
    _count_ends(counts, row, reference.tokenizer, parts, of_recipe)
    most = 0  # characters that may be learnt
    for place in row.trained:
        prompt, body = reference.prompt(row, place), reference.text(row, place + 1)
        if prompt and not body.startswith(prompt):
            counts.fail(f"turn {place} does not stand behind its generation prompt")
        most += len(_without_space(body.removeprefix(prompt or "")))
        for name, words in _words_of_parts(row.turns[place]).items():
            if name in _left_out(parts[place]):
                most -= len(_without_space(words))
            elif _without_space(words) not in learnt:
                counts.fail(f"the {name} {words[:40]!r} of turn {place} is not learnt")
        yield from _with_prompt(counts, row, None, prompt, "", quotes)
    if len(learnt) > most and not _alters(row, reference):
        left_out = ", ".join(_left_out(*parts.values()))
        counts.fail(f"of the answers more is learnt than there is without the parts {left_out}")


def _left_out(*parts: TrainParts) -> list[str]:
    """The names of the parts that are not learnt of all answers."""
    return [name for name in _PARTS if not all(getattr(answer, name) for answer in parts)]


_PARTS = tuple(TrainParts.model_fields)


def _alters(row: Row, reference: Reference) -> bool:
    """Whether the tokenizer gives back another text than it was given, which may be longer."""
    text = reference.text(row, len(row.turns))
    (ids,) = reference.encode([text])
    return reference.tokenizer.decode(ids) != text


def _count_ends(
    counts: ParityCounts,
    row: Row,
    tokenizer: Tokenizer,
    parts: Mapping[int, TrainParts],
    of_recipe: TrainParts,
) -> None:
    """Counts the answers whose end is trained: all of those of which `end` is learnt.

    Some templates end a call of a tool with a control token of its own.
    """
    stop = tokenizer.stops()[-1]
    ends = [int(row.labels[end - 1]) for _, end in trained_spans(row.labels).tolist()]
    stopped = sum(id == stop for id in ends)
    ending = [place for place in row.trained if parts[place].end]
    may_end_otherwise = sum("tool_calls" in row.turns[place] for place in ending)
    is_right = len(ending) - may_end_otherwise <= stopped <= len(ending)
    counts.stops_trained += len(ending) if is_right else stopped
    counts.ends_left_out += of_recipe.end * (len(row.trained) - len(ending))
    if not is_right:
        counts.fail(f"of {len(row.trained)} answers {stopped} end with a trained end token")


def _words_of_parts(message: Message) -> dict[str, str]:
    """The words by which the parts of an answer are known."""
    calls = message.get("tool_calls") or ()
    names = [call["function"]["name"] for call in calls]
    return {
        "answer": message["content"] or "",
        "reasoning": message.get("reasoning_content") or "",
        "tool_calls": names[0] if names else "",
    }


def _without_space(text: str) -> str:
    return "".join(text.split())


# --------------------------------------------------------------------------- texts and prompts


def _is_stopped(trained: list[int], message: Message, tokenizer: Tokenizer) -> bool:
    """Whether the trained ids of an answer end with what stops a model.

    Some templates end a call of a tool with a control token of its own.
    """
    stops, control = tokenizer.stops(), set(tokenizer.control.ids.values())
    if trained[-1] == stops[-1] and [id for id in trained if id in control][-len(stops) :] == stops:
        return True
    return "tool_calls" in message and trained[-1] in control


def _kind(
    trained: list[int], row: Row, place: int, prompt: str | None, reference: Reference
) -> tuple[str, str]:
    """What the trained ids of an answer are, as a field of ParityCounts, and the untrained lead.

    A first token that also covers the end of the header is never trained, so a little may be
    missing at the start. A tokenizer that normalises gives back what it makes of a text.
    """
    tokenizer = reference.tokenizer
    text = tokenizer.decode(trained)
    message = row.turns[place]
    if prompt is None:
        is_whole = lost.from_answer(text, message) is None
        return ("texts_returned" if is_whole else "headers_trained"), ""
    ends_otherwise = trained[-1] != tokenizer.stops()[-1]  # as the next turn makes it
    body = reference.text(row, len(row.turns) if ends_otherwise else place + 1)
    if not body.startswith(prompt):
        return "headers_trained", ""
    body = body[len(prompt) :]
    leads = _leads(body, message, reference.writer(row).empty_thought)
    if lost.from_answer(text, message) is None:
        for lead in leads:
            if body.startswith(text, len(lead)):
                return "texts_returned", lead
    kinds = [(_altered(trained, text, body[len(lead) :], tokenizer), lead) for lead in leads]
    return min(kinds, key=lambda kind: _ORDER.index(kind[0]))


_ORDER = ("texts_altered", "straddling", "headers_trained")


def _leads(body: str, message: Message, empty: str) -> list[str]:
    """What may stand between the prompt and the trained text of an answer: nothing, or a thought
    without words before an answer without reasoning."""
    if empty and not message.get("reasoning_content") and body.startswith(empty):
        return [empty, ""]
    return [""]


def _altered(trained: list[int], text: str, body: str, tokenizer: Tokenizer) -> str:
    """What the trained ids of an answer are whose text is not that of the template (`body`)."""
    ends = list(tokenizer.control.pattern.finditer(body))
    forms = [body[: match.end()] for match in ends]
    wholes = [list(tokenizer.full.encode(form, add_special_tokens=False).ids) for form in forms]
    for match in ends:  # control tokens that stand before this end are quoted, so they are text
        before = tokenizer.text.encode(body[: match.start()], add_special_tokens=False).ids
        wholes.append([*before, tokenizer.control.ids[match[0]]])
    expected = [tokenizer.decode(whole) for whole in wholes]
    if text in expected:
        return "texts_altered"
    for whole, decoded in zip(wholes, expected, strict=True):
        missing = decoded.removesuffix(text)
        if decoded.endswith(text) and (missing.isspace() or len(trained) >= len(whole) - 1):
            return "straddling"
    return "headers_trained"


def check_prompts(counts: ParityCounts, answers: Iterable[Answer], reference: Reference) -> None:
    """Counts the answers before which the ids of the generation prompt stand."""
    checked, asked = itertools.tee(answers)
    given = reference.encode(answer.prompt + answer.lead for answer in asked)
    for answer, ids in zip(checked, given, strict=True):
        if answer.begins_behind(ids):
            counts.prompts += not answer.lead
            counts.thoughts += bool(answer.lead)
        elif answer.first is None and answer.begins_behind(ids[:-1]):
            counts.straddling += 1
        else:
            end = reference.tokenizer.template.generation_prompt[-12:]
            counts.fail(
                f"the end of its generation prompt, {end!r}, becomes different tokens before an "
                "answer than alone, so a model would be trained on what it is never given"
            )
    if counts.straddling and not counts.prompts + counts.thoughts:
        counts.fail(
            "the first token of every answer also covers the end of its generation prompt, so no "
            "answer begins where a model begins"
        )
