"""What documentation writes in the place of a secret: `YOUR_API_KEY`, `sk-xxxx`, `P@ssw0rd`."""

from __future__ import annotations

from chatdata.core.patterns import lazy

_PLACEHOLDER = lazy(
    r"(?i)your|example|placeholder|dummy|sample|change[_-]?me|redacted|insert|replace|xxxx|\.\.\."
    r"|[<>{}*$]|1234567890|0123456789|abcdefgh|(?:foo|bar|abc|123){2}"
    r"|eyJzdWIiOiIxMjM0NTY3ODkw"  # the token of jwt.io
)
_WORD = lazy(r"(?i)your|example|placeholder|change|replace|xxxx|\.\.\.|[<>{}]")
LEAST_DIFFERENT = 8  # characters of a key; `aaaaaaaa` is not a key


def is_key_placeholder(value: str) -> bool:
    """Whether a value stands for a key."""
    return is_placeholder(value) or len(set(value)) < LEAST_DIFFERENT


def is_placeholder(value: str) -> bool:
    """Whether a value has a word or a sign in it that secrets do not have."""
    return bool(_PLACEHOLDER.search(value))


def has_placeholder_word(value: str) -> bool:
    """Whether a value that may hold any sign has a word in it that secrets do not have."""
    return bool(_WORD.search(value))


_LEET = str.maketrans("@4301$57!|", "aaeoissti" + "l")
_COMMON = lazy(
    r"(?:pass(?:word|wd|phrase|code)?|p(?:wd|w)|secret|super|admin(?:istrator)?|root|test(?:ing)?"
    r"|user(?:name)?|guest|login|welcome|qwerty|asdf|abc|xyz|hello|world|demo|default|temp|strong"
    r"|secure|safe|new|old|my|your|the|a|an|is|this|db|database|some|any|very|complex|long|short"
    r"|hashed|plain|text|master|main|letmein|change(?:it|me)?|foo|bar|baz|sa|postgres|mysql|redis"
    r"|mongo(?:db)?|rabbitmq|name|token|key|port|host|server|app|api|email|value|string|here|mail"
    r"|in|valid|correct|wrong|confirm|current|encrypted|random|generated|auth|web|site|service"
    r"|account|access|local|dev|prod|stage|field|input|form|hash|real|fake|good|bad|weak|one|two)+"
)
_SIGNS = lazy(r"[^a-z]+")


def is_common_password(value: str) -> bool:
    """Whether a value is the password of tutorials, in whichever spelling (`P@ssw0rd123!`)."""
    small = value.lower()
    spelt = (small, small.rstrip("0123456789!@#$."), small.translate(_LEET))
    return any(is_common_word(_SIGNS.sub("", form)) for form in spelt) or is_common_word(
        _SIGNS.sub("", spelt[1].translate(_LEET))
    )


def is_common_word(letters: str) -> bool:
    """Whether small letters are words that tutorials make passwords of; none are, too."""
    return not letters or bool(_COMMON.fullmatch(letters))
