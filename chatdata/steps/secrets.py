"""Secrets and personal data in texts: where they stand, and of which kind.

Keys and tokens are found by detect-secrets, with a few forms that it does not know; phone numbers
by `phones`; e-mail addresses, card numbers and private keys by rules below.
What documentation writes in the place of a secret (`YOUR_API_KEY`, `sk-xxxx`, `me@example.com`,
test cards) does not count. Nothing is looked up or tried out on a network.

Searching is in two steps, since nearly all texts hold nothing: a regular expression at memory speed
finds the texts that may hold something, and only these texts are examined.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import polars as pl

from chatdata.core.patterns import lazy
from chatdata.steps import broken_lines, emails, key_plugins, passwords, phones, placeholders

PACKAGES = ("bc-detect-secrets", "phonenumberslite")  # whose versions may change what is found

Kind = Literal["private_key", "key", "password", "email", "card", "phone"]

# In the order in which they claim a stretch of text.
KINDS: dict[Kind, str] = {
    "private_key": "private keys (PEM, OpenSSH, PGP)",
    "key": "API keys and tokens",
    "password": "passwords in addresses, connection strings, settings and commands",
    "email": "e-mail addresses",
    "card": "payment card numbers",
    "phone": "phone numbers",
}


class Finding(NamedTuple):
    """A stretch of a text that should not be learnt, and what it stands for."""

    start: int
    end: int
    kind: Kind
    value: str  # the same for the same number, address or key, however written


def find(
    texts: pl.Series, countries: Sequence[str] = phones.EVERYWHERE
) -> dict[int, list[Finding]]:
    """What each text holds, by the number of the text, in order and without overlaps.

    National phone numbers are looked for of these countries.
    """
    findings: dict[int, list[Finding]] = {}
    examiners = {"phone": functools.partial(_phones, countries=countries)}
    table = texts.alias("text").to_frame()
    for kind in KINDS:
        hints, examine = DETECTORS[kind]
        examine = examiners.get(kind, examine)
        may_hold = pl.any_horizontal(pl.col("text").str.contains(hint) for hint in hints)
        numbers = table.select(may_hold.fill_null(False).arg_true()).to_series()
        for number in numbers:
            text = texts[number]
            held = findings.setdefault(number, [])
            held += apart(text, held, examine(text))
    return {number: sorted(held) for number, held in sorted(findings.items()) if held}


def apart(text: str, held: Iterable[Finding], new: Iterable[Finding]) -> list[Finding]:
    """The new findings that take nothing of a text that findings before them have taken."""
    taken = bytearray(len(text))
    for finding in held:
        taken[finding.start : finding.end] = b"\1" * (finding.end - finding.start)
    free = []
    for finding in new:
        if not any(taken[finding.start : finding.end]):
            taken[finding.start : finding.end] = b"\1" * (finding.end - finding.start)
            free.append(finding)
    return free


# ------------------------------------------------------------------------------- keys and passwords

_NAMED = r"(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-{2,5}"
_BEGIN = lazy(rf"-{{2,5}}BEGIN {_NAMED}")
_END = lazy(rf"-{{2,5}}END {_NAMED}")
_BODY = lazy(r"(?:\s*[A-Z][A-Za-z-]+: .*)*(?:(?:\s|\\[nr])*[A-Za-z0-9+/=]{20,})*")
_BASE64 = lazy(r"[A-Za-z0-9+/]{30}")


def _private_keys(text: str) -> Iterator[Finding]:
    """Yields private keys from begin to end, or to where a key that is cut off stops."""
    begins = list(_BEGIN.finditer(text))
    stops = [*(begin.start() for begin in begins[1:]), len(text)]
    for begin, stop in zip(begins, stops, strict=False):
        end = _END.search(text, begin.end(), stop) or _BODY.match(text, begin.end(), stop)
        body = text[begin.end() : end.end()] if end else ""
        if _BASE64.search(body) and not placeholders.is_key_placeholder(body):
            yield Finding(begin.start(), begin.end() + len(body), "private_key", body)


# Forms that detect-secrets does not know, or whose values it gives back in part (GitHub, npm).
# In lists that are fast to look for together: with another beginning some take ten times as long.
_TOKENS = (
    r"sk-[A-Za-z0-9_-]{20,}"  # OpenAI, Anthropic
    r"|hf_[A-Za-z0-9]{30,}"  # Hugging Face
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{30,}"  # Google
    r"|glpat-[A-Za-z0-9_-]{20,}|github_pat_[A-Za-z0-9_]{22,}|gh[pousr]_[A-Za-z0-9_]{36,}"
    r"|npm_[A-Za-z0-9]{36}",
    r"[sr]k_(?:live|test)_[A-Za-z0-9]{20,}"  # Stripe
    r"|pypi-AgE[A-Za-z0-9_-]{50,}|dop_v1_[a-f0-9]{64}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",  # Telegram
    r"(?i:accountkey)=[A-Za-z0-9+/]{86}==",  # Azure
)
_ASSIGNED = (
    r"(?i:api[_-]?key|secret|token|(?:access|auth|master|encryption|signing|validation|decryption)"
    r"[_-]?key|password|passwd|pwd)"
    r"""["'\]]{0,3}[ \t]{0,3}(?::=|=>|=|:)[ \t]{0,3}["'`]"""
)
# In a header, on a command line, in a file of settings: the value stands there without quotes.
_BARE = (
    r"(?i:api[_-]?key|[a-z][_.-]?secret|(?:access|auth|refresh|private|api|bot)[_-]?token"
    r"|secret[_-]?(?:access[_-]?)?key(?:[_-]base)?|authorization"
    r"|(?:app|(?:shared)?access|master|encryption|signing)[_-]?key)"
    r"""["'\]]{0,3}[ \t]{0,3}(?::=|=>|=|:)[ \t]{0,3}["']?"""
    r"(?:(?i:bearer|token|basic|base64):?[ \t]{0,3})?"
)
_FRAMEWORK = (
    r"(?:(?:SECRET_KEY|secret_key_base)[\"'\]]{0,2} {0,3}(?:=>|=|:) {0,3}b?[\"']"
    r"|['\"](?:SECURE_AUTH|AUTH|LOGGED_IN|NONCE)_(?:KEY|SALT)['\"], {0,9}['\"])"  # WordPress
)
# Begins with what a token may begin with, so that most places are left at once.
_TOKEN = lazy(rf"(?=[0-9Aadghnprsy])(?<![A-Za-z0-9_-])({'|'.join(_TOKENS)})(?![A-Za-z0-9_-])")
_VALUE = lazy(r"(?i:(?=[astemvdp]))" + _ASSIGNED + r"""([A-Za-z0-9_+/.=-]{20,200})["'`]""")
_BARE_VALUE = lazy(_BARE + r"([A-Za-z0-9_+/=-]{20,200})(?![A-Za-z0-9_+/=.(\[-])")
_FRAMEWORK_VALUE = lazy(_FRAMEWORK + r"""([^\n"']{24,200})["']""")


def _keys(text: str) -> Iterator[Finding]:
    """Yields keys and tokens, each wherever it stands in the text."""
    held = [finding for held in occurrences([text], _values(text)).values() for finding in held]
    held += _broken_keys(text)
    yield from sorted(held, key=lambda key: (-len(key.value), key.value, key.start))


def _broken_keys(text: str) -> Iterator[Finding]:
    """Yields the keys that are broken over lines, each with what stands between its parts."""
    joined = broken_lines.join(text)
    if joined is None:
        return
    for key in occurrences([joined.text], _values(joined.text)).get(0, []):
        span = joined.span(key.start, key.end)
        if span:
            yield Finding(*span, "key", key.value)


def _values(text: str) -> set[str]:
    """The keys and tokens that stand in a text."""
    values = {match[1] for match in _TOKEN.finditer(text)}
    values |= {match[1] for match in _VALUE.finditer(text) if key_plugins.is_mixed(match[1])}
    values |= {match[1] for match in _BARE_VALUE.finditer(text) if _is_random(match[1])}
    values |= set(key_plugins.values(text))
    of_frameworks = set(_framework_keys(text))
    return {v for v in values if not placeholders.is_key_placeholder(v)} | of_frameworks


def _framework_keys(text: str) -> Iterator[str]:
    """Yields the keys of Django and Rails, which hold any characters."""
    for match in _FRAMEWORK_VALUE.finditer(text):
        is_key = (
            key_plugins.is_mixed(match[1]) and len(set(match[1])) >= placeholders.LEAST_DIFFERENT
        )
        if is_key and not placeholders.has_placeholder_word(match[1]):
            yield match[1]


def occurrences(texts: Sequence[str], keys: Iterable[str]) -> dict[int, list[Finding]]:
    """The places at which keys that are known stand in texts, by the number of the text.

    All keys are looked for at once, so that many keys in a long text take no square of time.
    """
    spelt = sorted(keys)
    if not spelt:
        return {}
    column = pl.Series(texts, dtype=pl.String)
    hits = column.str.extract_many(spelt, overlapping=True)
    places = column.str.find_many(spelt, overlapping=True)
    holding = hits.list.len().gt(0).arg_true()
    return {number: list(_whole(texts[number], hits[number], places[number])) for number in holding}


def _whole(text: str, keys: pl.Series, places: pl.Series) -> Iterator[Finding]:
    """Yields the keys at these places, in bytes, that are no part of a longer word."""
    last = dict[str, int]()
    characters = places if text.isascii() else _in_characters(text, places)
    for key, start in zip(keys, characters, strict=True):
        end = start + len(key)
        is_part = _is_alphanumeric(text[start - 1 : start]) or _is_alphanumeric(text[end : end + 1])
        if not is_part and start >= last.get(key, 0):
            last[key] = end
            yield Finding(start, end, "key", key)


def _is_alphanumeric(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _in_characters(text: str, places: pl.Series) -> list[int]:
    """Places in a text, counted in characters, of places in bytes of UTF-8."""
    import numpy as np

    octets = np.frombuffer(text.encode(), np.uint8)
    begins = np.cumsum((octets & 0xC0) != 0x80) - 1
    return [int(place) for place in begins[places.to_numpy()]]


def _is_random(value: str) -> bool:
    """Whether a value has as many digits as no name of a variable has."""
    digits = sum(c.isdigit() for c in value)
    return key_plugins.is_mixed(value) and digits >= max(3, len(value) // 12)


def _passwords(text: str) -> Iterator[Finding]:
    for start, end, value in passwords.find(text):
        yield Finding(start, end, "password", value)


# ------------------------------------------------------------------------------------ people


def _emails(text: str) -> Iterator[Finding]:
    for start, end, value in emails.find(text):
        yield Finding(start, end, "email", value)


_CARD = lazy(
    r"(?<![\w.+/-])(?:\d{14,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?"
    r"|\d{4}([ -])\d{6}\2\d{4,5})(?![\w/-]|\.\d)"
)
# What a card's number begins with, by its length.
_ISSUER = lazy(
    r"4(?:\d{15}|\d{18})|(?:5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d*(?<=^\d{16})"
    r"|3[47]\d{13}|(?:6011|65|64[4-9])\d*(?<=^\d{16})|3(?:0[0-5]|[68]\d)\d{11}"
    r"|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)
# Numbers that issuers and payment services print in their documentation.
_TEST_CARDS = {
    "378282246310005",
    "371449635398431",
    "378734493671000",
    "30569309025904",
    "38520000023237",
    "3530111333300000",
    "3566002020360505",
    "6011000990139424",
    "5105105105105100",
    "5200828282828210",
    "4012888888881881",
    "4000056655665556",
}


def _cards(text: str) -> Iterator[Finding]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        is_test = digits in _TEST_CARDS or len(set(digits)) < 5
        if _ISSUER.fullmatch(digits) and _checks(digits) and not is_test:
            yield Finding(*match.span(), "card", digits)


def _checks(digits: str) -> bool:
    """Whether the last digit is the check digit of the rest (Luhn, ISO/IEC 7812-1)."""
    numbers = [int(digit) for digit in reversed(digits)]
    doubled = [sum(divmod(2 * number, 10)) for number in numbers[1::2]]
    return (sum(numbers[::2]) + sum(doubled)) % 10 == 0


def _phones(text: str, countries: Sequence[str] = phones.EVERYWHERE) -> Iterator[Finding]:
    for phone in phones.find(text, countries):
        yield Finding(phone.start, phone.end, "phone", phone.value)


# How the names of values end, without and with a quote: fewer words than `_ASSIGNED` and `_BARE`
# have, in lists that are fast, which takes a quarter of the time.
_ENDS = r"""["'\]]{0,3}[ \t]{0,3}(?::=|=>|=|:)[ \t]{0,3}"""
_NAMES = (
    rf"""(?i:key|secret|token|base|authorization){_ENDS}["']?"""
    r"(?:(?i:bearer|token|basic|base64):?[ \t]{0,3})?[A-Za-z0-9_+/=-]{20}",
    rf"""(?i:key|secret|token|passw(?:or)?d|pwd){_ENDS}["'`][A-Za-z0-9_+/.=-]{{20}}""",
)

# For each kind: what a text has that may hold it, and what examines such a text.
DETECTORS: dict[Kind, tuple[tuple[str, ...], Callable[[str], Iterator[Finding]]]] = {
    "private_key": ((r"BEGIN [A-Z0-9 ]*PRIVATE KEY",), _private_keys),
    "key": (
        (
            *key_plugins.HINTS,
            *broken_lines.HINTS,
            *_TOKENS,
            *_NAMES,
            _FRAMEWORK,
        ),
        _keys,
    ),
    "password": (passwords.HINTS, _passwords),
    "email": (emails.HINTS, _emails),
    "card": ((r"[0-9]{4}[ -]?[0-9]{4}[0-9 -]{2}",), _cards),
    "phone": (phones.HINTS, _phones),
}
