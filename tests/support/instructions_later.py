"""Three more sets like `instructions`, in 28 languages, each written when the rules stood.

Each was measured once before anything was learnt from it; `tests/bench/RESULTS.md` has the numbers.
A set has for each language a text above code, below code, above an English text, above what a
program printed, and alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHAPES = ("above code", "below code", "text", "output", "alone")
SHIFTS = {"third": 0, "fourth": 5, "fifth": 7}  # which code stands above an instruction


def sets() -> dict[str, list[tuple[str, str, str]]]:
    """The texts of each set: (language of the instruction, shape, text)."""
    data = _data()
    return {name: list(_texts(data, name)) for name in SHIFTS}


def english() -> list[str]:
    """Texts in English, some of them about texts in other languages."""
    return list(_data()["english"])


def _texts(data: dict[str, Any], name: str) -> Iterator[tuple[str, str, str]]:
    codes, texts, outputs = data["code"], data["texts"], data["outputs"]
    for number, (lang, lines) in enumerate(data["sets"][name].items()):
        above, below, text, output, alone = lines
        gap = "\n" * (1 + number % 2)
        yield lang, SHAPES[0], f"{above}{gap}{codes[number % len(codes)]}"
        yield lang, SHAPES[1], f"{codes[(number + SHIFTS[name] + 1) % len(codes)]}{gap}{below}"
        yield lang, SHAPES[2], f"{text}{gap}{texts[number % len(texts)]}"
        yield lang, SHAPES[3], f"{output}{gap}{outputs[number % len(outputs)]}"
        yield lang, SHAPES[4], alone


def _data() -> dict[str, Any]:
    path = Path(__file__).with_suffix(".json")
    return dict(json.loads(path.read_text(encoding="utf-8")))
