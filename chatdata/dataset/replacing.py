"""A dataset folder written in the place of an earlier one, with what its users have put into it.

Only a folder that holds the same build is replaced unasked. Files that are not chatdata's, and
words that users wrote on the card, are taken over.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chatdata.core import files
from chatdata.core.errors import OutputError
from chatdata.dataset import card, dropped, manifest, report
from chatdata.dataset.entries import SourceFile
from chatdata.dataset.manifest import Listing, Manifest

_PAGES = (manifest.FILE, *card.PAGES)
_SAYS_NOTHING = {"about"}  # of a recipe, about its rows


@contextlib.contextmanager
def new_dataset(out: Path) -> Iterator[Path]:
    """A new folder for a dataset, which becomes `out` when the block ends without an error.

    As `files.new_folder`. An `out` that is a dataset folder gives its users' files to the new
    folder. Raises OutputError for any other `out` that is not empty.
    """
    with files.new_folder(out, manifest.is_ours) as new:
        yield new
        if manifest.is_ours(out):
            _keep_files_of_users(out, new)


def keep_words(out: Path, new: Path) -> None:
    """Adds to the card of a new folder, which is whole, what users wrote on the card of `out`."""
    before = manifest_of(out)
    if before is not None:
        card_page = new / card.PAGE
        page = card.with_words_of_users(card_page.read_text(encoding="utf-8"), out, before)
        card_page.write_text(page, encoding="utf-8")


def check_same(
    out: Path, recipe: Mapping[str, Any], sources: Sequence[SourceFile], is_forced: bool
) -> None:
    """Raises OutputError where `out` is the build of another recipe or of other input, unless
    `is_forced`. The recipe is given as plain values."""
    before = manifest_of(out)
    if before is None or is_forced:
        return
    if difference := _difference(before, recipe, sources):
        raise OutputError(
            f"'{out}' holds another build: {difference}. --force replaces that build, or choose "
            "another --out."
        )


def _difference(
    before: Manifest, recipe: Mapping[str, Any], sources: Sequence[SourceFile]
) -> str | None:
    """The first thing in which a build differs from one that is made, in words."""
    if first := next(_different(before.recipe.as_json(), recipe), None):
        key, made, value = first
        return f"its recipe has {key}: {_short(made)}, and this one has {_short(value)}"
    read, given = _hashes(before.sources), _hashes(sources)
    for place in dict.fromkeys([*read, *given]):
        if read.get(place) != given.get(place):
            return f"the file '{place[1]}' of source '{place[0]}' {_in_words(place, read, given)}"
    return None


def _different(
    first: Mapping[str, Any], second: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yields what differs in nested mappings: keys, joined by dots, with both values.

    Keys of one alone are of another chatdata, and say nothing.
    """
    for key in second:
        if key not in first or key in _SAYS_NOTHING:
            continue
        values = first[key], second[key]
        if all(isinstance(value, Mapping) for value in values):
            yield from _different(*values, f"{above}{key}.")
        elif values[0] != values[1]:
            yield f"{above}{key}", *values


def _short(value: Any, limit: int = 60) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[:limit]}..."


_Hashes = dict[tuple[str, str], str]  # by the names of source and file


def _hashes(sources: Sequence[SourceFile]) -> _Hashes:
    return {(file.name, file.path): file.sha256 for file in sources}


def _in_words(place: tuple[str, str], read: _Hashes, given: _Hashes) -> str:
    if place not in given:
        return "is none of this one"
    return "has changed since" if place in read else "is new"


def manifest_of(folder: Path) -> Manifest | None:
    """The manifest of a folder that this chatdata can read."""
    try:
        listing = _listing(folder)
    except OSError:
        return None
    return listing if isinstance(listing, Manifest) else None


# --------------------------------------------------------------------------------- what is kept


def carry_over(folder: Path, new: Path, *, shares: bool, left_out: Collection[str] = ()) -> None:
    """Takes over the files of a dataset folder but for manifest, card, and those `left_out`.

    `left_out` are paths in the folder. With `shares`, where the disk has such links, `new` has the
    same files under other names, and no copies.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in {*_PAGES, *left_out}:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (_link if shares else shutil.copyfile)(path, new / name)


def _link(path: Path, new: Path) -> None:
    """Makes `new` the same file as `path`, or a copy on a disk that has no such links."""
    try:
        os.link(path.resolve(), new)
    except OSError:
        shutil.copyfile(path, new)


def describe(out: Path, described: Manifest, folder: Path, before: Manifest) -> None:
    """Writes card and manifest of a folder; the card has what users wrote on that of `folder`."""
    pages = card.pages(described)
    pages[card.PAGE] = card.with_words_of_users(pages[card.PAGE], folder, before)
    for name, text in pages.items():
        (out / name).write_text(text, encoding="utf-8")
    manifest.write(out, described)


def _keep_files_of_users(old: Path, new: Path) -> None:
    """Gives files that are not chatdata's to a new folder."""
    for path in _files_of_users(old, _listing(old), manifest_of(new)):
        _take_over(old / path, new / path)


def _listing(folder: Path) -> Manifest | Listing | None:
    return manifest.parse((folder / manifest.FILE).read_bytes())


def written_by(before: Manifest | Listing | None, after: Manifest | None) -> set[str]:
    """The paths that chatdata has written into a dataset folder, but for the words of what was
    dropped; they belong to their build too.

    A report is chatdata's; it holds for rows that are the same.
    """
    written = {*_PAGES, report.COMPARISON, *(manifest.hashes(before) if before else ())}
    if not (before and after and before.content_hash == after.content_hash):
        written.add(report.FILE)
    return written


def _files_of_users(
    old: Path, before: Manifest | Listing | None, after: Manifest | None
) -> Iterator[Path]:
    """Yields what chatdata did not write, relative to the folder; links are not followed."""
    written = written_by(before, after)
    for folder, folders, names in os.walk(old):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*names, *links]):
            path = (Path(folder) / name).relative_to(old)
            if path.as_posix() not in written and not dropped.is_shard(path.as_posix()):
                yield path


def _take_over(path: Path, new: Path) -> None:
    if new.exists() or new.is_symlink():
        return  # chatdata writes a file of that name now
    new.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, new, follow_symlinks=False)
