"""A page of what programs drew: a row for each prompt, a column for each run, pictures inside."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from chatdata.core.errors import ConfigError
from trainer.evaluation import journal
from trainer.evaluation.sandbox import STATUSES

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --bad: #b3261e; --good: #146c2e; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff897d; --good: #7ddc94; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; margin: 0 0 .3rem; }
section { border-top: 1px solid var(--line); padding: 1.2rem 0; }
.prompt { max-width: 60rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.row { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
figure { margin: 0; border: 1px solid var(--line); border-radius: .5rem; padding: .7rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; margin: .5rem 0 0; }
figcaption b { overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
ul { margin: .3rem 0 0; padding-left: 1.1rem; font-size: .9rem; }
code, pre { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: var(--soft); padding: .5rem; white-space: pre-wrap; max-height: 12rem;
  overflow: auto; }
"""


class Column(NamedTuple):
    """A run: its name, its results by id, and the folder of its figures."""

    name: str
    results: Mapping[str, Mapping[str, Any]]
    folder: Path


def read(folder: Path) -> Column:
    """The run in a folder of `run-code`. Raises ConfigError for any other folder."""
    try:
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        results = {str(line["id"]): line for line in journal.read(folder / "results.jsonl")}
        return Column(str(settings["name"]), results, folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"'{folder}' is no folder of run-code ({type(error).__name__}: {error})."
        ) from None


def page(prompts: Mapping[str, str], columns: Sequence[Column]) -> str:
    """The page, which needs no file beside it. A prompt for which nobody drew has no row."""
    drawn = [id for id in prompts if any(_result(column, id)["figures"] for column in columns)]
    rows = "\n".join(_row(id, prompts[id], columns) for id in drawn)
    names = " · ".join(f"<b>{escape(column.name)}</b>" for column in columns)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>What programs drew</title><style>{_STYLE}</style></head>\n<body>"
        f"<h1>What programs drew</h1>\n<p>{names}</p>\n<main>\n{rows}\n</main></body></html>\n"
    )


def _result(column: Column, id: str) -> Mapping[str, Any]:
    return column.results.get(id, {"figures": []})


def _row(id: str, prompt: str, columns: Sequence[Column]) -> str:
    cells = "\n".join(_cell(id, column) for column in columns)
    head = f'<h2>{escape(id)}</h2><p class="prompt">{escape(prompt)}</p>'
    return f'<section>{head}\n<div class="row">\n{cells}\n</div></section>'


def _cell(id: str, column: Column) -> str:
    result = _result(column, id)
    name = f"<b>{escape(column.name)}</b>"
    if "status" not in result:
        return f"<figure><figcaption>{name}<br>no answer</figcaption></figure>"
    status = str(result["status"])
    colour = "good" if status in ("passed", "ran") else "bad"
    words = f'<span class="{colour}">{escape(STATUSES.get(status, status))}</span>'
    pictures = "\n".join(
        _picture(
            column.folder / "figures" / Path(file).name, f"{id}, figure {number} of {column.name}"
        )
        for number, file in enumerate(result["figures"], 1)
    )
    nothing = "" if pictures else "<p>nothing drawn</p>"
    return (
        f"<figure><figcaption>{name}<br>{words}{_remarks(result)}</figcaption>"
        f"{pictures}{nothing}</figure>"
    )


def _remarks(result: Mapping[str, Any]) -> str:
    """What was taken out of a program, and how it failed: in a line, and in full behind it."""
    items = [f"taken out: <code>{escape(line)}</code>" for line in result["removed"]]
    printed = str(result["stderr"]).strip()
    has_failed = result["status"] in ("raised", "failed", "does_not_compile") and printed
    if last := printed.splitlines()[-1] if has_failed else result["error"]:
        items.append(f"<code>{escape(str(last))}</code>")
    listed = f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>" if items else ""
    whole = f"<details><summary>printed</summary><pre>{escape(printed)}</pre></details>"
    return listed + (whole if has_failed else "")


def _picture(path: Path, words: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{data}">'
