"""Chat templates that do too much are refused by name; limits are lowered, inputs are small."""

from __future__ import annotations

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chatdata.core.errors import RenderError
from chatdata.render.chat_template import limits, meter, render
from chatdata.render.conversation import UnrenderableError

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def _low(monkeypatch: pytest.MonkeyPatch) -> None:
    low = {"MOST_STEPS": 50, "MOST_CHARACTERS": 500, "MOST_BITS": 64, "WIDEST": 60}
    for name, limit in low.items():
        monkeypatch.setattr(meter, name, limit)


def written(source: str) -> str:
    return render(source, {}, None, HELLO)


def again(step: str) -> str:
    """A template that takes a step twelve times, each with what the step before it has made."""
    begin = "{% set n = namespace(s='x', t='x', i=9) %}{% for a in range(12) %}"
    return f"{begin}{step}{{% endfor %}}"


NESTED = again("{% set n.s = [n.s, n.s] %}{% set n.t = [n.t, n.t] %}")
NESTED_KEYS = again("{% set n.s = (n.s, n.s) %}")
LONG = "{% set s = 'x' * 400 %}{% for a in range(40) %}"
STEPS, CHARACTERS = "it takes more than 50 steps", "it makes more than 500 characters"
BITS, WIDTH = "bits, and 64 are the most", "and 60 is the most"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{% for a in range(9) %}{% for b in range(9) %}{% endfor %}{% endfor %}", STEPS),
        (
            "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(6) }}",
            STEPS,
        ),
        ("{% for a in range(40) %}{{ 'x' * 20 }}{% endfor %}", CHARACTERS),
        ("{{ 'x' * 501 }}", CHARACTERS),
        ("{{ (['x'] * 501) | length }}", CHARACTERS),
        (
            again("{% set n.s = n.s + n.s %}"),
            CHARACTERS,
        ),
        (
            again("{% set n.s = n.s ~ n.s %}"),
            CHARACTERS,
        ),
        (
            again("{% set t %}{{ n.s }}{{ n.s }}{% endset %}{% set n.s = t %}"),
            CHARACTERS,
        ),
        (
            again("{% set n.s = [n.s, n.s] %}") + "{{ n.s }}",
            CHARACTERS,
        ),
        (
            again("{% set n.s = [n.s, n.s] %}") + "{{ n.s | tojson }}",
            CHARACTERS,
        ),
        ("{{ ('y' * 40).join(('x' * 30) | list) }}", CHARACTERS),
        ("{{ (('x' * 30) | list) | join('y' * 40) }}", CHARACTERS),
        ("{{ ('x' * 30).replace('x', 'y' * 40) }}", CHARACTERS),
        ("{{ ('x' * 30) | replace('x', 'y' * 40) }}", CHARACTERS),
        ("{{ 2 ** 65 }}", BITS),
        (
            again("{% set n.i = n.i * n.i %}"),
            BITS,
        ),
        ("{{ 'x'.center(61) }}", WIDTH),
        ("{{ 'x' | center(61) }}", WIDTH),
        ("{{ messages | tojson(indent=61) }}", WIDTH),
        ("{{ [1] | batch(61, 'x') | list }}", WIDTH),
        ("{{ '%61d' % 1 }}", WIDTH),
        ("{{ '%*d' % (61, 1) }}", WIDTH),
        ("{{ '%61d' | format(1) }}", WIDTH),
        ("{{ '{:61}'.format(1) }}", WIDTH),
        ("{{ '{:{}}'.format(1, 61) }}", WIDTH),
        ("{{ lipsum() }}", "random words"),
        # Nested lists are read whole where they are compared, ordered or are keys.
        (NESTED + "{{ n.s == n.t }}", CHARACTERS),
        (NESTED + "{{ n.s in [n.t] }}", CHARACTERS),
        (NESTED + "{{ n.s is eq(n.t) }}", CHARACTERS),
        (NESTED + "{{ [n.s] | select('eq', n.t) | list | length }}", CHARACTERS),
        (NESTED + "{{ ([n.s, n.t] | sort)[0] | length }}", CHARACTERS),
        (NESTED + "{{ [n.s, n.t] | unique | first | length }}", CHARACTERS),
        (NESTED + "{{ [n.s].count(n.t) }}", CHARACTERS),
        (NESTED + "{% for a in [n.s, n.t] %}{{ loop.changed(a) }}{% endfor %}", CHARACTERS),
        (NESTED_KEYS + "{{ {n.s: 1} | length }}", CHARACTERS),
        (NESTED_KEYS + "{{ {}[n.s] }}", CHARACTERS),
        (NESTED_KEYS + "{{ {}.get(n.s) }}", CHARACTERS),
        (NESTED_KEYS + "{{ dict([(n.s, 1)]) | length }}", CHARACTERS),
        (NESTED_KEYS + "{{ namespace([(n.s, 1)]).x }}", CHARACTERS),
        (NESTED_KEYS + "{{ n.s in {} }}", CHARACTERS),
        # Long texts are read each time.
        (LONG + "{{ 1 if s.upper() }}{% endfor %}", CHARACTERS),
        (LONG + "{{ 1 if s | trim }}{% endfor %}", CHARACTERS),
        (LONG + "{{ 1 if s[1:] }}{% endfor %}", CHARACTERS),
        (LONG + "{{ 1 if 'y' in s }}{% endfor %}", CHARACTERS),
        (LONG + "{{ 1 if s == messages[0].role }}{% endfor %}", CHARACTERS),
    ],
)
def test_a_template_over_a_limit_is_refused_by_name(source: str, words: str) -> None:
    with pytest.raises(UnrenderableError) as caught:
        written(source)
    assert "the chat template is over a limit: " in str(caught.value)
    assert words in str(caught.value)


class Unwritable(list[str]):
    """A list that nobody may write."""

    def __str__(self) -> str:
        raise AssertionError("written before it was measured")

    __repr__ = __str__


class Unusable(str):
    """A text of which nobody may make a longer one."""

    __slots__ = ()

    def replace(self, *_: object) -> str:  # type: ignore[override]
        raise AssertionError("made before it was measured")

    def join(self, *_: object) -> str:
        raise AssertionError("made before it was measured")


@pytest.mark.parametrize(
    ("source", "content"),
    [
        ("{{ messages[0].content }}", Unwritable(["x" * 501])),
        ("{{ messages[0].content | string }}", Unwritable(["x" * 501])),
        ("{{ '%s' % [messages[0].content] }}", Unwritable(["x" * 501])),
        ("{{ messages[0].content | replace('x', 'y' * 40) }}", Unusable("x" * 30)),
        ("{{ messages[0].content.replace('x', 'y' * 40) }}", Unusable("x" * 30)),
        ("{{ messages[0].content.join(['y'] * 40) }}", Unusable("x" * 30)),
    ],
)
def test_what_is_written_is_measured_before(source: str, content: object) -> None:
    with pytest.raises(UnrenderableError, match=CHARACTERS):
        render(source, {}, None, [{"role": "user", "content": content}])


def test_each_conversation_is_counted_from_nothing() -> None:
    source = "{% for a in range(30) %}{{ messages[0].content }}{% endfor %}"
    assert {written(source) for _ in range(5)} == {"Hello" * 30}


def test_what_is_counted_is_written_as_before() -> None:
    source = (
        "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}"
        "{{ m.role ~ 1 ~ none }}{{ 'a' + 'b' }}{{ 7 * 3 }}{{ ['x'] + ['y'] }}{{ '%s' % 'z' }}"
        "{% else %}nothing{% endfor %}"
    )
    assert written(source) == "1/1Trueuser1Noneab21['x', 'y']z"


@pytest.mark.parametrize(
    "step",
    [
        "{{ first(messages) }}",  # a macro that is given all of them
        "{{ 1 if messages[1:] }}",
        "{{ 1 if messages | last }}",
        "{{ 1 if 'x' not in messages }}",
    ],
)
def test_all_messages_cost_nothing_where_their_words_are_not_read(step: str) -> None:
    macro = "{% macro first(all) %}{{ all[0].role[:1] }}{% endmacro %}"
    source = f"{macro}{{% for m in messages %}}{step}{{% endfor %}}"
    messages = [{"role": "user", "content": "word " * 60}] * 10
    assert render(source, {}, None, messages)


def test_what_is_compared_is_compared_as_before() -> None:
    source = (
        "{% for m in messages %}{{ m.role == 'user' }}{{ m == messages[0] }}{{ 'role' in m }}"
        "{{ m in messages }}{{ 'e' in m.content }}{{ m.role in ['user', m.content] }}"
        "{{ m.role not in m.content }}{{ 1 < m.content | length < 9 }}{{ m.content[1:3] }}"
        "{{ m.role is in ['user'] }}{{ [3, 1] | sort }}{{ {m.role: 1}[m.role] }}{% endfor %}"
    )
    assert written(source) == "True" * 8 + "elTrue[1, 3]1"


def test_a_template_of_too_many_levels_is_no_jinja_that_is_read() -> None:
    deep = "{% for a in messages %}" * 40 + "{% endfor %}" * 40
    with pytest.raises(RenderError, match="nested too deeply"):
        written(deep)


ATTRIBUTES = [
    *("role", "content", "items", "__class__", "__init__", "update", "pop", "missing", "_x"),
    *("index", "first", "nextitem", "length", "_iterable", "call", "name", "format"),
]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_an_attribute_is_what_the_sandbox_of_jinja_gives(attribute: str) -> None:
    """Of dicts, loops and namespaces without a detour; what is unsafe is undefined there too."""
    source = (
        "{% set n = namespace(role='r', name='n', _x='y', format='{}'.format) %}"
        "{% for m in messages %}{% for value in (m, loop, n) %}"
        "{{ value.ATTRIBUTE is defined }} {{ value.ATTRIBUTE is callable }} "
        "{{ value.ATTRIBUTE if value.ATTRIBUTE is not callable }};"
        "{% endfor %}{% endfor %}"
    ).replace("ATTRIBUTE", attribute)
    given = [{"role": "user", "content": "Hello", "_x": 1}, {"role": None, "content": ["a"]}]
    meter.restart()
    ours = limits.LimitedEnvironment()
    ours.limit_filters()
    theirs = ImmutableSandboxedEnvironment()
    assert ours.from_string(source).render(messages=given) == theirs.from_string(source).render(
        messages=given
    )
