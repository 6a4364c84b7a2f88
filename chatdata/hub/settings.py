"""What this machine sets for the Hub: the address, the token, the way of large files."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from huggingface_hub import constants, get_token

from chatdata.hub.secrets import redact

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def endpoint() -> str:
    """The address of the Hub, without a secret that may stand in it."""
    return redact(constants.ENDPOINT)


def token_page() -> str:
    """The address of the page on which users make tokens."""
    return f"{endpoint()}/settings/tokens"


def has_token() -> bool:
    """Whether the client has a token to send."""
    return get_token() is not None


def token_source() -> str | None:
    """The variable or the file from which the client takes the token, or None without a token."""
    if os.environ.get("HF_OIDC_RESOURCE"):
        return "HF_OIDC_RESOURCE"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name, "").strip():
            return name
    if os.path.isfile(constants.HF_TOKEN_PATH) and os.path.getsize(constants.HF_TOKEN_PATH):
        return constants.HF_TOKEN_PATH
    return None


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE keeps the client from the network."""
    return bool(constants.HF_HUB_OFFLINE)


def uses_xet() -> bool:
    """Whether the client sends large files by Xet. The client does so wherever it can."""
    return not constants.HF_HUB_DISABLE_XET and importlib.util.find_spec("hf_xet") is not None


def proxies() -> list[str]:
    """The names of the proxy variables that are set."""
    return [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]


def problems() -> Iterator[str]:
    """Yields a sentence for each setting with which publishing cannot work, or is not safe."""
    if is_offline():
        yield "HF_HUB_OFFLINE is set, so the Hub is not asked anything: unset it."
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        yield "HF_HUB_DISABLE_IMPLICIT_TOKEN is set, so no token is sent: unset it."
    address = urlsplit(constants.ENDPOINT)
    if address.scheme not in ("http", "https") or not address.hostname:
        yield f"HF_ENDPOINT is '{endpoint()}', which is not an address; write https://HOST."
    elif address.scheme == "http" and not _is_this_machine(address.hostname):
        yield f"HF_ENDPOINT is '{endpoint()}', so the token is not encrypted; use https."


def _is_this_machine(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
