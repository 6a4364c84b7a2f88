"""The Hub's client: failures in words, retries of failures that may pass, no secrets shown."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from huggingface_hub import HfApi, errors
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    disable_progress_bars,
    enable_progress_bars,
    get_session,
    httpx,
    parse_ratelimit_headers,
)
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from chatdata import __version__
from chatdata.core.errors import HubError
from chatdata.hub import reach, settings
from chatdata.hub.secrets import Redacting, redact

Note = Callable[[str], None]


class NobodyAnswersError(errors.OfflineModeIsEnabled):
    """Raised before a request to a Hub that cannot be reached.

    The client takes it as HF_HUB_OFFLINE: it looks into its cache, and tries nothing again.
    """


# Raised where no answer comes, or where HF_HUB_OFFLINE forbids to ask.
UNREACHABLE = (httpx.TransportError, errors.OfflineModeIsEnabled)
# Everything that a call of the client may raise when the Hub, the network or the disk is at fault.
FAILURES = (
    httpx.HTTPError,
    httpx.InvalidURL,
    errors.OIDCError,
    errors.DeviceCodeError,
    errors.RevisionResolutionError,
    errors.XetDownloadError,
    OSError,
    RuntimeError,
    ValueError,
)
SILENCE = httpx.Timeout(20, read=300, write=300)  # seconds; by itself the client waits forever
TRIES = 10
PATIENCE = 600  # seconds of waiting in all; a rate limit of the Hub has windows of 300
FIRST_WAIT, LONGEST_WAIT = 0.5, 30  # seconds

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

_NEEDS_TOKEN = "needs a token: set HF_TOKEN, or log in with `hf auth login`"
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (errors.GatedRepoError, "is gated: accept its terms on its page and set HF_TOKEN"),
    (
        errors.RepositoryNotFoundError,
        "does not exist, or is private: check the name, or set HF_TOKEN",
    ),
    (errors.RevisionNotFoundError, "does not exist: the repository has no such revision"),
    (errors.RemoteEntryNotFoundError, "lacks a file that should be there"),
    (
        errors.LocalEntryNotFoundError,
        "is not in the cache, and cannot be reached: check the network and HF_ENDPOINT",
    ),
    (errors.DisabledRepoError, "is disabled by the Hub: see its page"),
    (errors.HFValidationError, "does not have a valid name: write org/name"),
    (errors.OfflineModeIsEnabled, "cannot be requested while HF_HUB_OFFLINE is set: unset it"),
    (errors.LocalTokenNotFoundError, _NEEDS_TOKEN),
    (
        errors.OIDCError,
        "cannot be requested: HF_OIDC_RESOURCE is set but gives no token, so unset it",
    ),
    (
        httpx.ProxyError,
        "cannot be reached through the proxy: check HTTPS_PROXY and NO_PROXY",
    ),
)
_STATUSES = {
    402: "is refused: it needs a paid plan",
    403: "may not be written with this token: make a token with write access, at {token_page}",
    409: "is busy with another change: try again in a minute",
    413: "is too large for one request: build larger shards, or fewer",
    429: "is requested too often: the Hub demands a long wait, so try again later",
    507: "is full: this account has no space left on the Hub",
}


def quiet(text: str) -> None:
    """Prints no note."""


def prepare() -> None:
    """Sets the client's time limits, also for a Hub that is not there, and keeps secrets out of its
    log.

    Raises HubError where the proxy of this machine cannot be used.
    """
    try:
        session = get_session()
        session.timeout = SILENCE
    except (httpx.InvalidURL, ValueError, ImportError) as error:
        raise HubError(
            f"the proxy cannot be used ({redact(str(error))}): correct HTTPS_PROXY, HTTP_PROXY or "
            "ALL_PROXY."
        ) from None
    hooks = session.event_hooks["request"]
    if _check_reach not in hooks:
        hooks.append(_check_reach)
    for handler in logging.getLogger("huggingface_hub").handlers:
        if not any(isinstance(filter_, Redacting) for filter_ in handler.filters):
            handler.addFilter(Redacting())


def _check_reach(request: httpx.Request) -> None:
    """Raises NobodyAnswersError before a request to a Hub where nobody answers."""
    if reach.is_asked(request.url.host) and not reach.is_reachable():
        raise NobodyAnswersError(f"nobody answers at {reach.shown_address()}")


def bars() -> None:
    """Turns the client's progress bars on where stderr is a terminal, else off."""
    if sys.stderr.isatty():
        enable_progress_bars()
    else:
        disable_progress_bars()


def api() -> HfApi:
    """The client, for HF_ENDPOINT and the token of this machine."""
    prepare()
    return HfApi(library_name="chatdata", library_version=__version__)


def check_reach(where: str) -> None:
    """Raises HubError about `where` if nobody answers, before much is done for nothing."""
    with reaching(where):
        if not settings.is_offline() and not reach.is_reachable():
            raise NobodyAnswersError(f"nobody answers at {reach.shown_address()}")


@contextlib.contextmanager
def reaching(where: str) -> Iterator[None]:
    """Turns an error of the client into a HubError about `where`, in one sentence."""
    reach.ask_again()
    try:
        prepare()
        yield
    except FAILURES as error:
        raise HubError(f"{where} {problem(error)}.") from None


def problem(error: BaseException) -> str:
    """The failure and the way out, as the rest of a sentence about what was asked for."""
    cause = _cause(error)
    if isinstance(cause, NobodyAnswersError):
        return f"cannot be reached ({cause}): check the network and HF_ENDPOINT"
    for kind, words in _KINDS:
        if isinstance(cause, kind):
            return words
    status = status_of(cause)
    if status == 401:
        return _refused_token()
    if status is not None:
        words = _STATUSES.get(status, f"is not available now: the Hub answers {status}")
        return words.format(token_page=settings.token_page()) + _answer(cause)
    return _without_answer(cause)


def _without_answer(cause: BaseException) -> str:
    """The failure where the Hub did not answer: of the network, the disk or a file."""
    name = type(cause).__name__
    if isinstance(cause, OSError) and cause.errno in _FULL:
        return "cannot be stored: the disk is full, so make room or set HF_HOME to another disk"
    if isinstance(cause, OSError) and cause.errno is not None and cause.filename:
        words = f"is stopped by the local file '{cause.filename}': {cause.strerror}"
        refused = cause.errno in _REFUSED
        return f"{words}, so set HF_HOME to a folder that may be written" if refused else words
    if "home directory" in str(cause):  # so says pathlib
        return "cannot be stored: this user has no home folder, so set HF_HOME to a folder"
    if isinstance(cause, FileNotFoundError):
        return "lacks a file that should be there"
    if isinstance(cause, httpx.TransportError | OSError):
        return f"cannot be reached ({name}): check the network and HF_ENDPOINT"
    return f"gives an error ({name}: {redact(' '.join(str(cause).split()))[:200]})"


_WRAPPERS = (RuntimeError, errors.LocalEntryNotFoundError, errors.RevisionResolutionError)


def _cause(error: BaseException) -> BaseException:
    """The error that the client wrapped, as it does for uploads and downloads."""
    while isinstance(error, _WRAPPERS) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _refused_token() -> str:
    if not settings.has_token():
        return _NEEDS_TOKEN
    return (
        "does not accept this token, which is wrong or has expired: "
        f"make a new one at {settings.token_page()}"
    )


def _answer(error: BaseException) -> str:
    """The words of the Hub's answer, in brackets."""
    words = " ".join((getattr(error, "server_message", None) or "").split())
    return f' ("{redact(words)[:200]}")' if words else ""


# -------------------------------------------------------------------------- what may pass


def status_of(error: BaseException) -> int | None:
    """The status with which the Hub answered, or None where it did not."""
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def is_passing(error: BaseException) -> bool:
    """Whether the same request may work later. A Hub that cannot be reached may not."""
    cause = _cause(error)
    if isinstance(cause, httpx.ConnectError | httpx.ProxyError | httpx.UnsupportedProtocol):
        return False
    return isinstance(cause, httpx.TransportError) or status_of(cause) in _PASSING


def is_lost(error: BaseException) -> bool:
    """Whether the connection to the Hub is lost, or the answer is not JSON."""
    return isinstance(_cause(error), httpx.ConnectError | json.JSONDecodeError)


def is_unknown_revision(error: BaseException) -> bool:
    """Whether the Hub knows the repository but not the revision."""
    return isinstance(error, errors.RevisionNotFoundError)


def retrying(note: Note, passing: Callable[[BaseException], bool] = is_passing) -> Retrying:
    """A caller that tries a call again while `passing` holds of its errors.

    It waits as long as the Hub asks, and notes each wait.
    """

    def tell(state: RetryCallState) -> None:
        seconds = state.next_action.sleep if state.next_action else 0
        note(f"{_reason(state)}; trying again in {max(1, round(seconds))} s")

    return Retrying(
        retry=retry_if_exception(passing),
        wait=_wait,
        stop=_is_enough,
        before=lambda state: prepare(),  # the client opens a new session when one breaks
        before_sleep=tell,
        reraise=True,
    )


def _is_enough(state: RetryCallState) -> bool:
    """Whether to give up. Only the waiting counts, since a try may upload for hours."""
    return state.attempt_number >= TRIES or state.idle_for + state.upcoming_sleep > PATIENCE


def _reason(state: RetryCallState) -> str:
    error = _error(state)
    status = status_of(error)
    return f"the Hub answers {status}" if status else f"no answer ({type(error).__name__})"


def _error(state: RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None, "only what failed is tried again"
    return _cause(error)


def _wait(state: RetryCallState) -> float:
    error = _error(state)
    response = getattr(error, "response", None)
    asked = None if response is None else asked_wait(response.headers)
    if asked is not None:
        return asked
    return wait_exponential_jitter(FIRST_WAIT, LONGEST_WAIT, jitter=FIRST_WAIT)(state)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds that an answer asks to wait, by `Retry-After` or by a used-up rate limit."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    with contextlib.suppress(ValueError):
        date = parsedate_to_datetime(value)
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    limit: Any = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and not limit.remaining else None
