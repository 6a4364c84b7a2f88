"""The Hugging Face Hub: the only package that talks to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from chatdata.core.errors import SourceError

__all__ = ["client", "download", "fetch", "reach", "repository", "rights", "secrets", "settings"]

_WAYS_OUT = {"dataset": "or read local files: --input PATH", "model": "or use local files"}


def fetch(
    repo: str, revision: str | None, patterns: Sequence[str], kind: Literal["dataset", "model"]
) -> tuple[Path, list[str]]:
    """The folder of a repository's files that match `patterns`, and their sorted names in it.

    The files are downloaded, or taken from the cache. Raises SourceError where the repository,
    the revision or the network is missing, which is known after two seconds.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    from chatdata.hub import client, reach, settings

    client.bars()
    client.prepare()
    try:
        folder = snapshot_download(
            repo,
            revision=revision,
            repo_type=kind,
            allow_patterns=list(patterns),
            local_files_only=not settings.is_offline() and not reach.is_reachable(),
        )
    except client.FAILURES as error:
        where = f"{kind} '{repo}' at {revision or 'its head'}"
        raise SourceError(f"{where} {client.problem(error)}; {_WAYS_OUT[kind]}.") from None
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    # The cache may hold more files of this revision than were asked for now.
    return Path(folder), list(filter_repo_objects(names, allow_patterns=list(patterns)))
