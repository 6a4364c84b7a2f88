"""Whether an answer stops before its end: in mid-sentence, behind an announcement, within code.

A dump closes the fence of a block that broke off, so code is read too: a bracket, a tag or a
statement that is still open at the end of the text. What ends with a full stop ends. What says
nothing of its end (titles, lists without full stops, names, a line of a poem) may end as it likes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from chatdata.core.patterns import lazy

# No sentence ends with these; with those of the second list a short one does ("Yes, it is").
_NEVER_LAST = (
    "the a an and or but nor of from with into onto at by as than if when while because although "
    "whose which their its my your our every between among during within via per whether unless"
)
_HARDLY_LAST = (
    "to in on for over under about through against toward towards is are was were be been has "
    "have had do does did will would shall should can could may might must that who where it these "
    "those this such not so they we you i he she any some each no without across using including "
    "upon also more most very can't don't doesn't it's that's you're"
)


def _has_end(pattern: re.Pattern[str], text: str) -> bool:
    """Whether a pattern that ends with \\Z, and is shorter than _REACH, is found in a text."""
    return pattern.search(text, max(0, len(text) - _REACH)) is not None


def _ends_with(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|[\s(\"'“*])(?:{'|'.join(words.split())})\Z", re.IGNORECASE)


_NEVER, _HARDLY = _ends_with(_NEVER_LAST), _ends_with(_HARDLY_LAST)
_OPEN_END = lazy(r"(?:[,\[{–—]|(?<![:;=-])\(| -)\Z")
_ASKS = lazy(r"\b(?:please|provide|enter|share|paste|let me know|tell me|could you|can you)\b")
_ANNOUNCES = lazy(r"\bhere(?:['’]s| is| are)?(?: the| an?| some)?\Z", re.IGNORECASE)
_LIST_MARK = r"(?:[-*+•]|\d{1,3}[.)]|[a-z][.)]|[ivx]{1,4}[.)])"
_BARE_MARK = lazy(r"\s*(?:[-*+•]|\d{1,3}[.)]|#{1,6})\Z")
_ITEM = lazy(rf"[ \t]*{_LIST_MARK}[ \t]")
_NO_PROSE = lazy(r"[ \t]*(?:[#|>]|\*\*|https?:)")
_ENDS_WELL = lazy(r"[.!?…:;。！？][\"'”’)\]*_`]*\Z")
_ENDS_IN_WORD = lazy(r"[\w’']`?\Z")
_TO_DO = lazy(r"\bto [a-z]+\Z")
_SIGNATURE = lazy(r"(?:thanks|thank you|best|love|sincerely|regards|yours|cheers|the end)\b", re.I)
_BEGINS = lazy(
    r"(?:The|An?|This|These|It|In|For|If|When|As|To|You|We|I|He|She|They|However|Additionally|Overall"
    r"|Please|Then|Finally|Also|But|And|So|Here|There|By|With|On|At|From|Once|Note|Next|My|Your|Our)\b"
)
_BETWEEN_SENTENCES = lazy(
    r"(?<![.\s][A-Za-z])(?<=[a-z)\"”’'])[.!?][\"”’')*_]*[ \t]+(?=[\"“(*]?[A-Z])"
)
_ABBREVIATED = lazy(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|approx|No|Inc|Ltd|Co|Fig)\Z")
_HALF_LINK = lazy(r"\]\([^()\s]*\Z|(?<![\w\]])\[[^\[\]\n]{0,80}\Z")
_HALF_TAG = lazy(r"(?<![\w<\s])</?[a-zA-Z]\w*\Z|\A\s*</?[a-zA-Z]\w*\Z")
_OPEN_CELL = lazy(r"\w[:,(]\Z|\w [a-z]+ (?:to|that)\Z")
_ENDS_IN_ADDRESS = lazy(r"https?://[^\s()]*\Z")
_FIRST_ITEM = lazy(r"\s*(?:1|[aA])[.)][ \t]")
_LONG = 60  # characters of a line of prose
_SHORT = 40
_REACH = 40  # characters at the end, enough for every pattern that `_has_end` is given
_TAIL = 400  # characters at the end of some code


ASKED_ON = "asked_on"  # a column: the next turn asks for the rest
_ASKS_ON = "|".join(
    (
        r"(?i)\A\W*(?:please |pls |plz |can you |could you |ok,? |yes,? )?"
        r"(?:continue|go on|keep going|carry on|resume|finish|complete|more\b|go ahead)"
        r"[^\n]{0,50}\z",
        r"\A[^\n]{0,60}(?:\bcut off\b|stopped (?:abruptly|short|in the middle)|n.t finish"
        r"|unfinished|\bincomplete\b|n.t complete|where you (?:left|stopped)|missing the end)",
    )
)


def with_asked_on(messages: pl.DataFrame) -> pl.DataFrame:
    """The messages with `asked_on`: whether the next turn of a conversation is a user who asks to
    go on. In a tree nobody looks: its forks go on in several ways."""
    if "position" not in messages.columns:
        return messages.with_columns(pl.lit(False).alias(ASKED_ON))
    claim = ["conversation", "where", "position"]
    # In two queries: one would look at the words of all roles, and answers are most of a dump.
    turns = messages.filter(role="user").filter(pl.col("content").str.contains(_ASKS_ON))
    before = turns.select(claim).with_columns(pl.col("position") - 1, asked_on=pl.lit(True))
    asked = messages.join(before, on=claim, how="left", maintain_order="left")
    return asked.with_columns(pl.col(ASKED_ON).fill_null(False))


def is_cut_off(text: str) -> bool:
    """Whether a text, which does not end with a full stop, stops before its end."""
    text = text.rstrip()
    if text.endswith(("```", "~~~")):
        return _is_code_cut_off(text)
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return False
    last = lines[-1].rstrip()
    return (
        _is_open(last, lines)
        or _is_half_markup(last)
        or _is_first_item_alone(last, lines)
        or _is_half_row(last, lines)
        or _is_half_sentence(last)
        or _is_less_than_its_kind(last, lines)
    )


def _is_open(last: str, lines: Sequence[str]) -> bool:
    """Whether the last line ends in what something has to follow."""
    if _is_mark_alone(last, lines) or _ends_in_open_word(last, lines):
        return True
    if last.endswith((":", "：")):
        return _announces(last, lines)
    is_begun = _stands_behind_prose(lines)
    if is_begun and len(last) < _SHORT and _BEGINS.match(last) and _has_end(_ENDS_IN_WORD, last):
        return not _SIGNATURE.match(last)
    return _is_label(last, lines) or ((len(last) > _SHORT or is_begun) and _has_end(_HARDLY, last))


def _is_mark_alone(last: str, lines: Sequence[str]) -> bool:
    """Whether the last line is the mark of an item or of a title, without words."""
    is_bare = len(lines) > 1 and _BARE_MARK.match(last) is not None
    return is_bare or _is_next_number(last, lines)


def _ends_in_open_word(last: str, lines: Sequence[str]) -> bool:
    """Whether the last line ends in a word or a sign with which no sentence ends."""
    is_never = _has_end(_NEVER, last) and (len(lines) > 1 or last.count(" ") > 1)
    return is_never or _has_end(_OPEN_END, last) or _has_end(_ANNOUNCES, last)


def _announces(last: str, lines: Sequence[str]) -> bool:
    """Whether a colon at the end stands for what follows: no field of a form, and no request."""
    is_form = len(last) < 25 and len(lines) > 1 and lines[-2].rstrip().endswith(":")
    return not (is_form or _ASKS.search(last.lower()))


def _stands_behind_prose(lines: Sequence[str]) -> bool:
    """Whether the line before the last is long, and ends as a sentence does."""
    if len(lines) < 2 or len(lines[-2]) <= _LONG:
        return False
    return _ENDS_WELL.search(lines[-2].rstrip()) is not None


def _is_label(last: str, lines: Sequence[str]) -> bool:
    """Whether a line before begins with the last line and a colon."""
    label = f"{last}:"
    return any(line.startswith(label) for line in lines[:-1])


def _is_half_markup(last: str) -> bool:
    """Whether the last line has code, a link, bold words or a tag that it does not close."""
    if last.count("`") % 2 or (last.count("**") % 2 and not last.startswith("**")):
        return True
    if ("[" in last or "]" in last) and _HALF_LINK.search(last):
        return True
    if "<" in last and _HALF_TAG.search(last):
        return True
    is_address = _ENDS_IN_ADDRESS.search(last) is not None
    return is_address and last.count("(") > last.count(")")


def _is_first_item_alone(last: str, lines: Sequence[str]) -> bool:
    """Whether the last line is the first of the items that the line before announces."""
    is_announced = len(lines) > 1 and lines[-2].rstrip().endswith(":")
    is_first = _FIRST_ITEM.match(last) is not None and last.split()[2:]
    return is_announced and bool(is_first) and _has_end(_ENDS_IN_WORD, last)


def _is_next_number(last: str, lines: Sequence[str]) -> bool:
    """Whether the last line is nothing but the number of the next item."""
    number = last.strip()
    if not (number.isascii() and number.isdigit() and 1 < int(number[:4]) < 1000):
        return False
    return any(line.lstrip().startswith(f"{int(number[:4]) - 1}.") for line in lines[:-1])


def _is_half_row(last: str, lines: Sequence[str]) -> bool:
    """Whether the last line is a row of a table that is shorter than the row before."""
    before = lines[-2].strip() if len(lines) > 1 else ""
    row = last.strip()
    if not (row.startswith("|") and before.startswith("|") and before.endswith("|")):
        return False
    return not row.endswith("|") or row.count("|") < before.count("|") or _is_half_cell(row)


def _is_half_cell(row: str) -> bool:
    """Whether the last cell of a row that says anything ends in what something has to follow."""
    cells = [cell.strip() for cell in row.split("|") if cell.strip()]
    last = cells[-1] if cells else ""
    is_half = last.count(" ") > 2 and _has_end(_NEVER, last)
    return is_half or _OPEN_CELL.search(last) is not None


def _is_half_sentence(last: str) -> bool:
    """Whether a sentence ends in the last line and another begins behind it, but does not end."""
    if len(last) < _LONG or not _has_end(_ENDS_IN_WORD, last):
        return False
    start = 0
    for end in _BETWEEN_SENTENCES.finditer(last):
        if not _ABBREVIATED.search(last, max(0, end.start() - 8), end.start()):
            start = end.end()
    half = last[start:]
    return start > 0 and "#" not in half and "http" not in half and not _SIGNATURE.match(half)


def _is_less_than_its_kind(last: str, lines: Sequence[str]) -> bool:
    """Whether the last line ends in a word, and the lines of its kind end as sentences do."""
    if not _has_end(_ENDS_IN_WORD, last) or "#" in last or "http" in last:
        return False
    if _ITEM.match(last):
        items = [line for line in lines[:-1] if _ITEM.match(line)]
        return len(items) > 1 and _share_that_ends(items) >= 0.8
    if len(last) < _LONG or _NO_PROSE.match(last):
        return False
    if _TO_DO.search(last):
        return True
    prose = [line for line in lines[:-1] if len(line) >= _LONG and _is_prose(line)]
    return len(prose) > 0 and _share_that_ends(prose) >= 0.5


def _is_prose(line: str) -> bool:
    return not _ITEM.match(line) and not _NO_PROSE.match(line)


def _share_that_ends(lines: Sequence[str]) -> float:
    return sum(_ENDS_WELL.search(line.rstrip()) is not None for line in lines) / len(lines)


# --------------------------------------------------------------------------------------------- code

_PAIRS = ("()", "[]", "{}")
_OPEN_CODE = lazy(
    r"(?:[,=(\[{&|+:]|=>|->|\w[._]|\s--|(?<![\w\"'])[\"']|<[^<>\n]*"
    r"|\b(?:and|or|not|in|is|new|const|let|var|private|public))\Z"
)
_VOID = "br|hr|img|input|meta|link|p|li|td|th|option"  # elements that nothing need close
_OPEN_ELEMENT = lazy(rf"<(?!(?:{_VOID})\b)\w+[^<>]*>[^<>]*\w\Z")
_HEAD = lazy(r"[ \t]*(?:def|class|elif|for|while|with|try|async def)\b[^:{]*\Z")
_HEAD_AND_REMARK = lazy(r":\n[ \t]+#[^\n]*\Z")  # a body that holds a remark alone
_BARE_NAME = lazy(r"(?:[ \t]+@?[\w.]*\w|\$\w+)\Z")
_CLOSES = lazy(
    r"[ \t]*(?:end|fi|done|esac|pass|return|break|continue|else|endif|endfor|endwhile"
    r"|endfunction|next|wend|begin|loop|nop|ret|true|false|null|none|\d+)\Z",
    re.IGNORECASE,
)
_IS_SENTENCE = lazy(r"\S[ \t]+\S+[ \t]+\S+[ \t]+\S+[ \t]+[^\n]*[A-Za-z)][.!?]\Z")
_BEGUN_REMARK = lazy(r"\n[ \t]*(?:#|//) [A-Z][a-z]+(?: [a-z]+)?\Z")
_BRANCH = lazy(r"[├└]─*\Z")  # of a tree of files, without a name
_ELEMENTS = ("table", "thead", "tr", "form", "ul", "body")  # that hardly a snippet leaves open
_LAST_NAME = lazy(r"[A-Za-z]\w+\Z")


def _is_code_cut_off(text: str) -> bool:
    """Whether the block of code at the end of a text breaks off."""
    fence = text[-3:]
    begin = text.rfind("\n" + fence, 0, len(text) - 3)
    begin = begin + 1 if begin >= 0 else (0 if text.startswith(fence) else -1)
    if begin < 0:
        return False
    code = text[begin:-3].partition("\n")[2].rstrip()
    last = code[code.rfind("\n") + 1 :][-_TAIL:]
    if not code or _IS_SENTENCE.search(last):
        return not code
    return _is_unbalanced(code) or ("\n" in code and _is_statement_open(last, code))


def _is_unbalanced(code: str) -> bool:
    return any(code.count(pair[0]) > code.count(pair[1]) for pair in _PAIRS)


def _is_statement_open(last: str, code: str) -> bool:
    """Whether the last line of some code breaks off."""
    if _OPEN_CODE.search(last) or _HEAD.match(last) or _NEVER.search(last):
        return True
    if last.count('"') % 2 or _OPEN_ELEMENT.search(last) or _is_half_row(last, code.split("\n")):
        return True
    if _BRANCH.search(last) or _is_element_open(code):
        return True
    if _HEAD_AND_REMARK.search(code[-_TAIL:]) or _BEGUN_REMARK.search(code[-_TAIL:]):
        return True
    is_bare = _BARE_NAME.match(last) is not None and not _CLOSES.match(last)
    return is_bare or _is_half_name(code)


def _is_element_open(code: str) -> bool:
    """Whether some code has a page, or a part of one, that it does not close."""
    if "<html" in code and "</html" not in code:
        return True
    return any(
        len(re.findall(rf"<{name}\b", code)) > code.count(f"</{name}>") for name in _ELEMENTS
    )


def _is_half_name(code: str) -> bool:
    """Whether code ends in a part of a name that it has elsewhere, and never alone, or in the name
    of a module that something is called of."""
    end = _LAST_NAME.search(code[-_TAIL:])
    if end is None:
        return False
    if re.search(rf"\bimport [\w.]+ as {end[0]}\b", code) and code[: -len(end[0])].endswith("= "):
        return True
    names = set(re.findall(rf"\b{end[0]}\w*", code[: -len(end[0])]))
    return len(end[0]) > 2 and bool(names) and end[0] not in names
