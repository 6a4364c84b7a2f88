"""Uploads a saved model to the Hugging Face Hub.

    python -m trainer.push out/my-model org/my-model

The repository is private unless `--public` is given. Checkpoints, optimizer state and logs, which
hold the names of machines and folders, are not uploaded.
"""

from __future__ import annotations

from pathlib import Path

import click

from chatdata.core import disk, interrupts
from chatdata.core.errors import ChatdataError
from trainer.run.upload import upload


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("repo")
@click.option("--public", is_flag=True, help="Make the repository public.")
def main(folder: Path, repo: str, public: bool) -> None:
    """Upload the model in FOLDER to REPO (org/name) on the Hub."""
    try:
        with disk.in_words():
            click.echo(upload(folder, repo, private=not public))
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    interrupts.run(main)
