"""The stages that are asked in turn for the language of prose, cheap and certain stages first.

Scripts, common words of English, then fastText's model, and langdetect for the few texts that
leave the model in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl

from chatdata.steps.language import detectors, evidence
from chatdata.steps.language.detectors import SCRIPTS, english_odds
from chatdata.steps.language.prose import words

ANSWERS = {"lang": pl.String, "score": pl.Float64, "decided_by": pl.String}
UNKNOWN = "und"  # ISO 639's code for a language that nobody could name

# How much of the words is looked at, in characters.
LOOK = 100  # at first
LONG_LOOK = 500  # for a second opinion where 100 leave doubts
PER_WORD = 2  # of prose for each of words: what is left of prose without numbers and punctuation


def first_words(prose_: pl.Expr, size: int = LOOK) -> pl.Expr:
    """The first words of prose, `size` characters of them."""
    return words(prose_.str.head(PER_WORD * size)).str.head(size)


# ------------------------------------------------------------------------------------------- stages

Parted = tuple[pl.DataFrame, pl.DataFrame]  # rows with an answer, rows that wait for an answer


Stage = Callable[[pl.DataFrame], Parted]


def vote(rows: pl.DataFrame) -> pl.DataFrame:
    """The answer for each row by the first stage that has an answer.

    `rows` has the columns `row`, `prose` and `look`.
    """
    return _by_first_of((_nothing, _by_script, _by_words, _by_models), rows)


def glance(rows: pl.DataFrame) -> pl.DataFrame:
    """The answer for each row as by `vote`, but without a second opinion."""
    return _by_first_of((_nothing, _by_script, _by_words, _by_fasttext), rows)


def _by_first_of(stages: Sequence[Stage], rows: pl.DataFrame) -> pl.DataFrame:
    waiting, answers = rows, []
    for stage in stages:
        settled, waiting = stage(waiting)
        answers.append(settled)
    return pl.concat(answers).sort("row").select(ANSWERS.keys())


def _part(
    rows: pl.DataFrame, settled: pl.Expr, lang: pl.Expr, score: pl.Expr, decided_by: str
) -> Parted:
    answers = rows.filter(settled).select(
        "row",
        lang=lang.cast(pl.String),
        score=score.cast(pl.Float64),
        decided_by=pl.lit(decided_by),
    )
    return answers, rows.filter(settled.not_())


# No words, or only words that are the same in many languages.
_NOTHING = r"^(?i:(?:ok|okay|k|continue|hm+|mhm|lol|(?:ha)+|wow|oh|ah)(?: |$))*$"


def _nothing(rows: pl.DataFrame) -> Parted:
    is_nothing = pl.col("look").str.contains(_NOTHING)
    return _part(rows, is_nothing, pl.lit(None), pl.lit(None), "nothing")


# Letters and signs that are neither Latin nor punctuation, symbols, emoji.
_BEYOND_LATIN = (
    r"[^\x00-\x{24F}\x{300}-\x{36F}\x{1E00}-\x{1EFF}\x{2000}-\x{2BFF}\x{FE0F}\x{1F000}-\x{1FAFF}]"
)


def _by_script(rows: pl.DataFrame) -> Parted:
    """Settles texts in scripts of a single language; adds `script` to the other texts.

    What is left of a text in several scripts to look at are words of its script alone.
    """
    is_latin = pl.col("prose").str.contains(_BEYOND_LATIN).not_()
    latin = rows.filter(is_latin).with_columns(script=pl.lit("Latin"))
    mixed = rows.filter(is_latin.not_()).with_columns(long=first_words(pl.col("prose"), LONG_LOOK))
    mixed = pl.concat([mixed, detectors.scripts(mixed["long"])], how="horizontal")
    single = {name: langs for name, langs in SCRIPTS.items() if " " not in langs}
    lang = pl.col("script").replace_strict(single, default=None, return_dtype=pl.String)
    settled, unsettled = _part(mixed, lang.is_not_null(), lang, pl.col("share"), "script")
    return settled, pl.concat([latin, _of_its_script(unsettled).select(latin.columns)])


def _of_its_script(rows: pl.DataFrame) -> pl.DataFrame:
    """Looks at the words of a row's `script` alone; without letters it is Latin."""
    rows = rows.with_columns(pl.col("script").fill_null("Latin"))
    latin = pl.col("long").str.replace_all(r"[^\p{Latin}\p{M}']+", " ").str.strip_chars()
    foreign = pl.col("long").str.replace_all("[A-Za-z]+ *", "")
    look = pl.when(pl.col("script") == "Latin").then(latin).otherwise(foreign)
    return rows.with_columns(look=look.str.head(LOOK))


_CERTAIN = 300  # to 1 for English: odds from which on the words settle it without a model


def _by_words(rows: pl.DataFrame) -> Parted:
    """Settles English by its common words, with a longer look at what seems to be English."""
    rows = rows.with_columns(odds=english_odds(rows["look"]))
    settled, unsettled = _certainly_english(rows, pl.col("odds"))
    may_be = (pl.col("odds") > 1) & (pl.col("script") == "Latin")
    may_be &= pl.col("prose").str.len_chars() > PER_WORD * LOOK
    longer = unsettled.filter(may_be)
    looks = longer.select(first_words(pl.col("prose"), LONG_LOOK)).to_series()
    more, left = _certainly_english(
        longer.with_columns(longer=english_odds(looks)), pl.col("longer")
    )
    left = left.select(unsettled.columns)
    return pl.concat([settled, more]), pl.concat([unsettled.filter(may_be.not_()), left])


def _certainly_english(rows: pl.DataFrame, odds: pl.Expr) -> Parted:
    is_english = (pl.col("script") == "Latin") & (odds > _CERTAIN)
    return _part(rows, is_english, pl.lit("en"), odds / (1 + odds), "words")


# ----------------------------------------------------------------------------- fastText, langdetect

Shares = dict[str, float]  # by language, in sum 1
Opinion = tuple[str, Shares, str]  # the words looked at, their shares, the detector
Answer = tuple[str | None, float | None, str]

_REST = "rest"  # the share of the many languages that have too little of it to be named

# What is believed of a language before anything speaks for it.
_UNNAMED = 0.01  # of a language that a detector does not name: it may still be right
_UNKNOWN_PRIOR = 0.03  # of all languages that no detector knows, so that weak answers stay open

# When more is asked, and how much an answer is worth.
_CLEAR = 0.8  # the share from which on no further look is taken
_RIVAL = 2  # langdetect is asked where the best has less than so many times the share of the next
_SHORT = 30  # characters of words, below which langdetect is worse than fastText
_FEW_SPACES = 2  # spaces between words, likewise: three words at least
_HALF = 8  # characters of words, at which half of a share is believed; of more, more
_NO_NAME = {1: 0.6, 2: 0.4}  # by the number of words: the share below which they are just a name
_UNSEEN = 0.6  # of a score is left where no word speaks for the language

# langdetect shifts shares and decides nothing alone: a language that it rules out keeps a part, and
# a language that it does not know a part in between.
_RULED_OUT = 0.2
_NOT_KNOWN = 0.4


def _by_models(rows: pl.DataFrame) -> Parted:
    """Settles all texts: by fastText and the odds of the words, and where these leave doubts by a
    second opinion."""
    opinions: list[Opinion] = [
        (look, _shares(look, odds, script), "fasttext") for look, odds, script in _looks(rows)
    ]
    is_unsure = [shares[_best(shares)] < _CLEAR for _, shares, _ in opinions]
    again = rows.filter(pl.Series(is_unsure, dtype=pl.Boolean))
    is_latin = pl.col("script") == "Latin"
    longer = pl.when(is_latin).then(first_words(pl.col("prose"), LONG_LOOK)).otherwise("look")
    again = again.with_columns(look=longer)
    again = again.with_columns(english_odds(again["look"]))
    second = iter(_looks(again))
    answers = [
        _answer(*(_second_opinion(*next(second)) if unsure else opinion))
        for opinion, unsure in zip(opinions, is_unsure, strict=True)
    ]
    return _beside(rows, answers), rows.clear()


def _by_fasttext(rows: pl.DataFrame) -> Parted:
    """Settles all texts by fastText and the odds of the words."""
    answers = [
        _answer(look, _shares(look, odds, script), "fasttext")
        for look, odds, script in _looks(rows)
    ]
    return _beside(rows, answers), rows.clear()


def _beside(rows: pl.DataFrame, answers: list[Answer]) -> pl.DataFrame:
    table = pl.DataFrame(answers, schema=ANSWERS, orient="row")
    return pl.concat([rows.select("row"), table], how="horizontal")


def _looks(rows: pl.DataFrame) -> Iterator[tuple[str, float, str]]:
    return rows.select("look", "odds", "script").iter_rows()


def _shares(look: str, odds: float, script: str) -> Shares:
    """fastText's opinion: English weighted by its words; in other scripts their languages."""
    named = detectors.fasttext(look)
    if script != "Latin":
        return _normal({lang: named.get(lang, _UNNAMED) for lang in SCRIPTS[script].split()})
    english = named.get("en", _UNNAMED) * odds
    rest = max(0.0, 1 - sum(named.values()))
    return _normal(named | {"en": english, UNKNOWN: _UNKNOWN_PRIOR, _REST: rest})


def _normal(weights: Shares) -> Shares:
    total = sum(weights.values())
    return {lang: weight / total for lang, weight in weights.items()}


def _best(shares: Shares) -> str:
    return max((lang for lang in shares if lang != _REST), key=lambda lang: shares[lang])


def _second_opinion(look: str, odds: float, script: str) -> Opinion:
    """fastText's opinion of more words, and langdetect's besides where fastText leaves doubts."""
    shares = _shares(look, odds, script)
    if script == "Latin" and _is_doubtful(look, shares):
        return look, _weighted(shares, detectors.langdetect(look)), "langdetect"
    return look, shares, "fasttext"


def _is_doubtful(look: str, shares: Shares) -> bool:
    """Whether slow langdetect is worth asking: two are close, and there is enough to go by."""
    second, first = sorted(share for lang, share in shares.items() if lang != _REST)[-2:]
    has_enough = len(look) >= _SHORT and look.count(" ") >= _FEW_SPACES
    return has_enough and first < min(_CLEAR, _RIVAL * second)


def _weighted(shares: Shares, heard: Shares) -> Shares:
    """The shares, weighted by what langdetect says, if only in part."""
    knows = heard | {_REST: 0.0}
    named = {lang: _UNNAMED for lang, share in heard.items() if share > 0}
    all_shares = named | shares
    weights = {
        lang: knows[lang] + _RULED_OUT if lang in knows else _NOT_KNOWN for lang in all_shares
    }
    return _normal({lang: weights[lang] * share for lang, share in all_shares.items()})


def _answer(look: str, shares: Shares, by: str) -> Answer:
    lang = _best(shares)
    is_in_latin = UNKNOWN in shares
    if is_in_latin and shares[lang] < _NO_NAME.get(look.count(" ") + 1, 0.0):
        return None, None, "nothing"
    score = shares[lang] * len(look) / (len(look) + _HALF)
    is_seen = not is_in_latin or evidence.is_seen(lang, look)
    return lang, score if is_seen else score * _UNSEEN, by
