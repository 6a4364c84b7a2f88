"""A dataset's repository on the Hub: read, uploaded to, committed to, tagged.

The methods raise the errors of the client: callers use `client.reaching` and `client.retrying`.
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
from chatdata.hub import client, settings
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
        raise HubError(f"'{name}' is not the name of a repository; write org/name.")
    return name


def _is_missing(error: errors.HfHubHTTPError) -> bool:
    """Whether the Hub knows the repository and the revision, but not what was asked for."""
    kinds = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    return client.status_of(error) == 404 and not isinstance(error, kinds)


@dataclass(frozen=True)
class Refs:
    """The commits of branches and tags, by name."""

    branches: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def head(self) -> str | None:
        """The latest commit, or None before the first."""
        return self.branches.get(MAIN)


@dataclass(frozen=True)
class Entry:
    """A file of a commit: its size in bytes and its hash.

    `oid` is the hash of git. A large file has a hash of its content too, `sha256`.
    """

    size: int
    oid: str
    sha256: str | None


Tree = Mapping[str, Entry]


@dataclass(frozen=True)
class File:
    """A file to publish: its path in the repository, and its content or the content's path."""

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
        """The size in bytes."""
        content = self.content
        return len(content) if isinstance(content, bytes) else content.stat().st_size

    def is_at(self, entry: Entry | None) -> bool:
        """Whether an entry of a commit has exactly this content."""
        if entry is None or entry.size != self.size:
            return False
        if entry.sha256 is not None:
            return entry.sha256 == self.sha256
        content = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        return entry.oid == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def operation(self) -> CommitOperationAdd:
        """The operation that adds the file to a commit, good for one commit."""
        operation = CommitOperationAdd(self.path, self.content)
        operation.upload_info.sha256 = bytes.fromhex(self.sha256)  # saves reading the file again
        return operation


@dataclass(frozen=True)
class Repository:
    """A dataset's repository."""

    name: str
    api: HfApi
    _operations: dict[str, CommitOperationAdd] = field(default_factory=dict, compare=False)

    @classmethod
    def named(cls, name: str) -> Repository:
        """The repository of this name, which need not exist."""
        disable_progress_bars()  # the client would show a bar for each shard
        return cls(name, client.api())

    # ------------------------------------------------------------------------------- reading

    def refs(self) -> Refs:
        """The branches and tags."""
        refs = self.api.list_repo_refs(self.name, repo_type=KIND)
        return Refs(
            {branch.name: branch.target_commit for branch in refs.branches},
            {tag.name: tag.target_commit for tag in refs.tags},
        )

    def refs_if_there(self) -> Refs | None:
        """The branches and tags, or None where the repository does not exist or is hidden."""
        try:
            return self.refs()
        except errors.GatedRepoError:
            raise
        except errors.HfHubHTTPError as error:
            if isinstance(error, errors.RepositoryNotFoundError) or _is_missing(error):
                return None
            raise

    def resolve(self, revision: str) -> str:
        """The commit of a tag or a branch. The client keeps the answer in its cache."""
        resolved = self.api.resolve_revision(self.name, repo_type=KIND, revision=revision)
        return str(resolved.resolved)

    def resolve_offline(self, revision: str) -> str | None:
        """The commit of a tag or a branch by the last answer in the cache, or None without one."""
        try:
            resolved = self.api.resolve_revision(
                self.name, repo_type=KIND, revision=revision, local_files_only=True
            )
        except errors.RevisionResolutionError:
            return None
        return str(resolved.resolved)

    def is_private(self) -> bool:
        """Whether only the owners see the repository."""
        return bool(self.api.repo_info(self.name, repo_type=KIND).private)

    def tree(self, commit: str | None) -> Tree:
        """All files at a commit; no files before the first commit."""
        if commit is None:
            return {}
        listed = self.api.list_repo_tree(self.name, recursive=True, revision=commit, repo_type=KIND)
        return {
            item.path: Entry(item.size, item.blob_id, item.lfs.sha256 if item.lfs else None)
            for item in listed
            if isinstance(item, RepoFile)  # else a folder
        }

    def read(self, path: str, commit: str) -> bytes | None:
        """The content of a small file at a commit, or None where the commit lacks the file."""
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
        """Columns of a Parquet file at a commit; the rest of the file is not fetched."""
        with self._open(path, commit) as file:
            return pq.read_table(file, columns=list(names))

    def schema(self, path: str, commit: str) -> pa.Schema:
        """The schema of a Parquet file at a commit."""
        with self._open(path, commit) as file:
            return pq.read_schema(file)

    def _open(self, path: str, commit: str) -> Any:
        files = HfFileSystem(endpoint=self.api.endpoint, skip_instance_cache=True)
        return files.open(f"{KIND}s/{self.name}@{commit}/{path}", block_size=2**20)

    # ------------------------------------------------------------------------------- writing

    def create(self, private: bool) -> None:
        """Creates the repository. A repository that exists is left as it is."""
        try:
            self.api.create_repo(self.name, repo_type=KIND, private=private)
        except errors.HfHubHTTPError as error:
            if client.status_of(error) != 409:
                raise

    @contextlib.contextmanager
    def transfer(self, note: Note) -> Iterator[None]:
        """Sends large files by Xet inside the context, or by LFS to a Hub without Xet."""
        before = constants.HF_HUB_DISABLE_XET
        if settings.uses_xet() and not self._has_xet():
            note("this Hub has no Xet; large files are sent by LFS")
            constants.HF_HUB_DISABLE_XET = True
        try:
            yield
        finally:
            constants.HF_HUB_DISABLE_XET = before

    def _has_xet(self) -> bool:
        """Whether the Hub gives tokens for Xet. The real Hub does, a mirror may not."""
        if self.api.endpoint == "https://huggingface.co":
            return True
        url = f"{self.api.endpoint}/api/{KIND}s/{self.name}/xet-write-token/{MAIN}"
        response = http_backoff("GET", url, headers=build_hf_headers())
        return bool(response.status_code != 404)

    def upload(self, file: File) -> None:
        """Uploads a large file ahead of the commit, which makes the file visible.

        A file that the Hub has already is not sent again.
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
        """Adds and deletes files in one commit after `parent`. Returns the commit.

        Where nothing changes, the client makes no commit and returns the head, which may be
        another publisher's: look at what the commit holds.
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
        for remark in remarks:
            note(redact(" ".join(str(remark.message).split())))
        return str(made.oid)

    def _operation(self, file: File) -> CommitOperationAdd:
        """The operation that adds a file. The operation of a file on the disk is kept, because it
        remembers that the file was sent."""
        if isinstance(file.content, bytes):
            return file.operation()
        return self._operations.setdefault(file.path, file.operation())

    def _prepare(self, operations: Sequence[CommitOperationAdd]) -> None:
        """Uploads the files that the Hub lacks. Raises HubError for a file that is ignored."""
        self.api.preupload_lfs_files(self.name, operations, repo_type=KIND, free_memory=False)
        for operation in operations:
            if getattr(operation, "_should_ignore", False):
                raise HubError(
                    f"the .gitignore of '{self.name}' ignores {operation.path_in_repo}, so it "
                    "would not be published; remove that line."
                )

    def tag(self, name: str, commit: str) -> None:
        """Gives a commit a tag. A tag that exists is an error (409): tags never move."""
        self.api.create_tag(self.name, tag=name, revision=commit, repo_type=KIND)
