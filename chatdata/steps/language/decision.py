"""From a text to its language: what of the text has a say, and the stages that are asked in turn.

Cheap and certain stages come first: scripts, common words of English, then fastText's model, and
langdetect for the few texts that leave the model in doubt.

The numbers were set by hand, on the labelled texts that `tests/bench/language.py` measures; each
says what it weighs. A change of any of them changes the bytes of builds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from chatdata.steps.language import detectors
from chatdata.steps.language.detectors import SCRIPTS, english_odds
from chatdata.steps.language.prose import prose, unquoted, words

ANSWERS = {"lang": pl.String, "score": pl.Float64, "decided_by": pl.String}
UNKNOWN = "und"  # ISO 639's code for a language that nobody could name

# How much of a text is looked at, in characters.
_HEAD = 500  # of the text; a language shows early, and patterns for code cost time
_LOOK = 100  # of words, at first
_LONG_LOOK = 500  # of words, for a second opinion where 100 leave doubts
_FEW = 40  # of words, below which more words are looked for further on
_FRAME = 12  # of words around a quotation, from which on the quotation has no say
_PER_WORD = 2  # of prose for each of words: what is left of prose without numbers and punctuation


def decide(texts: pl.Series) -> pl.DataFrame:
    """The language of each text, a row a text: ANSWERS. `language.detect` says what they mean."""
    rows = _spoken(texts)
    answers = pl.concat([rows, _vote(rows)], how="horizontal")
    return _by_instruction(answers).select(ANSWERS.keys())


# ----------------------------------------------------------------------------------- what has a say


def _spoken(texts: pl.Series) -> pl.DataFrame:
    """What has a say of each text: `prose`, and `look`, the first words of the prose.

    Quotations have no say in the first words where other words are left.
    """
    rows = texts.alias("text").to_frame().with_row_index("row")
    rows = rows.with_columns(prose=prose(pl.col("text").str.head(_HEAD)))
    rows = rows.with_columns(look=_look(unquoted(pl.col("prose")), _LOOK))
    is_short = pl.col("look").str.len_chars() < _FEW
    short = _look_further(rows.filter(is_short))
    return pl.concat([rows.filter(is_short.not_()), short]).sort("row").drop("text")


def _look(prose_: pl.Expr, size: int) -> pl.Expr:
    return words(prose_.str.head(_PER_WORD * size)).str.head(size)


def _look_further(rows: pl.DataFrame) -> pl.DataFrame:
    """For texts that begin with few words, or with none but quotations."""
    text, prose_ = pl.col("text"), pl.col("prose")
    is_long = text.str.len_chars() > _PER_WORD * _LOOK
    short = rows.filter(is_long.not_()).with_columns(quoted=_look(prose_, _LOOK))
    long = rows.filter(is_long).with_columns(prose=prose(text))
    long = long.with_columns(
        prose=words(prose_).str.head(_PER_WORD * _LONG_LOOK),
        look=words(unquoted(prose_)).str.head(_LOOK),
    )
    both = pl.concat([short, long.with_columns(quoted=prose_.str.head(_LOOK))])
    is_frame = pl.col("look").str.len_chars() >= _FRAME
    look = pl.when(is_frame).then("look").otherwise("quoted")
    return both.select("row", "text", "prose", look=look)


# ------------------------------------------------------------------------------------------- stages

Parted = tuple[pl.DataFrame, pl.DataFrame]  # rows with an answer, rows that wait for an answer


def _vote(rows: pl.DataFrame) -> pl.DataFrame:
    """The answer for each row by the first stage that has an answer.

    `rows` has the columns `row`, `prose` and `look`.
    """
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
    mixed = rows.filter(is_latin.not_()).with_columns(long=_look(pl.col("prose"), _LONG_LOOK))
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
    return rows.with_columns(look=look.str.head(_LOOK))


_CERTAIN = 300  # to 1 for English: odds from which on the words settle it without a model


def _by_words(rows: pl.DataFrame) -> Parted:
    rows = rows.with_columns(odds=english_odds(rows["look"]))
    odds = pl.col("odds")
    is_english = (pl.col("script") == "Latin") & (odds > _CERTAIN)
    return _part(rows, is_english, pl.lit("en"), odds / (1 + odds), "words")


# ----------------------------------------------------------------------------- fastText, langdetect

Shares = dict[str, float]  # by language, in sum 1
Opinion = tuple[str, Shares, str]  # the words looked at, their shares, the detector

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
    longer = pl.when(is_latin).then(_look(pl.col("prose"), _LONG_LOOK)).otherwise("look")
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


def _answer(look: str, shares: Shares, by: str) -> tuple[str | None, float | None, str]:
    lang = _best(shares)
    is_in_latin = UNKNOWN in shares
    if is_in_latin and shares[lang] < _NO_NAME.get(look.count(" ") + 1, 0.0):
        return None, None, "nothing"
    return lang, shares[lang] * len(look) / (len(look) + _HALF), by


# -------------------------------------------------------------------------------------- instruction

# Words that ask in English for something to be done with a text, and words that ask for something
# else or are about to give it. ("Please write in English" after a question in French is no
# question.)
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
_QUESTION_ENDS = 160  # characters of prose: a longer question is not before a text, but the text
_SEVERAL_WORDS = r" .* |[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]{4}"
_BELIEVED = 10  # to 1 for English: enough for a request, for which the patterns speak too
_NOT_A_NAME = 0.6  # the score up to which words before English may be a name in it


def _by_instruction(answers: pl.DataFrame) -> pl.DataFrame:
    """Gives a text in several languages the language of its request, at the beginning or end."""
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
    prose_ = pl.col("prose")
    foreign = answers.filter(pl.col("lang") != "en")
    first = foreign.select("row", prose=prose_.str.extract(_LEAD))
    first = first.filter(prose_.str.contains(_ASKS))
    last = foreign.select("row", prose=prose_.str.extract(_LAST))
    whole = foreign.select("row", prose=prose_.str.head(_PER_WORD * _LOOK))
    begins = pl.concat([last, whole]).filter(prose_.str.contains(_BEGINS_TO_ASK))
    asked = pl.concat([first, begins]).with_columns(look=_look(prose_, _LOOK))
    odds = pl.col("odds")
    asked = asked.with_columns(odds=english_odds(asked["look"])).filter(odds > _BELIEVED)
    return asked.select("row", lang=pl.lit("en"), score=odds / (1 + odds))


def _asked_otherwise(answers: pl.DataFrame) -> pl.DataFrame:
    """Questions and requests in another language before a text in English: (row, lang, score)."""
    questions = answers.filter(pl.col("lang") == "en")
    first = pl.col("prose").str.head(_QUESTION_ENDS).str.extract(_QUESTION)
    questions = questions.select("row", prose=first).drop_nulls()
    questions = questions.with_columns(look=_look(pl.col("prose"), _LOOK))
    has_words = pl.col("look").str.contains(_SEVERAL_WORDS)
    questions = questions.filter(has_words & (english_odds(questions["look"]) < 1))
    if questions.is_empty():
        return questions.select("row").with_columns(lang=pl.lit(""), score=pl.lit(0.0))
    voted = pl.concat([questions.select("row"), _vote(questions)], how="horizontal")
    is_other = pl.col("lang").is_in(["en", UNKNOWN]).not_() & (pl.col("score") > _NOT_A_NAME)
    return voted.filter(is_other).select("row", "lang", "score")
