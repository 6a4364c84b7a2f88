"""From a text to its language: what of it has a say, and the stages that are asked in turn.

Cheap and certain ones come first: scripts, common words of English, then fastText's model, and
langdetect for the few texts that leave it in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from chatdata.steps.language import detectors
from chatdata.steps.language.detectors import SCRIPTS, english_odds
from chatdata.steps.language.prose import prose, unquoted, words

ANSWERS = {"lang": pl.String, "score": pl.Float64, "decided_by": pl.String}
UNKNOWN = "und"  # ISO 639's code for a language that nobody could name

_HEAD = 500  # characters of a text that are looked at, if they hold words
_LOOK, _LONG_LOOK = 100, 500  # characters of words
_FEW = 40  # characters of words: look for more of them
_FRAME = 12  # characters of words around a quotation that have the say instead of it


def decide(texts: pl.Series) -> pl.DataFrame:
    """The language of each text, a row a text: ANSWERS. `language.detect` says what they mean."""
    rows = _spoken(texts)
    answers = pl.concat([rows, _vote(rows)], how="horizontal")
    return _by_instruction(answers).select(ANSWERS.keys())


# ----------------------------------------------------------------------------------- what has a say


def _spoken(texts: pl.Series) -> pl.DataFrame:
    """What has a say of each text: `said`, its prose, and `look`, the first words of that.

    Quotations have no say in the first words if others are left without them.
    """
    rows = texts.alias("text").to_frame().with_row_index("row")
    rows = rows.with_columns(said=prose(pl.col("text").str.head(_HEAD)))
    rows = rows.with_columns(look=_look(unquoted(pl.col("said")), _LOOK))
    is_short = pl.col("look").str.len_chars() < _FEW
    short = _look_further(rows.filter(is_short))
    return pl.concat([rows.filter(is_short.not_()), short]).sort("row").drop("text")


def _look(said: pl.Expr, size: int) -> pl.Expr:
    return words(said.str.head(2 * size)).str.head(size)


def _look_further(rows: pl.DataFrame) -> pl.DataFrame:
    """For texts that begin with few words, or with none but quotations."""
    text, said = pl.col("text"), pl.col("said")
    is_long = text.str.len_chars() > 2 * _LOOK
    short = rows.filter(is_long.not_()).with_columns(all=_look(said, _LOOK))
    long = rows.filter(is_long).with_columns(said=prose(text))
    long = long.with_columns(
        said=words(said).str.head(2 * _LONG_LOOK),
        look=words(unquoted(said)).str.head(_LOOK),
    )
    both = pl.concat([short, long.with_columns(all=said.str.head(_LOOK))])
    is_frame = pl.col("look").str.len_chars() >= _FRAME
    return both.select("row", "text", "said", look=pl.when(is_frame).then("look").otherwise("all"))


# ------------------------------------------------------------------------------------------- stages

Parted = tuple[pl.DataFrame, pl.DataFrame]  # rows with an answer, rows that wait for one


def _vote(rows: pl.DataFrame) -> pl.DataFrame:
    """The answer for each row by the first stage that has one. Needs `row`, `said` and `look`."""
    stages: tuple[Callable[[pl.DataFrame], Parted], ...]
    stages = (_nothing, _by_script, _by_words, _by_models)
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


# No words, or none but those that are the same in many languages.
_NOTHING = r"^(?i:(?:ok|okay|k|continue|hm+|mhm|lol|(?:ha)+|wow|oh|ah)(?: |$))*$"


def _nothing(rows: pl.DataFrame) -> Parted:
    is_nothing = pl.col("look").str.contains(_NOTHING)
    return _part(rows, is_nothing, pl.lit(None), pl.lit(None), "nothing")


# Letters and signs that are neither Latin nor punctuation, symbols, emoji.
_BEYOND_LATIN = (
    r"[^\x00-\x{24F}\x{300}-\x{36F}\x{1E00}-\x{1EFF}\x{2000}-\x{2BFF}\x{FE0F}\x{1F000}-\x{1FAFF}]"
)


def _by_script(rows: pl.DataFrame) -> Parted:
    """Settles texts in scripts of one language; adds `script` to the others.

    What is left of them to look at are words of that script alone.
    """
    is_plain = pl.col("said").str.contains(_BEYOND_LATIN).not_()
    plain = rows.filter(is_plain).with_columns(script=pl.lit("Latin"))
    other = rows.filter(is_plain.not_()).with_columns(long=_look(pl.col("said"), _LONG_LOOK))
    other = pl.concat([other, detectors.scripts(other["long"])], how="horizontal")
    single = {name: langs for name, langs in SCRIPTS.items() if " " not in langs}
    lang = pl.col("script").replace_strict(single, default=None, return_dtype=pl.String)
    settled, other = _part(other, lang.is_not_null(), lang, pl.col("share"), "script")
    other = other.with_columns(pl.col("script").fill_null("Latin"))
    latin = pl.col("long").str.replace_all(r"[^\p{Latin}\p{M}']+", " ").str.strip_chars()
    foreign = pl.col("long").str.replace_all("[A-Za-z]+ *", "")
    look = pl.when(pl.col("script") == "Latin").then(latin).otherwise(foreign)
    other = other.with_columns(look=look.str.head(_LOOK))
    return settled, pl.concat([plain, other.select(plain.columns)])


_CERTAIN = 300  # to 1 for English by the words alone


def _by_words(rows: pl.DataFrame) -> Parted:
    rows = rows.with_columns(odds=english_odds(rows["look"]))
    odds = pl.col("odds")
    is_english = (pl.col("script") == "Latin") & (odds > _CERTAIN)
    return _part(rows, is_english, pl.lit("en"), odds / (1 + odds), "words")


# ----------------------------------------------------------------------------- fastText, langdetect

Shares = dict[str, float]  # by language, in sum 1
Opinion = tuple[str, Shares, str]  # of which words, by whom

_REST = "rest"  # the share of the many languages of which none has enough
_UNNAMED = 0.01  # the share of a language that a detector does not name
_OTHERS = 0.03  # that of the languages that no detector knows
_CLEAR = 0.8  # a share from which on no further look is taken
_SHORT = 30  # characters of words, on which langdetect is worse than fastText
_HALF = 8  # characters of words of which half of a share is believed
_NO_NAME = {1: 0.6, 2: 0.4}  # the share from which on so many words are not just some name


def _by_models(rows: pl.DataFrame) -> Parted:
    """Settles all texts: by fastText and the odds of the words, with a second look if need be."""
    opinions: list[Opinion] = [
        (look, _shares(look, odds, script), "fasttext") for look, odds, script in _looks(rows)
    ]
    is_unsure = [shares[_best(shares)] < _CLEAR for _, shares, _ in opinions]
    again = rows.filter(pl.Series(is_unsure, dtype=pl.Boolean))
    is_latin = pl.col("script") == "Latin"
    longer = pl.when(is_latin).then(_look(pl.col("said"), _LONG_LOOK)).otherwise("look")
    again = again.with_columns(look=longer)
    again = again.with_columns(english_odds(again["look"]))
    second = iter(_looks(again))
    answers = [
        _answer(*(_second_opinion(*next(second)) if unsure else opinion))
        for opinion, unsure in zip(opinions, is_unsure, strict=True)
    ]
    table = pl.DataFrame(answers, schema=ANSWERS, orient="row")
    return pl.concat([rows.select("row"), table], how="horizontal"), rows.clear()


def _looks(rows: pl.DataFrame) -> Iterator[tuple[str, float, str]]:
    return rows.select("look", "odds", "script").iter_rows()


def _shares(look: str, odds: float, script: str) -> Shares:
    """fastText's opinion: English weighted by its words; in other scripts their languages."""
    found = detectors.fasttext(look)
    if script != "Latin":
        return _normal({lang: found.get(lang, _UNNAMED) for lang in SCRIPTS[script].split()})
    english = found.get("en", _UNNAMED) * odds
    rest = max(0.0, 1 - sum(found.values()))
    return _normal(found | {"en": english, UNKNOWN: _OTHERS, _REST: rest})


def _normal(weights: Shares) -> Shares:
    total = sum(weights.values())
    return {lang: weight / total for lang, weight in weights.items()}


def _best(shares: Shares) -> str:
    return max((lang for lang in shares if lang != _REST), key=lambda lang: shares[lang])


def _second_opinion(look: str, odds: float, script: str) -> Opinion:
    """fastText's of more words, and langdetect's on top of it where that leaves doubts."""
    shares = _shares(look, odds, script)
    if script == "Latin" and _is_doubtful(look, shares):
        return look, _weighted(shares, detectors.langdetect(look)), "langdetect"
    return look, shares, "fasttext"


def _is_doubtful(look: str, shares: Shares) -> bool:
    """Whether slow langdetect is worth asking: two are close, and there is enough to go by."""
    second, first = sorted(share for lang, share in shares.items() if lang != _REST)[-2:]
    has_enough = len(look) >= _SHORT and look.count(" ") >= 2
    return has_enough and first < min(_CLEAR, 2 * second)


def _weighted(shares: Shares, heard: Shares) -> Shares:
    """The shares, weighted by what langdetect says, if only in part."""
    knows = heard | {_REST: 0.0}
    named = {lang: _UNNAMED for lang, share in heard.items() if share > 0}
    weights = {lang: knows[lang] + 0.2 if lang in knows else 0.4 for lang in named | shares}
    return _normal({lang: weights[lang] * share for lang, share in (named | shares).items()})


def _answer(look: str, shares: Shares, by: str) -> tuple[str | None, float | None, str]:
    lang = _best(shares)
    is_in_latin = UNKNOWN in shares
    if is_in_latin and shares[lang] < _NO_NAME.get(look.count(" ") + 1, 0.0):
        return None, None, "nothing"
    return lang, shares[lang] * len(look) / (len(look) + _HALF), by


# -------------------------------------------------------------------------------------- instruction

# What asks in English for something to be done with a text, and what else asks for something or
# is about to give it. ("Please write in English", behind a question in French, is no question.)
_DO = (
    r"translat\w+|rewrite|explain|summari[sz]e|describe|correct|proofread|fix|edit|improve|convert"
    r"|paraphrase|rephrase|analy[sz]e|complete|what|how|why|who"
)
_GIVE = r"writ\w+|read|respond|reply|answer|say|tell me|give me|please|can you|could you|following"
_ASKS = rf"(?i)\b(?:{_DO}|{_GIVE}|here is|here are|here's|sure)\b"
_BEGINS_TO_ASK = rf"^(?i:(?:now|and|then|please|can you|could you|i want you to) )*(?i:{_DO})\b"
_LEAD = r"^\W*([^:：\n\"“„«]{3,150}?)\s*[:：\n\"“„«]"  # up to a colon, a quotation, the line's end
_LAST = r"\n\s*([^\n]{3,150}?)\s*$"
_QUESTION = r"^\W*([^:：?？\n]{4,}?)\s*(?:[:?]\s|[：？])"
_QUESTION_ENDS = 160  # characters
_SEVERAL_WORDS = r" .* |[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]{4}"
_BELIEVED = 10  # to 1 for English
_NOT_A_NAME = 0.6  # a score


def _by_instruction(answers: pl.DataFrame) -> pl.DataFrame:
    """Gives texts in several languages that of what they ask for, in the beginning or at last."""
    asked = pl.concat([_asked_in_english(answers), _asked_otherwise(answers)])
    asked = asked.unique("row", keep="first", maintain_order=True)
    if asked.is_empty():
        return answers
    known = answers.join(asked, on="row", how="left", maintain_order="left", suffix="_asked")
    is_asked = pl.col("lang_asked").is_not_null()
    by = pl.when(is_asked).then(pl.lit("instruction")).otherwise("decided_by")
    return known.with_columns(
        lang=pl.coalesce("lang_asked", "lang"),
        score=pl.coalesce("score_asked", "score"),
        decided_by=by,
    )


def _asked_in_english(answers: pl.DataFrame) -> pl.DataFrame:
    """Requests in English around texts in other languages: (row, lang, score)."""
    said = pl.col("said")
    foreign = answers.filter(pl.col("lang") != "en")
    first = foreign.select("row", said=said.str.extract(_LEAD)).filter(said.str.contains(_ASKS))
    last = foreign.select("row", said=said.str.extract(_LAST))
    whole = foreign.select("row", said=said.str.head(2 * _LOOK))
    asked = pl.concat([first, pl.concat([last, whole]).filter(said.str.contains(_BEGINS_TO_ASK))])
    asked = asked.with_columns(look=_look(said, _LOOK))
    odds = pl.col("odds")
    asked = asked.with_columns(odds=english_odds(asked["look"])).filter(odds > _BELIEVED)
    return asked.select("row", lang=pl.lit("en"), score=odds / (1 + odds))


def _asked_otherwise(answers: pl.DataFrame) -> pl.DataFrame:
    """Questions and requests in another language before a text in English: (row, lang, score)."""
    questions = answers.filter(pl.col("lang") == "en")
    first = pl.col("said").str.head(_QUESTION_ENDS).str.extract(_QUESTION)
    questions = questions.select("row", said=first).drop_nulls()
    questions = questions.with_columns(look=_look(pl.col("said"), _LOOK))
    has_words = pl.col("look").str.contains(_SEVERAL_WORDS)
    questions = questions.filter(has_words & (english_odds(questions["look"]) < 1))
    if questions.is_empty():
        return questions.select("row").with_columns(lang=pl.lit(""), score=pl.lit(0.0))
    voted = pl.concat([questions.select("row"), _vote(questions)], how="horizontal")
    is_other = pl.col("lang").is_in(["en", UNKNOWN]).not_() & (pl.col("score") > _NOT_A_NAME)
    return voted.filter(is_other).select("row", "lang", "score")
