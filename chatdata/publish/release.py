"""A folder as a version to publish.

A folder may be published under another version than it was built with. This changes manifest,
recipe and card, as if the recipe had named the new version, and no other file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatdata.core import config
from chatdata.core.constants import RECIPE_FILE
from chatdata.core.hashing import sha256_json
from chatdata.dataset import card, card_merge, croissant, manifest, tables
from chatdata.dataset.manifest import Listing, Manifest
from chatdata.hub.repository import File, Tree
from chatdata.publish.versions import Version
from chatdata.verify import verification

_merged = functools.lru_cache(8)(card_merge.merge)  # parses YAML, and is called often
_CONTENT = ("name", "about", "license", "content_hash", "sources", "counts", "splits")


@dataclass(frozen=True)
class Release:
    """A finished folder as a version: its manifest, its files, its generated card."""

    folder: Path
    version: Version
    manifest: Manifest
    files: Mapping[str, File]  # by path; all but the card
    card: str
    edited_card: str | None  # the card in the folder, where somebody edited it

    def card_over(self, published: str | None) -> str:
        """The card, with what users wrote on the published card, or else on the folder's."""
        merged = _merged(self.card, published)
        return _merged(self.card, self.edited_card) if merged == self.card else merged

    def ignores_edits(self, published: str | None) -> bool:
        """Whether edits of the folder's card are lost, since the published card was edited too."""
        edited = self.edited_card
        if edited is None or edited == published:
            return False
        return self.card_over(published) != _merged(self.card, edited)

    def following(self, published: Manifest | Listing) -> Release:
        """The same release; its card says what changed since the published version."""
        return replace(self, card=card.text(self.manifest, published))

    def with_card_of(self, version: Version) -> Release:
        """The same release with the card of another version."""
        stamped, _ = stamp(self.manifest, str(version))
        return replace(self, card=card.text(stamped))

    def missing_at(self, tree: Tree) -> list[File]:
        """The files, without the card, that a commit lacks or has with other content."""
        return [file for file in self.files.values() if not file.is_at(tree.get(file.path))]


def prepare(folder: Path, version: Version) -> Release:
    """A verified folder as a version. Raises a ChatdataError where the folder has a problem."""
    verification.verify_folder(folder)
    built = manifest.read(folder)
    stamped, recipe = stamp(built, str(version))
    pages = card.pages(stamped)
    edited = _edited(folder, pages[card.PAGE] if stamped == built else card.text(built))
    texts = {RECIPE_FILE: recipe, manifest.FILE: manifest.text(stamped), **pages}
    page = texts.pop(card.PAGE)
    hashes = manifest.hashes(stamped)
    on_disk = [File(path, folder / path, sha256) for path, sha256 in hashes.items()]
    files = {file.path: file for file in on_disk if file.path not in texts}
    files |= {path: File.of(path, text) for path, text in texts.items()}
    return Release(folder, version, stamped, dict(sorted(files.items())), page, edited)


def _edited(folder: Path, generated: str) -> str | None:
    """The card in the folder, or None where it is as a build writes it."""
    path = folder / card.PAGE
    text = path.read_text(encoding="utf-8") if path.is_file() else None
    return text if text != generated else None


def stamp(built: Manifest, version: str) -> tuple[Manifest, str]:
    """The manifest and the text of the recipe, as a build at another version would write them."""
    recipe = built.recipe.at_version(version)
    text = config.dump_yaml(recipe.as_json())
    sha256 = File.of(RECIPE_FILE, text).sha256
    extras = tuple(
        file.model_copy(update={"sha256": sha256}) if file.path == RECIPE_FILE else file
        for file in built.extras
    )
    stamped = {
        "version": version,
        "recipe": recipe,
        "recipe_hash": sha256_json(recipe.as_json()),
        "extras": extras,
    }
    return built.model_copy(update=stamped), text


def is_same_dataset(published: Manifest | Listing, built: Manifest) -> bool:
    """Whether two manifests are of the same dataset, whatever version and tools they name."""
    return isinstance(published, Manifest) and _content(published) == _content(built)


def _content(described: Manifest) -> dict[str, Any]:
    """What two manifests of the same dataset have in common."""
    hashes = {
        path: sha256
        for path, sha256 in manifest.hashes(described).items()
        if path not in (RECIPE_FILE, croissant.FILE)
    }
    recipe = {**described.recipe.as_json(), "version": None}
    content = {key: getattr(described, key) for key in _CONTENT}
    return {**content, "recipe": recipe, "hashes": hashes}


def is_managed(path: str, listed: Iterable[str] = ()) -> bool:
    """Whether a push may write and delete a file of a repository.

    A push may where a manifest lists the file, or a pattern of the card would read it as a shard.
    """
    top, slash, _ = path.partition("/")
    is_table = tables.of_path(path) is not None or top.startswith("tokens")
    return path in listed or (bool(slash) and is_table and path.endswith(".parquet"))
