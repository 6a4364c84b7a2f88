"""The page of an audit: a single HTML file that loads nothing and runs no script."""

from __future__ import annotations

from pathlib import Path

import jinja2

from chatdata.core.errors import OutputError
from chatdata.core.files import place_file
from chatdata.dataset import report
from chatdata.verify.audit import findings
from chatdata.verify.audit.auditing import Audit

_HERE = Path(__file__).parent


def write(audit: Audit, name: str, path: Path) -> None:
    """Writes the page of an audit of what is called `name`.

    Raises OutputError where the file cannot be written.
    """
    text = html(audit, name)
    try:
        with place_file(path) as new:
            new.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write '{path}': {error.strerror or error}.") from None


def html(audit: Audit, name: str) -> str:
    """The page, which depends on the audit and the name alone."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = (_HERE / "page.html.jinja").read_text(encoding="utf-8")
    shown = {"audit": audit, "name": name, "marks": findings.MARKS, "style": report.style()}
    return environment.from_string(template).render(shown)
