"""The renderings of a dataset, by which its rows of tokens are read: that of its build, and those
that were added to it, each under its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from chatdata.core.constants import TOKENIZER_FOLDER
from chatdata.core.errors import ConfigError, OutputError
from chatdata.dataset import tables
from chatdata.dataset.entries import FileEntry, PackEntry, ShardEntry, Splits
from chatdata.dataset.manifest import NAME, Manifest
from chatdata.dataset.tables import Table
from chatdata.render.entries import RenderEntry


@dataclass(frozen=True, slots=True)
class Rendering:
    """How the rows of a table of tokens were made, and the files that belong to them.

    `name` is None for the rendering of the build. `options` are those of `render`. `tokenizer` is
    the folder of the tokenizer, in the folder of the dataset.
    """

    name: str | None
    table: Table
    tokenizer: str
    options: Any
    entry: RenderEntry
    splits: Splits
    content_hash: str
    shards: tuple[ShardEntry, ...]
    tokenizer_files: tuple[FileEntry, ...]
    packs: tuple[PackEntry, ...]

    def shards_of(self, split: str) -> list[ShardEntry]:
        """The files with the rows of a split, in order."""
        return self.table.shards(self.shards, split)


def of(manifest: Manifest, name: str | None = None) -> Rendering:
    """The rendering of this name; None stands for that of the build.

    Raises OutputError where the dataset has none of this name.
    """
    return _of_build(manifest) if name is None else _added(manifest, name)


def added(manifest: Manifest) -> list[Rendering]:
    """The renderings that were added to a dataset."""
    return [_added(manifest, name) for name in manifest.renders]


def _of_build(manifest: Manifest) -> Rendering:
    if manifest.render is None and manifest.renders:
        raise OutputError(
            f"'{manifest.name}' has no tokens of its build; name one of the renderings that were "
            f"added: {_listed(manifest)}."
        )
    return Rendering(
        name=None,
        table=tables.TOKENS,
        tokenizer=TOKENIZER_FOLDER,
        options=manifest.recipe.render,
        entry=manifest.rendering,
        splits=manifest.splits,
        content_hash=manifest.content_hash,
        shards=tuple(tables.TOKENS.shards(manifest.files)),
        tokenizer_files=_files_in(manifest, TOKENIZER_FOLDER),
        packs=_packs(manifest, None),
    )


def _added(manifest: Manifest, name: str) -> Rendering:
    entry = manifest.renders.get(name)
    if entry is None:
        raise OutputError(
            f"'{manifest.name}' has no rendering '{name}'; it has {_listed(manifest) or 'none'}"
            f"{'' if manifest.renders else ': add it with `chatdata render OUT --add`'}."
        )
    table = tables.tokens_of(name)
    return Rendering(
        name=name,
        table=table,
        tokenizer=tokenizer_folder(name),
        options=entry.options,
        entry=entry.render,
        splits=entry.splits,
        content_hash=entry.content_hash,
        shards=tuple(table.shards(manifest.files)),
        tokenizer_files=_files_in(manifest, tokenizer_folder(name)),
        packs=_packs(manifest, name),
    )


def _listed(manifest: Manifest) -> str:
    return ", ".join(manifest.renders)


def _files_in(manifest: Manifest, folder: str) -> tuple[FileEntry, ...]:
    return tuple(file for file in manifest.extras if file.path.startswith(f"{folder}/"))


def _packs(manifest: Manifest, name: str | None) -> tuple[PackEntry, ...]:
    return tuple(index for index in manifest.packs if index.rendering == name)


def tokenizer_folder(name: str) -> str:
    """The folder of the tokenizer of an added rendering, in the folder of the dataset."""
    return f"{TOKENIZER_FOLDER}-{name}"


def is_tokenizer_folder(folder: str) -> bool:
    """Whether a folder of a dataset is that of a tokenizer."""
    return re.fullmatch(f"{TOKENIZER_FOLDER}(-{NAME})?", folder) is not None


def check_name(name: str, manifest: Manifest) -> None:
    """Raises ConfigError for a name that no new rendering of a dataset can have."""
    if re.fullmatch(NAME, name) is None:
        raise ConfigError(
            f"--name {name}: a name is lower-case letters, digits and `_.-`, and begins with a "
            "letter or digit, for example qwen3."
        )
    prefix = f"{tables.TOKENS.name}-"
    if f"{name}-".startswith(prefix):
        raise ConfigError(
            f"--name {name}: the rows of a rendering stand in {prefix}NAME; leave out "
            f"'{tables.TOKENS.name}', for example --name qwen3."
        )
    taken = {tables.tokens_of(key).name for key in manifest.renders}
    if manifest.render is not None:
        taken.add(tables.token_config(manifest.render))
    if tables.tokens_of(name).name in taken:
        raise ConfigError(
            f"'{manifest.name}' has a rendering '{name}' already; choose another with --name."
        )
