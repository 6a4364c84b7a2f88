"""Builds a matrix of recipes with an earlier commit and with the working tree; compares all bytes.

python tests/bench/same_bytes.py --before b78d2ec --data "$CHATDATA_REAL_DATA"

What the earlier commit has built is kept in the cache and compared with again on the next run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

import _matrix
import _sides
import click
import pyarrow.parquet as pq
from _matrix import Case, Command
from _sides import Side

# The one thing that may differ: chatdata's own version, where a manifest and a card say it.
_OWN_VERSION = {
    "manifest.json": re.compile(rb'(?<=\n  "versions": \{\n    "chatdata": ")[^"\n]+'),
    "README.md": re.compile(
        rb"(?:(?<=Built with chatdata )|(?<=Versions that affect bytes: chatdata ))[^;,\s]+"
    ),
}
_PLACE = re.compile(r"\$(?:DATA|DUMP|MADE)[\w./-]*")
_SAID = "said"  # the folder of what the commands have printed


@dataclass(frozen=True)
class Places:
    """What stands for `$DATA`, `$DUMP` and `$MADE` in a case."""

    data: Path
    dump: Path | None
    made: Path

    def fill(self, text: str) -> str:
        """The text with paths in place of their names."""
        filled = text.replace("$DATA", str(self.data)).replace("$MADE", str(self.made))
        return filled.replace("$DUMP", str(self.dump))


@dataclass(frozen=True)
class Outcome:
    """What became of a case: a verdict, what there is to say of it, the seconds of each side."""

    case: Case
    verdict: str
    detail: str
    before: float
    after: float


# ---------------------------------------------------------------------------------------- making


def make(case: Case, side: Side, places: Places, folder: Path) -> float:
    """Runs the commands of a case in a new folder. Returns how many seconds they took.

    What they print is kept beside what they write. Where the build fails the others do not run.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / _SAID).mkdir(parents=True)
    if case.text is not None:
        (folder / "recipe.yaml").write_text(places.fill(case.text), encoding="utf-8")
    begin = time.perf_counter()
    for number, command in enumerate(case.commands()):
        status = _run(command, side, places, folder, f"{number:02}-{command[0]}")
        if status and number == 0:
            break
    return time.perf_counter() - begin


def _run(command: Command, side: Side, places: Places, folder: Path, name: str) -> int:
    """Runs a command and writes down its status beside what it printed. Returns the status.

    Of a command that succeeds, what libraries write to stderr is of no concern.
    """
    output = folder / _SAID / name
    status = side.run([places.fill(word) for word in command], folder, output)
    output.with_suffix(".status").write_text(f"{status}\n")
    if not status:
        output.with_suffix(".stderr").unlink()
    return status


# -------------------------------------------------------------------------------------- the cache


def kept(case: Case, side: Side, places: Places, cache: Path) -> tuple[Path, float]:
    """The folder that the earlier commit makes of a case, and the seconds that took.

    It is made only where the cache has none of these commands, inputs and packages.
    """
    folder = cache / "outputs" / f"{case.name}-{_key(case, places)}"
    seconds = folder.with_suffix(".seconds")
    if not seconds.exists():
        new = folder.with_suffix(f".{os.getpid()}")
        took = make(case, side, places, new)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
        seconds.write_text(f"{took}\n")
    return folder, float(seconds.read_text())


def _key(case: Case, places: Places) -> str:
    """A hash of all that the output of a case depends on, chatdata itself aside."""
    text = json.dumps([case.text, case.commands()])
    inputs = [_digest(Path(places.fill(name))) for name in sorted(set(_PLACE.findall(text)))]
    return _short(json.dumps([places.fill(text), inputs, _packages()]).encode())


@functools.cache
def _digest(path: Path) -> str:
    """A hash of a file, or of all files in a folder."""
    if path.is_dir():
        files = sorted(entry for entry in path.rglob("*") if entry.is_file())
        return _short("".join(f"{entry.name} {_digest(entry)}\n" for entry in files).encode())
    return _short(path.read_bytes()) if path.exists() else "none"


@functools.cache
def _packages() -> list[str]:
    """The versions of Python and of all packages but chatdata."""
    names = {
        package.name: package.version
        for package in metadata.distributions()
        if package.name != "chatdata"
    }
    return [sys.version, *sorted(f"{name} {version}" for name, version in names.items())]


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


# ------------------------------------------------------------------------------------- comparing


def _is_for_people(path: Path) -> bool:
    """Whether a file is what a command printed for people, whose words may be improved."""
    if path.parent.name != _SAID or path.suffix == ".status":
        return False
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return "verify" in path.name  # its JSON holds sentences


def differences(before: Path, after: Path) -> Iterator[tuple[str, str]]:
    """Yields (file, what differs) between two folders; what was printed comes first."""
    ours, theirs = _files(before), _files(after)
    for name in sorted({*ours, *theirs}, key=lambda name: (not name.startswith(_SAID), name)):
        if name not in theirs:
            yield name, f"{name}: no longer written"
        elif name not in ours:
            yield name, f"{name}: not written before"
        elif (old := _bytes(before / name)) != (new := _bytes(after / name)):
            yield name, f"{name}: {_first(before / name, after / name, old, new)}"


def _files(folder: Path) -> set[str]:
    """The files and folders below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _bytes(path: Path) -> bytes:
    """The bytes of a file but for chatdata's own version; of a folder none."""
    if path.is_dir():
        return b""
    data = path.read_bytes()
    version = _OWN_VERSION.get(path.name)
    return version.sub(b"", data) if version else data


def _first(before: Path, after: Path, old: bytes, new: bytes) -> str:
    """Where two files differ first: a column, a key, a line or a byte."""
    if before.suffix == ".parquet":
        return _first_column(before, after)
    try:
        key = _first_key(json.loads(old), json.loads(new), "")
    except ValueError:
        return _first_line(old, new)
    return key or "the same values, written otherwise"


def _first_column(before: Path, after: Path) -> str:
    """The first column that differs between two Parquet files, and its first row that does."""
    old, new = pq.read_table(before), pq.read_table(after)
    if old.schema != new.schema:
        return f"columns {old.schema.names} are now {new.schema.names}, or of other types"
    if old.num_rows != new.num_rows:
        return f"{old.num_rows} rows are now {new.num_rows}"
    for name in old.schema.names:
        if not old[name].equals(new[name]):
            pairs = zip(old[name].to_pylist(), new[name].to_pylist(), strict=True)
            row = next((i for i, (left, right) in enumerate(pairs) if left != right), None)
            return f"column {name}, row {row}"
    return "the same rows, written otherwise"


def _first_key(old: Any, new: Any, where: str) -> str | None:
    """The first key at which two values of JSON differ, with the values; None where none does."""
    if isinstance(old, dict) and isinstance(new, dict):
        if list(old) != list(new):
            return f"{where or 'top'}: keys {_brief(list(old))} are now {_brief(list(new))}"
        nested = (_first_key(old[key], new[key], f"{where}.{key}".lstrip(".")) for key in old)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        nested = (
            _first_key(before, after, f"{where}[{number}]") for number, (before, after) in pairs
        )
    else:
        is_same = old == new and type(old) is type(new)
        return None if is_same else f"{where or 'value'}: {_brief(old)} is now {_brief(new)}"
    return next((text for text in nested if text), None)


def _first_line(old: bytes, new: bytes) -> str:
    """The first line that differs between two texts."""
    pair = (data.decode(errors="backslashreplace").split("\n") for data in (old, new))
    lines, others = pair
    number = next(
        (
            at
            for at, (before, after) in enumerate(zip(lines, others, strict=False))
            if before != after
        ),
        min(len(lines), len(others)) - 1,
    )
    return f"line {number + 1}: {_brief(lines[number])} is now {_brief(others[number])}"


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


# ---------------------------------------------------------------------------------------- running


def judge(
    case: Case, before: Side, after: Side, places: Places, cache: Path, work: Path
) -> Outcome:
    """Makes a case with both sides and compares them. What differs is left to look at in `work`."""
    old, seconds = kept(case, before, places, cache)
    new = work / case.name
    took = make(case, after, places, new)
    printed, different = [], []
    for name, text in differences(old, new):
        (printed if _is_for_people(new / name) else different).append(text)
    if different:
        more = f" (and {len(different) - 1} more files)" if len(different) > 1 else ""
        return Outcome(
            case, "DIFFERENT", f"{different[0]}{more}\n    {old}\n    {new}", seconds, took
        )
    is_refused, problem = _refusal(new)
    shutil.rmtree(new)
    if is_refused and not case.refused:
        return Outcome(case, "NOT BUILT", problem, seconds, took)
    if case.refused and not is_refused:
        return Outcome(case, "NOT REFUSED", "", seconds, took)
    detail = f"{problem} [printed otherwise: {printed[0]}]" if printed else problem
    return Outcome(case, "same refusal" if is_refused else "same", detail.strip(), seconds, took)


def _refusal(folder: Path) -> tuple[bool, str]:
    """Whether the build of a case was refused, and the first line that says why."""
    stderr = next(iter(sorted((folder / _SAID).glob("00-*.stderr"))), None)
    if stderr is None:
        return False, ""
    lines = stderr.read_text(encoding="utf-8", errors="replace").splitlines()
    return True, next((line for line in lines if line.startswith("Error")), "".join(lines[-1:]))


def chosen(only: Sequence[str], large: bool) -> list[Case]:
    """The cases whose names match a pattern, large ones where they are asked for."""
    names = [case.name for case in _matrix.CASES]
    assert len(set(names)) == len(names), "two cases have one name"
    return [
        case
        for case in _matrix.CASES
        if (large or not case.large)
        and (not only or any(fnmatch(case.name, f"*{pattern}*") for pattern in only))
    ]


@click.command()
@click.option("--before", default="b78d2ec", show_default=True, metavar="COMMIT")
@click.option(
    "--data",
    envvar="CHATDATA_REAL_DATA",
    required=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="The folder of real data. [$CHATDATA_REAL_DATA]",
)
@click.option(
    "--dump",
    envvar="CHATDATA_SHAREGPT",
    type=click.Path(exists=True, resolve_path=True, path_type=Path),
    help="The ShareGPT dump, for --large. [$CHATDATA_SHAREGPT]",
)
@click.option(
    "--cache",
    type=click.Path(resolve_path=True, path_type=Path),
    help="Where the commit and its outputs are kept. [chatdata-same-bytes/COMMIT, a temporary one]",
)
@click.option("--large", is_flag=True, help="Build the dump too.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Cases whose name holds this.")
@click.option("--list", "as_list", is_flag=True, help="Print the cases and stop.")
@click.option("--jobs", default=2, show_default=True, help="Cases at a time.")
def main(
    before: str,
    data: Path,
    dump: Path | None,
    cache: Path | None,
    large: bool,
    only: tuple[str, ...],
    as_list: bool,
    jobs: int,
) -> None:
    """Compares what COMMIT and the working tree make of the same recipes, file by file.

    Ends with status 1 where a byte differs, or where a build fails that should not.
    """
    cases = chosen(only, large)
    if as_list:
        for case in cases:
            print(case.name)
        return
    if large and dump is None:
        raise click.UsageError("--large needs --dump, or CHATDATA_SHAREGPT.")
    commit = _sides.resolve(before)
    cache = cache or Path(tempfile.gettempdir()).resolve() / "chatdata-same-bytes" / commit
    cache.mkdir(parents=True, exist_ok=True)
    places = Places(data, dump, _matrix.carriers(data, cache / "tokenizers"))
    old, new = _sides.earlier(commit, cache / "venv"), _sides.working_tree()
    work = Path(tempfile.mkdtemp(prefix="working-tree-", dir=cache))
    run = functools.partial(judge, before=old, after=new, places=places, cache=cache, work=work)
    with contextlib.closing(old), contextlib.closing(new), ThreadPoolExecutor(jobs) as pool:
        outcomes = list(map(_told, pool.map(run, cases)))
    with contextlib.suppress(OSError):  # where something is left to look at
        work.rmdir()
    _summary(outcomes)


def _told(outcome: Outcome) -> Outcome:
    """Prints the line of a case. Returns what it was given."""
    name, seconds = outcome.case.name, f"{outcome.before:6.1f} s {outcome.after:6.1f} s"
    print(f"{outcome.verdict:<12} {seconds}  {name:<30} {outcome.detail}".rstrip(), flush=True)
    return outcome


def _summary(outcomes: Sequence[Outcome]) -> None:
    """Prints how many cases came to which verdict. Exits with 1 where one is no good."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    total = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
    took = [sum(getattr(result, side) for result in outcomes) for side in ("before", "after")]
    print(f"{len(outcomes)} cases: {total}; {took[0]:.0f} s before, {took[1]:.0f} s after")
    if set(counts) - {"same", "same refusal"}:
        sys.exit(1)


if __name__ == "__main__":
    main()
