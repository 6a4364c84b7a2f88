"""What the site changes in a page: a link to a file that no page is, is the words alone.

On GitHub such a link leads to the file; `tests/test_pages.py` looks that the file is there.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"\[([^\]\n]+)\]\((\.\.?/[^)\s#]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **more: Any) -> str:
    """The text of a page, without links that lead out of the pages of docs."""
    folder = posixpath.dirname(page.file.src_uri)

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        return match[1] if target.startswith(("..", "examples/")) else match[0]

    return _LINK.sub(link, markdown)
