"""The page docs/templates.md: what chatdata makes of the chat templates that TRL ships."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support import families
from tests.support.families import KINDS, Outcome, Verdict

PAGE = Path(__file__).parents[2] / "docs" / "templates.md"
_HEAD = """\
# Chat templates that were tried

Made by `python -m tests.bench.templates` of the chat templates that TRL {version} ships, each on a
tokenizer of bytes with all control tokens of the template. {rendered} of {all} templates render: of
{talks} conversations, {exact} are rows, {refused} are refused, and {wrong} are wrong.

A row has the ids of transformers' `apply_chat_template(messages, tools=tools)`, each trained answer
stands behind the ids of its generation prompt (an empty thought that the template writes may stand
between), and the trained text holds words, reasoning and calls. A refusal was checked too:
transformers shows what the refusal says.

✓ is written exactly, a number is a refusal for the reason below the table, in the renderer's words.
[How templates are rendered](rendering.md) says what to do about a refusal.
"""


def version() -> str:
    """The version of the installed TRL."""
    return importlib.metadata.version("trl")


def page() -> str:
    """The page: figures, a line for each template, the reasons."""
    verdicts = {name: families.verdict(name) for name in families.shipped()}
    states = [o.state for verdict in verdicts.values() for o in verdict.outcomes.values()]
    head = _HEAD.format(
        version=version(),
        all=len(verdicts),
        rendered=sum(not verdict.refused for verdict in verdicts.values()),
        talks=len(states),
        exact=states.count("exact"),
        refused=states.count("refused"),
        wrong=states.count("wrong"),
    )
    return "\n".join([head, *_table(verdicts)]) + "\n"


def _table(verdicts: dict[str, Verdict]) -> Iterator[str]:
    """Yields the lines of the table and of the reasons."""
    reasons: dict[str, int] = {}
    yield f"| template | {' | '.join(KINDS)} |"
    yield "|---" * (len(KINDS) + 1) + "|"
    for names, verdict in _alike(verdicts):
        cells = [_cell(verdict, kind, reasons) for kind in KINDS]
        yield f"| {names} | {' | '.join(cells)} |"
        if "render.add_end=true" in verdict.refused:
            ended = families.verdict_with_end(names.partition(",")[0])
            cells = [_cell(ended, kind, reasons) for kind in KINDS]
            yield f"| the same with `render.add_end: true` | {' | '.join(cells)} |"
    yield ""
    yield from (f"{number}. {reason}" for reason, number in reasons.items())


def _alike(verdicts: dict[str, Verdict]) -> Iterator[tuple[str, Verdict]]:
    """Yields templates with their verdicts; one for training that does the same has no line."""
    for name, verdict in verdicts.items():
        base, is_training, _ = name.partition("_training")
        if is_training and _states(verdicts.get(base)) == _states(verdict):
            continue
        training = verdicts.get(f"{name}_training")
        both = training is not None and _states(training) == _states(verdict)
        yield f"{name}, and for training" if both else name, verdict


def _states(verdict: Verdict | None) -> object:
    return verdict and [verdict.refused, *(o.state for o in verdict.outcomes.values())]


def _cell(verdict: Verdict, kind: str, reasons: dict[str, int]) -> str:
    """The cell of a kind: a sign, or the number of the reason of a refusal."""
    outcome = verdict.outcomes.get(kind, Outcome("refused", verdict.refused))
    if outcome.state == "exact":
        return "✓"
    reason = re.sub(r"\bturn \d+", "turn N", outcome.detail).partition("; choose another")[0]
    number = reasons.setdefault(f"`{reason}`".replace("\n", "\\n"), len(reasons) + 1)
    return f"{number}" if outcome.state == "refused" else f"wrong: {number}"
