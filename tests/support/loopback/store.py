"""What the Hub holds: users, repositories, commits, and content by its hash."""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

LFS_SUFFIXES = (".parquet", ".arrow", ".gz", ".zip", ".bin", ".safetensors", ".png")
LFS_BYTES = 10 * 2**20  # a text file above this is large too
GITATTRIBUTES = "".join(
    f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES
).encode()


class Refused(Exception):
    """An answer other than 200: a status, what to say, and the code that the client looks for."""

    def __init__(self, status: int, message: str, code: str = "", **body: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.body = status, message, code, body


def commit_of(text: str) -> str:
    """40 hexadecimal digits that stand for a text."""
    return hashlib.sha1(text.encode()).hexdigest()


@dataclass(frozen=True)
class User:
    """Who a token belongs to, and what it may do."""

    name: str
    role: str = "write"  # or read, or fineGrained
    orgs: tuple[str, ...] = ()  # for which the user may write
    read_only_orgs: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()  # the repositories of a fine-grained token
    kind: str = "dataset"  # of these repositories
    permissions: tuple[str, ...] = ("repo.write",)  # of a fine-grained token, for these

    def may_write(self, repo: str) -> bool:
        """Whether the token may write to a repository."""
        if self.role == "fineGrained":
            return repo in self.writes and "repo.write" in self.permissions
        return self.role == "write" and repo.split("/")[0] in (self.name, *self.orgs)


@dataclass(frozen=True)
class Blob:
    """A file of a commit: where its content is, and its names in git and LFS."""

    size: int
    sha256: str
    oid: str  # of git; for LFS, of the pointer
    is_lfs: bool


@dataclass(frozen=True)
class Commit:
    """A commit and the whole tree at it."""

    oid: str
    parent: str | None
    title: str
    author: str
    date: str
    tree: Mapping[str, Blob]


@dataclass
class Repository:
    """A repository: branches and tags name commits."""

    kind: str  # dataset, model or space
    name: str
    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    objects: set[str] = field(default_factory=set)  # large files that were sent here, by SHA-256
    is_locked: bool = False

    def resolve(self, revision: str) -> Commit:
        """The commit that a branch, a tag, or seven digits or more name."""
        oid = self.branches.get(revision) or self.tags.get(revision)
        if oid is None and len(revision) >= 7:
            oid = next((suffix for suffix in self.commits if suffix.startswith(revision)), None)
        if oid is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def history(self, revision: str = "main") -> list[Commit]:
        """The commits of a revision, the newest first."""
        commits_back: list[Commit] = []
        commit: Commit | None = self.resolve(revision)
        while commit is not None:
            commits_back.append(commit)
            commit = self.commits[commit.parent] if commit.parent else None
        return commits_back


@dataclass
class Store:
    """All of it. Content is in files below `folder`, named by its SHA-256."""

    folder: Path
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)  # by token
    _clock: Iterator[int] = field(default_factory=itertools.count)

    def add_user(self, name: str, token: str, **options: Any) -> User:
        """A user with a token."""
        self.users[token] = User(name, **options)
        return self.users[token]

    def repository(self, kind: str, name: str) -> Repository:
        """The repository of this name."""
        if (kind, name) not in self.repositories:
            raise Refused(404, "Repository not found", "RepoNotFound")
        return self.repositories[kind, name]

    def create(self, kind: str, name: str, private: bool = False) -> Repository:
        """A new repository; the Hub begins each with a commit of `.gitattributes`."""
        suffix = self.repositories[kind, name] = Repository(kind, name, private)
        attributes = {".gitattributes": self.put(GITATTRIBUTES)}
        self.commit(suffix, attributes, title="initial commit", author=name.split("/")[0])
        return suffix

    def seed(
        self, kind: str, name: str, files: Mapping[str, bytes], revision: str | None = None
    ) -> Repository:
        """A repository that holds files, at a commit of a given id where one is given."""
        suffix = self.repositories.get((kind, name)) or self.create(kind, name)
        blobs = {
            path: self.put(content, is_lfs=is_large(path, len(content), content[:512]))
            for path, content in files.items()
        }
        self.commit(suffix, blobs, title="seed", author="seed", oid=revision)
        return suffix

    def commit(
        self,
        suffix: Repository,
        add: Mapping[str, Blob],
        delete: Sequence[str] = (),
        *,
        title: str,
        author: str,
        branch: str = "main",
        oid: str | None = None,
    ) -> Commit:
        """A commit on a branch."""
        parent = suffix.branches.get(branch)
        before = suffix.commits[parent].tree if parent else {}
        deleted = set(delete)
        tree = {path: blob for path, blob in before.items() if path not in deleted} | dict(add)
        suffix.objects |= {blob.sha256 for blob in add.values() if blob.is_lfs}
        tick = next(self._clock)
        date = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=tick)
        oid = oid or commit_of(json.dumps([suffix.name, parent, title, tick]))
        stamp = date.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        suffix.commits[oid] = Commit(oid, parent, title, author, stamp, tree)
        suffix.branches[branch] = oid
        return suffix.commits[oid]

    def copy(self, suffix: Repository, name: str) -> Repository:
        """The same repository under another name; content is shared."""
        copy = replace(
            suffix,
            name=name,
            branches=dict(suffix.branches),
            tags=dict(suffix.tags),
            commits=dict(suffix.commits),
            objects=set(suffix.objects),
        )
        self.repositories[suffix.kind, name] = copy
        return copy

    # ------------------------------------------------------------------------------ content

    def path(self, sha256: str) -> Path:
        """Where content of this hash is, or would be."""
        return self.folder / sha256

    def put(self, content: bytes, is_lfs: bool = False) -> Blob:
        """Keeps content. Returns its blob."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.path(sha256).write_bytes(content)
        return (
            lfs_blob(sha256, len(content))
            if is_lfs
            else Blob(len(content), sha256, git_oid(content), is_lfs=False)
        )

    def read(self, blob: Blob) -> bytes:
        """The content of a blob."""
        return self.path(blob.sha256).read_bytes()

    def text(self, suffix: Repository, path: str, revision: str = "main") -> str:
        """A text file of a repository."""
        return self.read(suffix.resolve(revision).tree[path]).decode()


def git_oid(content: bytes) -> str:
    """What git calls this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs_blob(sha256: str, size: int) -> Blob:
    """The blob of a large file, of which git keeps a pointer."""
    return Blob(size, sha256, git_oid(pointer(sha256, size)), is_lfs=True)


def pointer(sha256: str, size: int) -> bytes:
    """The text that git keeps for a large file."""
    lines = ("version https://git-lfs.github.com/spec/v1", f"oid sha256:{sha256}", f"size {size}")
    return "".join(f"{line}\n" for line in lines).encode()


def is_large(path: str, size: int, sample: bytes) -> bool:
    """Whether the Hub keeps this file in LFS: by its name, its size, or bytes that are no text."""
    if path.endswith(LFS_SUFFIXES) or size > LFS_BYTES:
        return True
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.start < len(sample) - 4  # else a character that the sample cuts
    return b"\0" in sample


def is_ignored(path: str, gitignore: str) -> bool:
    """Whether a `.gitignore` names this path. Patterns without a slash match in any folder."""
    for line in gitignore.splitlines():
        pattern = line.strip().removeprefix("/").removesuffix("/")
        if not pattern or pattern.startswith("#"):
            continue
        parts = Path(path).parts
        if fnmatch.fnmatch(path, pattern) or any(
            fnmatch.fnmatch(suffix, pattern) for suffix in parts
        ):
            return True
    return False
