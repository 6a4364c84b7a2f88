"""What the page shows of files of answers: how many, how long, and how they end."""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import Any

from trainer.evaluation import answers
from trainer.evaluation.reporting import folders, texts
from trainer.evaluation.reporting.folders import Run


def values(run: Run) -> dict[str, Any]:
    """A row for a file of answers."""
    lines = folders.lines(run.path)
    tokens = [line["tokens"] for line in lines if isinstance(line.get("tokens"), int)]
    ends = Counter(str(line.get("finish_reason", "not told")) for line in lines)
    return {
        "name": run.name,
        "model": texts.label(answers.model(run.path)),
        "answers": len(lines),
        "characters": fmean(len(line["answer"]) for line in lines),
        "tokens": sum(tokens) if tokens else None,
        "ends": sorted(ends.items()),
    }
