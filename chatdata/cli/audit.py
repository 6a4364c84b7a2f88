"""The command that looks at data of anybody: audit."""

from __future__ import annotations

from pathlib import Path

import click

from chatdata.cli import options, progress
from chatdata.cli.terminal import console, note, print_json


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
@click.option("--card", is_flag=True, help="Keep what was found; the card of the folder says it.")
@options.as_json
@options.loudness
def audit(
    paths: tuple[str, ...],
    tokenizer: str | None,
    evaluation: tuple[Path, ...],
    html: Path | None,
    card: bool,
    as_json: bool,
) -> None:
    """Say what a dataset, by whomever it was made, really trains.

    Reads conversations in every shape that a source reads, or rows of input_ids and labels: files
    and folders of jsonl, json, Parquet and Arrow, a folder that chatdata has built, or a dataset
    on the Hub. Prints a line for each check, with an example, what it means and the way out. Ends
    with status 1 where a check found faults; remarks (•) are no faults.

    \b
    chatdata audit train.jsonl test.jsonl
    chatdata audit out/sample-1.0.0 --card
    chatdata audit rows.parquet --tokenizer Qwen/Qwen3-0.6B --html audit.html
    """
    for path in paths:
        options.check_data(path)
    from chatdata.cli.show_audit import print_audit
    from chatdata.publish import audited

    with progress.bar() as shown:
        findings = audited.audit_data(
            paths,
            tokenizer=tokenizer,
            evaluation=evaluation,
            progress=shown,
            note=note,
            card=card,
        )
    if html is not None:
        from chatdata.verify.audit import page

        page.write(findings, " ".join(paths), html)
    if as_json:
        print_json(findings.as_json())
    else:
        print_audit(findings, console())
    if findings.faults:
        raise click.exceptions.Exit(1)
