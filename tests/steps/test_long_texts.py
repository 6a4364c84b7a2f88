"""Long texts on which a careless expression takes the square of their length: results are right.

Nothing looks at the clock: with a step that is quadratic, a test here takes minutes.
"""

from __future__ import annotations

import json
import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdata.steps import cleaning, redact, secrets, structure
from tests.support import long_texts
from tests.support.conversations import table

pytestmark = pytest.mark.slow

SIZE = 200_000
KEY = "AKIA" + "Q3EGRJ7XN5TPLK2D"


def find(text: str) -> list[secrets.Finding]:
    return secrets.find(pl.Series([text], dtype=pl.String)).get(0, [])


# ------------------------------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    "kind",
    [
        "JWT prefixes",
        "JWT dots",
        "key prefixes",
        "key words",
        "a key word and blanks",
        "aws",
        "tokens",
    ],
)
def test_a_key_behind_many_beginnings_of_keys_is_found(kind: str) -> None:
    text = long_texts.text(kind, SIZE) + f"\nid: {KEY}\n"
    assert [finding.value for finding in find(text)] == [KEY]


@pytest.mark.parametrize("end", [" ", "\n"])
def test_many_keys_are_found_each_in_its_place(end: str) -> None:
    form = f"api_key: 'k3yA9zQw{{}}Lm'{end}"
    text = "é".join(form.format(10**9 + 7919 * number) for number in range(5000))
    findings = find(text)
    assert [f.start for f in findings] == [m.start(1) for m in re.finditer(r"'(\w+)'", text)]
    assert all(f.value == text[f.start : f.end] for f in findings)
    messages, counts = redact.replace(table({"x": [("user", text)]}), ["key"])
    assert "k3y" not in messages["content"][0]
    assert counts.by_kind == {"key": {"messages": 1, "found": 5000, "masked": 5000}}


@pytest.mark.parametrize("before", ["word ", "x", "/"])
@pytest.mark.parametrize("place", [0, 700, 1499, 1990, 2000, 2010, 3000, 9000])
def test_a_long_line_is_searched_at_every_place(before: str, place: int) -> None:
    value = "wJalrXUtnFEMIK7MDENG" + "bPxRfiCYzz9182KEYabc"
    text = (before * place)[:place] + f" aws_secret = '{value}' " + "more words " * 500
    assert [finding.value for finding in find(text)] == [value]


def test_a_key_within_a_key_is_masked_with_it() -> None:
    inner = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vX7zA9cD1f"
    text = f"api_key = 'x9/{inner}/y8z7w6v5'"
    (finding,) = find(text)
    messages, _ = redact.replace(table({"x": [("user", text)]}), ["key"])
    assert finding.value == f"x9/{inner}/y8z7w6v5"
    assert messages["content"][0] == "api_key = '<KEY_1>'"


@settings(derandomize=True)
@given(st.text(alphabet="ab-é ", max_size=30), st.sets(st.text("ab-", min_size=1, max_size=4)))
def test_keys_are_looked_for_together_as_each_by_itself(text: str, keys: set[str]) -> None:
    together = secrets.occurrences(["", text], keys).get(1, [])
    alone = [
        (match.start(), match.end(), "key", key)
        for key in keys
        for match in re.finditer(rf"(?<![A-Za-z0-9]){re.escape(key)}(?![A-Za-z0-9])", text)
    ]
    assert sorted(together) == sorted(alone)


# --------------------------------------------------------------------------------------------- tags

_CALL = r"<tool_call>((?:(?!</?tool_call>).)*)</tool_call>"
_CALLS = re.compile(rf"(?:^|\n)\s*((?:{_CALL}\s*)+)\Z", re.DOTALL)
TAGS = st.sampled_from(["<tool_call>", "</tool_call>", "<tool_call>x</tool_call>", "\n", " ", "w"])


@settings(derandomize=True, max_examples=166)
@given(st.lists(TAGS, max_size=8).map("".join))
def test_calls_at_the_end_are_those_of_an_expression(content: str) -> None:
    tail = _CALLS.search(content)
    start, inners = structure._calls_at_end(content)
    assert bool(tail) == bool(inners)
    if tail:
        assert start == tail.start()
        assert inners == re.findall(_CALL, tail[1], re.DOTALL)


def lifted(role: str, content: str) -> pl.DataFrame:
    messages, _ = cleaning.run(table({"x": [(role, content)]}), [cleaning.step("lift_tools", {})])
    return messages


def test_many_calls_are_lifted() -> None:
    calls = [{"name": f"f{number}", "arguments": {}} for number in range(3000)]
    tagged = "\n".join(f"<tool_call>{json.dumps(call)}</tool_call>" for call in calls)
    messages = lifted("assistant", f"Here.\n{tagged}")
    assert messages["content"][0] == "Here."
    assert [call["function"] for call in json.loads(messages["tool_calls"][0])] == calls


@pytest.mark.parametrize("kind", ["calls that end", "calls and blanks", "calls and lines"])
def test_calls_with_words_behind_stay_words(kind: str) -> None:
    content = long_texts.text(kind, SIZE)
    assert lifted("assistant", content)["content"][0] == content


def test_lists_of_tools_that_nothing_ends_stay_words() -> None:
    content = long_texts.text("lists of tools", SIZE)
    assert lifted("system", content)["content"][0] == content


# --------------------------------------------------------------------------------------------- HTML


def markdown(text: str) -> tuple[str, dict[str, int]]:
    messages, cleaned = cleaning.run(table({"x": [("user", text)]}), [cleaning.step("html", {})])
    return messages["content"][0], dict(cleaned.by_cleaner["html"])


def test_a_long_ordered_list_is_numbered() -> None:
    words, counts = markdown(f"<ol start='7'>{'<li>x<br>y</li>' * 2000}</ol>")
    lines = words.split("\n")
    assert [line.rstrip() for line in lines[::2]] == [f"{7 + n}. x" for n in range(2000)]
    assert {line.strip() for line in lines[1::2]} == {"y"}
    assert "left" not in counts


@pytest.mark.parametrize("start", ["x", "-1", "²", "9" * 5000])
def test_a_list_whose_start_is_no_number_starts_at_1(start: str) -> None:
    words, _ = markdown(f"<ol start='{start}'><li>x</li><li>y</li></ol>")
    assert words == "1. x\n2. y"


def test_line_breaks_in_a_long_block_of_code_are_line_ends() -> None:
    words, _ = markdown(f"<pre><code>{'x<br>' * 8_000}</code></pre>")
    assert words == "```\n" + "x\n" * 8_000 + "```"


def test_a_long_run_of_blanks_is_a_blank() -> None:
    assert markdown(f"<p>x{' ' * SIZE}y{' ' * SIZE}\n</p>")[0] == "x y"


def test_tags_named_as_parts_of_the_converter_are_words() -> None:
    page = "<div class='markdown'><soup>a</soup> <fn-cache>b</fn-cache> <h{0}>c</h{0}></div>"
    assert markdown(page.format("9" * 5000))[0] == "a bc"


@pytest.mark.parametrize(
    "kind",
    [
        "nested quotes, a long line",
        "nested lists, a long line",
        "heads of tables",
        "buttons in HTML",
        "bars in a cell",
        "ends of nothing",
    ],
)
def test_a_page_that_is_too_much_work_stays_and_is_counted(kind: str) -> None:
    page = long_texts.text(kind, 100_000)
    words, counts = markdown(page)
    assert words == page
    assert counts == {"messages": 0, "characters": 0, "left": 1}
    assert markdown(long_texts.text(kind, 300))[1].get("left") is None


def test_a_page_of_too_many_tags_is_not_read() -> None:
    page = f"<p>{'<br>' * 99_999}" + "</p>"
    assert markdown(page) == (page, {"messages": 0, "characters": 0, "left": 1})
