"""An audit of data that is named as in the command line: here, behind a URL, or on the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chatdata.core import storage
from chatdata.core.errors import OutputError
from chatdata.dataset import manifest, remote_copy
from chatdata.hub.client import Note, quiet
from chatdata.pipeline import downloads, prepare
from chatdata.pipeline.progress import Progress, silent
from chatdata.publish import pull
from chatdata.verify.audit import auditing, inputs, kept
from chatdata.verify.audit import known as knowing
from chatdata.verify.audit.auditing import Audit
from chatdata.verify.audit.inputs import Located
from chatdata.verify.audit.known import Known


def audit_data(
    data: str | Path | Sequence[str | Path],
    *,
    tokenizer: str | Path | None = None,
    evaluation: Sequence[str | Path] = (),
    progress: Progress = silent,
    note: Note = quiet,
    card: bool = False,
) -> Audit:
    """Says what a dataset, by whomever it was made, really trains.

    `data` are files and folders, URLs, or datasets on the Hub (`org/name@revision`). `tokenizer` is
    that of the rows, or of the model to train: a folder, a Hub repository or `bytes`; a folder that
    chatdata has built brings its own. `evaluation` are files of test questions to look for.
    With `card` the manifest and the card of a built folder keep what was found; that is said of the
    folder as it is, so there is no `tokenizer` and no `evaluation` then.
    Returns the result of each check (`results`) and the number of checks that found `faults`.
    Raises a ChatdataError for what cannot be read.
    """
    names = [data] if isinstance(data, (str, Path)) else data
    folder = _carded(names, tokenizer, evaluation) if card else None
    located = inputs.locate([_path(str(name), note) for name in names])
    known = _known(located, tokenizer, [Path(path) for path in evaluation])
    findings = auditing.audit_located(located, known, progress)
    if folder:
        kept.keep(folder, findings)
    return findings


def _carded(
    names: Sequence[str | Path], tokenizer: str | Path | None, evaluation: Sequence[str | Path]
) -> Path:
    """The built folder whose card is to say what an audit says. Raises OutputError for others."""
    if len(names) != 1 or tokenizer is not None or evaluation:
        raise OutputError(
            "a card says what an audit says of one folder with its own tokenizer: name the folder "
            "alone, without a tokenizer and test questions."
        )
    folder = pull.changeable(names[0])
    manifest.read(folder)
    return folder


def _path(name: str, note: Note) -> Path:
    """The path that a name means: a file or a folder here, or that of a dataset's files."""
    if storage.is_remote(name):
        return _stored(name)
    return pull.data(name, inputs.READ, note) if pull.is_published(name) else Path(name)


def _stored(url: str) -> Path:
    """The folder of copies of what is behind a URL: a dataset, every hash checked, or any files."""
    place = storage.at(url)
    text = place.read(manifest.FILE) if place.is_folder() else None
    is_ours = text is not None and manifest.parse(text) is not None
    return remote_copy.fetch(url) if is_ours else downloads.folder(url)


def _known(located: Located, tokenizer: str | Path | None, evaluation: Sequence[Path]) -> Known:
    if tokenizer is not None:
        return knowing.of_tokenizer(*prepare.find_tokenizer(str(tokenizer)), evaluation)
    return knowing.of_folder(located.tokenizer, evaluation)
