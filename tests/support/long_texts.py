"""Texts of any length on which a careless expression takes the square of their length.

Each is a head, a unit that is repeated, and a tail; `text` makes one of about so many characters.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

_PAGE = "<div class='markdown'>"
_PARTS: dict[str, tuple[str, str, str]] = {
    "a letter": ("", "a", ""),
    "letters": ("", "aZ9b", ""),
    "digits": ("", "7", ""),
    "words": ("", "a word of it ", ""),
    "sentences": ("", "The quick brown fox jumps over the lazy dog, and so on. ", ""),
    "lines": ("", "a\n", ""),
    "blanks": ("x", " ", "x"),
    "tabs and blanks": ("x", " \t", "x"),
    "blank lines": ("x", "\n", "x"),
    "blank lines of blanks": ("x", " \n", "x"),
    "carriage returns": ("x", "\r", "x"),
    "ideographs": ("", "\u8bed", ""),
    # keys
    "key prefixes": ("", "api_key=", ""),
    "key prefixes with quotes": ("", 'secret="', ""),
    "key words": ("", "token ", ""),
    "a key word and blanks": ("", "key" + 500 * " ", "x"),
    "a key word and all blanks": ("key", " ", "x"),
    "artifacts": ("", "artif", " AKCaaaaaaaaaaaaa "),
    "aws": ("", "aws ", ""),
    "aws key": ("", "aws key ", ""),
    "assigned": ("", "password = x9", ""),
    "tokens": ("", "sk-", ""),
    "strings that are added": ("api_key = '", "x9' + '", ""),
    "strings side by side": ("api_key = 'a' + 'b", "x9' 'a", ""),
    "wrapped lines": ("token=", 59 * "a" + "9\n", ""),
    "lines that go on": ("api_key=", "x9aB\\\n", ""),
    "settings": ("", "host=a password=", ""),
    "commands": ("", "mysql curl -u ", ""),
    "glued mails": ("", "a@b.com", ""),
    "groups of digits": ("", "06 12 34 56 78 ", ""),
    "words for telephone": ("", "call me at the number ", "1"),
    "JWT prefixes": ("", "eyJ", ""),
    "JWT dots": ("", "eyJhbGciOi.", ""),
    "private keys": ("", "-----BEGIN RSA PRIVATE KEY-----\n", ""),
    "a private key of lines": ("-----BEGIN RSA PRIVATE KEY-----\n", "A: b\n", ""),
    "a private key of blanks": ("-----BEGIN RSA PRIVATE KEY-----\n", " \n", ""),
    "connection strings": ("", "://u:p", ""),
    "colons": ("://", "a:", "@h"),
    "slack addresses": ("", "https://hooks.slack.com/services/", ""),
    "cloudant addresses": ("", "https://a.cloudant.com ", ""),
    # people
    "at-signs": ("", "a@", ""),
    "addresses": ("", "a@a.", ""),
    "domains": ("a@", "a.", ""),
    "hyphens in domains": ("a@", "a-", ".com"),
    "digits and blanks": ("", "555 ", ""),
    "phone numbers": ("", "(212) 555-0", ""),
    "plus signs": ("", "+1 2", ""),
    "parentheses": ("", "(1", ""),
    "card digits": ("", "4111 ", ""),
    # HTML
    "ordered list": ("<ol>", "<li>x</li>", "</ol>"),
    "list": ("<ul>", "<li>x</li>", "</ul>"),
    "paragraphs": ("", "<p>x</p>", ""),
    "paragraphs of blanks": ("<p>", " <br> ", "</p>"),
    "inline": ("<p>", "<b>x</b>", "</p>"),
    "rows of a table": ("<table>", "<tr><td>x</td></tr>", "</table>"),
    "cells of a table": ("<table><tr>", "<td>x|</td>", "</tr></table>"),
    "open tags": ("<p>", "<p>", ""),
    "open items": ("<ol>", "<li>", ""),
    "less than": ("<p>", "<", "</p>"),
    "tags that do not end": ("<p>", "<a ", "</p>"),
    "quotes in tags": ("<p>", '<a b="', "</p>"),
    "a tag of attributes": ("<p ", "a=b ", ">x</p>"),
    "comments": ("<p>", "<!--", "</p>"),
    "comments with ends": ("<p>", "<!-- -->", "</p>"),
    "declarations": ("<p>", "<!", "</p>"),
    "instructions": ("<div class='markdown'>", "<?", "</div>"),
    "end tags": ("<p>", "</b>", "</p>"),
    "blocks of code": ("<div class='markdown'>", "<pre><code>x</code></pre>", "</div>"),
    "breaks in code": ("<pre><code>", "x<br>", "</code></pre>"),
    "entities in HTML": ("<p>", "&amp;lt;", "</p>"),
    "blanks between tags": ("<ul>", " \n", "<li>x</li></ul>"),
    "blanks between items": ("<ul>", "<li>x</li> \n ", "</ul>"),
    "comments between items": ("<ul>", "<!-- -->\n", "<li>x</li></ul>"),
    "blanks in HTML": ("<p>x", " ", "x</p>"),
    "line ends in HTML": ("<p>x", "\n", "x</p>"),
    "heads of tables": ("<table><thead>", "<tr><td>x</td></tr>", "</thead></table>"),
    "buttons in HTML": (_PAGE, "<button>x</button>", "</div>"),
    "boxes": (_PAGE, "<input type=checkbox>", "</div>"),
    "bars in a cell": (f"{_PAGE}<table><tr><td>", "|<b>x</b>", "</td></tr></table></div>"),
    "formulas": (_PAGE, "<span class='katex'>x</span>", "</div>"),
    "lines that were typed": ("<div class='markdown whitespace-pre-wrap'>", "x<br>", "</div>"),
    "ends of nothing": (_PAGE, "<div></b>", "</div>"),
    "tags that do not end in a page": (_PAGE, "<a ", "</div>"),
    "ends that do not end in a page": (_PAGE, "</a ", "</div>"),
    "declarations in a page": (_PAGE, "<!", "</div>"),
    "sections in a page": (_PAGE, "<![CDATA[", "</div>"),
    "types in a page": (_PAGE, "<!DOCTYPE [", "</div>"),
    "less than in a page": (_PAGE, "<", "</div>"),
    "quotes in tags of a page": (_PAGE, '<a b="', "</div>"),
    "quoted tags of a page": (_PAGE, '"<a" ', "</div>"),
    "comments in a page": (_PAGE, "<!-- -->", "</div>"),
    "scripts in a page": (_PAGE, "<script>", "</div>"),
    "entities in a page": (_PAGE, "&#", "</div>"),
    "a page cut off": (_PAGE, '<a "', ""),
    # Markdown and marks
    "entities": ("", "&lt;", ""),
    "entities of entities": ("&lt;", "amp;", ""),
    "ampersands": ("", "&a", ""),
    "escapes": ("", "\\_", ""),
    "backslashes": ("\\_", "\\", ""),
    "links": ("\\_", "](", ""),
    "addresses of pages": ("\\_", "https://", ""),
    "fences": ("", "```\n", ""),
    "fences that differ": ("", "```x`\n", ""),
    "quoted fences": ("```\n&lt;", "> ", "```\n"),
    "lists of fences": ("```\n&lt;", "- ", "```\n"),
    "backticks": ("&lt;", "`", ""),
    "backticks apart": ("&lt;", "` `` ", ""),
    "backticks and line ends": ("&lt;`", "\n ", "`"),
    "line ends and blanks": ("&lt;`", " ", "\n`"),
    "quotes": ("", '"', ""),
    "open quotes": ("", "\u201ca", ""),
    "brackets": ("", "[(", ""),
    "equals": ("", "a = b ", ""),
    "dollars": ("", "$", ""),
    "slashes": ("", "/a", ""),
    "JSON": ("", '"a": "b", ', ""),
    # pages
    "copy code": ("", "Copy code", ""),
    "copy code in lines": ("", "python\nCopy code\n", ""),
    "copy code and blanks": ("Copy code", "\t", "x"),
    "banners": ("", "*This conversation is shared from [**a", ""),
    "policies": ("", "This content may violate our content policy. ", ""),
    "buttons": ("", "\nRegenerate response", ""),
    "notices": ("", "\nFree Research Preview. ChatGPT May ", ""),
    "counters": ("", "1 / 2 ", ""),
    "a counter after blanks": ("x", " ", "1 / 2"),
    # tags of messages
    "thoughts": ("", "<think>", ""),
    "thoughts in lines": ("", "<think>\n", ""),
    "thoughts that end": ("", "</think>", ""),
    "blanks before a thought": ("", "\n ", "<think>"),
    "calls": ("", "<tool_call>", ""),
    "calls in lines": ("", "\n<tool_call>", ""),
    "calls that end": ("", "\n<tool_call>{}</tool_call>", "x"),
    "calls and blanks": ("", "\n ", "<tool_call>{}</tool_call>x"),
    "calls and lines": ("<tool_call>{}</tool_call>", "\n", "x"),
    "a call of braces": ("\n<tool_call>", "{", "</tool_call>"),
    "a call of brackets": ("\n<tool_call>", '{"a":', "</tool_call>"),
    "results": ("", "<tool_response>", ""),
    "lists of tools": ("", "<tools>[", ""),
    "lists of tools that end": ("", "<tools>[x</tools>", ""),
    "tools": ("<tools>", '{"name": "a"}\n', "</tools>"),
    # characters
    "invisible": ("", "\u200b", ""),
    "joiners": ("", "a\u200d", ""),
    "soft hyphens": ("", "\u00ad", ""),
    "terminal colours": ("", "\x1b[", ""),
    "a terminal colour": ("\x1b[", "0", ""),
    "flags": ("", "\U0001f3f4\U000e0067", ""),
    "a flag": ("\U0001f3f4", "\U000e0067", ""),
    "right to left": ("\u05d0", "\u200e", ""),
    # answers
    "refusals": ("", "I am sorry ", ""),
    "signs before a refusal": ("", "... ", "I"),
    "urls": ("", "https://a ", "b"),
    "signs before a url": ("", "<(", "x"),
    "sentence ends": ("", ". ", ""),
    "marks of sentences": ("x.", "*", ""),
}
_NESTED = {
    "nested ordered lists": ("<ol><li>x", "</li></ol>"),
    "nested lists": ("<ul><li>x", "</li></ul>"),
    "nested quotes": ("<blockquote>x", "</blockquote>"),
    "nested blocks": ("<div>x", "</div>"),
    "nested inline": ("<b>x", "</b>"),
    "nested tables": ("<table><tr><td>x", "</td></tr></table>"),
}
_DEPTH = 90  # a page of more levels than a hundred is not converted


def text(name: str, size: int) -> str:
    """A text of about `size` characters, of the kind that `name` names."""
    if name in MAKERS:
        return MAKERS[name](size)
    head, unit, tail = _PARTS[name]
    return head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail


def _nested(opens: str, closes: str) -> Callable[[int], str]:
    """Words that lie as deep as a page may be nested."""
    depth = _DEPTH // opens.count("<")
    inner = "<p>words of a line</p>"

    def make(size: int) -> str:
        return opens * depth + inner * (size // len(inner)) + closes * depth

    return make


def _deep(opens: str, closes: str) -> Callable[[int], str]:
    """Elements nested as deep as the text is long."""
    return lambda size: (opens * (n := size // len(opens + closes))) + closes * n


def _many(opens: str, closes: str) -> Callable[[int], str]:
    """Many elements, each nested some levels deep."""
    unit = opens * 10 + closes * 10
    return lambda size: f"<div class='markdown'>{unit * (size // len(unit))}</div>"


def _different(form: str) -> Callable[[int], str]:
    """A form with a number that is always another."""

    def make(size: int) -> str:
        numbers = itertools.count(10**9 + 7, 7919)
        count = size // len(form.format(10**9))
        return "".join(form.format(number) for number in itertools.islice(numbers, count))

    return make


def _growing(sign: str) -> Callable[[int], str]:
    """Runs of a sign, each longer by a sign than the run before."""
    return lambda size: " ".join(sign * n for n in range(1, int((2 * size) ** 0.5)))


MAKERS: dict[str, Callable[[int], str]] = {
    **{f"{name}, a long line": _nested(*tags) for name, tags in _NESTED.items()},
    **{f"{name}, deep": _deep(*tags) for name, tags in _NESTED.items()},
    **{f"{name}, many": _many(*tags) for name, tags in _NESTED.items()},
    "different keys": _different("api_key: 'k3yA9zQw{}Lm' "),
    "different keys in lines": _different("api_key: 'k3yA9zQw{}Lm'\n"),
    "different tokens": _different("sk-proj-Ab3dE5{}xYz "),
    "different mails": _different("u{}@mail.org "),
    "different passwords": _different("a://u:p{}@h/ "),
    "different phones": _different("+1 {} "),
    "different national phones": _different("0{} 12, "),
    "different groups of digits": _different("0100 {} 300, "),
    "different passwords in settings": _different("password='p{}-Xq'\n"),
    "different strings that are added": _different("'sk-Ab3dE{}' + 'xYz' "),
    "different tools": _different('<tools>[{{"name": "{}"}}]</tools>'),
    "different calls": _different('\n<tool_call>{{"name": "a{}"}}</tool_call>'),
    "runs of backticks": lambda size: "&lt; " + _growing("`")(size),
    "runs of fences": lambda size: "&lt;\n" + _growing("`")(size).replace(" ", "\n"),
}
NAMES = [*_PARTS, *MAKERS]
