"""What protocols of storage differ in: packages, options of their libraries, errors in words."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

PAGES = frozenset({"http", "https"})
S3 = frozenset({"s3", "s3a"})
GOOGLE = frozenset({"gs", "gcs"})
HAVE_BUCKETS = S3 | GOOGLE | {"abfs", "az"}
PART = 16 * 2**20  # bytes of a multipart upload, which are in memory
_MOST_PARTS = 10_000  # of an upload to S3
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp"}
_PACKAGES |= {"https": "aiohttp", "abfs": "adlfs", "az": "adlfs"}
_EXTRAS = {"s3fs": "s3", "gcsfs": "gcs"}  # of chatdata
_SILENCE = 60  # seconds after which a server of Google's protocol that says nothing is asked again
_IN_RANGES = 2**30  # bytes above which gcsfs gets a file in ranges of one generation
_NOWHERE = logging.NullHandler()
_ACCOUNT = "GOOGLE_APPLICATION_CREDENTIALS"
_GOOGLE_LOGIN = (
    f"run `gcloud auth application-default login`, or set {_ACCOUNT} to the "
    'file of a service account, or FSSPEC_GS=\'{"token": "anon"}\' where everybody may read.'
)


def options(protocol: str, configured: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the file system of a protocol, but for those that fsspec's configuration has.

    gcsfs would ask for the kind of a bucket by gRPC in each call, for up to a minute where only
    HTTP passes; wait without end for a server that says nothing; and, where it finds no login in 40
    seconds, go on without. Logs of libraries are for their developers, and not printed.
    """
    if protocol not in GOOGLE:
        return {}
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    for library in ("gcsfs", "google", "fsspec"):
        logging.getLogger(library).addHandler(_NOWHERE)
    import aiohttp

    waits = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=_SILENCE)
    wanted: dict[str, Any] = {"requests_timeout": waits}
    if not os.environ.get("STORAGE_EMULATOR_HOST") and "endpoint_url" not in configured:
        wanted["token"] = "google_default"
    return {name: value for name, value in wanted.items() if name not in configured}


def options_to_get(protocol: str, size: int | None) -> dict[str, Any]:
    """The options by which a file is got whole, of one version, and again where it breaks off."""
    if protocol in S3:  # only one range after another is resumed; parallel ranges are not
        return {"max_concurrency": 1}
    if protocol in GOOGLE:  # ranges take 160 MiB and eight times the CPU, but not all again
        return {"concurrency": 2 if (size or 0) > _IN_RANGES else 1}
    return {}


def options_to_put(protocol: str, size: int) -> dict[str, Any]:
    """The options by which a file of a size is put in parts, a few at the same time."""
    part = max(PART, -(-size // _MOST_PARTS))
    if protocol in S3:
        return {"chunksize": part, "max_concurrency": 2}
    return {"chunksize": PART, "consistency": "md5"} if protocol in GOOGLE else {}


def problem(error: Exception, protocol: str) -> str:
    """The failure and the way out, as the rest of a sentence that begins with the URL."""
    if isinstance(error, ImportError):
        return _package(protocol)
    if isinstance(error, FileNotFoundError):
        return "does not exist, or its bucket does not; check the name."
    words = " ".join(str(error).split())[:200]
    if protocol in GOOGLE and _has_no_login(error):
        reason = f" ({words.rstrip('.')})" if os.environ.get(_ACCOUNT) else ""
        return f"needs a login{reason}: {_GOOGLE_LOGIN}"
    if isinstance(error, PermissionError) or (protocol in GOOGLE and words.startswith("Forbidden")):
        return "may not be used with this login; check the rights, or log in as somebody else."
    if type(error).__name__ == "ChecksumError":
        return "was not stored as it was sent; try again, or choose another storage."
    if "not known" in words and isinstance(error, ValueError):
        return f"cannot be reached: nothing is known of {protocol}://; copy the files here first."
    return (
        f"cannot be reached ({type(error).__name__}: {words}); check the network, the login, and "
        f"the address of the storage."
    )


def _package(protocol: str) -> str:
    package = _PACKAGES.get(protocol, f"the package of fsspec for {protocol}://")
    extra = f" (the extra `{_EXTRAS[package]}` of chatdata)" if package in _EXTRAS else ""
    return f"needs another package: pip install {package}{extra}."


def _has_no_login(error: Exception) -> bool:
    """Whether Google knows nobody: no login was found, or it was not accepted (401)."""
    return type(error).__name__ == "DefaultCredentialsError" or getattr(error, "code", None) == 401
