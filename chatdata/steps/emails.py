"""E-mail addresses in texts, also where a word is glued to them (`jane@host.orgCc: bob`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from chatdata.core.patterns import lazy

HINTS = (r"[^\s@]@[^\s@.]+\.",)


class Address(NamedTuple):
    """Where an address stands in a text, and the address in small letters."""

    start: int
    end: int
    value: str


_LETTER = r"a-z0-9\u00c0-\u024f"
_WORDS = (  # names of domains at the top that no method or package bears
    "com|org|net|edu|gov|mil|int|info|biz|name|pro|coop|aero|museum|mobi|jobs|travel|dev|app|xyz"
    "|online|site|website|store|shop|tech|club|email|cloud|live|agency|digital|global|group|health"
    "|life|media|news|page|space|studio|today|work|world|academy|company|design|finance|solutions"
    "|systems|team|cars|legal|law|church|london|berlin|paris|tokyo|photography|consulting|services"
    "|software|network|support|center|capital|engineering|marketing|science|blog|wiki|games|expert"
    "|gmbh|immo|koeln|wien|bayern|hamburg|nrw|swiss|bzh|cat|eus|asia|africa|nyc|xn--[a-z0-9-]+"
)
_AT = rf"[{_LETTER}][{_LETTER}._%+-]{{0,63}}@(?:[{_LETTER}](?:[{_LETTER}-]{{0,61}}[{_LETTER}])?\.)+"
# Not a method of a product (`q@k.to(x)`), nor a package with its version (`react@18.2.0`).
_END = rf"(?![{_LETTER}(\[@-]|_[{_LETTER}]|\.[{_LETTER}])"
# The words of a header or a signature, which tell where even a domain of two letters ends.
_HEADER = (
    r"(?=(?-i:(?:Cc|CC|Bcc|BCC|To|From|Subject|Sent|Date|Reply|Tel|Phone|Fax|Mob|Mobile|Web|Website"
    r"|Von|An|Betreff|Gesendet|Datum|Telefon|Objet|Envoy[eé]|De|Para|Asunto|Aan|Onderwerp|Oggetto)"
    r"\b))"
)
_GLUED = (
    rf"(?=(?-i:[A-Z][a-z]{{1,30}})(?![{_LETTER}(\[])|-(?![{_LETTER}-]{{0,63}}\.[{_LETTER}])|0\d\d"
    rf"|(?-i:https?:|www\.|mailto:)|[{_LETTER}._%+-]{{1,64}}@[{_LETTER}-]{{1,63}}\.)"
)
_TOP = (
    rf"(?:(?:[a-z]{{2}}|{_WORDS}){_END}|(?:[a-z]{{2}}|(?-i:{_WORDS}|COM|ORG|NET)){_HEADER}"
    rf"|(?-i:{_WORDS}|COM|ORG|NET){_GLUED})"
)
_ADDRESS = rf"({_AT}{_TOP})"
_NEXT = lazy(_ADDRESS, re.IGNORECASE)  # right behind an address
_EMAIL = lazy(
    rf"(?<![{_LETTER}%+@])(?<![{_LETTER}_][.-])(?<![{_LETTER}.-]_){_ADDRESS}", re.IGNORECASE
)
_NO_DOMAIN = lazy(
    r"(?:^|\.)(?:example|test|invalid|localhost|local|domain|mydomain|somedomain|email|company"
    r"|companyname|mycompany|contoso|your[a-z-]*|my-?site|mywebsite|website|server)\."
)
_NO_NAME = lazy(
    r"(?:git|your.*|.*example.*|me|you|someone|somebody|user(?:name)?\d?|email"
    r"|(?:recipient|sender)[a-z0-9._-]*)@"
)
_IN_ADDRESS = lazy(r"://[^\s/@]*\Z")  # what stands before @ is a password
_IN_PATH = lazy(r"[\w.:~)\]@-]/\Z")  # docker.io/library/x@host.io


def find(text: str) -> Iterator[Address]:
    """Yields the addresses in a text but those that stand for one (`me@example.com`)."""
    place = 0
    while match := _EMAIL.search(text, place):
        before_end = place
        while match:
            start, place = _without_escape(text, match.start(1)), match.end(1)
            if not _is_no_address(text, start, before_end) and _is_real(text[start:place]):
                yield Address(start, place, text[start:place].lower())
            before_end = place
            match = _NEXT.match(text, place)


def _without_escape(text: str, start: int) -> int:
    r"""Where an address starts: behind the letter of a line end in JSON (`\njane@host.org`)."""
    return start + (text[max(0, start - 1) : start] == "\\" and text[start] in "nrt")


def _is_real(address: str) -> bool:
    name, _, domain = address.lower().partition("@")
    return not (_NO_DOMAIN.search(domain) or _NO_NAME.fullmatch(f"{name}@"))


def _is_no_address(text: str, start: int, before_end: int) -> bool:
    """Whether what looks like an address is a part of an address of the web or of a path."""
    before = text[max(0, start - 100) : start]
    is_in_path = _IN_PATH.search(before) and before_end != start - 1
    return bool(is_in_path or _IN_ADDRESS.search(before))
