"""Small tasks for lm-eval, in folders, and small models in lm-eval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tests.support import tiny

ITEMS = 8
QUESTIONS = [f"Which letter comes after {'ABCDEFGH'[i]}, and why is it {i}?" for i in range(ITEMS)]


def task(folder: Path, name: str = "letters", **changes: Any) -> Path:
    """A folder with a task of questions with two answers each; `changes` are keys of its file."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"question": text, "choices": ["yes", "no"], "gold": 0} for text in QUESTIONS]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        "fewshot_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}\nAnswer:",
        "doc_to_target": "{{gold}}",
        "doc_to_choice": "{{choices}}",
        "metric_list": [
            {"metric": key, "aggregation": "mean", "higher_is_better": True}
            for key in ("acc", "acc_norm")
        ],
        "metadata": {"version": 1.0},
        **changes,
    }
    kept = {key: value for key, value in values.items() if value is not None}
    (folder / f"{name}.yaml").write_text(json.dumps(kept))  # JSON is YAML
    return folder


def generating(folder: Path, name: str = "writing", **settings: Any) -> Path:
    """A folder with a task whose answers are written by the model."""
    return task(
        folder,
        name,
        output_type="generate_until",
        doc_to_choice=None,
        doc_to_target="yes",
        generation_kwargs={"until": ["\n\n"], "max_gen_toks": 6, "do_sample": False, **settings},
        metric_list=[{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    )


def network(tokenizer: PreTrainedTokenizerBase, end: str | None = "<|end|>", **config: Any) -> Any:
    """A random model for a tokenizer, whose texts end with `end`."""
    size = {"max_position_embeddings": 512, "vocab_size": len(tokenizer), **config}
    made = tiny.model("llama", 3, **size)
    made.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(end) if end else None
    return made


def tokenizer(folder: Path, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder."""
    return AutoTokenizer.from_pretrained(folder, **options)


def plain_files(folder: Path) -> Path:
    """Plain files of all four benchmarks, eight items each."""
    for name in ("arc", "hellaswag", "mmlu", "truthfulqa"):
        (folder / name).mkdir(parents=True)
    pairs, shots, endings, questions = [], [], [], []
    for i, text in enumerate(QUESTIONS):
        for rows, more in ((pairs, ""), (shots, " Again?")):
            for label, answer in ((1, "the next letter"), (0, f"number {i}")):
                rows.append({"question": text + more, "answer": answer, "label": label})
        endings.append(
            {
                "ind": i,
                "activity_label": "Reading",
                "ctx_a": "A child reads.",
                "ctx_b": "it",
                "endings": [f"turns page {i}.", "flies.", "is blue.", "[x] ends."],
                "label": 0,
            }
        )
        subject = ("anatomy", "virology")[i % 2]
        head = "The following are multiple choice questions (with answers) about  x.\n\n"
        asked = f"{head}{text}\nA. one\nB. two\nC. three\nD. four\nAnswer:"
        questions.append({"subject": subject, "input": asked, "output": "ABCD"[i % 4]})
    for path, rows in (
        ("arc/arc_challenge_pairs.jsonl", pairs),
        ("arc/arc_challenge_val_pairs.jsonl", shots),
        ("hellaswag/some.jsonl", endings),
        ("mmlu/val.jsonl", questions),
    ):
        (folder / path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["Type,Question,Best Answer,Correct Answers,Incorrect Answers"]
    lines += [f'A,"{text}",It is,It is; So it is,It is not; Never' for text in QUESTIONS]
    (folder / "truthfulqa" / "TruthfulQA.csv").write_text("\n".join(lines) + "\n")
    return folder
