"""The language of a request, where a text holds several languages.

Somebody asks in one language for something to be done with code, a log or a text in another. The
request stands in the first line or in the last.
"""

from __future__ import annotations

import polars as pl

from chatdata.steps.language.detectors import english_odds
from chatdata.steps.language.prose import unquoted
from chatdata.steps.language.votes import LOOK, PER_WORD, UNKNOWN, first_words, glance

# ------------------------------------------------------------------------------- asked in English

# Words that ask in English for something to be done with a text, and words that ask for something
# else or are about to give it. ("Please write in English" after a question in French is no
# question.)
_DO = (
    r"translat\w+|rewrite|reword|explain|summari[sz]e|describe|correct|proofread|fix|edit|improve|convert"
    r"|paraphrase|rephrase|analy[sz]e|complete|what|how|why|who"
)
_GIVE = r"writ\w+|read|respond|reply|answer|say|tell me|give me|please|can you|could you|following"
_ASKS = rf"(?i)\b(?:{_DO}|{_GIVE}|here is|here are|here's|sure)\b"
_BEGINS_TO_ASK = rf"^(?i:(?:now|and|then|please|can you|could you|i want you to) )*(?i:{_DO})\b"
_LEAD = r"^\W*([^:：\n\"“„«]{3,150}?)\s*[:：\n\"“„«]"  # up to a colon, a quotation, the line's end
_LAST = r"\n\s*([^\n]{3,150}?)\s*$"
_BELIEVED = 10  # to 1 for English: enough for a request, for which the patterns speak too


def by_instruction(answers: pl.DataFrame) -> pl.DataFrame:
    """Gives a text in several languages the language of its request, at the beginning or end."""
    foreign = answers.filter(pl.col("lang") != "en")
    asked = pl.concat([_asked_in_english(foreign), _asked_otherwise(answers)])
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


def _asked_in_english(rows: pl.DataFrame) -> pl.DataFrame:
    """Requests in English around texts in other languages: (row, lang, score)."""
    prose_ = pl.col("prose")
    first = rows.select("row", prose=prose_.str.extract(_LEAD))
    first = first.filter(prose_.str.contains(_ASKS))
    last = rows.select("row", prose=prose_.str.extract(_LAST))
    whole = rows.select("row", prose=prose_.str.head(PER_WORD * LOOK))
    begins = pl.concat([last, whole]).filter(prose_.str.contains(_BEGINS_TO_ASK))
    asked = pl.concat([first, begins]).with_columns(look=first_words(prose_))
    odds = pl.col("odds")
    asked = asked.with_columns(odds=english_odds(asked["look"])).filter(odds > _BELIEVED)
    return asked.select("row", lang=pl.lit("en"), score=odds / (1 + odds))


# ------------------------------------------------------------------------ asked in another language

_QUESTION = r"^\W*([^:：?？\n]{4,}?)\s*(?:[:?]\s|[：？])"
_QUESTION_ENDS = 160  # characters of prose: a longer question is not before a text, but the text
_FIRST_LINE = r"^\W*([^\n]{4,})"
_SECOND_LINE = r"^\W*[^\n]{1,20}\n\W*([^\n]{4,})"  # below a line that may be a greeting
_LAST_LINE = r"[^:：\s]\s*\n\s*([^\n]{4,})\s*\z"
_BEGINNING = (_FIRST_LINE, _SECOND_LINE)
_ENDS_AS_QUESTION = r"^[^:：]*[?？؟;] *$"  # no line of a dialogue, which a colon begins
_LINE_ENDS = 200  # characters at the beginning of a text in which the first line is looked for
_TAIL = 300  # characters at the end of a text in which the last line is looked for

_SEVERAL_WORDS = (
    r" .* |[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Hangul}]{4}"
    r"|[^\x00-\x{24F}\x{1E00}-\x{2BFF}]{2} [^\x00-\x{24F}\x{1E00}-\x{2BFF}]{2}"
)
_IS_ENGLISH = r"(?i)\b(?:the|and|of|this|that|with|you|your|how|it's|should|would)\b"
_SMALL_LETTER = r"[\p{Ll}\p{Lo}]"  # capitals alone are a heading
_ASIDE = r"\([^()]*\)|[\"“„«][^\"“”„«»]*\z"  # in brackets; in quotation marks that stay open
_IS_SENTENCE = r"[.?!:;。？！：؟।…] *$|(?:[^ ]+ ){5}|[^\x00-\x{2FFF}]{12}"  # more than a title
# Beginnings of words that ask, in the languages that are asked in most.
_REQUEST = (
    r"(?i)\b(?:tradu[cizs]|expli[cq]|résum|resum|riassum|corri[gj]|escr[ie]b|escrev|écri|scriv|amélior"
    r"|mejor|melhor|miglior|analy[sz]|analiz|dime|dame|dígame|haz|fais|donne|fammi|dammi|spieg|diga"
    r"|faça|übersetz|erklär|fass|korrigier|schreib|verbesser|vertaal|leg uit|schrijf|verbeter"
    r"|sammanfatta|förklara|översätt|skriv|rätta|oversæt|oversett|forklar|przetłumacz|wyjaśnij"
    r"|streść|napi[sš]|popraw|přelož|vysvětl|shrň|oprav|fordíts|magyaráz|írj|foglald|javíts"
    r"|çevir|açıkla|özetle|düzelt|yaz|terjemah|jelas|ringkas|perbaik|tolong|dịch|giải|tóm tắt"
    r"|viết|sửa|перев[её]д|объясн|исправ|напиш|сократ|перескаж|поясн|перекла|виправ|μετάφρ|μετέφρ"
    r"|εξήγ|γράψ|διόρθ|περίληψ|ترجم|اشرح|لخص|اكتب|صحح|ترجمه|توضیح|خلاصه|תרגם|הסבר|סכם|תקן|अनुवाद"
    r"|समझा|सारांश)|[译譯]|解[释釋]|[总總][结結]|[写寫]|修改|分析|ください|下さい|して|訳"
    r"|해 ?줘|해 ?주|(?:요약|번역|설명)(?:해|하[라세시]|을|좀|$)|แปล|อธิบาย|สรุป|เขียน|แก้"
)
_LINE_OF_CODE = (
    r"(?m:[;{}>,(\[]$|^[ \t]*(?:def|class|import|from|function|public|private|const|let|var|using"
    r"|if|for|while|return|package|#include|@\w+|//|#|/\*|\w+\(|[\w.]+ =|[\w-]+:|<\w+|\[\w+\])\b?"
    r"|^[ \t]*(?:at [\w.$]+\(|Traceback|Exception))"
)
_IS_EXPLAINED = (
    r"(?i)^\W*[^\n]+\n\W*(?:(?:this|that|it|which|here|the (?:phrase|sentence|word|title|line))"
    r"\W+)?(?:means|translates|is|was)\b"
)
_NOT_A_NAME = 0.5  # the score up to which words before English may be a name in it
_SURE = 0.75  # the share of a script from which on other scripts have no say


def _asked_otherwise(answers: pl.DataFrame) -> pl.DataFrame:
    """Requests in another language beside code or a text in English: (row, lang, score)."""
    is_open = pl.col("lang").is_in(["en", UNKNOWN])
    is_open |= (pl.col("decided_by") == "script") & (pl.col("score") < _SURE)
    texts = answers.filter(is_open)
    lines = _foreign(_requests(texts))
    if lines.is_empty():
        return lines.select("row").with_columns(lang=pl.lit(""), score=pl.lit(0.0))
    voted = glance(lines.with_columns(row=pl.int_range(pl.len())))
    asked = pl.concat([lines.select("row"), voted], how="horizontal")
    before = texts.select("row", before="lang", known="score")
    asked = asked.join(before, on="row", maintain_order="left").filter(_is_better())
    return _without_english(asked, texts).select("row", "lang", "score")


def _is_better() -> pl.Expr:
    """Whether the answer for a line is heard rather than the one for the text."""
    is_other = pl.col("lang").is_in(["en", UNKNOWN]).not_() & (pl.col("score") > _NOT_A_NAME)
    is_sure = pl.col("before").is_in(["en", UNKNOWN]) | (pl.col("score") > pl.col("known"))
    return is_other & is_sure


def _without_english(asked: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """What is asked, but for texts that ask in English, or say in English what the line means."""
    texts = texts.join(asked, on="row", how="semi")
    explained = texts.filter(pl.col("begin").str.contains(_IS_EXPLAINED))
    english = pl.concat([explained.select("row"), _asked_in_english(texts).select("row")])
    return asked.join(english, on="row", how="anti", maintain_order="left")


def _requests(rows: pl.DataFrame) -> pl.DataFrame:
    """What may be a request of each text: (row, prose), several for a text, or none."""
    begin, tail = pl.col("begin"), pl.col("text").str.tail(_TAIL)
    question = unquoted(begin.str.head(_QUESTION_ENDS)).str.extract(_QUESTION)
    first, second = (begin.str.head(_LINE_ENDS).str.extract(line) for line in _BEGINNING)
    lines = [
        rows.select("row", prose=question),
        _above(rows.select("row", "text", prose=first)),
        _above(rows.select("row", "text", prose=second)),
        _below(rows.select("row", "text", prose=tail.str.extract(_LAST_LINE))),
    ]
    return pl.concat(lines).drop_nulls()


def _asks() -> pl.Expr:
    return pl.col("prose").str.contains(_REQUEST)


def _has_code() -> pl.Expr:
    return pl.col("text").str.head(_TAIL).str.contains(_LINE_OF_CODE)


def _above(lines: pl.DataFrame) -> pl.DataFrame:
    """First lines that are more than titles: sentences, requests, or what is above code."""
    lines = lines.drop_nulls("prose").filter(_is_plain_english().not_())
    is_more = pl.col("prose").str.contains(_IS_SENTENCE) | _asks() | _has_code()
    return lines.filter(is_more).select("row", "prose")


def _below(lines: pl.DataFrame) -> pl.DataFrame:
    """Last lines that are requests, or questions below code."""
    lines = lines.drop_nulls("prose").filter(_is_plain_english().not_())
    is_question = pl.col("prose").str.contains(_ENDS_AS_QUESTION) & _has_code()
    return lines.filter(_asks() | is_question).select("row", "prose")


def _is_plain_english() -> pl.Expr:
    return pl.col("prose").str.contains(_IS_ENGLISH)


def _foreign(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines that may well be in another language, with `look`: several words, not English."""
    lines = lines.filter(_is_plain_english().not_())
    bare = unquoted(pl.col("prose")).str.replace_all(_ASIDE, " ")
    lines = lines.with_columns(look=first_words(bare))
    look = pl.col("look")
    lines = lines.filter(look.str.contains(_SEVERAL_WORDS) & look.str.contains(_SMALL_LETTER))
    return lines.filter(english_odds(lines["look"]) < 1)
