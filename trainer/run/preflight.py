"""The checks before a GPU minute is spent, and the first batch as it will be trained.

Every check is a line: what was found, or what is wrong and how to fix it. All checks are made
before a run is refused, so that all problems of a recipe can be fixed at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
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
from trainer.model import adapters, families, load, memory, pretrained, vocabulary
from trainer.run import checkpoints, options, room, samples, save, schedule, strategy, upload
from trainer.run.run import Run, collator

SHOWN_TOKENS = 700  # of a row of the first batch


@dataclass(frozen=True, slots=True)
class Findings:
    """The lines of the checks, by the name of the check, and the problems among them."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, check: Callable[[], str]) -> None:
        """Makes a check and keeps its line."""
        try:
            self.lines.append((name, check()))
        except ChatdataError as error:
            self.lines.append((name, f"✗ {error}"))
            self.problems.append(str(error))


def check(run: Run, instead: Mapping[str, Callable[[Run], str]] | None = None) -> Findings:
    """The results of all checks of a run, some of them replaced or added by their names. No weights
    are loaded and nothing is written."""
    findings = Findings()
    checks: dict[str, Callable[[Run], str]] = {
        "strategy": _strategy,
        "dataset": _dataset,
        "tokens": _tokens,
        "template": _template,
        "model": _model,
        "family": _family,
        "options": _options,
        "tokenizer": _tokenizer,
        "layout": _layout,
        "schedule": _schedule,
        "memory": _memory,
        "saving": _saving,
        "disk": _disk,
        "output": _output,
        "hub": _hub,
    }
    for name, function in (checks | dict(instead or {})).items():
        findings.add(name, partial(function, run))
    return findings


def refuse(findings: Findings) -> None:
    """Raises ConfigError with all problems, where a check found any."""
    if findings.problems:
        lines = "".join(f"\n  {problem}" for problem in findings.problems)
        is_single = len(findings.problems) == 1
        raise ConfigError(lines.strip() if is_single else f"the run cannot start:{lines}")


# ------------------------------------------------------------------------------------ the checks


def _strategy(run: Run) -> str:
    name = strategy.check(run.config, run.here)
    strategy.check_tied(run.config, run.meta_model)
    if name == "zero3":
        families.check_zero3(run.meta_model.config)
    path = strategy.deepspeed_file(run.config, run.here.ranks)
    ranks = f"{run.here.ranks} ranks" if run.here.ranks > 1 else "1 rank"
    return f"{name}, {ranks}" + (f", by '{path}'" if path else "")


def _dataset(run: Run) -> str:
    rendering = run.source.rendering
    origin = run.source.origin + (f", rendering {rendering.name}" if rendering.name else "")
    return f"{origin}; {dataset.check_files(run.source)}"


def _tokens(run: Run) -> str:
    train, test = run.source.rendering.splits.train, run.source.rendering.splits.test
    return (
        f"{train.tokens:,} in the train split, {train.trained_tokens:,} of them trained; "
        f"{test.trained_tokens:,} trained tokens in the test split"
    )


def _template(run: Run) -> str:
    """Whether the tokenizer has the dataset's template, and its end token ends turns."""
    render = run.source.rendering.entry
    if run.tokenizer.chat_template != render.template.jinja:
        raise ConfigError(
            "the tokenizer's chat template is not that of the dataset; build the dataset again."
        )
    if run.tokenizer.eos_token_id not in run.stop_ids:
        raise ConfigError(
            "the tokenizer's end token is not the token that ends turns in the rows; build the "
            "dataset again."
        )
    if not render.certificate.passed:
        raise ConfigError("the dataset failed its certificate; build the dataset again.")
    return f"{render.template.name}; turns end with '{render.template.stop}'"


@cache
def _sizes(run: Run) -> memory.Sizes:
    whole, adapter = memory.sizes(run.meta_model), run.config.adapter
    if adapter is None:
        return whole
    lora = adapter.model_copy(update={"kind": "lora"})  # 4 bits need a GPU, sizes do not
    fresh = load.meta_model(run.meta_model.config, len(run.tokenizer))
    adapted = adapters.add(fresh, lora, run.config.model, run.control_ids, seed=0)
    return replace(whole, trained=memory.trained(adapted))


def _model(run: Run) -> str:
    sizes = _sizes(run)
    load.check_lengths(run.meta_model.config, run.longest)
    share = f", {sizes.trained:,} of them trained" if sizes.trained < sizes.parameters else ""
    if run.config.adapter is not None:
        share += f" (dropout {adapters.dropout(run.meta_model.config, run.config.adapter):g})"
    name = run.config.model.path or "a new model"
    longest = f"the longest row has {run.longest} tokens"
    return f"{name}: {sizes.parameters:,} parameters{share}; {longest}"


def _family(run: Run) -> str:
    """Which attention and which loss the model has, and whether it can keep packed rows apart."""
    network, kind = run.meta_model, run.meta_model.config.model_type
    if run.config.packing:
        families.check_packing(network)
    line, chosen = f"{kind}, attention: {_attention(run)}", run.config.model.attention
    if _attention(run) != chosen:
        line += f", since {type(network).__name__} has no {chosen}"
    if parts := families.left_out(load.load_config(run.config.model, run.tokenizer), network):
        line += f"; of text alone: {' and '.join(parts)} of the base and their weights are left out"
    if families.adds_router_loss(network.config):
        line += "; the balance of the experts (output_router_logits) is left out of the loss"
    if not run.config.training.use_liger_kernel and (why := families.loss_to_replace(network)):
        line += f"; the loss is computed from the logits, since {why}"
    return line


def _options(run: Run) -> str:
    name = strategy.chosen(run.config, run.here.ranks)
    if run.config.samples:
        samples.of_run(run)
    return options.check(run.config, name, run.meta_model)


def _attention(run: Run) -> str:
    return families.attention(run.meta_model.config, run.config.model.attention)


def _tokenizer(run: Run) -> str:
    model = run.config.model
    if model.path is None:
        return "the model is new"
    if run.config.allow_new_tokenizer:
        return "the model may have another than the rows, as the recipe allows"
    control = run.source.rendering.entry.tokenizer.control_ids
    return vocabulary.check(model.path, model.revision, run.tokenizer, control)


def _layout(run: Run) -> str:
    layout = run.layout.summary or "rows, padded to the longest row of a batch"
    weighted = run.source.manifest.weighted_messages
    return f"{layout}; {weighted} messages weigh other than 1" if weighted else layout


def _planned(run: Run) -> schedule.Schedule:
    items = len(run.layout.items)  # type: ignore[arg-type]
    return schedule.schedule(items, run.config.training, run.here.ranks)


def _schedule(run: Run) -> str:
    training, planned = run.config.training, _planned(run)
    unit = "sequences" if run.layout.summary else "rows"
    return schedule.check(planned, training, unit, run.source.rendering.splits.train.tokens)


def _memory(run: Run) -> str:
    ranks = run.here.ranks
    name = strategy.chosen(run.config, ranks)
    tokens = run.layout.counts.get("max_tokens", run.longest)
    model = run.config.model.model_copy(update={"attention": _attention(run)})
    config = run.config.model_copy(update={"model": model})
    needed = memory.estimate(config, _sizes(run), name, ranks, tokens)
    line = (
        f"{_gib(needed.states)} a rank kept between steps, about {_gib(needed.activations)} more "
        f"in a step of the longest rows"
    )
    if needed.offloaded:
        line += f"; {_gib(needed.offloaded)} a rank offloaded"
    if not torch.cuda.is_available():
        return line
    available = torch.cuda.get_device_properties(0).total_memory
    if needed.states > available:
        raise ConfigError(
            f"a rank needs {_gib(needed.states)} and the GPU has {_gib(available)}; use more "
            "ranks, an adapter, or a configuration that offloads."
        )
    return f"{line}; the GPU has {_gib(available)}"


def _gib(number: int) -> str:
    return f"{number / memory.GIB:.2f} GiB"


def _saving(run: Run) -> str:
    """Saves what a run saves beside the weights, into a folder that goes."""
    settings, dropped = save.settings(run)
    try:
        with tempfile.TemporaryDirectory(prefix="chatdata-") as folder:
            run.meta_model.config.save_pretrained(folder)
            if settings is not None:
                settings.save_pretrained(folder)
            run.tokenizer.save_pretrained(folder)
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise ConfigError(
            f"transformers will not save this model: {pretrained.reason(error)}; correct the files "
            f"of '{run.config.model.path}' before hours are spent on it."
        ) from None
    if not dropped:
        return "config, tokenizer and generation settings can be saved"
    names = ", ".join(f"'{name}'" for name in dropped)
    return f"without {names} of the base's generation settings, which have no effect as they stand"


def _disk(run: Run) -> str:
    needed = room.check(run.config, _sizes(run).trained, _planned(run).checkpoints)
    return f"at least {_gib(needed)} will be written"


def _output(run: Run) -> str:
    return checkpoints.check_output(run.output, run.started(), run.resume)


def _hub(run: Run) -> str:
    return "not pushed" if run.repo is None else upload.check_writable(run.repo)


# --------------------------------------------------------------------------- on the terminal


def show(findings: Findings, console: Console) -> None:
    """Prints the checks, a line each, so that a log can be searched for a hash."""
    for name, text in findings.lines:
        style = "red" if text.startswith("✗") else ""
        line = Text.assemble((f"{name:<10}", "bold"), (text, style))
        console.print(line, soft_wrap=True)


def show_batch(run: Run, console: Console) -> None:
    """Prints the first batch of the first rank: trained tokens green, or between ⟦ and ⟧."""
    show_rows(first_batch(run), run.tokenizer, console)


def show_rows(rows: Sequence[dict[str, list[int]]], tokenizer: Any, console: Console) -> None:
    """Prints rows: trained tokens green, or between ⟦ and ⟧."""
    for number, row in enumerate(rows, 1):
        trained = sum(label != IGNORE_INDEX for label in row["labels"])
        length = len(row["input_ids"])
        console.rule(f"{number} of {len(rows)}: {trained} of {length} tokens trained")
        console.print(_coloured(row, tokenizer, plain=not console.is_terminal), soft_wrap=True)


def first_batch(run: Run) -> list[dict[str, list[int]]]:
    """The first batch that Trainer will make: `input_ids` and `labels` of each sequence, in
    Trainer's order and without padding."""
    training, items = run.config.training, run.layout.items
    sampler = SeedableRandomSampler(items, data_seed=training.seed)
    first = islice(iter(sampler), training.per_device_train_batch_size)
    batch = collator(run)([items[number] for number in first])
    sequences = zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True)
    return [_unpadded(ids, labels, run.tokenizer.pad_token_id) for ids, labels in sequences]


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
        decoded = tokenizer.decode(ids[start:end], clean_up_tokenization_spaces=False)
        shown = printable(decoded, "�")
        if is_trained[start]:
            text.append(f"⟦{shown}⟧" if plain else shown, style="green")
        else:
            text.append(shown, style="" if plain else "dim")
    if len(row["input_ids"]) > SHOWN_TOKENS:
        text.append(f"\n… {len(row['input_ids']) - SHOWN_TOKENS} more tokens", style="italic")
    return text
