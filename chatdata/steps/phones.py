"""Phone numbers: those with the code of a country, and national ones of the countries of languages.

`phonenumbers`, Google's library, knows which numbers a country has and how it groups them. A
national number looks like any figure, so it counts where its form tells: it begins as numbers of
its country do within the country (`06 12 34 56 78`), grouped as there. Any grouping, or none,
will do behind a word for telephone (`Tel. 0612345678`).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import AfterValidator

from chatdata.core.patterns import lazy

if TYPE_CHECKING:
    import phonenumbers

# The countries in which a language is official or spoken by most, by its code.
COUNTRIES: dict[str, tuple[str, ...]] = {
    "ar": ("EG", "SA", "MA", "DZ", "TN", "AE", "JO", "LB", "IQ", "KW", "QA"),
    "bg": ("BG",),
    "bn": ("BD", "IN"),
    "ca": ("ES", "AD"),
    "cs": ("CZ",),
    "da": ("DK",),
    "de": ("DE", "AT", "CH", "LU", "LI"),
    "el": ("GR", "CY"),
    "en": ("US", "CA", "GB", "IE", "AU", "NZ", "IN", "ZA", "SG", "NG", "KE", "PH"),
    "es": ("ES", "MX", "AR", "CO", "CL", "PE", "VE", "EC", "UY", "US"),
    "et": ("EE",),
    "eu": ("ES",),
    "fa": ("IR",),
    "fi": ("FI",),
    "fr": ("FR", "BE", "CH", "CA", "LU", "MC"),
    "ga": ("IE",),
    "gl": ("ES",),
    "he": ("IL",),
    "hi": ("IN",),
    "hr": ("HR", "BA"),
    "hu": ("HU",),
    "id": ("ID",),
    "is": ("IS",),
    "it": ("IT", "CH"),
    "ja": ("JP",),
    "ko": ("KR",),
    "lt": ("LT",),
    "lv": ("LV",),
    "ms": ("MY", "SG", "BN"),
    "nl": ("NL", "BE"),
    "no": ("NO",),
    "pl": ("PL",),
    "pt": ("PT", "BR", "AO", "MZ"),
    "ro": ("RO", "MD"),
    "ru": ("RU", "BY", "KZ"),
    "sk": ("SK",),
    "sl": ("SI",),
    "sr": ("RS", "BA", "ME"),
    "sv": ("SE", "FI"),
    "sw": ("KE", "TZ"),
    "ta": ("IN", "LK", "SG"),
    "th": ("TH",),
    "tl": ("PH",),
    "tr": ("TR", "CY"),
    "uk": ("UA",),
    "ur": ("PK", "IN"),
    "vi": ("VN",),
    "zh": ("CN", "TW", "HK", "SG"),
}
_ROWS = list(itertools.zip_longest(*COUNTRIES.values()))
EVERYWHERE = tuple(dict.fromkeys(country for row in _ROWS for country in row if country))

# What a text has that may hold a number; none of them takes long on a text without digits.
HINTS = (
    r"\+\(?[0-9][0-9\s()./-]{5}",
    r"(?:[0-9][ ()./\x{a0}\x{202f}\x{2011}\x{2013}-]{0,3}){7}[0-9]",
)


def checked(country: str) -> str:
    """The code of a country, which is one that has phone numbers.

    Raises ValueError for any other code.
    """
    import phonenumbers

    if country not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"'{country}' is no country with phone numbers; write codes such as DE")
    return country


def _checked_all(countries: str | list[str]) -> str | list[str]:
    if isinstance(countries, str) and countries != ALL:
        raise ValueError(f"'{countries}' is no list of countries; write [{countries}], or {ALL}")
    for country in countries if isinstance(countries, list) else ():
        checked(country)
    return countries


ALL = "all"
# The countries of whose national numbers a recipe speaks: codes, or ALL.
Countries = Annotated[str | list[str], AfterValidator(_checked_all)]


class Phone(NamedTuple):
    """Where a number stands in a text, and the number in its international form."""

    start: int
    end: int
    value: str


def countries(languages: Iterable[str]) -> list[str]:
    """The countries whose national numbers are looked for in texts of these languages, in order.

    A code with a country (`pt-BR`) means that country alone. Of a language without an entry in
    COUNTRIES it is the country where most of its speakers live.
    """
    return list(dict.fromkeys(c for language in languages for c in _countries(language)))


def _countries(language: str) -> tuple[str, ...]:
    import langcodes
    import phonenumbers

    tag = langcodes.Language.get(language)
    if tag.territory in phonenumbers.SUPPORTED_REGIONS:
        return (tag.territory,)
    likely = tag.maximize().territory
    known = (likely,) if likely in phonenumbers.SUPPORTED_REGIONS else ()
    return COUNTRIES.get(str(tag.language), known)


def chosen(countries: Countries) -> Sequence[str]:
    """The codes of the countries that a recipe chooses."""
    return EVERYWHERE if isinstance(countries, str) else countries


def find(text: str, regions: Sequence[str]) -> Iterator[Phone]:
    """Yields the numbers in a text: international, North American, national of these countries."""
    if _INTERNATIONAL.search(text) or _HAS_GROUPS.search(text):
        yield from _anywhere(text)
    for run in _RUN.finditer(text):
        yield from _in_run(text, *run.span(), regions)


# Without a country's code a number is known by its grouping alone, and that is North America's.
_INTERNATIONAL = lazy(r"\+\(?[0-9][0-9\s()./-]{5}")
_GROUPS = r"(?:\(\d{3}\)|\d{3})[-. \xa0]{0,2}\d{3}[-. \xa0]\d{4}"
_GROUPED = lazy(rf"[^\d+]?(?:1[-. ]?)?{_GROUPS}")
_HAS_GROUPS = lazy(_GROUPS)  # what may stand before changes nothing, and takes time to look for


def _anywhere(text: str) -> Iterator[Phone]:
    import phonenumbers

    for match in phonenumbers.PhoneNumberMatcher(text, "US"):
        raw = match.raw_string
        if raw.lstrip("( ").startswith("+") or _GROUPED.fullmatch(raw):
            yield Phone(match.start, match.end, _written(match.number))


def _written(number: phonenumbers.PhoneNumber) -> str:
    import phonenumbers

    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


# ------------------------------------------------------------------------------- national numbers

_SIGNS = " \xa0\u202f./()\u2011\u2013-"
# Digits with the signs that group numbers between, as long as they go on: no piece of a hash, of
# a decimal, of a dump of bytes (`0A 06 12`), of an amount or of an address of the network.
_RUN = lazy(
    r"(?=[(0-9])"  # first of all, so that most places are left at once
    r"(?<![0-9A-Za-z_+*#$€£])(?<![0-9][.,:/-])(?<![0-9][ \xa0\u202f])"
    r"(?<!\b[0-9][A-Fa-f] )(?<!\b[A-F][0-9A-F] )"
    rf"\(?[0-9](?:[{_SIGNS}]{{0,3}}[0-9])*+"
    r"(?![0-9A-Za-z_%])(?![.,:/-][0-9A-Za-z])(?! [A-F][0-9A-F]\b)(?! ?[$€£%])",
    re.ASCII,
)
_BETWEEN = lazy(r" / | [-\u2013] |  +")  # what stands between two numbers, and within some
_DIGITS, _MOST_DIGITS = 8, 17
_LEAST_ALONE = 9  # digits of a number that no word announces
_LEAST_DIFFERENT = 4


def _in_run(text: str, start: int, end: int, regions: Sequence[str]) -> Iterator[Phone]:
    """Yields the number that a run of digits is, or the numbers that stand in it side by side."""
    whole = _national(text, start, end, regions)
    if whole:
        yield whole
        return
    place = start
    for sign in _BETWEEN.finditer(text, start, end):
        yield from filter(None, [_national(text, place, sign.start(), regions)])
        place = sign.end()
    if place > start:
        yield from filter(None, [_national(text, place, end, regions)])


def _national(text: str, start: int, end: int, regions: Sequence[str]) -> Phone | None:
    """The number that a stretch of a text is, if it is one."""
    start += text.startswith("(", start) and ")" not in text[start:end]
    if not _DIGITS <= end - start <= 3 * _MOST_DIGITS:
        return None
    raw = text[start:end]
    digits = re.sub(r"[^0-9]", "", raw)
    if not _DIGITS <= len(digits) <= _MOST_DIGITS or _is_figure(raw, digits):
        return None
    before = text[max(0, start - _MOST_BEFORE) : start]
    if _NO_PHONE.search(before):
        return None
    is_announced = _ANNOUNCES.search(before) is not None
    if not is_announced and _needs_a_word(raw, digits):
        return None
    number = _number(raw, digits, regions, is_announced)
    return Phone(start, end, number) if number else None


def _needs_a_word(raw: str, digits: str) -> bool:
    """Whether digits are few, stand without signs, or are American, which `_anywhere` reads."""
    is_american = not digits.startswith("0") and _GROUPED.fullmatch(raw)
    return len(digits) < _LEAST_ALONE or raw.isdigit() or bool(is_american)


_DATE = lazy(
    r"(?:\d{1,2}([-./ ])\d{1,2}\1(?:19|20)\d\d|(?:19|20)\d\d([-./ ]?)\d\d\2\d\d)(?:[- ]\d{1,6})*"
    r"|\d{1,2}([-./ ])\d{1,2}\3\d\d|0\d{3}(?:[ .-]0\d{3})+"
    r"|(?:19|20)\d\d ?[-\u2013/] ?(?:19|20)\d\d"
)
_DECIMAL = lazy(r"\d+\.\d+|\d\.\d.*")


def _is_figure(raw: str, digits: str) -> bool:
    """Whether digits are a date, a decimal, or what somebody counts up or makes up."""
    is_made_up = len(set(digits)) < _LEAST_DIFFERENT or digits in "01234567890123456789"
    is_figure = _DATE.fullmatch(raw) or _DECIMAL.fullmatch(raw)
    return is_made_up or bool(is_figure) or _counts(raw) or raw.count("(") != raw.count(")")


def _counts(raw: str) -> bool:
    """Whether groups are numbers of a list: each as much larger than the one before it."""
    groups = [int(group) for group in re.findall(r"\d+", raw)]
    steps = {after - before for before, after in itertools.pairwise(groups)}
    return len(groups) > 2 and len(steps) == 1


# Words for telephone in many languages, and what may stand between them and the number.
_MOST_BEFORE = 40
_ANNOUNCES = lazy(
    r"(?i)(?:\bt[eé]l|t[eé]l[eé]?(?:ph|f)\w*|phone\w*|\bfon|\bmob|mobile?\w*|m[oó]vil|celular|cell"
    r"|handy\w*|\bfax|whats?app|signal|\bcall|\bring|\btext|\bsms|\bruf\w*|anruf\w*|durchwahl"
    r"|tlf|portable|appel\w*|joindre|ll[aá]m\w*|chiam\w*|cellulare|ligue|ligar|\bbel|zadzwo\w+"
    r"|komórk\w*|puhelin\w*|telefon\w*|telefoon\w*|mobiel\w*|gsm|\bhp|kontakt\w*|contact\w*"
    r"|тел\w*|моб\w*|звон\w*|номер\w*|电话|手机|電話|手機|携帯|联系|聯繫|전화\w*|휴대폰|연락처"
    r"|(?:my|mon|meine|mi|mio|meu|mijn|min|mój) n[uú]m[eé]?\w*|τηλ\w*"
    r"|هاتف|جوال|טלפון|नंबर|फ़ोन|फोन|โทร\w*|điện thoại|sđt)"
    r"[^\w\n]{0,4}(?:(?:number|no|nr|num|n[uú]mero|nummer|numer|номер|is|ist|est|es|me|us|him|her"
    r"|at|on|au|le|sur|unter|an|mich|uns|der|die|meine|my|mi|al|el|o|a|il|mio|è|é|op|på|под|мне|по"
    r"|号码|號碼|番号|は|是|번호)\b[^\w\n]{0,4}){0,3}\Z"
)
_NO_PHONE = lazy(
    r"(?i)(?:isbn|issn|iban|bic|siren|siret|vat|ust|uuid|sha\d*|md5|version|order|invoice"
    r"|rechnung|facture|kto|konto|account|id|port|pid|doi|ean|upc|imei|serial)\b[^\w\n]{0,3}"
    r"(?:(?:no|nr|number|nummer|n°)\b[^\w\n]{0,3})?\Z"
)


def _number(raw: str, digits: str, regions: Sequence[str], is_announced: bool) -> str | None:
    """A number in its international form, by the first country that groups such a number so.

    Where no country groups it so, it is of the first country that has such a number.
    """
    if digits.startswith("00"):
        return _abroad(raw)
    groups = re.findall(r"[0-9]+", raw)
    first = None
    for plan in map(_plan, regions):
        for bare in plan.bare(digits, groups):
            is_exact = plan.groups_so(bare)
            number = f"+{plan.code}{''.join(bare)}"
            if is_exact and (is_announced or plan.tells_exact(raw, groups, bare)):
                return number
            if is_announced or plan.tells_loose(groups, bare):
                first = first or number
    return first


def _abroad(raw: str) -> str | None:
    """A number that begins with 00 in place of the + of a country's code."""
    import phonenumbers

    text = "+" + raw.replace("(", " ").strip().removeprefix("00").strip()
    match = next(iter(phonenumbers.PhoneNumberMatcher(text, None)), None)
    return _written(match.number) if match and match.raw_string == text else None


_TYPES = ("fixed_line", "mobile", "toll_free", "shared_cost", "personal_number", "voip", "uan")
_Group = tuple[re.Pattern[str] | None, re.Pattern[str]]  # how a number begins, and its groups


class _Plan(NamedTuple):
    """How a country numbers: its code, what stands before a number within it, which it has."""

    code: int
    prefix: str
    lengths: frozenset[int]
    numbers: re.Pattern[str]
    mobile: re.Pattern[str] | None
    grouped: tuple[_Group, ...]

    def bare(self, digits: str, groups: Sequence[str]) -> Iterator[list[str]]:
        """Yields the groups of a number of the country without the prefix, and as they stand."""
        if self.prefix and groups[0].startswith(self.prefix):
            first = groups[0].removeprefix(self.prefix)
            if self._has(digits.removeprefix(self.prefix)):
                yield [first, *groups[1:]] if first else [*groups[1:]]
        if self._has(digits):
            yield [*groups]

    def _has(self, digits: str) -> bool:
        return len(digits) in self.lengths and self.numbers.fullmatch(digits) is not None

    def tells_exact(self, raw: str, groups: Sequence[str], bare: Sequence[str]) -> bool:
        """Whether a number that is grouped as in its country needs no word before it."""
        if groups[0].startswith("0"):
            return True
        if list(bare) != list(groups):
            return "-" in raw or "(" in raw
        sizes = {len(group) for group in groups[1:]}
        is_amount = sizes == {3} or len(groups) < 3 or {len(group) for group in groups} == {2}
        return raw.startswith("(") or (self._is_mobile(bare) and not is_amount)

    def tells_loose(self, groups: Sequence[str], bare: Sequence[str]) -> bool:
        """Whether a number that is grouped otherwise needs no word before it."""
        if not groups[0].startswith("0"):
            return False
        is_even = len(groups) == 3 and all(2 < len(group) < 6 for group in groups)
        return is_even or (2 < len(groups) < 5 and self._is_mobile(bare))

    def _is_mobile(self, bare: Sequence[str]) -> bool:
        return bool(self.mobile and self.mobile.fullmatch("".join(bare)))

    def groups_so(self, groups: Sequence[str]) -> bool:
        """Whether a number is grouped as the country groups it."""
        digits, spaced = "".join(groups), " ".join(groups)
        return any(
            (begins is None or begins.match(digits)) and pattern.fullmatch(spaced)
            for begins, pattern in self.grouped
        )


@functools.cache
def _plan(region: str) -> _Plan:
    """The plan of a country that has phone numbers."""
    import phonenumbers
    from phonenumbers.data import _ALT_NUMBER_FORMATS  # no public function has these

    facts: Any = phonenumbers.PhoneMetadata.metadata_for_region(region)
    kinds = {name: getattr(facts, name) for name in _TYPES}
    patterns = {n: k.national_number_pattern for n, k in kinds.items() if k is not None}
    patterns = {name: pattern for name, pattern in patterns.items() if pattern}
    formats = [*facts.number_format, *_ALT_NUMBER_FORMATS.get(facts.country_code, [])]
    return _Plan(
        code=facts.country_code,
        prefix=facts.national_prefix or "",
        lengths=frozenset(facts.general_desc.possible_length),
        numbers=re.compile("|".join(f"(?:{pattern})" for pattern in patterns.values())),
        mobile=re.compile(patterns["mobile"]) if "mobile" in patterns else None,
        grouped=tuple(_group(form) for form in formats),
    )


def _group(form: Any) -> _Group:
    """How a number begins that a format of the library is for, and its groups."""
    begins = form.leading_digits_pattern
    pattern = form.pattern.replace(")(", ") (")
    return re.compile(begins[-1]) if begins else None, re.compile(pattern)
