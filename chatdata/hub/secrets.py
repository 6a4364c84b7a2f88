"""Nothing secret in what is printed: no token, no password of a proxy, no signed address."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

HIDDEN = "…"
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_ID_TOKEN")
_ADDRESSES = ("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_SHAPES = (
    (re.compile(r"hf_[A-Za-z0-9_-]{3,}"), HIDDEN),
    (re.compile(r"(?i)\bbearer\s+\S+"), f"Bearer {HIDDEN}"),
    (re.compile(r"\b[Bb]asic\s+(?=\S*[A-Z0-9])[A-Za-z0-9+/=]{8,}"), f"Basic {HIDDEN}"),
    (re.compile(r"(?<=://)[^/\s]*@"), ""),  # the user of a proxy
    (re.compile(r"(?<=[^\s?])\?[^\s'\"]*[=&][^\s'\"]*"), ""),  # the signature of an address
)


def redact(text: str) -> str:
    """The text without the secrets of this machine, and without what looks like a secret."""
    for secret in sorted(set(_known()), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text


def _known() -> Iterator[str]:
    """Yields the secrets of this machine: tokens, from wherever the client takes them, and
    passwords in addresses."""
    from huggingface_hub import constants

    secrets = [os.environ.get(name, "").strip() for name in _VARIABLES]
    try:
        with open(constants.HF_TOKEN_PATH, encoding="utf-8") as file:
            secrets.append(file.read().strip())
    except (OSError, UnicodeDecodeError):
        pass
    for name in _ADDRESSES:
        for address in (os.environ.get(name), os.environ.get(name.lower())):
            secrets += _password(address or "")
    yield from (secret for secret in secrets if len(secret) > 3)


def _password(address: str) -> list[str]:
    try:
        password = urlsplit(address).password or ""
    except ValueError:
        return []
    return [password, unquote(password)]


class Redacting(logging.Filter):
    """Redacts the log of the client, which names addresses with their secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True, for every record. Rewrites the record."""
        record.msg, record.args = redact(record.getMessage()), None
        return True
