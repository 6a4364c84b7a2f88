"""The command that looks at data of anybody: audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chatdata.cli import options, progress
from chatdata.cli.terminal import console, note, print_json

if TYPE_CHECKING:
    from chatdata.verify.audit.inputs import Located
    from chatdata.verify.audit.known import Known


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...|REPO@REV|URL")
@click.option(
    "--tokenizer",
    help="The tokenizer of the rows, or of the model to train: a folder, a Hub repository or "
    "`bytes`. A folder that chatdata has built brings its own.",
)
@click.option(
    "--eval",
    "evaluation",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of test questions to look for. May be given several times.",
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Also write the page here."
)
@options.as_json
@options.loudness
def audit(
    paths: tuple[str, ...],
    tokenizer: str | None,
    evaluation: tuple[Path, ...],
    html: Path | None,
    as_json: bool,
) -> None:
    """Say what a dataset, by whomever it was made, really trains.

    Reads conversations in every shape that a source reads, or rows of input_ids and labels: files
    and folders of jsonl, json, Parquet and Arrow, a folder that chatdata has built, or a dataset
    on the Hub. Prints a line for each check, with an example, what it means and the way out. Ends
    with status 1 where a check found faults; remarks (•) are no faults.

    \b
    chatdata audit train.jsonl test.jsonl
    chatdata audit rows.parquet --tokenizer Qwen/Qwen3-0.6B --html audit.html
    """
    from chatdata.cli.show_audit import print_audit
    from chatdata.verify.audit import auditing, inputs

    located = inputs.locate([_path(path) for path in paths])
    known = _known(located, tokenizer, evaluation)
    with progress.bar() as shown:
        findings = auditing.audit_located(located, known, shown)
    if html is not None:
        from chatdata.verify.audit import page

        page.write(findings, " ".join(paths), html)
    if as_json:
        print_json(findings.as_json())
    else:
        print_audit(findings, console())
    if findings.faults:
        raise click.exceptions.Exit(1)


def _path(spec: str) -> Path:
    """The path that an argument names: a file or a folder here, or that of a dataset's files."""
    from chatdata.core import storage
    from chatdata.publish import pull
    from chatdata.verify.audit import inputs

    if storage.is_remote(spec):
        return _stored(spec)
    if "@" not in spec or Path(spec).exists():
        return Path(spec)
    return pull.data(spec, inputs.READ, note)


def _stored(url: str) -> Path:
    """The folder of copies of what is behind a URL: a dataset, every hash checked, or any files."""
    from chatdata.core import storage
    from chatdata.dataset import manifest, remote_copy
    from chatdata.pipeline import downloads

    place = storage.at(url)
    text = place.read(manifest.FILE) if place.is_folder() else None
    is_ours = text is not None and manifest.parse(text) is not None
    return remote_copy.fetch(url) if is_ours else downloads.folder(url)


def _known(located: Located, tokenizer: str | None, evaluation: tuple[Path, ...]) -> Known:
    from chatdata.pipeline import prepare
    from chatdata.verify.audit import known

    if tokenizer is not None:
        return known.of_tokenizer(*prepare.find_tokenizer(tokenizer), evaluation)
    if located.tokenizer is not None:
        return known.of_tokenizer(located.tokenizer, located.tokenizer.parent.name, evaluation)
    return known.without_tokenizer(evaluation)
