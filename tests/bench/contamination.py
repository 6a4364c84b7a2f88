"""Evaluation sets in a ShareGPT file: what is found of each, and what of planted items.

python tests/bench/contamination.py --input "$CHATDATA_SHAREGPT" --eval DIR
"""

from __future__ import annotations

import random
from pathlib import Path

import _dump
import click
import polars as pl

from chatdata.sources import File
from chatdata.steps import contamination, evaluation_sets
from chatdata.steps.contamination import Index, Rule

# A file, and its fields: what is asked, and what is answered.
SETS = {
    "mt_bench/question.jsonl": ("turns", "reference"),
    "vicuna_bench/question.jsonl": ("turns", "reference"),
    "humaneval/HumanEval.jsonl.gz": ("prompt", "canonical_solution"),
    "truthfulqa/TruthfulQA.csv": ("Question", "Best Answer"),
    "arc/arc_easy.jsonl": ("query", "choices"),
    "arc/arc_challenge_pairs.jsonl": ("question", "answer"),
    "hellaswag/hellaswag_1000.jsonl": ("ctx", "endings"),
    "mmlu/zero_shot_mmlu_val.jsonl": ("input", "output"),
}
RULE = Rule(ngram=13, min_words=8, common=3)


def planted(searched: Index, file: File, field: str) -> str:
    """How many texts of a field that have 8 words are found where they are quoted."""
    try:
        texts = evaluation_sets.texts(file, [field])["text"].unique()
    except Exception:  # the set has no such field
        return "–"
    texts = texts.filter(texts.str.count_matches(r"\w+") >= 8)
    if texts.is_empty():
        return "–"
    quoted = "Someone asked:\n> *" + texts.str.to_uppercase().str.replace_all("\n", "\n> ") + "*"
    matches = contamination.matches(quoted, searched)
    return f"{len(matches)} of {len(texts)}"


@click.command()
@click.option("--input", "path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--eval", "folder", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--show", default=40, show_default=True, help="Matches to print, drawn by a seed.")
def main(path: Path, folder: Path, show: int) -> None:
    """Prints the tables of RESULTS.md, and some matches to judge by eye."""
    messages = _dump.messages(path)
    files = {name: File(folder / name, name) for name in SETS}
    texts = {name: evaluation_sets.texts(file, []) for name, file in files.items()}
    seconds, built = _dump.timed(lambda: contamination.index(pl.concat(texts.values()), RULE))
    print(f"index: {built.runs.height} runs of {built.items.height} items in {seconds:.1f} s")
    seconds, (labelled, overlaps) = _dump.timed(lambda: contamination.label(messages, built))
    print(f"{messages.height} messages in {seconds:.1f} s, {messages.height / seconds:,.0f}/s")
    comparable = contamination.comparable(built)
    print("| set | items | comparable | planted questions found | planted answers found ", end="")
    print("| items in the data | conversations |\n|---|--:|--:|--:|--:|--:|--:|")
    for name, (question, answer) in SETS.items():
        hits = overlaps.items.filter(set=name)
        items = texts[name]["item"].n_unique()
        both = [planted(built, files[name], field) for field in (question, answer)]
        numbers = [items, comparable[name], *both]
        numbers += [hits["item"].n_unique(), hits["conversation"].n_unique()]
        print(f"| {name} | {' | '.join(map(str, numbers))} |")
    overlapping = labelled["overlap"].drop_nulls().sort().to_list()
    for overlap in random.Random(0).sample(overlapping, min(show, len(overlapping))):
        print(f"  {overlap}")


if __name__ == "__main__":
    main()
