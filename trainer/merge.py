"""Merges an adapter and its model into a single model.

python -m trainer.merge out/my-adapter --out out/my-model
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
import torch

from chatdata.core import disk, interrupts
from chatdata.core.errors import ChatdataError, OutputError
from trainer.model import adapters, generation_settings, portable
from trainer.run import log
from trainer.run.save import DESCRIPTION, as_umask_says, write_description

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("adapter", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to write.")
@click.option("--base", help="The adapter's model, if it has moved.")
@click.option(
    "--dtype",
    type=click.Choice(list(DTYPES)),
    default="float32",
    show_default=True,
    help="The number format of the saved weights.",
)
def main(adapter: Path, out: Path, base: str | None, dtype: str) -> None:
    """Merge ADAPTER, a folder that the trainer saved, into its model, and save this to OUT."""
    try:
        with disk.in_words():
            merge(adapter, out, base, DTYPES[dtype])
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None


def merge(
    folder: Path, out: Path, base: str | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Saves the model with an adapter merged into it, with its tokenizer, description and card.

    An adapter that was trained over 4 bits is merged into the whole weights. Raises OutputError
    for a folder `out` that is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"'{out}' is not empty; choose another --out, or empty it.")
    adapted, tokenizer = adapters.load(folder, base, dtype)
    whole = adapters.merged(adapted)
    whole.generation_config, _ = generation_settings.ended_by(whole.generation_config, tokenizer)
    whole.save_pretrained(out)
    tokenizer.save_pretrained(out)
    portable.write(out)
    as_umask_says(out)
    _copy_description(folder, out)


def _copy_description(folder: Path, out: Path) -> None:
    """Copies the description of the adapter's run, and writes the card of a whole model from it.

    An adapter from elsewhere has no description.
    """
    for name in (log.METRICS, log.PLOT):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    if not (folder / DESCRIPTION).is_file():
        return
    description = {**json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")), "merged": True}
    write_description(description, out)


if __name__ == "__main__":
    interrupts.run(main)
