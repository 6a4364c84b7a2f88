"""Phone numbers: national ones of the countries whose languages a recipe allows."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import phonenumbers
import pytest

from chatdata import load_recipe
from chatdata.steps import phones

# By language: numbers as people of a country write them, with their international form.
NUMBERS = {
    "fr": {
        "06 12 34 56 78": "+33612345678",
        "06.12.34.56.78": "+33612345678",
        "06-12-34-56-78": "+33612345678",
        "Tél.06 12 34 56 78": "+33612345678",
        "mon numéro est le 0612345678": "+33612345678",
        "0033 6 12 34 56 78": "+33612345678",
        "02 512 45 67": "+3225124567",
        "0470/12.34.56": "+32470123456",
    },
    "de": {
        "0171 23456789": "+4917123456789",
        "0171 234 56 78": "+491712345678",
        "0171/2345678": "+491712345678",
        "(030) 901820": "+4930901820",
        "030 / 901820": "+4930901820",
        "Tel. 030 90 18 20": "+4930901820",
        "Ruf mich an unter 01712345678": "+491712345678",
        "0664 1234567": "+436641234567",
        "044 668 18 00": "+41446681800",
    },
    "en": {
        "020 7946 0958": "+442079460958",
        "07733 456781": "+447733456781",
        "0412 345 678": "+61412345678",
        "(02) 9374 4000": "+61293744000",
        "call me at 98765 43210": "+919876543210",
    },
    "nl": {"06-12345678": "+31612345678", "06 1234 5678": "+31612345678"},
    "ja": {"090-1234-5678": "+819012345678", "03-1234-5678": "+81312345678"},
    "ko": {"010-1234-5678": "+821012345678"},
    "ru": {"8 (912) 345-67-89": "+79123456789"},
    "pt": {"(11) 98765-4321": "+5511987654321"},
    "es": {"612 34 56 78": "+34612345678", "llámame al 612345678": "+34612345678"},
    "zh": {"手机：13812345678": "+8613812345678", "138 1234 5678": "+8613812345678"},
    "sv": {"070-123 45 67": "+46701234567"},
    "it": {"06 1234 5678": "+390612345678", "cellulare: 347 1234567": "+393471234567"},
    "tr": {"0532 123 45 67": "+905321234567"},
    "hu": {"06 30 123 4567": "+36301234567"},
}
FIGURES = """
600 000 000|612 345 678|1 234 567 890|05 06 07 08 09|01 23 45 67 89|0123456789|01 02 2024
01.02.2024 10:30|0.1712345678|0.123 0.456 0.789|ISBN 0-306-40615-7|ISBN 978-0-306-40615-7|0306406157
3.11.0.1234|10.0.19045.3803|2024-01-15 09 12 34|09:12:34.567 INFO|192.168.001.002|010.012.034.056
0x0612345678|0A 06 12 34 56 78|06 12 34 56 78 9A|0755 0644 0600|0101 1010 0110|order 0171 2345678
FR76 3000 6000 0112 3456 7890 189|DE89 3704 0044 0532 0130 00|2147483647|0012 0034 0056|2019-2020
id: 0612345678|0612345678|$0612 345 678|612 345 678 €|00000000-0000-0000|13 14 15 16|98765 43210
The phone company made 612 345 678 dollars|1700000000000|53.551086, 9.993682|07/08/2023 11 12
(161.86 / 74.99) ^ (1 / 5)|15 000 - 20 000|4012 8888 8888 1882|08 00 17 00|12-34-56|20 12 34 56
""".replace("\n", "|").strip("|")


@pytest.mark.parametrize("language", NUMBERS)
def test_national_numbers_of_a_language_are_found_whole(language: str) -> None:
    countries = phones.countries([language])
    for text, number in NUMBERS[language].items():
        before, after = "Hello, ", ", thanks."
        (phone,) = phones.find(before + text + after, countries)
        assert phone.value == number
        written = re.search(r"\(?\d.*", text)
        assert written is not None
        assert written[0] == (before + text + after)[phone.start : phone.end]


def test_numbers_of_languages_that_are_not_allowed_are_left() -> None:
    assert list(phones.find("06 12 34 56 78", phones.countries(["ja"]))) == []
    assert list(phones.find("090-1234-5678", phones.countries(["fr"]))) == []


@pytest.mark.parametrize("text", FIGURES.split("|"))
def test_figures_are_no_numbers_of_any_country(text: str) -> None:
    assert list(phones.find(f"x {text} y", phones.EVERYWHERE)) == []


def test_numbers_side_by_side_are_found_each() -> None:
    found_values = [p.value for p in phones.find("06 12 34 56 78 / 06 98 76 54 32", ["FR"])]
    assert found_values == ["+33612345678", "+33698765432"]


def test_example_numbers_of_nearly_every_country_are_found_behind_a_word() -> None:
    missed = []
    for country in phones.EVERYWHERE:
        number = phonenumbers.example_number_for_type(
            country, phonenumbers.PhoneNumberType.FIXED_LINE
        )
        assert number is not None
        form = phonenumbers.PhoneNumberFormat.NATIONAL
        text = f"Tel. {phonenumbers.format_number(number, form)}"
        if not list(phones.find(text, [country])):
            missed.append(text)
    assert len(missed) < 16, missed  # such as 01 23 45 67 89, which is made up, and 7 digits


def test_codes_of_the_table_have_phone_numbers() -> None:
    for language, country in itertools.chain.from_iterable(
        ((language, country) for country in row) for language, row in phones.COUNTRIES.items()
    ):
        assert phones.checked(country) == country, language
    with pytest.raises(ValueError, match="'XX' is no country"):
        phones.checked("XX")


@pytest.mark.parametrize(
    ("languages", "expected"),
    [
        (["fr"], ["FR", "BE", "CH", "CA", "LU", "MC"]),
        (["pt-BR", "ja"], ["BR", "JP"]),
        (["zu"], ["ZA"]),
        (["es-419"], list(phones.COUNTRIES["es"])),
        (["cy"], ["GB"]),
    ],
)
def test_countries_of_languages(languages: list[str], expected: list[str]) -> None:
    assert phones.countries(languages) == expected


RECIPE = """
name: r
version: 1.0.0
source: {jsonl: {files: [in.jsonl]}}
redact: {}
drop: [secret]
"""


@pytest.mark.parametrize(
    ("setting", "redacted", "dropped"),
    [
        ("redact.kinds=[phone]", "all", "all"),
        ("drop=[{wrong_language: {allow: [fr]}}, secret]", ["FR"], ["FR"]),
        ("drop=[{wrong_language: {allow: [fr]}}, {secret: {countries: [PL]}}]", ["FR"], ["PL"]),
        ("redact={countries: [DE]}", ["DE"], "all"),
    ],
)
def test_a_recipe_names_the_countries_of_its_languages(
    tmp_path: Path, setting: str, redacted: list[str] | str, dropped: list[str] | str
) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "r.yaml", [setting])
    assert recipe.redact is not None
    secret = next(entry["secret"] for entry in recipe.drop if "secret" in entry)
    assert recipe.redact.countries is not None
    assert recipe.redact.countries[: len(redacted)] == redacted
    assert secret["countries"][: len(dropped)] == dropped


def test_a_country_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    with pytest.raises(Exception, match="'UK' is no country with phone numbers"):
        load_recipe(tmp_path / "r.yaml", ["redact={countries: [UK]}"])
