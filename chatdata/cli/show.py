"""Counts, certificates and numbers, for people at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatdata.cli.show_certificate import print_certificate
from chatdata.cli.terminal import visible
from chatdata.dataset.entries import (
    Counts,
    PackEntry,
    PairsEntry,
    PairTokensEntry,
    RenderingEntry,
    Share,
    SourceFile,
    Splits,
)
from chatdata.dataset.manifest import Manifest
from chatdata.sources.unread import KeysByUnit, in_words
from chatdata.steps.entries import CleanedEntry, ForgottenEntry, PiecesEntry


def print_manifest(manifest: Manifest, console: Console) -> None:
    """Prints what a build made: counts, cleaned messages, splits, certificate and packs."""
    print_shapes(manifest.sources, console)
    print_counts(manifest.counts, console)
    print_sums(manifest, console)
    print_kept_by_hand(manifest.kept_by_hand, console)
    print_forgotten(manifest.forgotten, console)
    print_pieces(manifest.pieces, console)
    print_not_read(manifest.not_read, console)
    print_cleaned(manifest.cleaned, console)
    print_splits(manifest.splits, console)
    print_shares(manifest, console)
    print_pairs(manifest.pairs, console)
    print_pair_tokens(manifest.pair_tokens, console)
    print_certificate(manifest.render, console)
    print_packs(manifest.packs, console)


_FILES = 10  # whose shapes are named


def print_shapes(files: Sequence[SourceFile], console: Console) -> None:
    """Prints the shape that was recognised in each file, where a source recognises shapes."""
    known = [file for file in files if file.shape]
    for file in known[:_FILES]:
        console.print(visible(f"{file.path}: {file.shape}"), highlight=False, soft_wrap=True)
    if rest := known[_FILES:]:
        shapes = ", ".join(dict.fromkeys(str(file.shape) for file in rest))
        console.print(f"and {len(rest):,} more files: {shapes}", highlight=False, soft_wrap=True)


def print_preview(manifest: Manifest, console: Console) -> None:
    """Prints an example of what was dropped for each reason, and how much was looked at."""
    preview = manifest.preview
    if preview is None:
        return
    print_examples([e.in_words(reason) for reason, e in preview.examples.items()], console)
    part = "the first 100 trees or conversations of each source"
    words = f"looked at {'all of the input' if preview.is_whole else part}: {_read(manifest)}"
    words += "" if preview.is_whole else "; a build reads the rest too"
    console.print(words, soft_wrap=True)


def print_examples(lines: Sequence[str], console: Console) -> None:
    """Prints a line for each example of what was dropped."""
    for line in lines:
        console.print(visible(line), soft_wrap=True)


def _read(manifest: Manifest) -> str:
    """How much of the input was looked at, and how large the input is, in words."""
    files, size = manifest.sources, sum(file.bytes for file in manifest.sources)
    of = f"{len(files):,} {'file' if len(files) == 1 else 'files'}"
    return f"{in_words(manifest.counts.records.read, 'records')} of {of} ({size:,} bytes)"


def print_rendering(name: str, entry: RenderingEntry, console: Console) -> None:
    """Prints a rendering that was added: what it leaves out, its rows, and its certificate."""
    print_left_out(name, entry, console)
    print_splits(entry.splits, console)
    print_certificate(entry.render, console)


def print_left_out(name: str, entry: RenderingEntry, console: Console) -> None:
    """Prints what an added rendering keeps of the conversations, and what not, by reason."""
    count = entry.counts.conversations
    words = f"{name}: {count.kept} of {count.read} conversations"
    dropped = ", ".join(f"{number} {reason}" for reason, number in count.dropped.items())
    words += f"; left out: {dropped} (`chatdata explain` says why)" if dropped else ""
    messages = sum(entry.counts.messages.dropped.values())
    words += f"; {messages} messages are in none of its rows" if messages else ""
    console.print(words, soft_wrap=True)


def print_counts(counts: Counts, console: Console) -> None:
    """Prints a table of what was read, kept and dropped, by reason."""
    units = dict(counts.items())
    table = Table("", *units, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("read", *(f"{count.read:,}" for count in units.values()))
    table.add_row("kept", *(f"{count.kept:,}" for count in units.values()))
    reasons = {reason: None for count in units.values() for reason in count.dropped}
    for reason in reasons:
        numbers = [count.dropped.get(reason, 0) for count in units.values()]
        table.add_row(f"  {reason}", *(f"{n:,}" if n else "" for n in numbers), style="yellow")
    console.print(table)


def print_sums(manifest: Manifest, console: Console) -> None:
    """Prints the sums that must hold: what was read is kept or dropped, and what is kept are rows.

    A row more than there are conversations is one that `mix` takes again.
    """
    for unit, count in manifest.counts.items():
        dropped = sum(count.dropped.values())
        mark = "✓" if count.read == count.kept + dropped else "✗"
        words = f"{count.read:,} {unit} = {count.kept:,} kept + {dropped:,} dropped"
        console.print(f"  {mark} {words}", soft_wrap=True)
    kept, rows = manifest.counts.conversations.kept, manifest.splits.total("rows")
    parts = [f"{split.rows:,} in {name}" for name, split in manifest.splits.items()]
    if rows > kept:
        parts[-1] += f" - {rows - kept:,} taken again by `mix`"
    mark = "✓" if rows >= kept else "✗"
    console.print(f"  {mark} {kept:,} conversations kept = {' + '.join(parts)}", soft_wrap=True)


def print_kept_by_hand(units: Mapping[str, Mapping[str, int]] | None, console: Console) -> None:
    """Prints what filters would have removed and the recipe keeps."""
    if units is not None:
        kept = [
            f"{name} in {in_words(number, unit)}"
            for unit, counts in units.items()
            for name, number in counts.items()
        ]
        console.print(f"kept by hand: {', '.join(kept) or 'nothing'}", soft_wrap=True)


def print_shares(manifest: Manifest, console: Console) -> None:
    """Prints what each source gave, and how often it was taken, where the recipe has `mix`."""
    mix, shares = manifest.recipe.mix, manifest.shares or ()
    if mix is not None and shares:
        given = [_share_in_words(share) for share in shares]
        by = f"mixed by {mix.by.replace('_', ' ')}: {', '.join(given)}"
        console.print(visible(by), highlight=False, soft_wrap=True)


def _share_in_words(share: Share) -> str:
    """What a source gave, such as `chats 100 conversations (0.15 epochs, 20 trained tokens)`."""
    taken = [f"{share.epochs:.2f} epochs"]
    if share.tokens is not None:
        taken += [in_words(share.tokens, "tokens"), in_words(share.trained_tokens or 0, "trained")]
    return f"{share.source} {in_words(share.rows, 'conversations')} ({', '.join(taken)})"


def print_forgotten(entry: ForgottenEntry | None, console: Console) -> None:
    """Prints how many ids the recipe takes out, and which of them name nothing."""
    if entry is not None:
        some = f": {names}" if (names := entry.examples()) else ""
        console.print(visible(f"{entry.in_words()}{some}"), highlight=False, soft_wrap=True)


def print_pairs(entry: PairsEntry | None, console: Console) -> None:
    """Prints how many pairs of ranked answers there are, and which answers are in none."""
    if entry is None:
        return
    splits = ", ".join(f"{split.rows:,} in {name}" for name, split in entry.splits.items())
    words = f"pairs: {splits}, of {in_words(entry.questions, 'questions')}; "
    words += f"{entry.answers.kept:,} of {in_words(entry.answers.read, 'answers')} are in one"
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in entry.answers.dropped.items())
    console.print(f"{words}{f' ({left_out})' if left_out else ''}", soft_wrap=True)


def print_pair_tokens(entry: PairTokensEntry | None, console: Console) -> None:
    """Prints how many pairs are rows of tokens, and why the others are not."""
    if entry is None:
        return
    splits = ", ".join(f"{split.rows:,} in {name}" for name, split in entry.splits.items())
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in entry.left_out.items())
    words = f"pairs as tokens: {splits}, {entry.splits.total('tokens'):,} tokens on both sides"
    console.print(f"{words}{f'; left out: {left_out}' if left_out else ''}", soft_wrap=True)


def print_pieces(entry: PiecesEntry | None, console: Console) -> None:
    """Prints how many conversations began in the middle, and why some of them still do."""
    if entry is not None:
        console.print(entry.in_words(), highlight=False, soft_wrap=True)


def print_not_read(sources: Mapping[str, KeysByUnit] | None, console: Console) -> None:
    """Prints the keys that nothing looked at, a line for each source that had some."""
    for source, units in (sources or {}).items():
        keys = [(key, n, unit) for unit, counts in units.items() for key, n in counts.items()]
        words = ", ".join(f"{key} in {in_words(number, unit)}" for key, number, unit in keys)
        of = f" of {source}" if len(sources or {}) > 1 else ""
        console.print(f"not read{of}: {words}", soft_wrap=True)


def print_cleaned(steps: Mapping[str, CleanedEntry] | None, console: Console) -> None:
    """Prints the number of messages that each cleaner changed, unless it is 0."""
    changed = [_cleaned(name, step) for name, step in (steps or {}).items() if _did(step)]
    if changed:
        words = ", ".join(changed)
        console.print(f"messages cleaned: {words}", highlight=False, soft_wrap=True)


def _did(step: CleanedEntry) -> int:
    return step.messages + (step.left or 0)


def _cleaned(name: str, step: CleanedEntry) -> str:
    left = f" ({step.left} left as words: `left as it is by {name}` in the ledger)"
    return f"{name} {step.messages}" + (left if step.left else "")


def print_splits(splits: Splits, console: Console) -> None:
    """Prints the rows and tokens of each split."""
    for name, split in splits.items():
        words = f"{name}: {split.rows:,} rows"
        words += f", {split.messages:,} messages" if "messages" in split.model_fields_set else ""
        if split.tokens:
            share = 100 * split.trained_tokens / split.tokens
            if split.token_rows != split.rows:
                words += f", {split.token_rows:,} rows of tokens"
            words += f", {split.tokens:,} tokens, {share:.1f} % trained"
        console.print(words, highlight=False, soft_wrap=True)


def print_packs(entries: Sequence[PackEntry], console: Console) -> None:
    """Prints a line for each index: its bins, and how full they are."""
    for index in entries:
        console.print(
            f"packed {_packed(index)}: {index.rows} rows in {index.bins} bins of "
            f"{index.max_tokens} tokens, {index.fill:.1%} full",
            highlight=False,
        )


def _packed(index: PackEntry) -> str:
    """The split of an index, and its rendering where that was added."""
    return index.split + (f" of {index.rendering}" if index.rendering else "")


def print_stats(numbers: Mapping[str, Any], console: Console) -> None:
    """Prints the numbers of a dataset, as `reader.stats` gives them."""
    head = Text().append(f"{numbers['name']} {numbers['version']}", style="bold")
    head.append(f"  {numbers['content_hash']}")
    console.print(head, highlight=False, soft_wrap=True)
    print_splits(Splits.model_validate(numbers["splits"]), console)
    table = Table("", "min", "median", "p90", "p99", "max", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for key in ("turns", "characters", "length", "trained_length"):
        if key in numbers:
            table.add_row(key.replace("_", " "), *(str(value) for value in numbers[key].values()))
    console.print(table)
    for name, entry in numbers.get("renders", {}).items():
        words = f"rendering {name}: {entry['tokens']} tokens, {entry['trained_share']:.1%} trained"
        lengths = f"{entry['length']['median']} to {entry['length']['max']} tokens a row"
        console.print(f"{words}, {lengths} (median, most)", highlight=False, soft_wrap=True)
    for key in ("sources", "languages"):
        shares = ", ".join(f"{name} {rows}" for name, rows in numbers[key].items())
        console.print(f"rows by {key[:-1]}: {shares}", highlight=False, soft_wrap=True)
    print_counts(Counts.model_validate(numbers["counts"]), console)
