"""A new recipe, with comments, that fits what is in the files of somebody."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from chatdata.pipeline.look import Look

SCHEMA_FILE = "recipe.schema.json"  # beside the recipe, for editors
_SEEN = 0.02  # the least share of a language that is named
_WHY = {
    "lift_reasoning": "<think> before an answer becomes its reasoning",
    "lift_tools": "<tool_call> and <tools> in texts become calls and tools",
    "html": "answers that are a page's HTML become Markdown",
    "entities": "&lt; and the like",
    "escapes": "backslashes that a converter put before _ and *",
    "artefacts": "Copy code, 2 / 3, banners of pages",
    "invisible": "characters that nobody sees",
    "white_space": "blank lines at both ends, and all but a few between",
}
# Cleaners that find something by chance: what they change in fewer messages is left alone.
_CHANCE, _RARE = ("html", "entities", "escapes", "artefacts"), 0.002
_COLUMN = 46  # where comments begin


def text(
    name: str, files: Sequence[str], look: Look, *, note: str = "", drops_most: bool = False
) -> str:
    """A recipe of this name for files that look so. `note` is a comment on the files, and
    `drops_most` says that more than half of them goes."""
    lines = [*_lines(name, files, look, note), _limit(drops_most)]
    return "\n".join(lines) + "\n"


def _lines(name: str, files: Sequence[str], look: Look, note: str) -> Iterator[str]:
    yield f"# yaml-language-server: $schema={SCHEMA_FILE}"
    yield f"# Made from a look at {look.messages:,} messages; reads in the order in which it runs."
    yield f"#   chatdata check {name}.yaml      # try it on the first conversations"
    yield f"#   chatdata build {name}.yaml"
    yield "# All about a filter, cleaner or template: chatdata list NAME"
    yield f"name: {name}"
    yield _with("version: 0.1.0", "raise it when rows change")
    yield f"about: {json.dumps('Conversations of ' + name)}"
    yield from _source(files, look, note)
    yield from _clean(look)
    yield from _redact(look)
    yield from _threads(look)
    yield from _drop(look)
    yield _with("split: {test_percent: 5}", "of the conversations; those of a tree stay together")
    yield from _render(look)


def _limit(drops_most: bool) -> str:
    if drops_most:
        return _with("max_dropped: 1.0", "more than half goes: `chatdata check` says why")
    return _with("max_dropped: 0.5", "a build stops where filters drop more than this share")


def _with(line: str, comment: str) -> str:
    """A line with a comment behind it."""
    return f"{line:<{_COLUMN}}# {comment}" if comment else line


def _source(files: Sequence[str], look: Look, note: str) -> Iterator[str]:
    yield "source:"
    shapes = ", ".join(look.shapes)
    yield _with("  auto:", f"reads every shape that is known; here: {shapes}")
    yield _with(f"    files: {json.dumps(list(files), ensure_ascii=False)}", note)
    yield "    # license: apache-2.0"


def _clean(look: Look) -> Iterator[str]:
    least = _RARE * look.messages
    active = {name for name, n in look.cleaned.items() if n >= least or name not in _CHANCE}
    yield _with("clean:" if active else "clean: []", "changes texts, in this order")
    for name in (name for name in _WHY if name in look.cleaned):
        line = f"  - {name}" if name in active else f"  # - {name}"
        yield _with(line, f"{_WHY[name]}: {_messages(look.cleaned[name])}")
    unused = [name for name in _WHY if name not in look.cleaned]
    if unused:
        yield f"  # had nothing to do: {', '.join(unused)}"


def _messages(number: int) -> str:
    return f"{number:,} message" if number == 1 else f"{number:,} messages"


def _redact(look: Look) -> Iterator[str]:
    if look.secrets:
        seen = ", ".join(f"{kind} in {_messages(n)}" for kind, n in look.secrets.items())
        yield f"# Placeholders such as <EMAIL_1> in place of secrets. Seen: {seen}."
        yield "redact: {kinds: [private_key, key, password, email, card, phone]}"
    else:
        yield "# No secret was seen; to mask those that come later:"
        yield "# redact: {kinds: [private_key, key, password, email, card, phone]}"


def _threads(look: Look) -> Iterator[str]:
    options = ["policy: all_leaves"] if look.has_trees else []
    options += ["start: user", "end: assistant"]
    options += ["repeated_role: merge"] if look.has_lists else []
    why = (
        "every path of a tree; or best_rank"
        if look.has_trees
        else "how conversations begin and end"
    )
    yield _with(f"threads: {{{', '.join(options)}}} ", why)
    if look.has_ranks:
        yield "# Answers are ranked: `pairs: best_worst` in threads also makes pairs to learn from."


def _drop(look: Look) -> Iterator[str]:
    yield _with("drop:", "each is named for what it removes; all are counted")
    if look.has_trees:
        yield "  - deleted"
    yield _with("  - empty", "")
    yield _with("  - error_answer: {on_removed: skip}", "`Too many requests` in place of an answer")
    yield from _language(look)
    yield _with("  # - refusal", "more: chatdata list filters")
    yield "  - no_assistant"
    yield _with("  - duplicate", "the same conversation again")


def _language(look: Look) -> Iterator[str]:
    shares = {name: share for name, share in look.languages.items() if share >= _SEEN}
    seen = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    decide = "declared" if look.is_declared else "detected"
    line = f"- wrong_language: {{allow: [{', '.join(shares)}], decide: {decide}}}"
    if len(shares) > 1:
        yield f"  # Languages seen: {seen}. Take out those that you do not want."
        yield f"  {line}"
    elif shares:
        yield _with(f"  # {line} ", f"all seen is {seen}")
    else:
        yield "  # - wrong_language: {allow: [en]}: texts so short say nothing of their language."


def _render(look: Look) -> Iterator[str]:
    holds = {"reasoning": "reasoning", "tool_calls": "calls of tools", "tools": "tools"}
    held = [words for name, words in holds.items() if name in look.holds]
    held += ["reasoning in tags"] if "lift_reasoning" in look.cleaned else []
    held += ["calls in tags"] if "lift_tools" in look.cleaned else []
    if held:
        yield f"# Seen: {', '.join(held)}. The template must write them, and chatml does."
    yield "# `bytes` needs no download. For your model, its own tokenizer and chat template:"
    yield "#   render: {template: tokenizer, tokenizer: Qwen/Qwen3-0.6B, max_tokens: 4096}"
    yield "render: {template: chatml, tokenizer: bytes}"
