"""Characters that nobody sees, and which of them a text needs all the same.

    U+200D zero width joiner      stays in emoji, and after letters of scripts that join or stack
    U+200C zero width non-joiner  stays after letters of these scripts
    U+200B zero width space       stays between letters of scripts written without spaces
    U+00AD soft hyphen            between letters it goes; elsewhere it was seen, and becomes `-`
    U+200E, U+202A, U+2066, ...   directions stay in texts with right-to-left letters
    U+E0020 to U+E007F, tags      stay in the emoji of flags
    U+0080 to U+009F              are characters of Windows-1252, as HTML has it
    the other control characters  go, but for line ends and tabs; terminal colours go whole

Byte order marks, word joiners and invisible operators always go.
Sources: Unicode Standard Annex 31, section 2.3 (joiners), UTS 51 (emoji), WHATWG HTML, numeric
character reference end state (Windows-1252).
"""

from __future__ import annotations

import re

from chatdata.core.patterns import lazy

# Hebrew to Sinhala, Mongolian, and the cursive and Indic scripts beyond the first plane.
_JOINING = lazy(
    "[\u0590-\u0dff\u1800-\u18af\ua840-\ua9ff\U00010a00-\U000119ff\U0001e900-\U0001e95f]"
)
_SPACELESS = lazy(  # Thai, Lao, Tibetan, Burmese, Khmer and their neighbours
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1980-\u19df\u1a20-\u1aaf\ua9e0-\uaadf]"
)
_PICTURE = lazy(
    "[\u00a9\u00ae\u20e3\u2122\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001fbff]"
)
_RIGHT_TO_LEFT = lazy(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

PATTERN = (
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_HIDDEN = lazy(
    "(?P<flag>\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)|(?P<colour>\x1b\\[[0-?]*[ -/]*[@-~])"
    f"|(?P<hyphen>\u00ad+)|(?P<rest>{PATTERN})"
)


def without_invisible(text: str) -> str:
    """The text without the invisible characters that it does not need."""
    directions = "" if _RIGHT_TO_LEFT.search(text) is None else _DIRECTIONS
    return _HIDDEN.sub(lambda hidden: _instead(hidden, directions), text)


def _instead(hidden: re.Match[str], directions: frozenset[str] | str) -> str:
    """What stands in a text in place of a character that is not seen."""
    character = hidden[0]
    before = hidden.string[max(0, hidden.start() - 1) : hidden.start()]
    after = hidden.string[hidden.end() : hidden.end() + 1]
    if (
        hidden.lastgroup == "flag"
        or character in directions
        or _is_needed(character, before, after)
    ):
        return character
    if hidden.lastgroup == "hyphen":
        return "" if before.isalpha() and after.isalpha() else "-"
    if "\x80" <= character <= "\x9f":
        return character.encode("latin-1").decode("cp1252", errors="ignore")
    return ""


def _is_needed(character: str, before: str, after: str) -> bool:
    """Whether what stands around a character of no width needs it."""
    if character == "\u200b":
        return bool(_SPACELESS.match(before) and _SPACELESS.match(after))
    if character not in "\u200c\u200d":
        return False
    joins = _PICTURE.match(before) and _PICTURE.match(after) and character == "\u200d"
    return bool(joins or _JOINING.match(before) or _SPACELESS.match(before))
