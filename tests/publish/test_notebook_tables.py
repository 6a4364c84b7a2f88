"""What notebooks show of results: tables of escaped words, which load nothing."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import chatdata as cd
from chatdata.core import html
from chatdata.pipeline import progress_line
from chatdata.verify.verification import Verdict, Verdicts

TAGS = {"p", "table", "thead", "tbody", "tr", "th", "td", "bdi"}
NASTY = "<script>alert(1)</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """The tags, attributes and words of a page."""

    def __init__(self, shown: Any) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(shown._repr_html_())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def has_tables_alone(self) -> bool:
        return self.tags <= TAGS and self.attributes <= {"style"}


def test_a_manifest_shows_what_was_built_its_sums_and_its_certificate(sample: Path) -> None:
    facts = cd.read_manifest(sample)
    page = Page(facts)
    assert page.has_tables_alone()
    count = facts.counts.conversations
    place = page.words.index("conversations")
    dropped = sum(count.dropped.values())
    expected = [f"{count.read:,}", f"{count.kept:,}", f"{dropped:,}", "✓"]
    assert page.words[place + 1 : place + 5] == expected
    assert "answers whose labels are theirs alone" in page.words
    assert "✗" not in page.words


def test_a_difference_shows_its_reasons(few_rows: Path, all_rows: Path) -> None:
    difference = cd.diff_datasets(few_rows, all_rows)
    page = Page(difference)
    assert page.has_tables_alone()
    assert f"{difference.rows['added']:,}" == page.words[page.words.index("added") + 1]


def test_words_of_conversations_stay_words(tmp_path: Path) -> None:
    rows = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": NASTY + "<|end|>"}]
    (tmp_path / "x.jsonl").write_text(json.dumps({"messages": rows}) + "\n")
    audit = cd.audit_data(str(tmp_path / "x.jsonl"))
    assert any(result.cases.count for result in audit.results)
    assert Page(audit).has_tables_alone()
    page = Page(Verdicts([Verdict(NASTY, NASTY, "failed", [NASTY])]))
    assert page.has_tables_alone()
    assert NASTY in page.words
    assert NASTY not in html.table((NASTY,), [(NASTY,)])


def test_a_notebook_sees_a_line_that_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("IPython")
    shell = type("ZMQInteractiveShell", (), {})()
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setattr(progress_line, "_SILENT_FOR", 0)
    monkeypatch.setattr(progress_line, "_BETWEEN", 0)
    with cd.show_progress() as progress:
        progress("writing", 1, 2)
        progress("packing", 2, 2)
    first, second, cleared, _ = capsys.readouterr().err.split("\r")[1:]
    assert first.startswith("writing: 1 of 2")
    assert second.rstrip() == "packing: 2 of 2"
    assert cleared.isspace()
