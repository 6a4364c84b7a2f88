"""The program in an answer.

Answers hold their code in fenced blocks. The program is the last block in Python, behind the
earlier blocks that define what it needs. Where the line has a test, the program is what defines the
names that the test needs: a block behind it that only shows how to call them is left out.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

PYTHON = {"python", "py", "python3", "py3", "ipython", "ipython3", "jupyter", "pycon"}
_TEXT = {"text", "txt", "plaintext", "plain", "output", "console", "none"}  # what is no language
_PAGES = {"markdown", "md"}  # a whole answer stands in such a fence at times, with its blocks
_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^\n]*)$")
_LANGUAGE = re.compile(r"\{?\s*\.?([\w+#-]+)")
_MAGIC = re.compile(r"^([ \t]*)(%%?[A-Za-z]\w*|!|\?)(.*)$")
_TIMED = {"%time", "%prun"}  # what stands behind them is code
_CELLS = ("%%bash", "%%sh", "%%html", "%%javascript")  # cells of other languages
_PROMPT = re.compile(r"^\s*(?:>>>|\.\.\.)(?: |$)")
_DEFINES = re.compile(r"^(?:async\s+def|def|class)\s+(\w+)|^(\w+)\s*=(?!=)", re.M)
_SEEMS = re.compile(
    r"^[ \t]*(?:(?:async )?def \w+\(.*|class \w+.*:|(?:from [\w.]+ )?import [\w., ]+)$", re.M
)
_BEGINS = re.compile(
    r"(?:async )?(?:def|class|for|while|with) |import |from |assert |@\w|if __name__|try:|print\("
    r"|\w+ ?=(?!=)"
)
_MOST_LINES = 300  # that are searched for code between words
_PATIENCE = 40  # lines that may follow until a stretch of code compiles

Result = TypeVar("Result")


class Program(NamedTuple):
    """A program, or None where an answer has no code (`language` None) or in another language.

    `removed` are the lines of a notebook that are no Python, and `blocks` is the number of blocks
    that the program is made of.
    """

    text: str | None
    language: str | None
    removed: tuple[str, ...] = ()
    blocks: int = 0


class _Block(NamedTuple):
    """A block of code, and the language that its fence names."""

    language: str
    text: str


def find(answer: str, test: str | None = None) -> Program:
    """The program in an answer to a prompt with, or without, a test."""
    fenced = list(_fenced(answer.replace("\r\n", "\n")))
    blocks = [block.text for block in fenced if _is_python(block)]
    named = [block.language for block in fenced if block.language not in {"", *_TEXT}]
    if not blocks and named:
        return Program(None, named[-1])
    blocks = blocks or list(_unfenced(answer.replace("\r\n", "\n")))
    if not blocks:
        return Program(None, None)
    cleaned = [_cleaned(text) for text in blocks]
    chosen = _chosen([text for text, _ in cleaned], test)
    removed = [line for number in chosen for line in cleaned[number][1]]
    program = "\n".join(cleaned[number][0].rstrip("\n") + "\n" for number in chosen)
    return Program(program, "python", tuple(removed), len(chosen))


# ----------------------------------------------------------------------------------------- blocks


def _fenced(answer: str) -> Iterator[_Block]:
    """Yields the fenced blocks of an answer; one that has no end ends with the answer."""
    fence, indent, words = "", "", ""
    lines: list[str] = []
    for line in answer.split("\n"):
        match = _FENCE.match(line)
        if fence and match and match[2].startswith(fence) and not match[3].strip():
            yield _block(indent, words, lines)
            fence = ""
        elif fence:
            lines.append(line)
        elif match and "`" not in match[3] and match[3].strip().lower() not in _PAGES:
            indent, fence, words = match.groups()
            lines = []
    if fence and any(line.strip() for line in lines):
        yield _block(indent, words, lines)


def _block(indent: str, words: str, lines: Sequence[str]) -> _Block:
    match = _LANGUAGE.match(words)
    text = "\n".join(line.removeprefix(indent) for line in lines) + "\n"
    return _Block(match[1].lower() if match else "", textwrap.dedent(text))


def _is_python(block: _Block) -> bool:
    """Whether a block is Python by its fence, or, behind a bare fence, by itself."""
    if block.language in PYTHON:
        return not block.text.lstrip().startswith(_CELLS)
    text = _cleaned(block.text)[0]
    return not block.language and (_is_code(text) or bool(_SEEMS.search(text)))


def _unfenced(answer: str) -> Iterator[str]:
    """Yields the code of an answer without fenced code: all of it, or stretches between words.

    A stretch begins with a line that only code begins with, and is as long as it compiles. Where
    nothing compiles, what begins with a definition is code that does not.
    """
    text = textwrap.dedent(answer).strip("\n") + "\n"
    if _is_code(_cleaned(text)[0]):
        yield text
        return
    lines = text.split("\n")[:_MOST_LINES]
    start, has_stretch = 0, False
    while start < len(lines):
        end = _end_of_code(lines, start) if _BEGINS.match(lines[start]) else start
        if end > start:
            yield "\n".join(lines[start:end]) + "\n"
            has_stretch = True
        start = max(end, start + 1)
    first = next((number for number, line in enumerate(lines) if _SEEMS.match(line)), None)
    if first is not None and not has_stretch:
        yield "\n".join(lines[first:]) + "\n"


def _end_of_code(lines: Sequence[str], start: int) -> int:
    """The line behind the longest stretch from `start` on that compiles; `start` if none does."""
    last = start
    for end in range(start + 1, len(lines) + 1):
        if end - last > _PATIENCE:
            break
        behind, line = lines[end] if end < len(lines) else "", lines[end - 1]
        is_inside = behind.startswith((" ", "\t", ")", "]", "}"))
        is_words = not line.startswith((" ", "\t")) and _parsed(line) is not None
        if is_inside or not line.strip() or (is_words and not _is_code(line)):
            continue
        if _is_code(_cleaned("\n".join(lines[start:end]))[0]):
            last = end
    return last


def _cleaned(text: str) -> tuple[str, list[str]]:
    """A text without what a notebook or a prompt adds to Python, and what that was."""
    lines = text.split("\n")
    if text.lstrip().startswith(">>> "):
        lines = [_PROMPT.sub("", line) for line in lines if _PROMPT.match(line)]
        text = "\n".join(lines) + "\n"
    if _parsed(text) is not None:
        return text, []
    removed = [line.strip() for line in lines if _MAGIC.match(line)]
    return "\n".join(map(_without_magic, lines)), removed


def _without_magic(line: str) -> str:
    match = _MAGIC.match(line)
    if match is None:
        return line
    indent, magic, behind = match.groups()
    return indent + (behind.strip() if magic in _TIMED else "pass")


# ------------------------------------------------------------------------------------------ Python


def _read(parse: Callable[[], Result]) -> Result | None:
    """What a parser of Python makes of a text, or None where the text is no Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return parse()
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _parsed(text: str) -> ast.Module | None:
    return _read(lambda: ast.parse(text))


def _is_code(text: str) -> bool:
    """Whether a text compiles and does something, as words and numbers do not."""
    tree = _parsed(text)
    return tree is not None and any(
        not isinstance(statement, ast.Expr | ast.AnnAssign) or _has_call(statement)
        for statement in tree.body
    )


def _has_call(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Call | ast.Await) for node in ast.walk(statement))


def _chosen(texts: Sequence[str], test: str | None) -> list[int]:
    """The numbers of the blocks that make the program, in order."""
    defined = [_defined(text) for text in texts]
    wanted = _needed(test) if test else set()
    chosen: list[int] = []
    if not any(wanted & names for names in defined):
        chosen = [len(texts) - 1]
        wanted = _needed(texts[-1])
    for number in reversed(range(len(texts))):
        if number not in chosen and (wanted | {"*"}) & defined[number]:
            chosen.append(number)
            wanted = (wanted - defined[number]) | _needed(texts[number])
    return sorted(chosen)


def _defined(text: str) -> set[str]:
    """The names that a block binds for others, `*` among them where a module gives it all names.

    Of a block that does not compile, the names that it seems to bind.
    """
    table = _table(text)
    if table is None:
        return {first or second for first, second in _DEFINES.findall(text)}
    names = {symbol.get_name() for symbol in table.get_symbols() if _is_bound(symbol)}
    return names | ({"*"} if re.search(r"^from \S+ import \*", text, re.M) else set())


def _needed(text: str) -> set[str]:
    """The names that a block reads and does not bind; of one that does not compile, all words."""
    table = _table(text)
    if table is None:
        return set(re.findall(r"[A-Za-z_]\w*", text)) - _defined(text)
    return set(_global(table)) - _defined(text) - set(dir(builtins))


def _table(text: str) -> symtable.SymbolTable | None:
    return _read(lambda: symtable.symtable(text, "program.py", "exec"))


def _is_bound(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def _global(table: symtable.SymbolTable) -> Iterator[str]:
    """Yields the names of a module that a scope reads, and the scopes in it."""
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _global(inner)
