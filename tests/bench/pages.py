"""Answers of a real dump, rendered as ChatGPT's page had them, and back: what is still the same?

python tests/bench/pages.py --dump "$CHATDATA_SHAREGPT" --answers 2000

Markdown goes to HTML by markdown-it, code in the page's boxes with its words marked as highlight.js
marks them, and back by the cleaner `html`, and by FastChat's rules. Functions get the two blank
lines before them that the dump has lost to such rules already. The same are two Markdown texts
whose fenced blocks are equal to the letter, or that say the same words once rendered.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import fastchat_rules
import polars as pl
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml

from chatdata.sources import File, get
from chatdata.steps.clean import CLEANERS, Step

_KEYWORD = re.compile(r"\b(def|import|return|class|function|const|if|else|for)\b")
_BUTTON = '<button class="flex ml-auto gap-2"><svg viewBox="0 0 24 24"></svg>Copy code</button>'


def box(self: Any, tokens: Sequence[Any], number: int, options: Any, env: Any) -> str:
    """A block of code in the page's box."""
    language = tokens[number].info.split()[0] if tokens[number].info.strip() else ""
    code = _KEYWORD.sub(r'<span class="hljs-keyword">\1</span>', escapeHtml(tokens[number].content))
    kind = f" language-{escapeHtml(language)}" if language else ""
    return (
        f'<pre><div class="bg-black rounded-md"><div class="flex text-xs"><span>{language}</span>'
        f'{_BUTTON}</div><div class="p-4"><code class="!whitespace-pre hljs{kind}">{code}</code>'
        "</div></div></pre>"
    )


MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
MARKDOWN.add_render_rule("fence", box)


def page(text: str) -> str:
    """The HTML of an answer."""
    pieces = re.split("(<pre>.*?</pre>)", MARKDOWN.render(text), flags=re.DOTALL)
    body = "".join(p if p.startswith("<pre>") else p.replace(">\n<", "><") for p in pieces)
    head = '<div class="markdown prose w-full break-words dark:prose-invert light">'
    return f"{head}{body.strip()}</div>"


def code(text: str) -> list[str]:
    """The blocks of code in a text."""
    return [t.content for t in MARKDOWN.parse(text) if t.type in ("fence", "code_block")]


def words(text: str) -> list[str]:
    """What a text says, once rendered."""
    return re.sub("<[^>]+>", " ", MARKDOWN.render(text)).split()


@click.command()
@click.option("--dump", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--answers", default=2000, show_default=True)
def main(dump: Path, answers: int) -> None:
    """Renders answers and converts them back by both ways."""
    batch = next(get("sharegpt").read([File(dump, dump.name)], "sharegpt", "sharegpt"))
    contents = batch.rows.filter(pl.col("role") == "assistant")["content"]
    chosen = contents.sample(min(answers, len(contents)), seed=1)
    texts = [re.sub(r"\n\n(?=(?:def|class) )", "\n\n\n", text) for text in chosen]
    pages = [page(text) for text in texts]
    ways: dict[str, Callable[[str], str | None]] = {
        "chatdata": Step(CLEANERS["html"], {}),
        "FastChat's rules": fastchat_rules.text,
    }
    size = sum(map(len, pages)) / 1e6
    with_code = sum(bool(code(text)) for text in texts)
    print(f"{len(texts)} answers, {with_code} of them with code, {size:.1f} MB of HTML")
    print("\n| way | same code | same words | MB a second |\n|---|--:|--:|--:|")
    for name, way in ways.items():
        begin = time.process_time()
        back = [way(html) or "" for html in pages]
        speed = size / (time.process_time() - begin)
        same = [sum(f(a) == f(b) for a, b in zip(texts, back, strict=True)) for f in (code, words)]
        print(f"| {name} | {same[0]} | {same[1]} | {speed:.2f} |")


if __name__ == "__main__":
    main()
