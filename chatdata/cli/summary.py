"""What a build has made, in a line, and what to do next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator

import click

from chatdata.cli.terminal import fitted, loudness, visible
from chatdata.dataset.manifest import Manifest
from chatdata.sources.unread import in_words


def print_built(manifest: Manifest, place: str, has_dropped: bool) -> None:
    """Prints what was built at a place, a folder or a URL, and commands that use it; with --quiet
    nothing."""
    if loudness() < 0:
        return
    click.secho(fitted(visible("\n" + built(manifest))), bold=True)
    for what, command in next_steps(manifest, place, has_dropped):
        head = f"  {what + ':':<13}"
        click.secho(head, dim=True, nl=False)
        lines = fitted(visible(command), room=len(head)).split("\n")
        click.echo(("\n" + " " * len(head)).join(lines))


def built(manifest: Manifest) -> str:
    """What a build has made, in a line."""
    splits = manifest.splits
    rows = ", ".join(f"{split.rows:,} {name}" for name, split in splits.items() if split.rows)
    number = in_words(splits.total("rows"), "conversations")
    words = f"built {manifest.name} {manifest.version}: {number}"
    words += f" ({rows})"
    if tokens := splits.total("tokens"):
        share = splits.total("trained_tokens") / tokens
        words += f", {tokens:,} tokens, {share:.0%} of them trained"
    if manifest.pairs is not None:
        words += f", {manifest.pairs.splits.total('rows'):,} pairs"
    return words


def next_steps(manifest: Manifest, place: str, has_dropped: bool) -> Iterator[tuple[str, str]]:
    """Yields two or three commands for a folder that was built, behind what each is for."""
    out = shlex.quote(place)
    yield "read some", f"chatdata show {out} -n 2"
    if (most := _most_dropped(manifest)) and has_dropped:
        yield "why dropped", f"chatdata show {out} --dropped {most}"
    if manifest.render is None:
        yield "tokens", f"chatdata render {out} --tokenizer MODEL --template tokenizer --out DIR"
    else:
        version = f"--version {manifest.version} --dry-run"
        yield "publish", f"chatdata push {out} YOU/{manifest.name} {version}"


def _most_dropped(manifest: Manifest) -> str | None:
    """The reason for which most was dropped; None where nothing was."""
    numbers: Counter[str] = Counter()
    for _, count in manifest.counts.items():
        numbers.update(count.dropped)
    return next((reason for reason, _ in numbers.most_common(1)), None)
