"""Every chat template that TRL ships: what transformers writes, or refused for a true reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import families, families_page
from tests.support.carrying import carry
from tests.support.templates import PLAIN

pytestmark = pytest.mark.slow
SHIPPED = families.shipped()

_OPENS_A_THOUGHT = "its generation prompt writes '<｜Assistant｜><think>"  # conversations do not
REFUSED = {
    "deepseek_r1_distill": _OPENS_A_THOUGHT,
    "deepseekv3": _OPENS_A_THOUGHT,
    "glm4moe": "no special token of this tokenizer, so a model could never learn to stop",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_rows_are_those_of_transformers_or_refused_for_a_true_reason(name: str) -> None:
    refused, outcomes = families.verdict(name)
    wrong = {kind: outcome for kind, outcome in outcomes.items() if outcome.state == "wrong"}
    assert not wrong
    expected = REFUSED.get(name) or REFUSED.get(name.removesuffix("_training"))
    assert not refused or (expected is not None and expected in refused), refused


def test_a_template_without_an_end_writes_all_with_the_end_that_is_added() -> None:
    """As TRL's own template for training does, which ends the last answer with the same token."""
    if "glm4moe" not in SHIPPED:
        pytest.skip("TRL is not installed, or ships no such template")
    refused, outcomes = families.verdict_with_end("glm4moe")
    assert not refused
    assert {outcome.state for outcome in outcomes.values()} == {"exact"}


def test_enough_templates_are_tried_and_most_conversations_are_rows() -> None:
    if not SHIPPED:
        pytest.skip("TRL is not installed")
    verdicts = {name: families.verdict(name) for name in SHIPPED}
    rendered = [name for name, verdict in verdicts.items() if not verdict.refused]
    assert len(SHIPPED) >= 45 <= len(rendered)
    exact = sum(o.state == "exact" for v in verdicts.values() for o in v.outcomes.values())
    assert exact >= 0.6 * len(rendered) * len(families.KINDS)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda row: row._replace(ids=[*row.ids, 0], labels=[*row.labels, -100]), "are not those"),
        (lambda row: row._replace(labels=[*row.labels[:-1], 7]), "not the id"),
        (lambda row: row._replace(labels=row.ids), "does not stand behind"),
        (lambda row: row._replace(labels=[-100] * len(row.ids)), "1 answers and 0 spans"),
        (lambda row: row._replace(labels=[*row.labels[:-2], -100, -100]), "ends with"),
    ],
)
def test_the_judge_sees_a_row_that_is_wrong(
    change: Callable[[families.Row], families.Row], fault: str, tmp_path: Path
) -> None:
    talk = families.KINDS["plain"]
    folder = carry(None, PLAIN, tmp_path / "t")
    reference = families.Reference(folder, "reasoning_content")
    ids = reference.ids(talk, 2)
    start = len(reference.ids(talk, 1, prompt=True))
    right = families.Row(ids, [-100] * start + ids[start:-1] + [-100], None)
    assert list(families.faults(right, talk, reference)) == []
    assert any(fault in words for words in families.faults(change(right), talk, reference))


def test_the_judge_sees_a_refusal_that_is_not_true(tmp_path: Path) -> None:
    reference = families.Reference(carry(None, PLAIN, tmp_path / "t"), "reasoning_content")
    thought = families.KINDS["reasoning"]
    assert families.is_true("leaves out the reasoning of turn 1", thought, reference)
    assert not families.is_true("changes the content of turn 1", thought, reference)
    assert not families.is_true("is not liked", thought, reference)


def test_the_page_of_templates_is_current() -> None:
    page = families_page.PAGE.read_text(encoding="utf-8")
    if not SHIPPED or f"TRL {families_page.version()} " not in page:
        pytest.skip("the page is of another TRL")
    assert page == families_page.page(), "write the page anew: python -m tests.bench.templates"
