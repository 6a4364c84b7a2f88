"""A dataset's repository on the Hub: read, uploaded to, committed to, tagged.

The methods raise what the client raises; `client.reaching` and `client.retrying` are for those
who call them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    constants,
    errors,
    hf_hub_url,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    disable_progress_bars,
    get_session,
    hf_raise_for_status,
    http_backoff,
    validate_repo_id,
)

from chatdata.core.errors import HubError
from chatdata.hub import client
from chatdata.hub.client import Note
from chatdata.hub.secrets import redact

MAIN = "main"
KIND: Final = "dataset"


def checked_name(name: str) -> str:
    """The name of a repository, as given. Raises HubError for what does not read as org/name."""
    try:
        validate_repo_id(name)
    except errors.HFValidationError:
        is_valid = False
    else:
        is_valid = name.count("/") == 1
    if not is_valid:
        raise HubError(f"'{name}' is not the name of a repository; it reads as org/name.")
    return name


def _is_missing(error: errors.HfHubHTTPError) -> bool:
    """Whether what was asked for is not there, and not for the reason that all of it is hidden."""
    kinds = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    return client.status_of(error) == 404 and not isinstance(error, kinds)


@dataclass(frozen=True)
class Refs:
    """What branches and tags point to."""

    branches: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def head(self) -> str | None:
        """The commit at which the repository stands, or None before the first."""
        return self.branches.get(MAIN)


@dataclass(frozen=True)
class Entry:
    """A file of a commit, by its hash: of git, or for a large file of its content."""

    size: int
    oid: str
    sha256: str | None


Tree = Mapping[str, Entry]


@dataclass(frozen=True)
class File:
    """A file to publish: its path in the repository, and its content, on the disk or here."""

    path: str
    content: Path | bytes
    sha256: str

    @classmethod
    def of(cls, path: str, text: str) -> File:
        """A file with this text."""
        content = text.encode()
        return cls(path, content, hashlib.sha256(content).hexdigest())

    @functools.cached_property
    def size(self) -> int:
        """Bytes."""
        own = self.content
        return len(own) if isinstance(own, bytes) else own.stat().st_size

    def is_at(self, entry: Entry | None) -> bool:
        """Whether a commit has this very content."""
        if entry is None or entry.size != self.size:
            return False
        if entry.sha256 is not None:
            return entry.sha256 == self.sha256
        content = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        return entry.oid == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def operation(self) -> CommitOperationAdd:
        """What adds the file to a commit: the client allows it to be used for one."""
        operation = CommitOperationAdd(self.path, self.content)
        operation.upload_info.sha256 = bytes.fromhex(self.sha256)  # known: no second reading
        return operation


@dataclass(frozen=True)
class Repository:
    """A dataset's repository."""

    name: str
    api: HfApi
    _operations: dict[str, CommitOperationAdd] = field(default_factory=dict, compare=False)

    @classmethod
    def named(cls, name: str) -> Repository:
        """The repository of this name, whether or not it is there."""
        disable_progress_bars()  # a bar for each shard says little
        return cls(name, client.api())

    # ------------------------------------------------------------------------------- reading

    def refs(self) -> Refs:
        """Its branches and tags."""
        found = self.api.list_repo_refs(self.name, repo_type=KIND)
        return Refs(
            {own.name: own.target_commit for own in found.branches},
            {own.name: own.target_commit for own in found.tags},
        )

    def refs_if_there(self) -> Refs | None:
        """Its branches and tags, or None where the repository is not there or is hidden."""
        try:
            return self.refs()
        except errors.GatedRepoError:
            raise
        except errors.HfHubHTTPError as error:
            if isinstance(error, errors.RepositoryNotFoundError) or _is_missing(error):
                return None
            raise

    def is_private(self) -> bool:
        """Whether only its owners see it."""
        return bool(self.api.repo_info(self.name, repo_type=KIND).private)

    def tree(self, commit: str | None) -> Tree:
        """All files at a commit. There are none before the first."""
        if commit is None:
            return {}
        listed = self.api.list_repo_tree(self.name, recursive=True, revision=commit, repo_type=KIND)
        return {
            own.path: Entry(own.size, own.blob_id, own.lfs.sha256 if own.lfs else None)
            for own in listed
            if isinstance(own, RepoFile)  # else a folder
        }

    def read(self, path: str, commit: str) -> bytes | None:
        """A small file at a commit, or None where it is not there."""
        url = hf_hub_url(
            self.name, path, repo_type=KIND, revision=commit, endpoint=self.api.endpoint
        )
        response = get_session().get(url, headers=build_hf_headers())
        try:
            hf_raise_for_status(response)
        except errors.HfHubHTTPError as error:
            if _is_missing(error):
                return None
            raise
        return bytes(response.content)

    def columns(self, path: str, commit: str, names: Sequence[str]) -> pa.Table:
        """Some columns of a Parquet file at a commit, without fetching the others."""
        with self._open(path, commit) as file:
            return pq.read_table(file, columns=list(names))

    def schema(self, path: str, commit: str) -> pa.Schema:
        """The columns of a Parquet file at a commit."""
        with self._open(path, commit) as file:
            return pq.read_schema(file)

    def _open(self, path: str, commit: str) -> Any:
        files = HfFileSystem(endpoint=self.api.endpoint, skip_instance_cache=True)
        return files.open(f"{KIND}s/{self.name}@{commit}/{path}", block_size=2**20)

    # ------------------------------------------------------------------------------- writing

    def create(self, private: bool) -> None:
        """Makes the repository. One that is there stays as it is."""
        try:
            self.api.create_repo(self.name, repo_type=KIND, private=private)
        except errors.HfHubHTTPError as error:
            if client.status_of(error) != 409:
                raise

    @contextlib.contextmanager
    def transfer(self, note: Note) -> Iterator[None]:
        """Chooses how large files go: by Xet, or by LFS to a Hub that has no Xet."""
        before = constants.HF_HUB_DISABLE_XET
        if client.uses_xet() and not self._has_xet():
            note("this Hub has no Xet; large files go by LFS")
            constants.HF_HUB_DISABLE_XET = True
        try:
            yield
        finally:
            constants.HF_HUB_DISABLE_XET = before

    def _has_xet(self) -> bool:
        """Whether the Hub gives tokens for Xet. The real one does; a mirror may not."""
        if self.api.endpoint == "https://huggingface.co":
            return True
        url = f"{self.api.endpoint}/api/{KIND}s/{self.name}/xet-write-token/{MAIN}"
        response = http_backoff("GET", url, headers=build_hf_headers())
        return bool(response.status_code != 404)

    def upload(self, file: File) -> None:
        """Uploads a large file ahead of the commit. It shows nowhere until then.

        One that is there already is not sent again.
        """
        self._prepare([self._operation(file)])

    def commit(
        self,
        parent: str | None,
        add: Sequence[File],
        delete: Sequence[str],
        title: str,
        note: Note,
    ) -> str:
        """Adds and deletes files in one commit upon `parent`. Returns the commit.

        Where all is there already, the client makes no commit and returns the head, which may
        be anybody's: look at what the commit holds.
        """
        operations = [self._operation(file) for file in add]
        deletions = [CommitOperationDelete(path, is_folder=False) for path in delete]
        self._prepare(operations)
        with warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always")
            made = self.api.create_commit(
                self.name,
                [*operations, *deletions],
                commit_message=title,
                repo_type=KIND,
                revision=MAIN,
                parent_commit=parent,
            )
        for own in remarks:
            note(redact(" ".join(str(own.message).split())))
        return str(made.oid)

    def _operation(self, file: File) -> CommitOperationAdd:
        """What adds a file. For one on the disk it is kept, since it knows that it was sent."""
        if isinstance(file.content, bytes):
            return file.operation()
        return self._operations.setdefault(file.path, file.operation())

    def _prepare(self, operations: Sequence[CommitOperationAdd]) -> None:
        """Uploads what is not there yet. Raises HubError for what the client would leave out."""
        self.api.preupload_lfs_files(self.name, operations, repo_type=KIND, free_memory=False)
        for own in operations:
            if getattr(own, "_should_ignore", False):
                raise HubError(
                    f"the .gitignore of '{self.name}' names {own.path_in_repo}, which would be "
                    "left out; take the line out of it."
                )

    def tag(self, name: str, commit: str) -> None:
        """Names a commit. A tag that is there is an error (409): it is never moved."""
        self.api.create_tag(self.name, tag=name, revision=commit, repo_type=KIND)
