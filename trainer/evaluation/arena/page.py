"""The page on which people compare answers, made of a single component of Gradio.

The component's script (`page.js`) asks for a prompt with its answers by their places, and sends
every click. What models wrote reaches the page as text and is never HTML. Names of models, letters
and files are not sent before the results are, to an annotator who has no prompt left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from chatdata.core.errors import ChatdataError, ConfigError
from trainer.chat import local_page
from trainer.evaluation.arena import book as books
from trainer.evaluation.arena.book import Book

_HERE = Path(__file__).parent
_STYLE = (_HERE / "page.css").read_text(encoding="utf-8")
_HTML = (_HERE / "page.html").read_text(encoding="utf-8")
_SCRIPT = "\n".join(
    (_HERE / name).read_text(encoding="utf-8")
    for name in ("page.js", "page_end.js", "page_keys.js")
)

Values = Mapping[str, Any]
Called = Callable[[Values], dict[str, Any]]
Results = Callable[[], Mapping[str, Any]]


def run(book: Book, results: Results, annotator: str | None, host: str, port: int) -> None:
    """Serves the page until Ctrl-C. Raises ConfigError for a port that cannot be used.

    `results` makes the summary; `annotator` is who judges, None where the page asks for a name.
    """
    with local_page.temporary_files():
        local_page.serve(start(book, results, annotator, host, port), host, port)


def start(book: Book, results: Results, annotator: str | None, host: str, port: int) -> gr.Blocks:
    """The page, which is being served. Raises ConfigError for a port that cannot be used."""
    local_page.no_telemetry()
    with gr.Blocks(title="Compare answers", analytics_enabled=False) as page:
        gr.HTML(
            html_template=_HTML,
            js_on_load=_SCRIPT,
            apply_default_css=False,
            elem_id="arena",
            server_functions=functions(book, results, annotator),
        )
    return local_page.launch(page, host, port, _STYLE)


def functions(book: Book, results: Results, annotator: str | None) -> list[Called]:
    """What the script of the page can ask for: each takes values by name and returns such, or
    `error` with a sentence."""

    counting = threading.Lock()  # of annotators that come to the end at the same time

    def who(values: Values) -> str:
        return annotator or books.name(values.get("annotator"))

    def open_contest(values: Values) -> dict[str, Any]:
        if annotator is None and values.get("annotator") is None:
            return {"annotator": None}
        name = who(values)
        return {"annotator": name, "is_named": annotator is None, "statuses": book.statuses(name)}

    def open_prompt(values: Values) -> dict[str, Any]:
        return prompt(book, who(values), _place(book, values))

    def save_judgement(values: Values) -> dict[str, Any]:
        return {"status": book.save(who(values), _place(book, values), values).status}

    def show_results(values: Values) -> dict[str, Any]:
        name = who(values)
        if left := book.statuses(name).count("open"):
            raise ConfigError(f"{left} prompts are left; judge or skip them first.")
        book.reveal(name)
        with counting:
            return dict(results())

    return [_answered(f) for f in (open_contest, open_prompt, save_judgement, show_results)]


def prompt(book: Book, annotator: str, at: int) -> dict[str, Any]:
    """A prompt as an annotator sees it: answers by place, and what the annotator said of them."""
    item, judgement = book.contest.items[at], book.judgement(annotator, at)
    return {
        "prompt": item.prompt,
        "reference": item.reference,
        "answers": [item.answers[letter] for letter in judgement.order],
        "ranks": list(judgement.ranks),
        "correction": judgement.correction,
        "is_kept": judgement.is_kept,
        "is_skipped": judgement.is_skipped,
    }


def _place(book: Book, values: Values) -> int:
    at, number = values.get("at"), len(book.contest.items)
    if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at < number:
        raise ConfigError(f"there is no prompt {at}; there are {number}.")
    return at


def _answered(function: Called) -> Called:
    """The function, whose errors are sentences for the page."""

    def answered(values: object) -> dict[str, Any]:
        if not isinstance(values, Mapping):
            return {"error": "the page has sent no values."}
        try:
            return function(values)
        except ChatdataError as error:
            return {"error": str(error)}

    answered.__name__ = function.__name__
    return answered
