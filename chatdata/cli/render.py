"""The command that renders a built folder again."""

from __future__ import annotations

from pathlib import Path

import click

from chatdata.cli import options, progress
from chatdata.cli.terminal import console, note, print_json


@click.command()
@click.argument("out", metavar="OUT|REPO@VERSION")
@click.option(
    "--tokenizer",
    required=True,
    help="The tokenizer: `bytes`, a folder, or a Hub repository (org/name@revision).",
)
@click.option(
    "--template", help="A template of `chatdata list`. [the template that the folder has]"
)
@options.settings
@click.option(
    "--out",
    "new",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder to write.",
)
@options.workers
@options.as_json
def render(
    out: str,
    tokenizer: str,
    template: str | None,
    settings: tuple[str, ...],
    new: Path,
    workers: int,
    as_json: bool,
) -> None:
    """Render a built folder, or a published version, with another template or tokenizer.

    The sources are not read. Ids, groups, splits, licences, and what may be learnt stay; so does
    the ledger, but for conversations that the template cannot write or that are too long.

    \b
    chatdata render out/sample-1.0.0 --tokenizer bytes --template chatml --out out/chatml
    chatdata render org/sample@1.0.0 --tokenizer PATH --template tokenizer --out out/qwen
    """
    from chatdata.cli.show import print_manifest
    from chatdata.dataset import manifest
    from chatdata.pipeline.render_again import render_again
    from chatdata.publish import pull

    folder = pull.folder(out, note=note)
    before = manifest.read(folder)
    with progress.bar() as shown:
        after = render_again(
            folder,
            new,
            tokenizer=tokenizer,
            template=template,
            settings=settings,
            workers=workers,
            progress=shown,
        )
    left_out = {pack.max_tokens for pack in before.packs} - {p.max_tokens for p in after.packs}
    for size in sorted(left_out):
        note(f"bins of {size} tokens are of the old rows; `chatdata pack {new}` makes new ones")
    if as_json:
        print_json(after.as_json())
    else:
        print_manifest(after, console())
        click.echo(f"{after.content_hash}\n{new}")
