"""What a chat page's own words leave in a text: buttons, counters, notices.

    python\\nCopy code          the head of a block of code, as copied with it, or glued to the code
    Copy 12 chars / 3 words    a button of a browser extension
    ... in 150 words2 / 3      which version of a question is shown, glued to its end
    This content may violate our content policy. ...
    *This conversation is shared from [**ChatHub**](https://chathub.gg)*
    Regenerate response        and other buttons, as the first or last lines
    ... the third ruleShare Prompt     and other buttons, glued to the end or as the last line

A counter is cut off where it can hardly be a fraction: `n / m`, n not above m, at the very end,
glued to a word or to the end of a sentence; after a blank or a line end, where n is m or a
sentence ended. After a digit, an operator or a lone letter it stays, after a colon unless n is m.
Blocks of code are only searched for the head of a block. Words of a page that are the whole of a
text are left, but for the banners of apps: somebody may well ask to `Regenerate response`.
"""

from __future__ import annotations

import re

from chatdata.core.patterns import lazy
from chatdata.steps.clean import fences

# What ChatGPT's pages name above a block: highlight.js's names and their usual aliases.
_LANGUAGES = (
    "actionscript ada apache applescript arduino armasm asm assembly autohotkey awk bash basic bat "
    "batch c c# c++ clojure cmake cmd cobol coffeescript cpp crystal cs csharp css csv cypher d "
    "dart delphi diff django docker dockerfile dos elixir elm erb erlang excel fortran fsharp "
    "gherkin glsl go golang gradle graphql groovy haml handlebars haskell html http ini java "
    "javascript jinja js json jsx julia kotlin latex less lisp lua makefile markdown mathematica "
    "matlab md mermaid mysql nginx nim objective-c objectivec ocaml openscad pascal perl pgsql php "
    "php-template plaintext postgresql powershell prolog properties protobuf puppet python "
    "python-repl qml r ruby rust sas sass scala scheme scss sh shell smalltalk solidity sql stata "
    "stylus svelte swift systemverilog tcl terraform tex toml ts tsx twig typescript vala vb vba "
    "vbnet vbscript verilog vhdl vim vue wasm x86asm xml xquery yaml yml zig"
)
_LANGUAGE = "|".join(re.escape(name) for name in sorted(_LANGUAGES.split(), key=len, reverse=True))

_CODE = r"(?=[\w<{(\[#/@$%\"'*\\])"  # what code may begin with, glued to a button

PATTERN = (
    r"Copy| / |content policy|conversation is shared from|Regenerate response"
    r"|Stop generating|Continue generating|Was this response better|Free Research Preview"
    r"|ChatGPT can|ChatGPT may|Share Prompt|Save & SubmitCancel|Reply in undefined"
    r"|CopyCopy HTML|지금 번역하기"
)

_HEAD_LINE = lazy(
    rf"^(?:[ \t]*(?:{_LANGUAGE})[ \t]*\n)?[ \t]*Copy code[ \t]*(?:\n|\Z)"
    rf"|^[ \t]*(?:{_LANGUAGE})[ \t]*\n[ \t]*Copy[ \t]*\n(?:[ \t]*Edit[ \t]*\n)?",
    re.MULTILINE,
)
_GLUED_HEAD = lazy(
    rf"^(?P<sign>[ \t]*[+-]?)(?:(?:{_LANGUAGE})?Copy code|(?:{_LANGUAGE})CopyEdit)"
    rf"{_CODE}",
    re.MULTILINE,
)
_FENCED_HEAD = lazy(
    r"\A(?P<fence>[ \t>]*(?:`{3,}|~{3,}))[ \t]*(?P<info>[^\s`]*)[ \t]*\n"
    rf"[ \t]*(?P<label>{_LANGUAGE})?[ \t]*\n?(?:Copy code|(?<=\w)CopyEdit)(?:[ \t]*\n|{_CODE})"
)
_SIZE_BUTTON = lazy(r"\bCopy ?\d+ chars / \d+ words\b")
_POLICY_NOTICE = lazy(
    r"This content may violate our content policy\. If you believe this to be in error, please "
    r"submit your feedback [\u2014-] your input will aid our research in this area\."
)
_BANNER = lazy(
    r"^\*This (?:chat )?conversation is shared from \[\*\*[^\]\n*]+\*\*\]\(https?://[^)\s]+\)\*"
    r"[ \t]*\n?",
    re.MULTILINE,
)
_BUTTON = (
    r"(?:Regenerate response|Stop generating|Continue generating"
    r"|Was this response better or worse\?\s*Better\s*Worse\s*Same"
    r"|Free Research Preview\.[^\n]*ChatGPT [A-Z][a-z]+ \d{1,2} Version"
    r"|ChatGPT (?:can make mistakes|may produce inaccurate information)\.?[^\n]{0,80})"
)
_FIRST_BUTTON = lazy(rf"\A\s*{_BUTTON}[ \t]*(?:\n|\Z)")
_LAST_BUTTON = lazy(rf"\n[ \t]*{_BUTTON}\s*\Z")
# "Translate now" is the button of an extension, also behind a blank, where nothing else is Korean;
# "share prompt" is one, unless the word before says that somebody speaks of it.
_GLUED_BUTTON = lazy(
    r"(?:(?<=\S)|(?<=\n))(?:Share Prompt|지금 번역하기)\s*\Z"
    r"|(?<=[\S\n])[ \t]Share Prompt\s*\Z"
    r"|(?<=\n)[ \t]지금 번역하기\s*\Z"
    r"|Save & SubmitCancel\s*\Z"
    r"|\nReply in undefined\s*\Z"
    r"|CopyCopy HTMLRead Aloud(?:\W*Stop)?\d+ chars \| \d+ words\s*\Z"
)
_GLUED_WORDS = (  # one of which such a text has
    "Share Prompt",
    "지금 번역하기",
    "Save & SubmitCancel",
    "Reply in undefined",
    "CopyCopy HTML",
)
_NAMES_IT = lazy(
    r"\b(?:is|are|use|using|the|a|an|called|named|click|press|to|of|and|or|on|button)[ \t]\Z", re.I
)
_TRANSLATE = lazy(r"\A(?P<before>[^\uac00-\ud7a3]*\s)지금 번역하기\s*\Z")
_COUNTER = lazy(r"(?P<before>[^\d\s]|\s|\A)(?P<shown>\d{1,3}) / (?P<of>\d{1,3})\s*\Z")
_OPERATOR = frozenset("+-*/=^<>(~\u00d7\u00f7\u2212\u2264\u2265\u2248\\%$£€#&|_")
_SENTENCE_END = lazy("[.?!\u2026\u3002\uff01\uff1f][\"')\\]\u201d\u2019]*\\Z")


def without_page_words(text: str) -> str:
    """The text without the words of the page around it."""
    without_banners = _BANNER.sub("", text) if "conversation is shared from" in text else text
    cleaned = "".join(
        _with_plain_head(piece) if is_code else _without_heads(piece)
        for piece, is_code in fences.blocks(without_banners)
    )
    cleaned = _without_counter(_without_buttons(cleaned))
    return cleaned if cleaned.strip() else without_banners


def _with_plain_head(block: str) -> str:
    head = _FENCED_HEAD.match(block)
    return _labelled(head) + block[head.end() :] if head else block


def _labelled(head: re.Match[str]) -> str:
    """The first line of a block, with the language that stood in the line below."""
    return f"{head['fence']}{head['info'] or head['label'] or ''}\n"


def _without_heads(piece: str) -> str:
    if "Copy" in piece:
        piece = _HEAD_LINE.sub("", piece)
        piece = _GLUED_HEAD.sub(lambda head: str(head["sign"]), piece)
        piece = _SIZE_BUTTON.sub("", piece)
    return _POLICY_NOTICE.sub("", piece)


def _without_buttons(text: str) -> str:
    first = _FIRST_BUTTON.match(text)
    if first and text[first.end() :].strip():
        text = text[first.end() :]
    last = _LAST_BUTTON.search(text)
    if last and text[: last.start()].strip():
        text = text[: last.start()]
    return _without_translation(_without_glued(text))


def _without_glued(text: str) -> str:
    """The text without a button that is glued to its end, unless that is all of it."""
    end = _GLUED_BUTTON.search(text) if any(words in text for words in _GLUED_WORDS) else None
    if end is None or _NAMES_IT.search(text[max(0, end.start() - 8) : end.start() + 1]):
        return text
    return text[: end.start()].rstrip() or text


def _without_translation(text: str) -> str:
    if "번역" not in text:
        return text
    return _TRANSLATE.sub(r"\g<before>", text).rstrip() or text


def _without_counter(text: str) -> str:
    counter = _COUNTER.search(text, max(0, len(text.rstrip()) - 12))
    if counter is None or not 1 <= int(counter["shown"]) <= int(counter["of"]):
        return text
    before = text[: counter.start("shown")]
    words = before.rstrip().rstrip("\u200b").rstrip()
    return words if words and _is_counter(words, before, counter) else text


def _is_counter(words: str, before: str, counter: re.Match[str]) -> bool:
    """Whether a fraction after the words of a text is a page's counter."""
    if words[-1] in _OPERATOR:
        return False
    is_last = counter["shown"] == counter["of"]
    if words[-1] in ":\uff1a" or before[len(words) :].strip("\u200b"):
        return is_last or _SENTENCE_END.search(words) is not None
    is_decimal = words[-1] in ".," and words[-2:-1].isdigit()
    is_variable = words[-1].isalpha() and not words[-2:-1].isalpha()
    return not (is_decimal or is_variable)
