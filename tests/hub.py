"""A Hub on loopback, for reading: a model of the real one, built from what its client asks.

Repositories are folders: `<root>/<kind>s/<org>/<name>/<revision>/<files>`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


def commit_of(revision: str) -> str:
    """The 40 hexadecimal digits that a revision stands for: its own, if it is a commit."""
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    return hashlib.sha1(revision.encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    log: list[str]

    def log_message(self, format: str, *args: object) -> None:
        self.log.append(format % args)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[0] == "api":
            self._api(parts[1:], with_body)
        else:
            self._file(parts if parts[0] == "datasets" else ["models", *parts], with_body)

    def _api(self, parts: list[str], with_body: bool) -> None:
        kind, organisation, name, what, revision, *_ = [*parts, "", ""]
        folder = self._folder(kind, organisation, name, revision)
        if folder is None:
            return
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in paths]
        if what == "tree":
            body: object = [
                {"type": "file", "path": n, "size": p.stat().st_size, "oid": commit_of(n)}
                for n, p in zip(names, paths, strict=True)
            ]
        else:
            siblings = [{"rfilename": n} for n in names]
            id = f"{organisation}/{name}"
            body = {"id": id, "sha": commit_of(folder.name), "siblings": siblings, "private": False}
        self._send(200, json.dumps(body).encode(), with_body)

    def _file(self, parts: list[str], with_body: bool) -> None:
        kind, organisation, name, _, revision, *path = parts
        folder = self._folder(kind, organisation, name, revision)
        if folder is None:
            return
        file = folder.joinpath(*path)
        if not file.is_file():
            self._send(404, b"", with_body, error="EntryNotFound")
            return
        content = file.read_bytes()
        self._send(200, content, with_body, etag=hashlib.sha1(content).hexdigest(), commit=folder)

    def _folder(self, kind: str, organisation: str, name: str, revision: str) -> Path | None:
        repository = self.root / kind / organisation / name
        if not repository.is_dir():
            self._send(404, b"{}", True, error="RepoNotFound")
            return None
        for folder in repository.iterdir():
            if revision in (folder.name, commit_of(folder.name)):
                return folder
        self._send(404, b"{}", True, error="RevisionNotFound")
        return None

    def _send(
        self,
        status: int,
        body: bytes,
        with_body: bool,
        error: str = "",
        etag: str = "",
        commit: Path | None = None,
    ) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), "Content-Type": "application/json"}
        headers |= {"X-Error-Code": error, "X-Error-Message": error} if error else {}
        headers |= {"ETag": f'"{etag}"'} if etag else {}
        headers |= {"X-Repo-Commit": commit_of(commit.name)} if commit else {}
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@contextlib.contextmanager
def serve(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Serves the repositories below a folder. Gives the endpoint and the log of requests."""
    log: list[str] = []
    handler = type("Handler", (_Handler,), {"root": root, "log": log})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", log
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
