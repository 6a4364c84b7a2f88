"""Pairs of answers side by side, with what the judges wrote of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chatdata.core.hashing import hash64
from trainer.evaluation.reporting import texts
from trainer.evaluation.reporting.coded import Coded
from trainer.evaluation.reporting.judged import Judged

OF_EACH = 3  # pairs of an outcome in the sample
MOST = 1000  # pairs on the page
_CHARACTERS = {"prompt": 6_000, "answer": 12_000, "reply": 4_000}
_FAULTS = ("unparsed", "refused", "failed")
_KINDS = {  # words for a reader, in the order of the page
    "A": "A preferred",
    "B": "B preferred",
    "inconsistent": "each order another",
    "tie": "tie",
    "none": "no verdict",
    "disagree": "judges disagree",
    "only-a": "only A’s code passes",
    "only-b": "only B’s code passes",
}

Sides = Mapping[str, Coded]  # the runs of the programs in the answers of A and of B


def values(judged: Judged, sides: Sides) -> dict[str, Any]:
    """The pairs of a folder, those of the sample first, and the words to choose among them."""
    by_id: dict[str, list[Mapping[str, Any]]] = {}
    for line in judged.verdicts:
        by_id.setdefault(line["id"], []).append(line)
    kinds = {id: _kinds(lines, id, sides) for id, lines in by_id.items()}
    sample = _sample(kinds, judged.seed)
    rest = [id for id in by_id if id not in sample]
    chosen = [*sorted(sample, key=list(by_id).index), *rest][:MOST]
    counts = Counter(kind for id in chosen for kind in kinds[id])
    return {
        "pairs": [
            {
                **_example(judged.pairs[id], by_id[id], kinds[id]),
                "is_sampled": id in sample,
                "code": {side: coded.shown(id) for side, coded in sides.items()},
            }
            for id in chosen
        ],
        "choices": [(kind, _KINDS[kind], counts[kind]) for kind in _KINDS if counts[kind]],
        "sampled": len(sample),
        "of": len(by_id),
        "left": len(by_id) - len(chosen),
        "seed": judged.seed,
        "of_each": OF_EACH,
    }


def _kinds(lines: Sequence[Mapping[str, Any]], id: str, sides: Sides) -> list[str]:
    """What a pair can be looked for by."""
    outcomes = {_outcome(line) for line in lines}
    of = {side: coded.results.get(id, {}) for side, coded in sides.items()}
    passed = {side: of.get(side, {}).get("passed") for side in "AB"}
    also = {
        "disagree": len(outcomes - {"none"}) > 1,
        "only-a": passed["A"] is True and passed["B"] is False,
        "only-b": passed["B"] is True and passed["A"] is False,
    }
    return [kind for kind in _KINDS if kind in outcomes or also.get(kind)]


def _outcome(line: Mapping[str, Any]) -> str:
    return "none" if line["outcome"] in _FAULTS else str(line["outcome"])


def _sample(kinds: Mapping[str, Sequence[str]], seed: int) -> set[str]:
    """Some pairs of each outcome of any judge, by a hash of their ids and the seed."""
    drawn = sorted(kinds, key=lambda id: (hash64(texts.shown(id), f"report {seed}"), id))
    taken: Counter[str] = Counter()
    sample = set()
    for id in drawn:
        if any(taken[kind] < OF_EACH for kind in kinds[id]):
            taken.update(kinds[id])
            sample.add(id)
    return sample


def _example(
    pair: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], kinds: Sequence[str]
) -> dict[str, Any]:
    reference = pair.get("reference")
    return {
        "id": pair["id"],
        "beginning": texts.beginning(pair["prompt"]),
        "prompt": texts.shortened(pair["prompt"], _CHARACTERS["prompt"]),
        "reference": reference and texts.shortened(reference, _CHARACTERS["answer"]),
        "answers": {side: texts.shortened(pair[side], _CHARACTERS["answer"]) for side in "AB"},
        "lengths": {side: len(pair[side]) for side in "AB"},
        "kinds": kinds,
        "judges": [_judge(line) for line in lines],
    }


def _judge(line: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": line["judge"],
        "outcome": _outcome(line),
        "words": _KINDS[_outcome(line)],
        "orders": list(_orders(line)),
    }


def _orders(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields what a judge says with either answer in front."""
    for order in line["orders"]:
        prefers = {"A": "prefers A", "B": "prefers B", "tie": "calls it a tie"}
        remarks = {"by its scores alone": "is_by_scores", "against its scores": "is_contradictory"}
        yield {
            "first": order["first"],
            "verdict": order["verdict"],
            "words": prefers.get(order["verdict"]) or f"no verdict: {order['fault']}",
            "remarks": [words for words, key in remarks.items() if order[key]],
            "scores": order["scores"],
            "reply": texts.shortened(order["reply"] or "", _CHARACTERS["reply"]),
        }
