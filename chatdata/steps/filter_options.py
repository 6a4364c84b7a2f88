"""The options of filters: what each may be, and what it means, as the reference says it."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import AfterValidator, Field

from chatdata.core.config import Given, Word
from chatdata.steps.language import codes
from chatdata.steps.phones import Countries
from chatdata.steps.secrets import Kind


def _pattern(pattern: str) -> str:
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        words = " ".join(str(error).split())
        raise ValueError(
            f"{pattern!r} is no pattern that Polars knows, which has no look-around and no "
            f"backreferences ({words[:200]})"
        ) from None
    return pattern


Pattern = Annotated[Word, AfterValidator(_pattern)]
Patterns = Annotated[
    Pattern | Annotated[list[Pattern], Given],
    Field(
        description="A regular expression of Rust, or a list of them.",
        examples=["(?i)as an ai (language )?model"],
    ),
]
Speaker = Annotated[
    Literal["system", "developer", "user", "assistant", "tool"] | None,
    Field(
        description="Whose messages are looked at; everybody's unless it is set.",
        examples=["assistant"],
    ),
]

Language = Annotated[str, AfterValidator(codes.checked)]
Allowed = Annotated[
    list[Language],
    Given,
    Field(description="Codes of the languages that stay.", examples=[["en", "de"]]),
]
Decide = Annotated[
    Literal["declared", "detected", "both"],
    Field(description="Who tells the language of a message: the source, a detector, or both."),
]

Kinds = Annotated[
    list[Kind],
    Given,
    Field(description="The kinds of secrets that count.", examples=[["key", "email"]]),
]
PhonesOf = Annotated[
    Countries | None,
    Field(
        description="Whose national phone numbers count: codes of countries, or `all`; filled in "
        "by the languages of the recipe unless it is set.",
        examples=[["DE", "AT"]],
    ),
]

Against = Annotated[
    list[Word],
    Given,
    Field(
        description="Files of test questions beside the recipe: JSON, CSV, Parquet or text.",
        examples=[["HumanEval.jsonl.gz"]],
    ),
]
_WordCount = Annotated[int, Field(ge=1, le=100)]
WordsInARow = Annotated[_WordCount, Field(description="Words in a row that make a match.")]
WholeFrom = Annotated[
    _WordCount, Field(description="The least words of a shorter question, which counts as a whole.")
]
Common = Annotated[
    int,
    Field(ge=1, description="Words in a row that more texts of a set have do not count."),
]
SetFields = Annotated[
    list[Word],
    Field(
        description="Keys of the set's records that are compared; all texts unless they are named.",
        examples=[["prompt"]],
    ),
]

AtLeastOne = Annotated[int, Field(ge=1)]
FewestTurns = Annotated[AtLeastOne, Field(description="The least number of turns that stays.")]
MostTurns = Annotated[AtLeastOne, Field(description="The greatest number of turns that stays.")]
MostCharacters = Annotated[
    AtLeastOne, Field(description="The greatest number of characters that stays.")
]
Different = Annotated[
    float,
    Field(gt=0, le=1, description="The least share of different runs of five words that stays."),
]
FromWords = Annotated[AtLeastOne, Field(description="An answer of fewer words is left alone.")]

PromptWords = Annotated[
    _WordCount, Field(description="A first turn of fewer words is not compared.")
]
Threshold = Annotated[
    float,
    Field(gt=0, le=1, description="The least share of runs of words that makes two of them alike."),
]
Permutations = Annotated[
    int,
    Field(ge=16, le=4096, description="Hashes of a text; more find more, and take longer."),
]
RunLength = Annotated[_WordCount, Field(description="Words in a run.")]
Seed = Annotated[int, Field(ge=0, lt=2**32, description="The seed of the hashes.")]
Keep = Annotated[
    Literal["longest", "smallest_id", "all"],
    Field(
        description="Which of those that are alike stays; `all` removes none, and keeps them in "
        "the same split."
    ),
]
