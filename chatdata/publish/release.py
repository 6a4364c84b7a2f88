"""What is published of a folder: its files, as the version that they are published as.

Publishing under another version than the folder was built with changes three files and nothing
else: manifest, recipe and card say the new version, as if the recipe had said it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatdata.core import config
from chatdata.core.hashing import sha256_json
from chatdata.dataset import card, manifest, tables
from chatdata.dataset.manifest import Listing, Manifest
from chatdata.hub.repository import File, Tree
from chatdata.publish.versions import Version
from chatdata.verify import verification

RECIPE = "recipe.yaml"
_merged = functools.lru_cache(8)(card.merged)  # it parses YAML, and is asked for often
_CONTENT = ("name", "about", "license", "content_hash", "sources", "counts", "splits")


@dataclass(frozen=True)
class Release:
    """A finished folder as a version: its manifest, its files, its card before it is merged."""

    folder: Path
    version: Version
    facts: Manifest
    files: Mapping[str, File]  # by path; all but the card
    card: str
    edited_card: str | None  # the card in the folder, where it is not the one of the manifest

    def card_over(self, published: str | None) -> str:
        """The card with what users wrote on the published one; else, in the folder's own."""
        merged = _merged(self.card, published)
        return _merged(self.card, self.edited_card) if merged == self.card else merged

    def ignores_edits(self, published: str | None) -> bool:
        """Whether what was written on the folder's own card gives way to the published one's."""
        edited = self.edited_card
        if edited is None or edited == published:
            return False
        return self.card_over(published) != _merged(self.card, edited)

    def after(self, before: Manifest | Listing) -> Release:
        """The same with a card that says what changed since the version before it."""
        return replace(self, card=card.text(self.facts, before))

    def said_as(self, version: Version) -> Release:
        """The same with the card of another version."""
        facts, _ = stamp(self.facts, str(version))
        return replace(self, card=card.text(facts))

    def missing_at(self, tree: Tree) -> list[File]:
        """The files, but for the card, that a commit lacks or has otherwise."""
        return [file for file in self.files.values() if not file.is_at(tree.get(file.path))]


def prepare(folder: Path, version: Version) -> Release:
    """A folder, complete and verified, as a version. Raises a ChatdataError where it is not."""
    verification.verify_folder(folder)
    facts = manifest.read(folder)
    stamped, recipe = stamp(facts, str(version))
    pages = card.pages(stamped)
    edited = _edited(folder, pages[card.PAGE] if stamped == facts else card.text(facts))
    texts = {RECIPE: recipe, manifest.FILE: manifest.text(stamped), **pages}
    page = texts.pop(card.PAGE)
    hashes = manifest.hashes(stamped)
    on_disk = [File(path, folder / path, sha256) for path, sha256 in hashes.items()]
    files = {file.path: file for file in on_disk if file.path not in texts}
    files |= {path: File.of(path, text) for path, text in texts.items()}
    return Release(folder, version, stamped, dict(sorted(files.items())), page, edited)


def _edited(folder: Path, generated: str) -> str | None:
    """The card in the folder, where somebody wrote on it."""
    path = folder / card.PAGE
    own = path.read_text(encoding="utf-8") if path.is_file() else None
    return own if own != generated else None


def stamp(facts: Manifest, version: str) -> tuple[Manifest, str]:
    """The manifest and the recipe that the folder would have, had its recipe said this version."""
    recipe = facts.recipe.at_version(version)
    text = config.dump_yaml(recipe.as_json())
    sha256 = File.of(RECIPE, text).sha256
    extras = tuple(
        file.model_copy(update={"sha256": sha256}) if file.path == RECIPE else file
        for file in facts.extras
    )
    stamped = {
        "version": version,
        "recipe": recipe,
        "recipe_hash": sha256_json(recipe.as_json()),
        "extras": extras,
    }
    return facts.model_copy(update=stamped), text


def same(published: Manifest | Listing, built: Manifest) -> bool:
    """Whether two manifests are of the same dataset, whatever version and tools they name."""
    return isinstance(published, Manifest) and _content(published) == _content(built)


def _content(facts: Manifest) -> dict[str, Any]:
    hashes = {
        path: sha256
        for path, sha256 in manifest.hashes(facts).items()
        if path not in (RECIPE, "croissant.json")
    }
    recipe = {**facts.recipe.as_json(), "version": None}
    return {**{key: getattr(facts, key) for key in _CONTENT}, "recipe": recipe, "hashes": hashes}


def is_managed(path: str, listed: Iterable[str] = ()) -> bool:
    """Whether a file of a repository is a dataset's to write and to delete.

    It is where a manifest lists it, and where the card's patterns would take it for a shard.
    """
    top, slash, _ = path.partition("/")
    is_ours = tables.of_path(path) is not None or top.startswith("tokens")
    return path in listed or (bool(slash) and is_ours and path.endswith(".parquet"))
