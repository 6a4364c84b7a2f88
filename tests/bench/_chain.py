"""The chain that a user would run instead of a build, step by step, in one process.

python tests/bench/_chain.py SAMPLE.json TOKENIZER: FastChat's rules, langdetect a turn, MinHash by
datasketch, TRL's preparation. `ratios.py` runs it, and reads what it prints.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fastchat_rules
import render

Conversation = list[tuple[str, str]]  # role, text
_ROLES = {"human": "user", "gpt": "assistant"}


def seconds() -> float:
    """Seconds of CPU of this process and of those that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def read(path: Path) -> list[Conversation]:
    """The conversations of a ShareGPT file."""
    records = json.loads(path.read_text(encoding="utf-8"))
    return [
        [
            (_ROLES.get(turn["from"], turn["from"]), turn["value"])
            for turn in record["conversations"]
        ]
        for record in records
    ]


def cleaned(conversations: list[Conversation]) -> list[Conversation]:
    """What FastChat's rules leave."""
    kept = []
    for turns in conversations:
        left = fastchat_rules.conversation([(str(n), *turn) for n, turn in enumerate(turns)])
        if not isinstance(left, str):
            kept.append([(("user", "assistant")[n % 2], text) for n, (_, text) in enumerate(left)])
    return kept


def english(conversations: list[Conversation]) -> list[Conversation]:
    """The conversations whose turns are all English, as langdetect says."""
    import langdetect

    def is_english(text: str) -> bool:
        try:
            return str(langdetect.detect(text)) == "en"
        except langdetect.LangDetectException:
            return True

    langdetect.DetectorFactory.seed = 0
    labels = [[is_english(text) for _, text in turns] for turns in conversations]
    return [turns for turns, are in zip(conversations, labels, strict=True) if all(are)]


def distinct(conversations: list[Conversation]) -> list[Conversation]:
    """The conversations without near duplicates, by runs of five words."""
    from datasketch import MinHash, MinHashLSH

    index, kept = MinHashLSH(threshold=0.8, num_perm=128), []
    for number, turns in enumerate(conversations):
        words = " ".join(text for _, text in turns).lower().split()
        runs = {" ".join(words[n : n + 5]).encode() for n in range(max(1, len(words) - 4))}
        sketch = MinHash(num_perm=128)
        sketch.update_batch(list(runs))
        if not index.query(sketch):
            index.insert(str(number), sketch)
            kept.append(turns)
    return kept


def prepared(conversations: list[Conversation], tokenizer: Path, work: Path) -> None:
    """TRL's labelled rows of conversations."""
    messages = work / "messages.jsonl"
    with messages.open("w", encoding="utf-8") as file:
        for turns in conversations:
            given: Any = [{"role": role, "content": text} for role, text in turns]
            file.write(json.dumps({"messages": given}) + "\n")
    render.trl(messages, tokenizer, work / "out")


def main(path: Path, source: Path) -> None:
    """Runs the chain, and prints what each step took as JSON: [wall, CPU] seconds."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Path(folder) / "tokenizer"
        render.write_tokenizer(source, tokenizer)
        taken, rows = dict[str, tuple[float, float]](), read(path)
        for name, step in (("FastChat", cleaned), ("langdetect", english), ("MinHash", distinct)):
            begin = time.perf_counter(), seconds()
            rows = step(rows)
            taken[name] = time.perf_counter() - begin[0], seconds() - begin[1]
        begin = time.perf_counter(), seconds()
        prepared(rows, tokenizer, Path(folder))
        taken["TRL"] = time.perf_counter() - begin[0], seconds() - begin[1]
    print(json.dumps(taken))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
