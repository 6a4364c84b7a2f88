"""detect-secrets on text of any length: its plugins for keys and tokens, without its network calls.

A plugin reads a line, and takes the square of its time on some long ones. So a line goes to the
plugins only if a hint says that one of them may find something, and a long line goes in windows.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator
from typing import Any

import polars as pl

_PLUGINS = {
    "artifactory": "ArtifactoryDetector",
    "aws": "AWSKeyDetector",
    "cloudant": "CloudantDetector",
    "discord": "DiscordBotTokenDetector",
    "ibm_cloud_iam": "IbmCloudIamDetector",
    "ibm_cos_hmac": "IbmCosHmacDetector",
    "jwt": "JwtTokenDetector",
    "mailchimp": "MailchimpDetector",
    "npm": "NpmDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "softlayer": "SoftlayerDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "twilio": "TwilioKeyDetector",
}
# What a line has in which any of these plugins finds something. Apart these expressions run at
# memory speed; in a single expression they take ten times as long.
HINTS = (
    r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}",
    r"(?i:aws).{0,20}(?i:key|pwd|pw|password|pass|token).{0,20}[0-9a-zA-Z/+]{40}",
    r"(?i:key|pwd|pw|password|pass|token)[\"']?\]? *(?:=|:|:=|=>| +|::) *[\"']?[A-Za-z0-9_-]{24}",
    r"AKC[a-zA-Z0-9]{10}|eyJ[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]",
    r"[MNO][a-zA-Z0-9_-]{23,25}\.[a-zA-Z0-9_-]{6}\.[a-zA-Z0-9_-]{27}",
    r"[0-9a-z]{32}-us[0-9]",
    r"npm_[A-Za-z0-9-]{36}|_authToken|NPM[ _-]?TOKEN",
    r"SG\.[a-zA-Z0-9_-]{22}\.|(?i:xox[abposr]-[0-9])|(?i:hooks\.slack\.com/services/)",
    r"[rs]k_live_[0-9a-zA-Z]{24}|sq0csp-|(?:AC|SK)[a-z0-9]{32}",
    r"(?i:cloudant\.com|api.softlayer.com)",
)


def values(text: str) -> Iterator[str]:
    """Yields the secrets that the plugins see in a text, each to its end."""
    for piece in _suspicious(text):
        yield from _scan(piece)


def is_mixed(value: str) -> bool:
    """Whether a value has letters and digits, as a key has and a name seldom."""
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


_WINDOW, _OVERLAP = 2_000, 500  # characters: a line that is longer is searched in windows
_BLANKS = re.compile(" {25,}")  # more than a rule looks over; rules count them in three ways
_BREAK = re.compile(r"[\s\"',;][^\s\"',;]*\Z")
# All in one query, which costs more than they do on the lines of a text.
_MAY_HOLD = pl.any_horizontal(pl.col("piece").str.contains(hint) for hint in HINTS)


def _suspicious(text: str) -> list[str]:
    """The lines of a text in which a plugin may find something; of a long line, windows of it."""
    lines = (_BLANKS.sub(" " * 24, line) for line in text.splitlines())
    pieces = [piece for line in lines for piece in _windows(line)]
    table = pl.DataFrame({"piece": pieces}, schema={"piece": pl.String})
    return table.filter(_MAY_HOLD)["piece"].to_list()


def _windows(line: str) -> Iterator[str]:
    """Yields a line, or pieces of a long line that overlap and break between words where it can."""
    start = 0
    while len(line) - start > _WINDOW:
        end = _break(line, start + _WINDOW)
        yield line[start:end]
        start = _break(line, end - _OVERLAP)
    yield line[start:]


def _break(line: str, place: int) -> int:
    mark = _BREAK.search(line, place - _OVERLAP, place)
    return mark.start() if mark else place


def _scan(line: str) -> Iterator[str]:
    """Yields the secrets that detect-secrets sees in a line, each to its end."""
    from detect_secrets.filters import heuristic

    for name, plugin in plugins().items():
        pieces = _web_tokens(line) if name == "jwt" else [line]
        for value in (value for piece in pieces for value in plugin.analyze_string(piece)):
            # analyze_line may try a key out on a network
            whole = re.search(rf"{re.escape(value)}[A-Za-z0-9_-]*", line)
            if whole and is_mixed(value) and not heuristic.is_sequential_string(value):
                yield whole[0].strip("\"'= ")


_WEB_TOKEN = re.compile(r"eyJ[A-Za-z0-9_=-]++(\.[A-Za-z0-9_=-]++\.?[A-Za-z0-9_.+/=-]*+)?")


def _web_tokens(line: str) -> Iterator[str]:
    """Yields what may be web tokens; a run of letters is looked at once, however often it begins.

    The plugin's expression begins anew at each `eyJ` of a run.
    """
    return (match[0] for match in _WEB_TOKEN.finditer(line) if match[1])


@functools.lru_cache(maxsize=1)
def plugins() -> dict[str, Any]:
    """The plugins by the names of their modules."""
    rooms = {room: importlib.import_module(f"detect_secrets.plugins.{room}") for room in _PLUGINS}
    return {room: getattr(rooms[room], name)() for room, name in _PLUGINS.items()}
