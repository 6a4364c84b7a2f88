"""Cleaning: twice is once, no text is too odd, and what is not dirt survives to the letter."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from chatdata.core.config import Strict
from chatdata.steps.clean import (
    CLEANERS,
    Cleaner,
    Step,
    clean,
    clean_texts,
    fences,
    html_pages,
    markdown,
)
from chatdata.steps.entries import CleanedEntry
from tests.support.conversations import CONTENTS, HELLO, table

ALL = [Step(cleaner, {}) for cleaner in CLEANERS.values()]
BY_NAME = {step.cleaner.name: step for step in ALL}

DIRT = [
    *("<p>", "</p>", "<div class='markdown'>", "</div>", "<pre>", "</pre>", "<code>", "</code>"),
    *("<br>", "<table><tr><td>", "<ul><li>", "<!--", "<b", "&lt;", "&amp;lt;", "&#39;", "&#x200b;"),
    *("&amp;", "&nbsp;", "&lt;p&gt;", "&bogus;", "\\_", "\\\\_", "\\*", "_", "*", "`", "``", "```"),
    *("```\n", "~~~\n", "\n```python\n", "\n```\n", "Copy code", "\nCopy code\n", "python\nCopy\n"),
    *("sqlCopy codeSELECT", "Copy 3 chars / 1 words", "2 / 3", "\n1 / 1", "3 / 2", "Regenerate"),
    *(
        "Share Prompt",
        " Share Prompt",
        "지금 번역하기",
        "\n \n 지금 번역하기",
        "Save & SubmitCancel",
    ),
    *("\nReply in undefined", "CopyCopy HTMLRead Aloud⏹️ Stop7 chars | 2 words"),
    *("Regenerate response", "\u200b", "\u200c", "\u200d", "\u00ad", "\ufeff", "\u202e", "\x00"),
    *("\x1b[31m", "\x93", "\x85", "👩", "🏴", "\U000e0067", "\U000e007f", "م", "क", "ก", "\r\n"),
    *(
        "\r",
        "\n",
        "\n\n\n\n",
        "  \n",
        "\t",
        " ",
        "\u2028",
        "\x0b",
        "\xa0",
        "\u3000",
        "a",
        "x1",
        ".",
    ),
    *(":", "> ", "- ", "https://a.org/x_y", "\n    indented\n", "$", "\\"),
]
dirty = st.lists(st.sampled_from(DIRT) | st.text(max_size=3), max_size=12).map("".join)
texts = dirty.map(lambda text: text.encode(errors="ignore").decode())


def cleaned(text: str, *names: str) -> str:
    """A text, cleaned by the cleaners of these names, or by all."""
    return clean_texts([text], [BY_NAME[name] for name in names] or ALL)[0][0]


# --------------------------------------------------------------------------------- properties


@pytest.mark.slow
@pytest.mark.parametrize("name", CLEANERS)
@settings(max_examples=50)
@given(text=texts)
def test_cleaning_twice_is_cleaning_once(name: str, text: str) -> None:
    once = BY_NAME[name](text)
    assert BY_NAME[name](once) == once


@pytest.mark.slow
@settings(max_examples=100)
@given(text=texts, steps=st.permutations(ALL))
def test_cleaning_by_all_twice_is_cleaning_once(text: str, steps: list[Step]) -> None:
    once, _ = clean_texts([text], steps)
    again, taken = clean_texts(once, steps)
    assert again == once
    assert taken == [{}]


@settings(max_examples=66)
@given(text=st.text("`~ \n>-1.a\r\t", max_size=40))
def test_fences_are_found_where_their_pattern_finds_them(text: str) -> None:
    every_line = [line.span() for line in fences._FENCE.finditer(text)]
    assert [line.span() for line in fences._fences(text)] == every_line


@pytest.mark.slow
@pytest.mark.parametrize("name", CLEANERS)
@settings(max_examples=50)
@given(text=texts)
@example(text="\x1f<p>")  # Python strips what Rust does not call white space
def test_a_text_without_the_pattern_is_not_changed(name: str, text: str) -> None:
    step = BY_NAME[name]
    is_concerned = pl.DataFrame({"content": [text]}).select(step.concerns("content")).item()
    assert is_concerned or step.cleaner.function(text) == text


@pytest.mark.slow
@settings(max_examples=66)
@given(before=texts, code=texts, after=texts)
@example(before="a  ", code="def f(a):  \n\n\n\n\n    return a[0] &lt; 1", after=" \n\n\n\n\nb")
def test_fenced_code_keeps_its_blanks_and_its_words(before: str, code: str, after: str) -> None:
    fence = "~" * 9
    assume(fence not in before + code and "Copy" not in code)
    assume(not any(is_code for _, is_code in fences.blocks(before + "\n")))
    code = re.sub("[\r\v\f\u2028\u2029]", "", code)
    block = f"{fence}\n{code}\n{fence}"
    text = f"{before}\n{block}\n{after}"
    for name in ("white_space", "entities", "escapes", "artefacts"):
        assert block in cleaned(text, name)


@pytest.mark.slow
@settings(max_examples=40)
@given(contents=st.lists(texts | st.sampled_from(CONTENTS) | st.none(), max_size=8))
def test_a_table_is_cleaned_as_its_texts_are(contents: list[str | None]) -> None:
    rows = table({"x": [("user", content) for content in contents]})
    result, counts = clean(rows, ALL)
    expected = [content if content is None else cleaned(content) for content in contents]
    assert result["content"].to_list() == expected
    assert_frame_equal(result.drop("content"), rows.drop("content"))
    assert list(counts.by_cleaner) == list(CLEANERS)
    fewer = sum(
        len(old or "") - len(new or "") for old, new in zip(contents, expected, strict=True)
    )
    assert sum(numbers["characters"] for numbers in counts.by_cleaner.values()) == fewer
    changed = sum(old != new for old, new in zip(contents, expected, strict=True))
    assert (
        max((numbers["messages"] for numbers in counts.by_cleaner.values()), default=0) <= changed
    )


def test_counts_are_of_messages_and_add_up() -> None:
    rows = table(
        {"x": [("user", "a\u200b"), ("user", "a\u200b"), ("user", "b \u200b"), ("user", "c")]}
    )
    result, counts = clean(rows, [BY_NAME["invisible"], BY_NAME["white_space"]])
    assert result["content"].to_list() == ["a", "a", "b", "c"]
    assert counts.entry() == {
        "invisible": CleanedEntry(messages=3, characters=3),
        "white_space": CleanedEntry(messages=1, characters=1),
    }
    assert (counts + counts).by_cleaner["invisible"] == {"messages": 6, "characters": 6}
    assert clean(rows, [])[0].equals(rows)


def step_of(function: Any) -> Step:
    return Step(Cleaner("mine", function, ".", Strict, "."), {})


def test_a_cleaner_that_needs_several_rounds_gets_them() -> None:
    """The guard of the first property: this function alone fails it."""
    halve = step_of(lambda text: text.replace("aa", "a"))
    assert halve.cleaner.function("aaaa") == "aa"
    assert halve("aaaa") == "a"
    assert clean_texts(["aaaa"], [halve]) == (["a"], [{"mine": 3}])


def test_a_text_that_never_comes_to_rest_stays() -> None:
    restless = step_of(lambda text: text[::-1])
    assert restless("ab") == "ab"
    turns = [
        step_of(lambda text: text.replace("a", "b")),
        step_of(lambda text: text.replace("b", "a")),
    ]
    assert clean_texts(["ab", "c"], turns) == (["aa", "c"], [{"mine": 0}, {}])
    grows = step_of(lambda text: text + "a")
    assert clean_texts(["x"], [grows]) == (["x"], [{}])


# ------------------------------------------------------------------------------------- cases

SURVIVES = [
    "",
    "a[0]",
    "import openai\n\nopenai.api_key = key",
    "def f(a):\n    return a[0]\n\n\ndef g(a):\n    return a[1]",
    "```python\ndef f(a):\n    return a[0]\n\n\n\n\ndef g(a):   \n    pass\n```",
    "a < b and c > d",
    "if x<y and y>z: print('<')",
    "List<String> and vector<int>",
    'How do I centre this?\n\n<div class="box"><p>text</p></div>',
    '<div class="card" id="main">\n  <h2>Title</h2>\n</div>',
    "<!DOCTYPE html>\n<html><head><title>x</title></head><body><p>x</p></body></html>",
    '<form action="/send"><input name="a"></form>',
    "<p>One</p> is what I wrote",
    "```html\n<p>&lt;b&gt;</p>\n```",
    "Write `&lt;` for <, and `&amp;lt;` for that.",
    "In HTML, write &amp;lt; to show &lt; in a page.",
    '<xsl:when test="a &lt; 3">',
    "https://example.org/?a=1&copy=2&lt",
    "Escape it as \\_ where a_b is not meant",
    "snake_case, *emphasis* and __init__",
    "1 / 2",
    "What is 3 / 4",
    "So x1 / 2",
    "It is 3.1 / 2",
    "The ratio is:\n1 / 2",
    "a ^ 2 / 2",
    "Regenerate response",
    "Share Prompt",
    "What is Share Prompt",
    "Share Prompt is a button",
    "지금 번역하기",
    "이 글을 지금 번역하기",
    "How do I say 지금 번역하기 in English?",
    "Reply in undefined",
    "Copy code",
    "Copy code from one file to another",
    "`sqlCopy code` is an unnecessary line",
    "👩‍👩‍👧 and 🏳️‍🌈 and 🧍‍♂️",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "می‌خواهم",  # Persian, with a non-joiner
    "क्‍ष",  # Devanagari, with a joiner
    "ភាសា\u200bខ្មែរ",  # Khmer, with a space of no width
    "\u2067אבג\u2069 abc",
    "5 €, naïve, 日本語　の文",
    "Voilà\u00a0!",
    "tab\there",
]

CASES: dict[str, list[tuple[str, str]]] = {
    "html": [
        ("<p>Hello</p>", "Hello"),
        ("<p>a &lt; b &amp; c</p>", "a < b & c"),
        ("<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>", "- a\n- b\n  - c"),
        ("<pre><code class='language-c'>\na;\n\n\nb;\n</code></pre>", "```c\n\na;\n\n\nb;\n```"),
        ("<pre>a\n  b</pre>", "```\na\n  b\n```"),
        ("<pre><code>a<br>b</code></pre>", "```\na\nb\n```"),
        ("<p>a<code>`b`</code></p>", "a`` `b` ``"),
        ("<div class='markdown prose'><p>cut off", "cut off"),
        ("<div class='markdown'><form>Ada<button>Send</button></form></div>", "Ada"),
        ("<p>&lt;p&gt;a&lt;/p&gt;</p>", "\\<p>a</p>"),
        ("<p>&amp;lt;</p>", "\\&lt;"),
        ("<p>a\nb</p>\n<p>c</p>", "a\nb\n\nc"),
        ("<div class='whitespace-pre-wrap'>a\n  b\nc</div>", "a\n  b\nc"),
        ("<ul><li><input type='checkbox' checked> a</li></ul>", "- [x] a"),
        ("<p>" * 101 + "a" + "</p>" * 101, "<p>" * 101 + "a" + "</p>" * 101),
        ("<p>" * 100 + "a" + "</p>" * 100, "a"),
        ("<p></p>", ""),
    ],
    "entities": [
        ("AT&amp;T &#39;n&#x27; &lt;3&nbsp;!", "AT&T 'n' <3 !"),
        ("a &lt; `&lt;` &gt; b", "a < `&lt;` > b"),
        ("&unknown; &copy", "&unknown; &copy"),
        ("&#55296;", "\ufffd"),
        ("&lt;p&gt;a&lt;/p&gt;", "&lt;p&gt;a&lt;/p&gt;"),
    ],
    "escapes": [
        ("my\\_list = a \\* b", "my_list = a * b"),
        ("`a_b` and c\\_d, https://a.org/x_y", "`a_b` and c_d, https://a.org/x_y"),
        ("[a](b_c) and c\\_d", "[a](b_c) and c_d"),
        ("a_b and c\\_d", "a_b and c\\_d"),
        ("\\\\_ \\_", "\\\\_ _"),
    ],
    "artefacts": [
        ("Explain this2 / 2", "Explain this"),
        ("Is that right? 2 / 3", "Is that right?"),
        ("continue 1 / 1", "continue"),
        ("More words.\n\n12 / 13\n", "More words."),
        ("this:1 / 1", "this:"),
        ("继续说。1 / 2", "继续说。"),
        ("such as:\nglsl\nCopy code\nfloat a;", "such as:\nfloat a;"),
        ("sqlCopy codeSELECT 1", "SELECT 1"),
        ("+markdownCopy codeworker", "+worker"),
        ("python\nCopy\nEdit\nprint(1)", "print(1)"),
        ("```\npythonCopy code\nimport x\n```", "```python\nimport x\n```"),
        ("```\npythonCopy codeimport x\n```", "```python\nimport x\n```"),
        ("```js\nCopy code\nlet x\n```", "```js\nlet x\n```"),
        ("Sure.Copy12 chars / 3 words", "Sure."),
        ("Why?\nRegenerate response", "Why?"),
        ("the third ruleShare Prompt", "the third rule"),
        ("please continue Share Prompt", "please continue"),
        ("Why?\n \n \n 지금 번역하기", "Why?"),
        ("Keep going 지금 번역하기", "Keep going"),
        ("왜요?\n지금 번역하기", "왜요?"),
        ("왜요?\n \n 지금 번역하기", "왜요?"),
        ("Why?지금 번역하기CopyCopy HTMLRead Aloud⏹️ Stop7 chars | 2 words", "Why?"),
        ("Go on\n 지금 번역하기\n CopyCopy HTMLRead Aloud7 chars | 2 words", "Go on"),
        ("A log:\n x:1\n Share Prompt", "A log:\n x:1"),
        ("funny,Save & SubmitCancel", "funny,"),
        ("cars in norway\nReply in undefined", "cars in norway"),
        ("*This conversation is shared from [**ChatHub**](https://chathub.gg)*", ""),
        (
            "Why?This content may violate our content policy. If you believe this to be in error, "
            "please submit your feedback — your input will aid our research in this area.",
            "Why?",
        ),
    ],
    "invisible": [
        ("\u200b", ""),
        ("Wri\u200bte\ufeff it\u2060", "Write it"),
        ("oper\x02ation\x00", "operation"),
        ("Teilchen\u00adbeschleuniger", "Teilchenbeschleuniger"),
        ("a brand\u00ad\nnew", "a brand-\nnew"),
        ("\x93so\x94 \x85", "“so” …"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\u200db\u200c", "ab"),
        ("\u202a+91 88\u202c: hi", "+91 88: hi"),
        ("x\U000e0041\U000e0042", "x"),
    ],
    "white_space": [
        ("a \t\nb  ", "a\nb"),
        ("\n \n    a\n", "    a"),
        ("a\n\n\n\n\nb\n\n\n\nc", "a\n\n\nb\n\n\nc"),
        ("a\n\n\n\nb", "a\n\n\nb"),
        ("a\n\n\nb", "a\n\n\nb"),
        ("a\r\nb\rc\x0bd\u2028e", "a\nb\nc\nd\ne"),
        ("a  \n```\nx  \n\n\n\n\ny\n```\nb  ", "a\n```\nx  \n\n\n\n\ny\n```\nb"),
        (" \n\t", ""),
    ],
}


@pytest.mark.parametrize("text", SURVIVES)
@pytest.mark.parametrize("name", CLEANERS)
def test_what_is_no_dirt_survives(name: str, text: str) -> None:
    assert BY_NAME[name](text) == text


@pytest.mark.parametrize("text", SURVIVES)
def test_what_is_no_dirt_survives_them_all(text: str) -> None:
    assert cleaned(text) == text


@pytest.mark.parametrize(
    "foreign",
    [
        lambda text: text.replace("\n\n\n", "\n"),
        lambda text: re.sub(r"\[\d+\]", "", text),
        lambda text: re.sub(r"\d+ / \d+", "", text),
        lambda text: re.sub("<[^>]+>", "", text),
        lambda text: re.sub("[\u200b-\u200d]", "", text),
        lambda text: re.sub(".*openai.*", "", text),
        markdown.to_markdown,
    ],
)
def test_the_cases_would_catch_the_cleaners_of_others(foreign: Callable[[str], str]) -> None:
    assert any(foreign(text) != text for text in SURVIVES)


def test_every_cleaner_has_cases_and_a_line_about_it() -> None:
    assert set(CASES) == set(CLEANERS)
    assert all(cleaner.about.endswith(".") for cleaner in CLEANERS.values())


@pytest.mark.parametrize(("name", "text", "expected"), [(n, *c) for n in CASES for c in CASES[n]])
def test_a_cleaner_does_what_it_is_named_for(name: str, text: str, expected: str) -> None:
    assert BY_NAME[name](text) == expected


def test_the_last_pair_survives_and_an_option_is_heeded() -> None:
    rows = table({"x": [*HELLO, ("user", "Why?"), ("assistant", "a\n\n\n\nb")]})
    one_line = Step(CLEANERS["white_space"], {"max_blank_lines": 1})
    assert clean(rows, [one_line])[0]["content"].to_list()[-1] == "a\n\nb"
    assert clean(rows, [one_line])[0].height == 4


def test_a_page_as_markdown(request: pytest.FixtureRequest) -> None:
    """A golden: a page as ChatGPT had them, and what it says."""
    folder = Path(__file__).parent.parent / "golden"
    html = (folder / "page.html").read_text()
    assert html_pages.is_html(html)
    result = cleaned(html) + "\n"
    if request.config.getoption("--update-golden"):
        (folder / "page.md").write_text(result)
    assert result == (folder / "page.md").read_text()


@pytest.mark.parametrize(
    ("text", "is_html"),
    [
        ("<p>a</p>", True),
        ("  <ol><li>a</li></ol>\n", True),
        ('<div class="markdown prose">a</div>', True),
        ("<DIV CLASS='markdown'>a</DIV>", True),
        ('<p class="[&>p]:mb-2">a</p>', True),
        ("<p>a</p> b", False),
        ("a <p>b</p>", False),
        ("<b>a</b>", False),
        ("</p>", False),
        ("<p", False),
        ('<p onclick="f()">a</p>', False),
        ("<p>a</p><script>x</script>", False),
        ("<div>\n  <p>a</p>\n</div>", False),
        ("<pre>\n  <p>a\n</pre>", True),
        ('<div class="markdown">a</div> what is wrong with it?', False),
    ],
)
def test_a_text_is_html_where_markup_is_the_whole_of_it(text: str, is_html: bool) -> None:
    assert html_pages.is_html(text) == is_html


@pytest.mark.slow
@settings(max_examples=50)
@given(code=texts, language=st.sampled_from(["", "python", "c++"]))
@example(code="\n\ndef f(a):\n    return a[0]\n\n\n\ndef g():\n\tpass\n\n", language="python")
def test_a_block_of_code_comes_out_of_a_page_to_the_letter(code: str, language: str) -> None:
    code = code.replace("\r", "").replace("\x00", "")
    assume(code.strip())
    kind = f' class="hljs language-{language}"' if language else ""
    head = f"<div><span>{language}</span><button>Copy code</button></div>"
    block = f"<pre>{head}<div><code{kind}>{escape(code, quote=False)}</code></div></pre>"
    page = f'<div class="markdown prose"><p>a</p><ul><li>b</li></ul>{block}<p>c</p></div>'
    fence = "`" * (max(map(len, re.findall("`{3,}", code)), default=2) + 1)
    expected = f"{fence}{language}\n{code.removesuffix(chr(10))}\n{fence}"
    assert BY_NAME["html"](page) == f"a\n\n- b\n\n{expected}\n\nc"


# ----------------------------------------------------------------------------- code and prose


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a `b` c", ["`b`"]),
        ("a ``b`c`` d", ["``b`c``"]),
        ("a `b\n\nc` d", []),
        ("a ` b", []),
        ("```\na\n```\nb", ["```\na\n```\n"]),
        ("```\na", ["```\na"]),
        ("~~~\n```\n~~~\n`x`", ["~~~\n```\n~~~\n", "`x`"]),
        ("````\n```\n````", ["````\n```\n````"]),
        ("1. ```py\n   a\n   ```\n2. b", ["1. ```py\n   a\n   ```\n"]),
        ("> ```\n> a\n> ```\nb", ["> ```\n> a\n> ```\n"]),
        ("```a``` b", ["```a```"]),
    ],
)
def test_code_is_told_from_prose(text: str, code: list[str]) -> None:
    changed: list[str] = []
    fences.outside_code(text, lambda piece: changed.append(piece) or piece)  # type: ignore[func-returns-value]
    rest = text
    for piece in code:
        _, separator, rest = rest.partition(piece)
        assert separator
    assert "".join(changed) == fences.without_code(text)
    assert len(fences.without_code(text)) == len(text) - sum(map(len, code))


@settings(max_examples=66)
@given(text=texts)
def test_the_stretches_of_a_text_make_it_up(text: str) -> None:
    assert "".join(piece for piece, _ in fences.blocks(text)) == text
    assert fences.outside_code(text, lambda piece: piece) == text


# ------------------------------------------------------------------------------------ real data


def test_the_page_in_the_real_data_becomes_text(real_data: Path) -> None:
    (record,) = json.loads((real_data / "sharegpt-raw-html" / "sharegpt_html_1.json").read_text())
    values = [turn["value"] for turn in record["conversations"]]
    assert [html_pages.is_html(value) for value in values] == [False, True, False]
    assert cleaned(values[0]) == values[0]
    assert cleaned(values[1]).startswith("Yes, I am familiar with the SAS")
    assert "<" not in cleaned(values[1])


def test_real_turns_are_cleaned_once_and_their_code_stays(real_data: Path) -> None:
    path = real_data / "sharegpt-en-1k" / "sharegpt92k_sample.json.gz"
    records = json.loads(gzip.decompress(path.read_bytes()))
    texts = [turn["value"] for record in records for turn in record["conversations"]]
    once, _ = clean_texts(texts, ALL)
    again, taken = clean_texts(once, ALL)
    assert again == once
    assert not any(taken)
    assert sum(old != new for old, new in zip(texts, once, strict=True)) > 400
    for old, new in zip(texts, once, strict=True):
        fenced = [piece for piece, is_code in fences.blocks(old) if is_code and "Copy" not in piece]
        if not re.search("[\u200b-\u200f\ufeff]", old):
            assert all(piece.rstrip() in new for piece in fenced)
