"""The Hugging Face Hub: the only module that talks to it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from chatdata.errors import SourceError


def fetch(
    repo: str, revision: str | None, patterns: Sequence[str], kind: Literal["dataset", "model"]
) -> tuple[Path, list[str]]:
    """A repository's files that match `patterns`, downloaded or from the cache.

    Returns their folder and their names in it, sorted. Raises SourceError where the repository,
    the revision or the network is missing.
    """
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        disable_progress_bars,
        filter_repo_objects,
    )

    if not sys.stderr.isatty():
        disable_progress_bars()
    where = f"{kind} '{repo}' at {revision or 'its head'}"
    try:
        folder = snapshot_download(
            repo, revision=revision, repo_type=kind, allow_patterns=list(patterns)
        )
        paths = [path for path in Path(folder).rglob("*") if path.is_file()]
        names = sorted(path.relative_to(folder).as_posix() for path in paths)
        # The cache may hold more files of this revision than were asked for now.
        return Path(folder), list(filter_repo_objects(names, allow_patterns=list(patterns)))
    except errors.GatedRepoError:
        problem = "is gated: accept its terms on its page and set HF_TOKEN"
    except errors.RepositoryNotFoundError:
        problem = "is not there, or is private: check the name, or set HF_TOKEN"
    except errors.RevisionNotFoundError:
        problem = "is not there: the repository has no such revision"
    except errors.HFValidationError:
        problem = "has no valid name; it reads as org/name"
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError) as error:
        problem = f"cannot be fetched ({type(error).__name__}): check the network and HF_ENDPOINT"
    raise SourceError(f"{where} {problem}; or name local files.")
