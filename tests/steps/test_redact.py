"""Secrets and personal data: each kind found, its look-alikes left, nothing else changed.

The keys here are made up, and put together at run time so that no scanner takes this file for a
leak.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
import re
import string
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from chatdata import build_dataset, load_recipe
from chatdata.dataset import reader
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline import prepare
from chatdata.steps import key_plugins, redact, secrets
from chatdata.steps.entries import SecretEntry
from chatdata.steps.redact import Secrets
from chatdata.steps.secrets import KINDS, Finding
from tests.support.conversations import nodes, table

quick = settings(max_examples=50, derandomize=True)


def made_up(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    draw = random.Random(length)
    return "".join(draw.choice(alphabet) for _ in range(length - 2)) + alphabet[4] + alphabet[-3]


HEX = "0123456789abcdef"
LOWER = string.ascii_lowercase + string.digits
hexadecimal = functools.partial(made_up, alphabet=HEX)
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJ1aWQiOiJib2IiLCJpYXQiOjE2fQ." + made_up(43)
PEM = "\n".join(made_up(64) for _ in range(5))
KEYS = {
    "aws": "AKIA" + "Q7ZKT3MXW5RB9LDF",
    "openai": "sk-" + made_up(48),
    "openai-project": "sk-proj-" + made_up(60),
    "hugging-face": "hf_" + made_up(34),
    "google": "AIza" + made_up(35),
    "github": "ghp_" + made_up(36),
    "gitlab": "glpat-" + made_up(20),
    "slack": "xoxb-" + "2345-6789-" + made_up(24, LOWER).lower(),
    "slack-hook": "https://hooks.slack.com/services/"
    + f"T{made_up(8)}/B{made_up(8)}/{made_up(24)}",
    "stripe": "sk_live_" + made_up(24),
    "sendgrid": "SG." + made_up(22) + "." + made_up(43),
    "telegram": "2345678901:AA" + made_up(33),
    "discord": "MTA3" + made_up(20) + "." + made_up(6) + "." + made_up(27),
    "npm": "npm_" + made_up(36),
    "twilio": "SK" + made_up(32, LOWER).lower(),
    "jwt": JWT,
    "assigned": None,
}
ASSIGNED = made_up(32)

# kind: texts with the stretch that is to be found between ⟦ and ⟧, and texts that hold none.
CASES: dict[str, tuple[list[str], list[str]]] = {
    "private_key": (
        [
            f"⟦-----BEGIN RSA PRIVATE KEY-----\n{PEM}\n-----END RSA PRIVATE KEY-----⟧\nok",
            f"⟦-----BEGIN OPENSSH PRIVATE KEY-----\n{PEM}⟧\n\nand so on, cut off.",
            f'key = "⟦-----BEGIN PRIVATE KEY-----\\n{made_up(80)}\\n-----END PRIVATE KEY-----⟧\\n"',
        ],
        [
            "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
            "-----BEGIN PUBLIC KEY-----\n" + PEM + "\n-----END PUBLIC KEY-----",
            "-----BEGIN PRIVATE KEY-----\n<your key>\n-----END PRIVATE KEY-----",
            "It starts with -----BEGIN PRIVATE KEY----- and ends with the same.",
        ],
    ),
    "key": (
        [
            *(f"x = f('⟦{key}⟧')\n" for key in KEYS.values() if key),
            f'api_key = "⟦{ASSIGNED}⟧"',
            f"'password': '⟦{ASSIGNED}⟧', and ⟦{ASSIGNED}⟧ again",
            f"export AWS_SECRET_ACCESS_KEY=⟦{made_up(40)}⟧",
            f"x-api-key: ⟦{hexadecimal(40)}⟧\nAccept: text/html",
            f"apikey: ⟦{hexadecimal(32)}⟧",
            f"?client_secret=⟦{made_up(40)}⟧&grant_type=password",
            f"curl -H 'Authorization: Bearer ⟦{made_up(40)}⟧' https://api.acme.io",
            f'curl -H "X-API-Key: ⟦{made_up(32)}⟧"',
            f"APP_KEY=base64:⟦{made_up(43)}=⟧",
            "SECRET_KEY = '⟦django-insecure-3k#9s!x0v@q2w8e7$6t5y4u3*2o1p&zc⟧'",
            f'secret_key_base: "⟦{hexadecimal(128)}⟧"',
            f"SECRET_KEY = b'⟦{made_up(24)}⟧'",
            f"NEXTAUTH_SECRET=⟦{made_up(43)}=⟧",
            f"jwt.secret=⟦{made_up(40)}⟧",
            f"consumer_secret: ⟦{made_up(40)}⟧",
            f"RAILS_MASTER_KEY=⟦{hexadecimal(32)}⟧",
            f"SharedAccessKeyName=Root;SharedAccessKey=⟦{made_up(43)}=⟧",
            f"define('AUTH_KEY', '⟦{made_up(30)}& x|{made_up(30)}⟧');",
            # broken over lines
            f"token = '⟦ghp_{made_up(20)}' \\\n  '{made_up(16)}⟧'",
            f'api_key = "⟦{made_up(16)}" +\n    "{made_up(15)}⟧"',
            f"'⟦sk-{made_up(12)}' . '{made_up(34)}⟧'",
            f"AWS_SECRET_ACCESS_KEY=⟦{made_up(20)}\\\n{made_up(19)}⟧",
            f"export GITHUB_TOKEN=⟦ghp_{made_up(9)}\n{made_up(27)}⟧\nexport A=b",
            f"> OPENAI_API_KEY=⟦sk-proj-{made_up(50)}\n> {made_up(40)}⟧\n> Regards",
            f"x-api-key: ⟦{hexadecimal(56)}=\n{hexadecimal(8)}⟧",
            f"Authorization: Bearer ⟦{made_up(53)}\n{made_up(75)}\n{made_up(13)}⟧\n",
        ],
        [
            'api_key = "YOUR_API_KEY_GOES_HERE_1234"',
            "sk-" + "x" * 40,
            "sk-" + "your-key-goes-in-here-0",
            "AKIA" + "IOSFODNN7EXAMPLE",
            'token = "get_token_from_environment"',
            "the_hash = '" + hexadecimal(64) + "'",
            "data:image/png;base64," + made_up(300),
            "class AbstractSingletonProxyFactoryBean2: pass",
            "id: 123e4567-e89b-12d3-a456-426614174000",
            "xoxb-" + "your-token-here",
            "x-api-key: <YOUR_API_KEY_FROM_THE_CONSOLE>",
            'keys = ["one" + "two", "three" +\n "four"]',
            "api_key = get_the_key(\n    'of_the_service_2'\n)",
            "secret = the_name_of_the_secret_1 +\n  the_rest",
            "apikey: get_api_key_from_environment_2",
            "access_token = response.json()['access_token_of_version_2']",
            "auth_token = generate_token_for_user_with_id_1234(user)",
            "Authorization: Bearer {token_of_the_user_123456}",
            "Authorization: Bearer eyJ...",
            "SECRET_KEY = 'change-me-in-production-or-else-it-is-not-secret-1'",
            "SECRET_KEY = os.environ['SECRET_KEY_OF_THE_APPLICATION_1']",
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.x",
        ],
    ),
    "password": (
        [
            "git clone https://jane:⟦h0rse-Battery⟧@git.acme.io/x",
            "ftp://a:⟦Zx9!k⟧@10.0.0.1",
            "redis://:⟦h0rse-Battery⟧@cache.acme.io:6379/0",
            "mongodb+srv://jane:⟦h0rse-Battery⟧@c0.acme.io/x?retryWrites=true",
            "amqps://jane:⟦battery⟧@mq.acme.io/, postgres://jane:⟦h0rse/Batt#ry⟧@db.acme.io:5432/x",
            "jdbc:sqlserver://db:1433;databaseName=x;user=jane;password=⟦h0rse-Battery⟧;encrypt=true",
            "jdbc:mysql://db.acme.io/x?user=jane&password=⟦h0rse-Battery⟧",
            "jdbc:oracle:thin:jane/⟦h0rse-Battery⟧@db.acme.io:1521:orcl",
            "Driver={ODBC Driver 17};Server=db;UID=jane;PWD=⟦{h0rse;Battery}⟧;",
            "Server=db.acme.io;User Id=jane;Password=⟦h0rse-Battery⟧;",
            "host=db.acme.io user=jane password=⟦h0rse-Battery⟧ sslmode=require",
            'password="⟦Tr0ub4dor&3x⟧"',
            "DB_PASSWORD=⟦h0rse-Battery9⟧\nDB_HOST=db",
            "spring.datasource.password: ⟦h0rse-Battery9⟧",
            "PGPASSWORD=⟦h0rse-Battery9⟧ psql -h db.acme.io",
            "mysql -u root -p⟦h0rse-Battery9⟧ shop",
            "sshpass -p '⟦h0rse-Battery9⟧' ssh a",
            "curl -u jane:⟦h0rse-Battery9⟧ https://api.acme.io",
            "redis-cli -a ⟦h0rse-Battery9⟧",
            "--password=⟦h0rse-Battery9⟧",
        ],
        [
            "postgres://user:password@localhost/db",
            "https://user:PASSWORD@host/",
            "mongodb://<name>:<password>@x.mongodb.net",
            "redis://:${REDIS_PASSWORD}@redis:6379",
            "http://localhost:8080/@x",
            "mysql://root:secret123@db",
            "Server=db;User Id=sa;Password=P@ssw0rd123!;",
            "host=db user=jane password=$DB_PASSWORD",
            'password = "YourStrong@Passw0rd"',
            "password = 'newPassword2'",
            "password: 'errors.password-1'",
            "password = hashlib.sha256(word1.encode())",
            "login(user=user2, password=password2)",
            'input[name="password"]',
            "mysql -u root -p mydatabase1",
            "psql postgres://localhost:5432/db1@x",
            "DB_PASSWORD=${DB_PASSWORD_1}",
            "curl -u user:password123 https://api.acme.io",
        ],
    ),
    "email": (
        [
            "Write to ⟦jane.roe+lists@mail.acme-labs.co.uk⟧.",
            "<mailto:⟦J_Roe@ACME.io⟧>, or ⟦x@y.de⟧",
            "[⟦hello@acme.dev⟧](mailto:⟦hello@acme.dev⟧)",
            "To: ⟦jane@acme-labs.org⟧Cc: ⟦bob@acme-labs.org⟧Subject: x",
            "⟦jane@acme.de⟧Betreff: x; ⟦jane@acme.COM⟧Sent: y",
            "⟦jane@acme.com⟧⟦bob@acme.com⟧https://acme.com",
            "⟦jane@acme.com⟧/⟦bob@acme.com⟧ -⟦jane@acme.com⟧-Bob _⟦jane@acme.io⟧_",
            "邮箱⟦jane@acme.com⟧请联系",
            "⟦rené.müller@acme-bücher.de⟧",
            r"\n⟦jane@acme.com⟧\n",
        ],
        [
            "you@example.com, a@b.test, me@localhost, x@y.invalid",
            "john@yourdomain.com, your-email@gmail.com, your_name@acme.io",
            "git@github.com:acme/x.git",
            "react@18.2.0 and @types/node@20.1.0",
            "y = (W@x.to(device))[0] + a@b.at[i]",
            "@dataclass\n@app.get('/')",
            "x = q@k.toDevice(y) + q@app.devTools[0]",
            "docker pull acme.io/library/nginx@sha256.dev",
            "https://medium.com/x@acme.com",
            "openvpn@server.service",
            "a@@b.com and a@.com",
        ],
    ),
    "card": (
        ["pay with ⟦4539 1488 0343 6467⟧ now", "⟦5425-2334-3010-9903⟧", "⟦371449635398456⟧."],
        [
            "4242 4242 4242 4242 and 4111111111111111 and 378282246310005",
            "4539 1488 0343 6468",  # the check digit is wrong
            "1539148803436468",  # no issuer begins so
            "0.4539148803436467 and 4539148803436467.5 and x4539148803436467",
            "1000 2000 3000 4000",
            "ISBN 978-0-306-40615-7",
        ],
    ),
    "phone": (
        [
            "Call ⟦+44 20 7946 0123⟧ or ⟦(212) 736-5000⟧.",
            "⟦+49 30 901820⟧",
            "⟦1-800-829-4933⟧; ⟦415.555.2671⟧",
        ],
        [
            "(555) 123-4567 and 123-456-7890",
            "2147483647 and 4294967295",
            "2014 - 01/2018",
            "192.168.100.200 on 2023-01-15 12:30",
            "x = 1 + 2345678",
        ],
    ),
}


def marked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without marks, and where they stood."""
    spans, plain = [], ""
    for piece in re.split(r"([⟦⟧])", text):
        if piece == "⟦":
            spans.append((len(plain), -1))
        elif piece == "⟧":
            spans[-1] = (spans[-1][0], len(plain))
        else:
            plain += piece
    return plain, spans


def find(text: str) -> list[Finding]:
    return secrets.find(pl.Series([text])).get(0, [])


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_found_where_it_stands(kind: str) -> None:
    for text in CASES[kind][0]:
        plain, spans = marked(text)
        findings = find(plain)
        assert [(finding.start, finding.end) for finding in findings] == spans, text
        assert {finding.kind for finding in findings} == {kind}, text


@pytest.mark.parametrize("kind", KINDS)
def test_what_looks_like_it_is_left(kind: str) -> None:
    for text in CASES[kind][1]:
        assert find(text) == [], text


def test_the_same_value_however_it_is_written() -> None:
    pairs = [
        ("A@b.io", "a@B.IO"),
        ("+1 212-736-5000", "(212) 736-5000"),
        ("4539 1488 0343 6467", "4539148803436467"),
    ]
    for pair in pairs:
        left, right = (find(f"see {text} here") for text in pair)
        assert left[0].value == right[0].value, pair


def plugin_texts() -> st.SearchStrategy[str]:
    """Texts in which a plugin of the library finds something, from its own expressions."""
    patterns = [
        re.compile(
            regex.pattern.replace(r"(?:(?<=\W)|(?<=^))", r"\b"),
            regex.flags & ~re.UNICODE | re.ASCII,
        )
        for plugin in key_plugins.plugins().values()
        if type(plugin).__name__ != "ArtifactoryDetector"  # one of them spans lines
        for regex in plugin.denylist
    ]
    return st.one_of([st.from_regex(pattern, fullmatch=True) for pattern in patterns])


@pytest.mark.slow
@settings(max_examples=100, derandomize=True)
@given(plugin_texts())
def test_the_cheap_search_misses_nothing_that_the_library_finds(text: str) -> None:
    assume(text.isascii())
    hints = secrets.DETECTORS["key"][0]
    for line in text.splitlines():
        if any(list(plugin.analyze_string(line)) for plugin in key_plugins.plugins().values()):
            column = pl.Series([line])
            assert any(column.str.contains(hint)[0] for hint in hints), line


def test_a_hint_that_is_missing_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"id = {KEYS['aws']}"
    hints, examine = secrets.DETECTORS["key"]
    assert find(text)
    fewer = tuple(hint for hint in hints if "AKIA" not in hint)
    monkeypatch.setitem(secrets.DETECTORS, "key", (fewer, examine))
    assert not find(text)


@pytest.mark.slow
@quick
@given(st.text() | st.text(alphabet="@.:/-+() 0123456789abAB_\n'\"=<>", max_size=80))
@example("-----BEGIN PRIVATE KEY-----" * 40)
@example("+1 " * 300)
@example("a@" * 500 + "b.com")
def test_no_text_crashes_the_search(text: str) -> None:
    assume(not any("\ud800" <= c <= "\udfff" for c in text))
    findings = find(text)
    assert findings == sorted(findings)
    for finding, following in itertools.pairwise(findings):
        assert finding.end <= following.start
    assert all(0 <= finding.start < finding.end <= len(text) for finding in findings)


# ---------------------------------------------------------------------------------- placeholders

EVERYTHING = list(KINDS)


def replaced(*conversations: list[str], **columns: Any) -> tuple[list[list[str]], Secrets]:
    """What is written in place of some conversations, user and assistant in turn."""
    talks = {
        f"c{number}": [
            ("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(texts)
        ]
        for number, texts in enumerate(conversations)
    }
    messages, counts = redact.replace(table(talks, **columns), EVERYTHING)
    parts = messages.partition_by("conversation", maintain_order=True)
    return [part["content"].to_list() for part in parts], counts


def test_a_value_has_one_number_in_its_conversation() -> None:
    texts, counts = replaced(
        ["I am a@acme.io, he is b@acme.io.", "Hello A@acme.io and b@acme.io and c@acme.io!"],
        ["Mine is b@acme.io.", "Noted."],
    )
    assert texts == [
        [
            "I am <EMAIL_1>, he is <EMAIL_2>.",
            "Hello <EMAIL_1> and <EMAIL_2> and <EMAIL_3>!",
        ],
        ["Mine is <EMAIL_1>.", "Noted."],
    ]
    assert counts.entry() == {"email": SecretEntry(messages=3, found=6, masked=6)}


def test_pieces_of_one_conversation_share_their_numbers() -> None:
    texts, _ = replaced(["a@acme.io", "b@acme.io"], ["b@acme.io", "a@acme.io"], group="g")
    assert texts == [["<EMAIL_1>", "<EMAIL_2>"], ["<EMAIL_2>", "<EMAIL_1>"]]


def test_a_name_is_searched_and_a_call_has_the_id_of_its_result_still() -> None:
    rows = table({"x": [("user", "Send it"), ("assistant", None), ("tool", "sent")]})
    id, calls = "a@acme.io", '[{"id": "a@acme.io", "function": {"name": "f", "arguments": {}}}]'
    rows = rows.with_columns(
        name=pl.Series(["b@acme.io", None, "f"]),
        tool_calls=pl.Series([None, calls, None]),
        tool_call_id=pl.Series([None, None, id]),
    )
    masked, counts = redact.replace(rows, EVERYTHING)
    assert masked["name"].to_list() == ["<EMAIL_1>", None, "f"]
    assert masked["tool_call_id"][2] == json.loads(masked["tool_calls"][1])[0]["id"] == "<EMAIL_2>"
    assert counts.by_kind["email"] == {"messages": 3, "found": 3, "masked": 3}
    places = redact.label(rows, EVERYTHING)[0]["secret"].to_list()
    assert places == [
        "email in its name",
        "email in its calls of tools",
        "email in the id of its call",
    ]
    timed = rows.with_columns(
        tool_calls=pl.lit(calls.replace(id, "0171-2345678")), tool_call_id=pl.lit("0171-2345678")
    )
    masked, _ = redact.replace(timed, EVERYTHING)
    assert masked["tool_call_id"][2] == json.loads(masked["tool_calls"][1])[0]["id"]


def test_a_key_is_replaced_wherever_its_conversation_repeats_it() -> None:
    texts, counts = replaced(
        [f"Is {ASSIGNED} right?", f'Write api_key = "{ASSIGNED}" first.'], [f"Is {ASSIGNED}?"]
    )
    assert texts == [["Is <KEY_1> right?", 'Write api_key = "<KEY_1>" first.'], [f"Is {ASSIGNED}?"]]
    assert counts.by_kind["key"] == {"messages": 2, "found": 2, "masked": 2}


def test_only_the_kinds_that_are_asked_for() -> None:
    rows = table({"x": [("user", "https://a:h0rse-B@git.acme.io, b@acme.io, (212) 736-5000")]})
    messages, counts = redact.replace(rows, ["email"])
    assert messages["content"][0] == "https://a:h0rse-B@git.acme.io, <EMAIL_1>, (212) 736-5000"
    assert set(counts.by_kind) == {"email"}


def test_a_tree_is_numbered_whatever_the_order_of_its_rows() -> None:
    rows = nodes(
        [
            {"message": "u", "content": "a@acme.io", "created": 1},
            {"message": "b", "content": "c@acme.io a@acme.io", "created": 3},
            {"message": "a", "content": "b@acme.io", "created": 2},
        ]
    )
    expected = {"u": "<EMAIL_1>", "a": "<EMAIL_2>", "b": "<EMAIL_3> <EMAIL_1>"}
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        masked, _ = redact.replace(rows[order], EVERYTHING)
        assert dict(masked.select("message", "content").iter_rows()) == expected


PIECE = st.sampled_from(
    [text for sides in CASES.values() for side in sides for text in (marked(t)[0] for t in side)]
)
SAID = st.lists(
    st.lists(st.lists(PIECE | st.text(max_size=20), max_size=3).map(" ".join), max_size=4),
    max_size=4,
)


@pytest.mark.slow
@quick
@given(SAID)
def test_twice_is_once_and_the_counts_are_of_the_placeholders(talks: list[list[str]]) -> None:
    talks = [talk for talk in talks if talk]
    once, counts = replaced(*talks)
    twice, none = replaced(*once)
    assert twice == once
    assert none.entry() == {}
    before = sum(text.count("<EMAIL_") for talk in talks for text in talk)
    after = sum(text.count("<EMAIL_") for talk in once for text in talk)
    assert after - before == counts.by_kind.get("email", {"masked": 0})["masked"]


@pytest.mark.slow
@quick
@given(SAID)
def test_what_stands_around_is_left_to_the_letter(talks: list[list[str]]) -> None:
    talks = [talk for talk in talks if talk]
    masked, _ = replaced(*talks)
    for old, new in zip((t for c in talks for t in c), (t for c in masked for t in c), strict=True):
        pieces = re.split(r"<(?:PRIVATE_KEY|KEY|PASSWORD|EMAIL|CARD|PHONE)_\d+>", new)
        assert re.fullmatch(".+".join(re.escape(piece) for piece in pieces), old, re.DOTALL)


def test_messages_without_secrets_are_the_same_table() -> None:
    rows = table({"x": [("user", "Hello"), ("assistant", None)]})
    masked, counts = redact.replace(rows, EVERYTHING)
    assert masked.equals(rows)
    assert counts.entry() == {}


def test_the_label_gives_nothing_away() -> None:
    rows = table({"x": [("user", "I am a@acme.io, +49 30 901820"), ("user", "no"), ("user", None)]})
    labelled_rows, counts = redact.label(rows, EVERYTHING)
    assert labelled_rows["secret"].to_list() == ["email at character 5, and 1 more", None, None]
    assert counts.by_kind["phone"] == {"messages": 1, "found": 1, "masked": 0}


# ----------------------------------------------------------------------------------- whole builds

RECIPE = """
name: r
version: 1.0.0
source: {jsonl: {files: [in.jsonl]}}
redact: {}
drop: [duplicate]
max_dropped: 1.0
"""


def make(folder: Path, *settings: str, **options: Any) -> Manifest:
    rows = [
        {
            "id": f"t{number:02d}",
            "messages": [
                {"role": "user", "content": f"I am person{number}@acme.io. Who are you?"},
                {"role": "assistant", "content": f"Not person{number}@acme.io. {number}"},
                {"role": "user", "content": "Is +49 30 901820 yours?" if number % 3 else "Bye."},
                {"role": "assistant", "content": "No."},
            ],
        }
        for number in range(20)
    ]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "r.yaml").write_text(RECIPE)
    return build_dataset(
        load_recipe(folder / "r.yaml", settings), folder / "out", force=True, **options
    )


def published_words(folder: Path) -> str:
    return json.dumps(reader.scan(folder / "out", "messages").collect().to_dicts())


@pytest.mark.slow
def test_a_build_redacts_before_anything_else_and_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = make(tmp_path)
    assert facts["secrets"] == {
        "email": {"messages": 40, "found": 40, "masked": 40},
        "phone": {"messages": 13, "found": 13, "masked": 13},
    }
    assert "@acme.io" not in published_words(tmp_path)
    assert "I am <EMAIL_1>. Who are you?" in published_words(tmp_path)
    assert {"bc-detect-secrets", "phonenumberslite"} <= set(facts["versions"])
    monkeypatch.setattr(prepare, "PART_BYTES", 4000)
    assert make(tmp_path)["content_hash"] == facts["content_hash"]
    assert make(tmp_path, "redact=null")["secrets"] is None


def test_messages_with_secrets_may_be_dropped_instead(tmp_path: Path) -> None:
    facts = make(tmp_path, "redact=null", "drop=[{secret: {kinds: [phone]}}]")
    assert facts["secrets"] == {"phone": {"messages": 13, "found": 13, "masked": 0}}
    assert facts["counts"]["messages"]["dropped"] == {"secret": 26}
    assert "901820" not in published_words(tmp_path)
    assert "person7@acme.io" in published_words(tmp_path)
    ledger = reader.explain(tmp_path / "out", "t01#2").to_dicts()
    assert ledger[0]["detail"] == "phone at character 3"


@pytest.mark.slow
def test_some_kinds_may_be_replaced_and_others_dropped(tmp_path: Path) -> None:
    settings = ["redact={kinds: [email]}", "drop=[{secret: {on_removed: drop}}]"]
    facts = make(tmp_path, *settings)
    assert facts["counts"]["conversations"]["kept"] == 7
    assert facts["secrets"]["email"]["masked"] == 40
    assert facts["secrets"]["phone"] == {"messages": 13, "found": 13, "masked": 0}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("redact={kinds: [mail]}", "'redact.kinds.0' is 'mail'"),
        ("redact={kind: [email]}", "redact: unknown key 'kind'; did you mean 'kinds'?"),
        ("drop=[{secret: {kinds: [mail]}}]", "secret: 'kinds.0' is 'mail'"),
    ],
)
def test_wrong_kinds_are_named(tmp_path: Path, setting: str, words: str) -> None:
    with pytest.raises(Exception, match=re.escape(words)):
        make(tmp_path, setting)


# -------------------------------------------------------------------------------------- real data


def test_real_messages_hold_few_secrets_and_real_code_none(real_data: Path) -> None:
    path = real_data / "oasst1-validation-en" / "en-validation.jsonl"
    texts = pl.Series([json.loads(line)["text"] for line in path.read_text().splitlines()])
    findings = secrets.find(texts)
    assert len(findings) <= len(texts) / 100, findings
    from chatdata.sources import File
    from chatdata.steps import evaluation_sets

    path = real_data / "eval" / "humaneval" / "HumanEval.jsonl.gz"
    assert secrets.find(evaluation_sets.texts(File(path, "x"), [])["text"]) == {}


def test_kinds_stand_in_their_order_whichever_is_found_first() -> None:
    counts = {"messages": 1, "found": 1, "masked": 1}
    assert list(redact.Secrets({"phone": counts, "email": counts}).entry()) == ["email", "phone"]
