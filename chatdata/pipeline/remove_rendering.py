"""A rendering taken out of a folder: what the folder holds besides stays, byte for byte."""

from __future__ import annotations

from pathlib import Path

from chatdata.core.errors import OutputError
from chatdata.dataset import manifest, remote_copy, renderings, replacing, tables
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline import downloads


def remove_rendering(folder: str | Path, name: str, out: str | Path | None = None) -> Manifest:
    """Removes the added rendering `name` from the built folder `folder`, or from a copy, `out`.

    Its tokens, its bins, its tokenizer and its ledger go. The folder is then, byte for byte, what
    it would be if the rendering had never been added. Returns the manifest. Raises OutputError, and
    leaves all as it was, where there is no such rendering or where `out` holds another dataset.
    """
    source = remote_copy.to_change(folder, out)
    with downloads.writing(source if out is None else out) as written:
        return _remove(source, name, written)


def _remove(folder: Path, name: str, out: Path) -> Manifest:
    before = manifest.read(folder)
    renderings.of(before, name)
    _refuse_another(out, folder)
    after = _without(before, name)
    with replacing.new_dataset(out) as new:
        left_out = manifest.hashes(before).keys() - manifest.hashes(after).keys()
        replacing.carry_over(folder, new, shares=out == folder, left_out=left_out)
        replacing.describe(new, after, folder, before)
    return after


def _refuse_another(out: Path, folder: Path) -> None:
    if out.resolve() != folder and replacing.manifest_of(out) is not None:
        raise OutputError(f"'{out}' holds another dataset; choose a new folder with --out.")


def _without(before: Manifest, name: str) -> Manifest:
    """The manifest without a rendering and the files of it. What is empty then is left out."""
    folders = {
        tables.tokens_of(name).name,
        tables.ledger_of(name).name,
        tables.packs_of(name).name,
        renderings.tokenizer_folder(name),
    }
    values = before.as_json()
    for key in ("files", "extras", "packs"):
        listed = values.pop(key, [])
        stays = [file for file in listed if file["path"].partition("/")[0] not in folders]
        values |= {key: stays} if stays else {}
    del values["renders"][name]
    if not values["renders"]:
        del values["renders"]
    return manifest.parsed({key: values[key] for key in before.as_json() if key in values})
