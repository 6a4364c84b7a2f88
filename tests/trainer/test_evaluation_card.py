"""The section of a model card that evaluations write."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdata.core.errors import ConfigError
from trainer.evaluation import card

CARD = "---\ntags: [x]\n---\n\n# M\r\n\nMine.\n\n## Limits and biases\n\n- Many.\n"


def model(folder: Path, text: str | None = CARD) -> Path:
    (folder / "config.json").write_text("{}")
    if text is not None:
        (folder / card.FILE).write_bytes(text.encode())
    return folder


def test_a_section_stands_before_the_limits_and_is_replaced(tmp_path: Path) -> None:
    path = card.put(model(tmp_path), "evaluation", "## How well\n\nSo.\n")
    first = path.read_bytes().decode()
    before, after = first.split("<!-- evaluation: made by python -m trainer.evaluation -->")
    section, after = after.split("<!-- end of evaluation -->")
    assert before + after.lstrip("\n") == CARD
    assert section == "\n## How well\n\nSo.\n"
    assert card.put(tmp_path, "evaluation", "## How well\n\nSo.\n").read_text() == path.read_text()
    path.write_bytes(first.replace("Mine.", "Mine, and more.").encode())
    card.put(tmp_path, "evaluation", "Else.")
    again = path.read_bytes().decode()
    assert "So." not in again
    assert "Else." in again
    assert "Mine, and more." in again


def test_sections_of_two_names_stand_beside_each_other() -> None:
    both = card.merged(card.merged(CARD, "benchmarks", "one"), "evaluation", "two")
    changed = card.merged(both, "benchmarks", "three")
    assert changed == both.replace("\none\n", "\nthree\n")


@given(st.text(), st.text())
def test_a_section_twice_is_the_section_once(text: str, section: str) -> None:
    first = card.merged(text, "evaluation", section)
    assert card.merged(first, "evaluation", section) == first
    assert card.merged(card.merged(text, "evaluation", "earlier"), "evaluation", section) == first


def test_a_card_with_half_a_section_is_left_alone(tmp_path: Path) -> None:
    path = card.put(model(tmp_path), "evaluation", "x")
    text = path.read_text().replace("<!-- end of evaluation -->", "")
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"1 times and .* 0 times"):
        card.put(tmp_path, "evaluation", "y")
    assert path.read_text() == text


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder of a model"):
        card.put(tmp_path, "evaluation", "x")
    assert list(tmp_path.iterdir()) == []
    assert card.put(model(tmp_path, None), "evaluation", "x").read_text().startswith("# ")


def test_words_are_no_markup() -> None:
    assert card.words("a|b\n`c` <!-- [d](e) -->") == "a\\|b \\`c\\` \\<\\!-- \\[d\\](e) --\\>"
