"""How a build watches a faster library: the modes, by name, and what an audit counts.

The module imports nothing heavy, so that the command line can list the modes at once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from chatdata.core.errors import ConfigError

SAMPLE = 1024
EVERYTHING = 1


@dataclass(frozen=True, slots=True)
class AuditMode:
    """A mode, and what a build does in this mode.

    `tokenizers` encodes one text in `one_in` too, whatever the text holds; None: every text is
    encoded by `tokenizers` alone.
    """

    one_in: int | None
    meaning: str


AUDIT_MODES = {
    "audit": AuditMode(SAMPLE, "compare a sample of the texts, and all that is new in the others"),
    "full": AuditMode(EVERYTHING, "compare every text"),
    "off": AuditMode(None, "do not use the faster library"),
}
DEFAULT = "audit"


def mode(name: str) -> AuditMode:
    """The mode of this name. Raises ConfigError where the name is unknown."""
    if name not in AUDIT_MODES:
        raise ConfigError(f"there is no audit mode '{name}'; known: {', '.join(AUDIT_MODES)}.")
    return AUDIT_MODES[name]


@dataclass(slots=True)
class Audit:
    """What became of the texts that an encoder was given, as the manifest counts them."""

    texts: int = 0
    routed: int = 0  # left to `tokenizers`, since they hold what the library gets wrong
    failed: int = 0  # left to `tokenizers`, since the library raised an exception in their batch
    whole: int = 0  # compared from end to end
    excerpts: int = 0  # compared parts of the remaining texts
    characters: int = 0  # in all that was compared
    differences: int = 0

    def __add__(self, more: Audit) -> Audit:
        names = [field.name for field in fields(self)]
        return Audit(*(getattr(self, name) + getattr(more, name) for name in names))

    def counts(self) -> dict[str, int]:
        """The counts by name, for the manifest."""
        return asdict(self)
