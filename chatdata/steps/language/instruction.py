"""The language of a request, where a text holds several languages.

Somebody asks in one language for something to be done with code, a log or a text in another. The
request stands in the first line or in the last.
"""

from __future__ import annotations

import polars as pl

from chatdata.steps.language import evidence
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
_BEYOND_LATIN = r"[^\x00-\x{24F}\x{1E00}-\x{2BFF}]{2}"
_LAST_LINE = r"[^:：\s]\s*\n\s*([^\n]{4,})\s*\z"
_BEGINNING = (_FIRST_LINE, _SECOND_LINE)
# No line of a dialogue, which a colon begins.
_ENDS_AS_QUESTION = r"^[^:：]*(?:[?？؟;]|[すで]か|[까죠니]|나요) *$"
_LINE_ENDS = 200  # characters at the beginning of a text in which the first line is looked for
_TAIL = 300  # characters at the end of a text in which the last line is looked for

_SEVERAL_WORDS = (
    r" .* |[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Hangul}]{4}"
    r"|[^\x00-\x{24F}\x{1E00}-\x{2BFF}]{2} [^\x00-\x{24F}\x{1E00}-\x{2BFF}]{2}"
)
_IS_ENGLISH = r"(?i)\b(?:the|and|of|this|that|with|you|your|how|it's|should|would)\b"
_SMALL_LETTER = r"[\p{Ll}\p{Lo}]"  # capitals alone are a heading
_ASIDE = r"\([^()]*\)|[\"“„«][^\"“”„«»]*\z"  # in brackets; in quotation marks that stay open
_IS_SENTENCE = (  # more than a title
    r"[.?!:;。？！：؟।…] *$|(?:[^ ]+ ){5}|[^\x00-\x{2FFF}]{9}|^\p{Ll}"
    r"|(?:[\x{590}-\x{DFF}]{2,} ){3}|[\p{Thai}]{12}"
    r"|[什怎哪谁吗呢何]|무슨|무엇|뭐|왜|어떻|어디|누구|(?:[요야까죠니]|ません|です|ます|すか) *$"
)
# Beginnings of words that ask, in the languages that are asked in most.
_REQUEST = (
    r"(?i)\b(?:tradu[cizs]|expli[cq]|résum|resum|riassum|corri[gj]|escr[ie]b|escrev|écri|scriv|amélior"
    r"|mejor|melhor|miglior|analy[sz]|analiz|dime|dame|dígame|haz\b|fais\b|donne|fammi|dammi|spieg[ah]|diga"
    r"|faça|faz\b|répond|réécri|ajoute|montre|trouve|respond[ea]|conviért|reescr|añad|agreg|muestra"
    r"|encuentra|adicion|mostr[ae]|rispond|riscriv|converti|aggiung|trova"
    r"|übersetz|erklär|fass|korrigier|schreib|verbesser|antworte|mach\b|zeig|nenn|gib\b|formulier|ergänz"
    r"|vertaal|leg uit|leg dit|schrijf|herschrijf|verbeter|maak|geef|voeg|vat\b"
    r"|sammanfatta|förklara|översätt|skriv|rätta|gör\b|svara|lägg\b|oversæt|oversett|forklar|lav\b|svar\b"
    r"|przetłumacz|wyjaśnij|streść|napi[sš]|popraw|odpisz|odpowiedz|zrób|dodaj|znajdź|pokaż|przepisz"
    r"|přelož|vysvětl|shrň|oprav|udělej|přidej|odpověz|přepiš|najdi|scrie|adaug|rezum|răspund|corect"
    r"|fordíts|magyaráz|írj|írd|foglald|javíts|csinálj|adj\b|válaszol|tiivistä|selitä|kirjoita|käännä|korjaa"
    r"|çevir|açıkla|özetle|düzelt|yaz|yap\b|bul\b|ekle|göster|cevapla|yanıtla"
    r"|terjemah|jelas|ringkas|perbaik|tolong|buat\b|ubah|balas|tambah"
    r"|dịch|giải|tóm tắt|viết|sửa|hãy|giúp|thêm"
    r"|перев[её]д|объясн|исправ|напиш|сократ|перескаж|сделай|состав|найди|добавь|перепиши|ответь|покажи"
    r"|поясн|перекла|виправ|склади|зроби|додай|знайди|скороти|обясни|преведи|поправи|направи|добави"
    r"|μετάφρ|μετέφρ|εξήγ|γράψ|διόρθ|περίληψ|κάνε|βρες|πρόσθεσ|απάντ"
    r"|ترجم|اشرح|لخص|اكتب|صحح|أجب|أضف|حوّ?ل|ترجمه|توضیح|خلاصه|بنویس"
    r"|תרגם|הסבר|סכם|תקן|תתרגם|תסביר|תסכם|תכתוב|כתוב|अनुवाद|समझा|सारांश|लिख|बता)"
    r"|[译譯]|解[释釋]|[总總][结結]|[写寫]|修改|分析|[帮幫请請]|ください|下さい|して|訳|[书書]い"
    r"|해 ?줘|해 ?주|[써꿔려아어]줘|(?:요약|번역|설명)(?:해|하[라세시]|을|좀|$)"
    r"|แปล|อธิบาย|สรุป|เขียน|แก้|ช่วย"
)
_NAMES = r"^\W*(?:\p{Lu}[\p{L}']*[, ]*)+$"  # no request
_LINE_OF_CODE = (
    r"(?m:[;{}>,(\[]$|^[ \t]*(?:def|class|import|from|function|public|private|const|let|var|using"
    r"|if|for|while|return|package|#include|@\w+|//|#|/\*|\w+\(|[\w.]+ =|[\w-]+:|<\w+|\[\w+\])\b?"
    r"|^[ \t]*(?:at [\w.$]+\(|Traceback|Exception|ERROR|npm ERR|Error |fatal:|[EW]: )"
    r"|: (?:fatal )?error:)"
)
_IS_EXPLAINED = (
    r"(?i)^\W*[^\n]+\n\W*(?:(?:this|that|it|which|here|the (?:phrase|sentence|word|title|line))"
    r"\W+)?(?:means|translates|is|was)\b"
)
_NOT_A_NAME = 0.5  # the score up to which words before English may be a name in it
_WITH_EVIDENCE = 0.25  # likewise of words among which the language's common words are
_SURE = 0.75  # the share of a script from which on other scripts have no say


def _asked_otherwise(answers: pl.DataFrame) -> pl.DataFrame:
    """Requests in another language beside code or a text in English: (row, lang, score)."""
    is_open = pl.col("lang").is_in(["en", UNKNOWN])
    is_open |= (pl.col("decided_by") == "script") & (pl.col("score") < _SURE)
    is_open |= (pl.col("score") < _NOT_A_NAME) & _has_code()
    texts = answers.filter(is_open)
    lines = _foreign(_requests(texts))
    if lines.is_empty():
        return lines.select("row").with_columns(lang=pl.lit(""), score=pl.lit(0.0))
    voted = glance(lines.with_columns(row=pl.int_range(pl.len())))
    spoken = map(evidence.is_spoken, voted["lang"].fill_null(""), lines["look"])
    evident = pl.Series("evident", list(spoken), dtype=pl.Boolean)
    asked = pl.concat([lines.select("row", "look"), voted, evident.to_frame()], how="horizontal")
    before = texts.select("row", before="lang", known="score")
    asked = asked.join(before, on="row", maintain_order="left").filter(_is_better())
    return _without_english(asked, texts).select("row", "lang", "score")


def _is_better() -> pl.Expr:
    """Whether the answer for a line is heard rather than the one for the text."""
    least = pl.when("evident").then(_WITH_EVIDENCE).otherwise(_NOT_A_NAME)
    least = pl.when(pl.col("look").str.contains(_BEYOND_LATIN)).then(0).otherwise(least)
    is_other = pl.col("lang").is_in(["en", UNKNOWN]).not_() & (pl.col("score") > least)
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
    question = pl.when(question.str.contains(_NAMES).not_()).then(question)
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
    is_question = pl.col("prose").str.contains(_ENDS_AS_QUESTION)
    return lines.filter(_asks() | (is_question & _has_code())).select("row", "prose")


def _is_plain_english() -> pl.Expr:
    return pl.col("prose").str.contains(_IS_ENGLISH)


def _foreign(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines that may well be in another language, with `look`: several words, not English."""
    lines = lines.filter(_is_plain_english().not_())
    bare = unquoted(pl.col("prose")).str.replace_all(_ASIDE, " ")
    lines = lines.with_columns(look=first_words(bare))
    look = pl.col("look")
    has_words = look.str.contains(_SEVERAL_WORDS) | (_asks() & look.str.contains(" ", literal=True))
    lines = lines.filter(has_words & look.str.contains(_SMALL_LETTER))
    lines = lines.with_columns(odds=english_odds(lines["look"]))
    return lines.filter(pl.col("odds") < _BELIEVED)
