"""What people said, as files that a build reads, and for whoever wants to count again.

`rankings.jsonl` has a line for each prompt: its answers with the mean of their ranks, and before
them the answers that people have corrected. `corrections.jsonl` has the answers that people call
right, corrected or as they were, as conversations. `judgements.jsonl` has all that counts.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from trainer.evaluation.arena.book import Judgement
from trainer.evaluation.arena.contest import Contest, write_lines
from trainer.evaluation.arena.summary import Judged, mid_ranks, select

JUDGEMENTS, RANKINGS, CORRECTIONS = "judgements.jsonl", "rankings.jsonl", "corrections.jsonl"
_CORRECTED = Fraction(0)  # the rank of an answer that was corrected: better than any model's


def export(contest: Contest, said_by: Sequence[Judgement], out: Path) -> None:
    """Writes the files."""
    judged = select(contest, said_by)
    write_lines(out / JUDGEMENTS, [_judgement(j) for j in judged])
    write_lines(out / RANKINGS, rankings(judged))
    write_lines(out / CORRECTIONS, [_conversation(j) for j in judged if corrected(j) is not None])


def corrected(judged: Judged) -> str | None:
    """The answer that an annotator calls right; None where there is none."""
    judgement = judged.judgement
    if not judgement.is_kept:
        return None
    text = judgement.correction
    text = judged.item.answers[judgement.best()] if text is None else text
    return text if text.strip() else None


def rankings(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """For each prompt its answers with ranks, the best first.

    Answers that say the same are a single answer. A prompt all of whose answers have a single rank
    is left out, since nobody prefers any of them.
    """
    lines = []
    for item, group in itertools.groupby(judged, key=lambda j: j.item):
        ranks = _ranks(list(group))
        if len(set(ranks.values())) > 1:
            ordered = sorted(ranks, key=lambda text: (ranks[text], text))
            answers = [{"answer": text, "rank": float(ranks[text])} for text in ordered]
            lines.append({"id": item.id, "prompt": item.prompt, "answers": answers})
    return lines


def _ranks(judged: Sequence[Judged]) -> dict[str, Fraction]:
    """The rank of each answer to a prompt: the mean over models that gave it and annotators."""
    given: dict[str, list[Fraction]] = defaultdict(list)
    for j in judged:
        for letter, rank in mid_ranks(j.judgement).items():
            given[j.item.answers[letter]].append(Fraction(rank))
    ranks = {text: sum(of, Fraction(0)) / len(of) for text, of in given.items()}
    edited = {text for j in judged if (text := corrected(j)) and j.judgement.correction is not None}
    return ranks | dict.fromkeys(sorted(edited), _CORRECTED)


def _conversation(judged: Judged) -> dict[str, Any]:
    """A row of messages: the prompt, and the answer that an annotator calls right."""
    turns = (("user", judged.item.prompt), ("assistant", corrected(judged)))
    return {
        "id": f"{judged.item.id}/{judged.judgement.annotator}",
        "group": judged.item.id,
        "messages": [{"role": role, "content": content} for role, content in turns],
        "annotator": judged.judgement.annotator,
        "edited": judged.judgement.correction is not None,
    }


def _judgement(judged: Judged) -> dict[str, Any]:
    judgement = judged.judgement
    return {
        "id": judged.item.id,
        "annotator": judgement.annotator,
        "ranks": dict(sorted(judgement.rank_of().items())),
        "order": judgement.order,
        "answer": corrected(judged),
        "is_blind": judgement.is_blind,
    }
