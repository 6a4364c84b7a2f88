"""What the page shows of an arena: whom people prefer, and how far they agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer.evaluation.reporting import charts, folders, texts
from trainer.evaluation.reporting.folders import Run

_FEW = 30


def values(run: Run) -> dict[str, Any]:
    """What the template shows of a folder of `arena`."""
    _, file = folders.KINDS["arena"]
    summary = folders.read(run.path / file)
    names = {letter: texts.label(name) for letter, name in summary["models"].items()}
    return {
        "name": run.name,
        "names": names,
        "summary": summary,
        "words": _words(summary["pairs"], names),
        "strips": [_strip(pair, names) for pair in summary["pairs"]],
        "pairs": summary["pairs"],
        "models": [
            {"name": names[letter], **numbers} for letter, numbers in summary["ranks"].items()
        ],
        "twos": (summary["agreement"] or {}).get("pairs_of_annotators", []),
        "alpha": (summary["agreement"] or {}).get("alpha"),
        "remarks": list(_remarks(summary)),
    }


def _strip(pair: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return charts.strip(
        f"{names[pair['first']]} against {names[pair['second']]}",
        pair["win_rate"],
        pair["win_rate_interval"],
        texts.counted(pair["n"], "ranking"),
        pair["length_controlled_win_rate"],
    )


def _words(pairs: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """What the intervals allow to say, and no more."""
    counted = [pair for pair in pairs if pair["win_rate"] is not None]
    if not counted:
        return "Nobody has ranked anything yet."
    clear = [
        " before ".join(names[letter] for letter in _order(pair))
        for pair in counted
        if not pair["win_rate_interval"][0] <= 0.5 <= pair["win_rate_interval"][1]
    ]
    if not clear:
        every = "The interval includes" if len(counted) == 1 else "All intervals include"
        return f"{every} 50 %: these rankings do not show which answers are better."
    rest = "; no other interval excludes 50 %" if len(clear) < len(counted) else ""
    return f"On prompts like these, such people rank {', '.join(clear)} more often than not{rest}."


def _order(pair: Mapping[str, Any]) -> tuple[str, str]:
    first, second = str(pair["first"]), str(pair["second"])
    return (first, second) if pair["win_rate"] > 0.5 else (second, first)


def _remarks(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yields what a reader should know who would quote the numbers."""
    if summary["prompts_judged"] < _FEW:
        prompts = texts.counted(summary["prompts_judged"], "ranked prompt")
        yield f"{prompts}: few, so that a handful of them decides."
    judging = [name for name, of in summary["annotators"].items() if of["judged"]]
    if len(judging) == 1:
        yield "One person: how far another would agree is not known."
    left = summary["prompts"] - summary["prompts_judged"]
    if left:
        yield f"{texts.counted(left, 'prompt')} of {summary['prompts']:,} nobody has ranked yet."
    if summary["not_blind"]:
        were = texts.counted(summary["not_blind"], "ranking")
        yield f"{were} came from people who had seen results by then."
