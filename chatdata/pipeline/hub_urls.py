"""`hf://datasets/org/name@REVISION/PATH`: files of a source in a repository of the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from chatdata.core.errors import SourceError
from chatdata.core.storage import HUB
from chatdata.pipeline.recipe_parts import SourceOptions

_DATASETS = f"{HUB}datasets/"


def are_of_hub(names: Sequence[str]) -> bool:
    """Whether names are URLs of the Hub, and there is one at least."""
    return bool(names) and all(name.startswith(HUB) for name in names)


def with_repository(options: SourceOptions, urls: Sequence[str]) -> SourceOptions:
    """The options of a source with the repository, the revision and the files of URLs of the Hub.

    Raises SourceError for a URL that names no dataset or no revision, and for several repositories.
    """
    parsed = [_parse(url) for url in urls]
    repo, revision, _ = parsed[0]
    for url, (name, version, _) in zip(urls, parsed, strict=True):
        if (name, version) != (repo, revision):
            raise SourceError(
                f"'{urls[0]}' and '{url}' are of two repositories or revisions; give each a source "
                "of its own in the recipe."
            )
    paths = [path.strip("/") for _, _, path in parsed]
    below = [f"{path}/*" for path in paths]
    files = [*paths, *below] if all(paths) else []
    return options.model_copy(update={"repo": repo, "revision": revision, "files": files})


def _parse(url: str) -> tuple[str, str, str]:
    """The repository, the revision and the path in a URL."""
    owner, _, rest = url.removeprefix(_DATASETS).partition("/")
    name, _, path = rest.partition("/")
    name, _, revision = name.partition("@")
    if not url.startswith(_DATASETS) or not owner or not name:
        raise SourceError(f"'{url}' names no dataset; write {_DATASETS}org/name@COMMIT/FILE.")
    if not revision:
        raise SourceError(
            f"'{url}' names no revision, and a branch moves; write "
            f"{_DATASETS}{owner}/{name}@COMMIT/{path or 'FILE'}."
        )
    return f"{owner}/{name}", unquote(revision), path
