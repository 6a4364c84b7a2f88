"""What an audit says of a built folder, as long as the rows are those that it looked at."""

from __future__ import annotations

from chatdata.core.hashing import sha256_json
from chatdata.dataset import tables
from chatdata.dataset.audit_entry import AuditEntry
from chatdata.dataset.manifest import Manifest


def digest(manifest: Manifest) -> str:
    """The digest of what an audit of a folder looks at: its shards of messages and of tokens."""
    looked_at = (tables.MESSAGES, tables.TOKENS)
    shards = [shard for shard in manifest.files if tables.of_path(shard.path) in looked_at]
    return sha256_json([[shard.path, shard.sha256] for shard in shards])


def current(manifest: Manifest) -> AuditEntry | None:
    """What an audit says of these rows; None where there was none, or of other rows."""
    entry = manifest.audit
    return entry if entry and entry.files == digest(manifest) else None
