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
    (re.compile(r"(?<=://)[^/\s]*@"), ""),  # who a proxy is used as
    (re.compile(r"(?<=[^\s?])\?[^\s'\"]*[=&][^\s'\"]*"), ""),  # what signs an address
)


def redact(text: str) -> str:
    """The text without what is secret on this machine, or looks as if it were."""
    for secret in sorted(set(_known()), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def _known() -> Iterator[str]:
    """What is secret: tokens, wherever the client finds them, and passwords in addresses."""
    from huggingface_hub import constants

    given = [os.environ.get(name, "").strip() for name in _VARIABLES]
    try:
        with open(constants.HF_TOKEN_PATH, encoding="utf-8") as file:
            given.append(file.read().strip())
    except (OSError, UnicodeDecodeError):
        pass
    for name in _ADDRESSES:
        for address in (os.environ.get(name), os.environ.get(name.lower())):
            given += _password(address or "")
    yield from (secret for secret in given if len(secret) > 3)


def _password(address: str) -> list[str]:
    try:
        password = urlsplit(address).password or ""
    except ValueError:
        return []
    return [password, unquote(password)]


class Redacting(logging.Filter):
    """Redacts what the client logs, since that names addresses as they were asked for."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrites the record. Always true."""
        record.msg, record.args = redact(record.getMessage()), None
        return True
