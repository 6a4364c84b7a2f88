"""Writes docs/templates.md: what chatdata makes of the chat templates that TRL ships.

python -m tests.bench.templates

Takes two minutes. `tests/render/test_families.py` tries the same and compares the page.
"""

from __future__ import annotations

from tests.support.families_page import PAGE, page

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
