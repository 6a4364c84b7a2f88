"""Published rows as other libraries take them, and as the input of another build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.builds import rows_of

BOTH = "train+test"


def loaded(folder: Path, config: str = "messages", split: str = BOTH) -> Any:
    """The rows of both splits, or of a split, as `datasets` loads them."""
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset(str(folder), config, split=split)


def as_input(folder: Path, way: str, output: Path) -> Path:
    """The messages of a folder for a build: its `shards`, or the file that `datasets` writes."""
    if way == "shards":
        return folder / "messages"
    path = output / "rows.jsonl"
    loaded(folder).to_json(path)
    return path


def trainer_of_trl(folder: Path, rows: Any, output: Path) -> Any:
    """TRL's trainer of rows, with the tokenizer of their folder and a tiny model."""
    trl = pytest.importorskip("trl")
    transformers = pytest.importorskip("transformers")
    from tests.support import tiny

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
    options = trl.SFTConfig(str(output), use_cpu=True, bf16=False, report_to=[], max_length=None)
    model = tiny.model("llama", 0, vocab_size=len(tokenizer))
    return trl.SFTTrainer(model, options, train_dataset=rows, processing_class=tokenizer)


def trainer_of_pairs(kind: str, folder: Path, pairs: Any, output: Path) -> Any:
    """TRL's trainer of this kind (`DPO`, `Reward`) of pairs, with the tokenizer of their folder."""
    trl = pytest.importorskip("trl")
    transformers = pytest.importorskip("transformers")
    from tests.support import tiny

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
    options = getattr(trl, f"{kind}Config")(
        str(output), use_cpu=True, bf16=False, report_to=[], max_length=None, max_steps=2
    )
    made = output / "model"  # DPO loads a second copy, to compare with
    tiny.model("llama", 0, vocab_size=len(tokenizer)).save_pretrained(made)
    heads = {
        "DPO": transformers.AutoModelForCausalLM,
        "Reward": transformers.AutoModelForSequenceClassification,
    }
    ids = {"num_labels": 1} if kind == "Reward" else {}
    model = heads[kind].from_pretrained(made, **ids)
    trainer = getattr(trl, f"{kind}Trainer")
    return trainer(model, args=options, train_dataset=pairs, processing_class=tokenizer)


def ids_by_trl(trainer: Any) -> list[list[int]]:
    """The ids of the rows that TRL's trainer has prepared."""
    return [list(row["input_ids"]) for row in trainer.train_dataset]


def ids_of(folder: Path, rows: Any) -> list[list[int]]:
    """The ids of the tokens of a folder, in the order of these rows."""
    tokens = {row["id"]: row["input_ids"] for row in rows_of(folder, "tokens")}
    return [tokens[id] for id in rows["id"]]
