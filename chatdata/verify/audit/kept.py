"""What an audit says, kept in the manifest of the folder that was audited, and told by its card.

A build does not audit, which would take time of every build for what is asked for once, before a
version is published.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from chatdata import __version__
from chatdata.core.files import place_file
from chatdata.dataset import audited, card, manifest, pack
from chatdata.dataset.audit_entry import AuditEntry, AuditResult
from chatdata.dataset.manifest import Manifest
from chatdata.pipeline.progress import Progress, silent
from chatdata.verify.audit import auditing, inputs, known
from chatdata.verify.audit.auditing import Audit
from chatdata.verify.audit.findings import Result


def keep(folder: Path, audit: Audit) -> Manifest:
    """Writes what an audit of a built folder says into its manifest and its card.

    What users wrote on the card stays. Returns the manifest. Raises OutputError where the folder
    is not a finished build.
    """
    manifest.read_listing(folder)
    with pack.alone(folder), contextlib.ExitStack() as both_or_none:
        before = manifest.read(folder)
        after = before.model_copy(update={"audit": entry(audit, before)})
        page = card.with_words_of_users(card.text(after), folder, before)
        texts = {manifest.FILE: manifest.text(after), card.PAGE: page}  # the first is placed last
        for name, text in texts.items():
            new = both_or_none.enter_context(place_file(folder / name))
            new.write_text(text, encoding="utf-8")
    return after


def entry(audit: Audit, described: Manifest) -> AuditEntry:
    """What an audit of the folder of a manifest says, without examples, which are words of data."""
    return AuditEntry(
        chatdata=__version__,
        files=audited.digest(described),
        read=dict(audit.read),
        results=tuple(map(_entry, audit.results)),
    )


def _entry(result: Result) -> AuditResult:
    has_cases = result.outcome in ("fault", "remark")
    details = f": {result.details}" if has_cases and result.details else ""
    return AuditResult(
        rows=result.kind,
        check=result.check.name,
        outcome=result.outcome,
        cases=result.cases.count,
        of=result.cases.of,
        says=result.headline + details,
        **({"means": result.check.means} if has_cases else {}),
    )


def again(folder: Path, progress: Progress = silent) -> Audit:
    """An audit of a built folder, with its tokenizer."""
    located = inputs.locate([folder])
    return auditing.audit_located(located, known.of_folder(located.tokenizer), progress)


def can_compare(described: Manifest) -> bool:
    """Whether an audit would say again what the manifest keeps: of these rows, by this version."""
    kept = audited.current(described)
    return kept is not None and kept.chatdata == __version__


def problems(folder: Path, described: Manifest) -> Iterator[str]:
    """Yields what an audit says now and the manifest, which `can_compare`, does not keep so."""
    kept, now = described.audit, entry(again(folder), described)
    assert kept is not None
    if kept.read != now.read:
        yield f"the audit is kept as one of {dict(kept.read)}, and reads {dict(now.read)}"
    old, new = _by_name(kept), _by_name(now)
    for rows, check in dict.fromkeys([*old, *new]):
        before, after = old.get((rows, check)), new.get((rows, check))
        if before != after:
            yield f"the audit's {check} is kept as {_says(before)}, and is {_says(after)}"
    if old == new and kept.results != now.results:
        yield "the audit's results are kept in another order, or twice"


def _by_name(audit: AuditEntry) -> dict[tuple[str, str], AuditResult]:
    return {(result.rows, result.check): result for result in audit.results}


def _says(result: AuditResult | None) -> str:
    return f"'{result.says}'" if result else "nothing"
