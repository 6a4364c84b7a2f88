"""What is checked before a GPU minute is spent, and the first batch as it will be trained.

Every check is a line: what was found, or what is wrong and how to mend it. All checks are made
before a run is refused, so that a recipe is mended once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import SeedableRandomSampler
from rich.console import Console
from rich.text import Text

from chatdata.core.constants import IGNORE_INDEX
from chatdata.core.errors import ChatdataError, ConfigError
from chatdata.core.text import printable
from chatdata.render.token_spans import equal_spans
from trainer.data import dataset
from trainer.model import adapters, load, memory
from trainer.run import log, schedule, strategy, upload
from trainer.run.run import Run, collator

SHOWN_TOKENS = 700  # of a row of the first batch


@dataclass(frozen=True, slots=True)
class Findings:
    """What the checks found: a line each, and what is wrong."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, check: Callable[[], str]) -> None:
        """Makes a check and keeps what it says."""
        try:
            self.lines.append((name, check()))
        except ChatdataError as error:
            self.lines.append((name, f"✗ {error}"))
            self.problems.append(str(error))


def check(run: Run) -> Findings:
    """Everything that is checked of a run; nothing is loaded and nothing written."""
    found = Findings()
    checks: dict[str, Callable[[Run], str]] = {
        "strategy": _strategy,
        "dataset": _dataset,
        "tokens": _tokens,
        "template": _template,
        "model": _model,
        "layout": _layout,
        "schedule": _schedule,
        "memory": _memory,
        "output": _output,
        "hub": _hub,
    }
    for name, own in checks.items():
        found.add(name, partial(own, run))
    return found


def refuse(found: Findings) -> None:
    """Raises ConfigError where something is wrong, naming all of it."""
    if found.problems:
        more = "".join(f"\n  {problem}" for problem in found.problems)
        raise ConfigError(more.strip() if len(found.problems) == 1 else f"before the start:{more}")


# ------------------------------------------------------------------------------------ the checks


def _strategy(run: Run) -> str:
    name = strategy.check(run.config, run.here)
    path = strategy.deepspeed_file(run.config, run.here.ranks)
    ranks = f"{run.here.ranks} ranks" if run.here.ranks > 1 else "1 rank"
    return f"{name}, {ranks}" + (f", by '{path}'" if path else "")


def _dataset(run: Run) -> str:
    return f"{run.source.origin}; {dataset.check_files(run.source)}"


def _tokens(run: Run) -> str:
    train, test = run.source.facts.splits.train, run.source.facts.splits.test
    return (
        f"{train.tokens:,} to train on, {train.trained_tokens:,} of them trained; "
        f"{test.trained_tokens:,} trained tokens to test on"
    )


def _template(run: Run) -> str:
    """The template's tokens are where the rows have them, and end turns."""
    render = run.source.facts.rendering
    if run.tokenizer.chat_template != render.template.jinja:
        raise ConfigError("the tokenizer's chat template is not that of the dataset.")
    if run.tokenizer.eos_token_id not in run.stop_ids:
        raise ConfigError("the tokenizer's end token is not the one that ends turns in the rows.")
    if not render.certificate.passed:
        raise ConfigError("the dataset's certificate was not passed; build it again.")
    return f"{render.template.name}; turns end with '{render.template.stop}'"


@cache
def _sizes(run: Run) -> memory.Sizes:
    whole, own = memory.sizes(run.outline), run.config.adapter
    if own is None:
        return whole
    plain = own.model_copy(update={"kind": "lora"})  # 4 bits need a GPU, sizes do not
    fresh = load.outline(run.outline.config, len(run.tokenizer))
    adapted = adapters.add(fresh, plain, run.config.model, run.control_ids, seed=0)
    return replace(whole, trained=memory.trained(adapted))


def _model(run: Run) -> str:
    own = _sizes(run)
    load.check_lengths(run.outline.config, run.longest)
    share = f", {own.trained:,} of them trained" if own.trained < own.parameters else ""
    name = run.config.model.path or "a new model"
    return f"{name}: {own.parameters:,} parameters{share}; the longest row has {run.longest} tokens"


def _layout(run: Run) -> str:
    return run.layout.summary or "rows, padded to the longest of a batch"


def _schedule(run: Run) -> str:
    training = run.config.training
    items = len(run.layout.items)  # type: ignore[arg-type]
    own = schedule.schedule(items, training, run.here.ranks)
    return schedule.check(own, training, "sequences" if run.layout.summary else "rows")


def _memory(run: Run) -> str:
    ranks = run.here.ranks
    name = strategy.chosen(run.config, ranks)
    tokens = run.layout.facts.get("max_tokens", run.longest)
    own = memory.estimate(run.config, _sizes(run), name, ranks, tokens)
    words = (
        f"{_gib(own.states)} a rank kept between steps, about {_gib(own.activations)} more in a "
        f"step of the longest rows"
    )
    if own.offloaded:
        words += f"; {_gib(own.offloaded)} a rank offloaded"
    if not torch.cuda.is_available():
        return words
    there = torch.cuda.get_device_properties(0).total_memory
    if own.states > there:
        raise ConfigError(
            f"a rank needs {_gib(own.states)} and the GPU has {_gib(there)}; use more ranks, an "
            "adapter, or a configuration that offloads."
        )
    return f"{words}; the GPU has {_gib(there)}"


def _gib(number: int) -> str:
    return f"{number / memory.GIB:.2f} GiB"


def _output(run: Run) -> str:
    return log.check_output(run.output, run.started(), run.resume)


def _hub(run: Run) -> str:
    return "not pushed" if run.repo is None else upload.check_writable(run.repo)


# ------------------------------------------------------------------------------------ for people


def show(found: Findings, console: Console) -> None:
    """Prints the checks, a line each, so that a log can be searched for a hash."""
    for name, words in found.lines:
        style = "red" if words.startswith("✗") else ""
        line = Text.assemble((f"{name:<10}", "bold"), (words, style))
        console.print(line, soft_wrap=True)


def show_batch(run: Run, console: Console) -> None:
    """Prints the first batch of the first rank: trained tokens green, or between ⟦ and ⟧."""
    rows = first_batch(run)
    for number, row in enumerate(rows, 1):
        trained = sum(label != IGNORE_INDEX for label in row["labels"])
        length = len(row["input_ids"])
        console.rule(f"{number} of {len(rows)}: {trained} of {length} tokens trained")
        console.print(_coloured(row, run.tokenizer, plain=not console.is_terminal), soft_wrap=True)


def first_batch(run: Run) -> list[dict[str, list[int]]]:
    """The batch that Trainer makes first, in its order: `input_ids` and `labels` of each sequence,
    without padding."""
    training, items = run.config.training, run.layout.items
    sampler = SeedableRandomSampler(items, data_seed=training.seed)
    first = islice(iter(sampler), training.per_device_train_batch_size)
    batch = collator(run)([items[number] for number in first])
    sequences = zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True)
    return [_unpadded(*own, run.tokenizer.pad_token_id) for own in sequences]


def _unpadded(ids: list[int], labels: list[int], pad: int) -> dict[str, list[int]]:
    size = len(ids)
    while size and ids[size - 1] == pad and labels[size - 1] == IGNORE_INDEX:
        size -= 1
    return {"input_ids": ids[:size], "labels": labels[:size]}


def _coloured(row: dict[str, list[int]], tokenizer: Any, plain: bool) -> Text:
    text = Text()
    ids, labels = row["input_ids"][:SHOWN_TOKENS], row["labels"][:SHOWN_TOKENS]
    is_trained = np.asarray(labels) != IGNORE_INDEX
    for start, end in equal_spans(is_trained).tolist():
        words = tokenizer.decode(ids[start:end], clean_up_tokenization_spaces=False)
        words = printable(words, "�")
        if is_trained[start]:
            text.append(f"⟦{words}⟧" if plain else words, style="green")
        else:
            text.append(words, style="" if plain else "dim")
    if len(row["input_ids"]) > SHOWN_TOKENS:
        text.append(f"\n… {len(row['input_ids']) - SHOWN_TOKENS} more tokens", style="italic")
    return text
