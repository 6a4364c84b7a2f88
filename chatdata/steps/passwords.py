"""Passwords: in addresses, connection strings, settings, and on command lines.

A password of an address or a connection string may be any word. Where a name is given a value
(`password = "..."`), which code does all the time, the value has to look made for the purpose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from chatdata.core.patterns import lazy
from chatdata.steps import placeholders


class Password(NamedTuple):
    """Where a password stands in a text."""

    start: int
    end: int
    value: str


_NAME = r"(?:pass(?:word|wd|phrase)?|pwd|pw)"
_IS = r"""["'\]]{0,3}[ \t]{0,3}(?::=|=>|=|:)[ \t]{0,3}"""
HINTS = (
    r"://[^\s:/@]*:[^\s]+@",
    rf"(?i){_NAME}{_IS}",
    r" (?:-[puaw]|--user|--pass(?:word|wd|phrase)?)[ =\"']?[^ ]{8}",
    r"(?i)jdbc:oracle:thin:",
)


_ADDRESSES = (
    re.compile(r"://[^\s:/?#\[\]@\"'<>]*:([^\s/?#\[\]\"'<>]{1,200})@[^\s/@\"'<>]"),
    # A sign that belongs encoded; behind a host the number of a port stands.
    re.compile(
        r"(?i)(?:postgres\w*|mysql|mariadb|mongodb|rediss?|amqps?)[\w+]{0,20}://[^\s:/@\"'<>]{0,60}:"
        r"(?!\d+(?:/|$))([^\s@\"'<>]{1,100})@[\w.-]"
    ),
    re.compile(r"(?i)jdbc:oracle:thin:\w{1,60}/([^\s@/\"'<>]{1,100})@"),
)
_PLAIN = r"[^\s;&\"'`<>(),{}\[\]]"
_QUOTED = rf"""(?i){_NAME}{_IS}(?:b?["'`])([^\s"'`]{{8,100}})["'`]"""
_LINE = (
    rf"(?im)^[ \t]{{0,20}}(?:export |set |- |\$env:)?[\w.-]{{0,60}}{_NAME}[ \t]{{0,3}}[:=]"
    rf"[ \t]{{0,3}}({_PLAIN}{{8,100}})[ \t]{{0,9}}\r?$"
)
_VARIABLE = (
    rf"(?<![A-Za-z])[A-Z0-9_]{{0,60}}(?:PASSWORD|PASSWD|PWD|PASS)=({_PLAIN}{{8,100}})(?=\s|$)"
)
_OPTIONS = (
    rf"(?i)--pass(?:word|wd|phrase)?[ =]([\"']?)({_PLAIN}{{8,100}})\1(?=\s|$)",
    rf"(?i)\b(?:mysql\w*|mariadb\w*)\b[^\n|;]{{0,100}}? (-p)({_PLAIN}{{8,100}})(?=\s|$)",
    rf"(?i)\bsshpass -p ?([\"']?)({_PLAIN}{{8,100}})\1(?=\s|$)",
    rf"(?i)\b(?:curl|wget)\b[^\n|;]{{0,200}}? (?:-u|--user)[ =]?([\"']?)[^\s:\"']{{1,60}}:"
    rf"({_PLAIN}{{8,100}})\1(?=\s|$)",
    rf"(?i)\bredis-cli\b[^\n|;]{{0,100}}? -a ([\"']?)({_PLAIN}{{8,100}})\1(?=\s|$)",
    rf"(?i)\bldap\w+[^\n|;]{{0,100}}? -w ([\"']?)({_PLAIN}{{8,100}})\1(?=\s|$)",
)
_ASSIGNED = [re.compile(pattern) for pattern in (_QUOTED, _LINE, _VARIABLE, *_OPTIONS)]
# A line of settings of a connection: of ADO, ODBC, JDBC or libpq.
_CONNECTION = lazy(
    r"(?i)^(?=.*(?:server|host|data source|user ?id|uid|user|username|database|dbname|catalog)=)"
    r".*(?:password|passwd|pwd)=.*",
    re.MULTILINE,
)
_SETS = lazy(r"(?i)(?:password|passwd|pwd)=")  # which is looked for much faster than such a line
_SETTING = lazy(
    rf"(?i)(?:^|[;&?\s\"'`])(?:password|passwd|pwd) ?= ?'?"
    rf"(\{{[^}}\n]{{1,100}}\}}|{_PLAIN}{{5,100}})(?=[;&\s\"'`]|$)"
)


def find(text: str) -> Iterator[Password]:
    """Yields the passwords in a text, those of addresses first; they may overlap."""
    if "@" in text:
        for pattern in _ADDRESSES:
            yield from _where(pattern.finditer(text), _is_any)
    if _SETS.search(text):
        for line in _CONNECTION.finditer(text):
            yield from _where(_SETTING.finditer(text, *line.span()), _is_set)
    for pattern in _ASSIGNED:
        yield from _where(pattern.finditer(text), _is_made)


def _where(
    matches: Iterable[re.Match[str]], is_password: Callable[[str], bool]
) -> Iterator[Password]:
    """Yields the last groups of matches that are passwords."""
    for match in matches:
        group = match.re.groups
        if is_password(match[group]):
            yield Password(*match.span(group), match[group])


def _is_any(value: str) -> bool:
    """Whether a value that stands where only a password can is more than a placeholder."""
    is_name = value.isupper() and value.isidentifier()
    stands_for = placeholders.is_common_password(value) or placeholders.is_placeholder(value)
    return not (is_name or stands_for)


def _is_set(value: str) -> bool:
    """Whether a setting of a connection is more than a name or a placeholder."""
    bare = value.removeprefix("{").removesuffix("}")
    has_sign = any(not c.isalpha() and c not in "_.-" for c in bare)
    return has_sign and _is_any(bare) and not _REFERENCE.match(bare)


_REFERENCE = lazy(r"[$%@#./]|.*://")
_NAME_OF_SOMETHING = lazy(r"[A-Za-z_./:\\-]+\d{0,2}")
_LEAST_PLAIN = 10  # characters of a password of letters and digits


def _is_made(value: str) -> bool:
    """Whether a value looks made for a password, and not like a name or a word."""
    if _NAME_OF_SOMETHING.fullmatch(value) or _REFERENCE.match(value) or not _is_any(value):
        return False
    has_letter, has_digit = any(map(str.isalpha, value)), any(map(str.isdigit, value))
    has_sign = not value.isalnum()
    is_mixed_case = value != value.lower() and value != value.upper()
    kinds = has_letter + is_mixed_case + has_digit + has_sign
    return kinds > 2 or (has_letter and has_digit and len(value) >= _LEAST_PLAIN)
