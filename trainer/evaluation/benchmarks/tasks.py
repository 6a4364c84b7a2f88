"""The tasks of a run: which are known, with how many examples, and loaded by lm-eval."""

from __future__ import annotations

import contextlib
import difflib
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import lm_eval
from lm_eval.tasks import TaskManager

from chatdata.core.errors import ConfigError
from chatdata.core.hashing import sha256_json
from chatdata.hub import settings
from trainer.evaluation.benchmarks import plain_files

SEED = 1234  # lm-eval's, by which it draws examples


class Known(NamedTuple):
    """How the Open LLM Leaderboard (its first version) ran a task."""

    shots: int
    metric: str
    folder: str  # of lm_eval/tasks


LEADERBOARD = {
    "arc_challenge": Known(25, "acc_norm", "arc"),
    "hellaswag": Known(10, "acc_norm", "hellaswag"),
    "mmlu": Known(5, "acc", "mmlu/default"),
    "truthfulqa_mc2": Known(0, "acc", "truthfulqa"),
    "winogrande": Known(5, "acc", "winogrande"),
    "gsm8k": Known(5, "exact_match", "gsm8k"),
}
# Tasks of other settings whose files are known, so that not all of lm-eval's have to be read.
_FOLDERS = {"arc_easy": "arc", "truthfulqa_mc1": "truthfulqa"}


class Loaded(NamedTuple):
    """A task of a run: what lm-eval needs, and what tells its data from others."""

    name: str
    tasks: dict[str, Any]  # lm-eval's TaskDict
    shots: dict[str, int]
    data: str  # a hash of all items, and of all examples that may be drawn
    notes: list[str]  # what a reader should know of them


def load(
    names: Sequence[str], shots: Mapping[str, int | None], data: Path | None, out: Path
) -> list[Loaded]:
    """The tasks `names`, from lm-eval's own or from the folder `data`.

    `shots` has the number of examples of a task; None is the task's own, or else the leaderboard's.
    Plain files of benchmarks become a folder of tasks in `out`. Raises ConfigError for an unknown
    task, for data that cannot be had, and for more examples than there are.
    """
    if data is not None:
        return _load_local(names, shots, data, out)
    manager = _manager(names)
    _check_known(names, manager.all_tasks, "lm-eval")
    _check_network(names)
    return [_load(name, shots[name], manager, []) for name in names]


def _load_local(
    names: Sequence[str], shots: Mapping[str, int | None], data: Path, out: Path
) -> list[Loaded]:
    if not data.is_dir():
        raise ConfigError(f"'{data}' is no folder of tasks; --data needs one.")
    data, made = data.resolve(), (out / "tasks").resolve()  # tasks are loaded from their folder
    manager = TaskManager(include_path=str(data), include_defaults=False)
    missing = [name for name in names if name not in manager.all_tasks]
    if missing and set(missing) <= set(plain_files.names(data)):
        plain_files.write(data, missing, made)
        paths = [str(data), str(made)]
        manager = TaskManager(include_path=paths, include_defaults=False)
    _check_known(names, manager.all_tasks, f"'{data}'")
    files = sorted(path.relative_to(data).as_posix() for path in data.rglob("*.py"))
    code = [f"tasks of this folder may run its code: {', '.join(files)}"] if files else []
    with tempfile.TemporaryDirectory() as cache, _cache_of_datasets(Path(cache)):
        loaded = []
        for name in names:
            home = made if name in missing else data
            with _inside(home):
                loaded.append(_load(name, shots[name], manager, [] if name in missing else code))
    return loaded


def _manager(names: Sequence[str]) -> TaskManager:
    """The index of lm-eval's tasks: of known names alone, for reading all takes ten seconds."""
    home = Path(lm_eval.__file__).parent / "tasks"
    folders = {name: known.folder for name, known in LEADERBOARD.items()} | _FOLDERS
    if set(names) <= set(folders):
        paths = [str(home / folders[name]) for name in names]
        return TaskManager(include_path=paths, include_defaults=False)
    return TaskManager()


def _check_known(names: Sequence[str], known: Sequence[str], where: str) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3) or sorted(known)[:8]
            raise ConfigError(
                f"{where} has no task '{name}'; there is {', '.join(near) or 'none'}."
            )


def _check_network(names: Sequence[str]) -> None:
    """Raises ConfigError at once where the Hub cannot be reached: its client tries for minutes."""
    if settings.is_offline():
        return
    request = urllib.request.Request(settings.endpoint(), method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError:
        return
    except OSError as error:
        raise ConfigError(
            f"the data of {', '.join(names)} is on the Hub, and {settings.endpoint()} cannot be "
            f"reached ({getattr(error, 'reason', error)}); give local files by --data DIR "
            "(docs/benchmarks.md), or set HF_HUB_OFFLINE=1 for what was downloaded before."
        ) from None


def _load(name: str, shots: int | None, manager: TaskManager, notes: list[str]) -> Loaded:
    try:
        loaded: dict[str, Any] = dict(manager.load([name]))
    except (OSError, KeyError, datasets.exceptions.DatasetsError) as error:
        words = str(error).strip().splitlines()
        raise ConfigError(
            f"the data of '{name}' cannot be loaded ({words[0] if words else error!r}); give local "
            "files by --data DIR (docs/benchmarks.md)."
        ) from None
    usual = LEADERBOARD[name].shots if name in LEADERBOARD else 0
    counts = {key: _set_shots(task, shots, usual) for key, task in loaded["tasks"].items()}
    wanted = usual if shots is None else shots
    short = [key for key, task in loaded["tasks"].items() if _is_short(task, wanted)]
    if short:
        notes = [*notes, f"of the usual {wanted} examples fewer are there: {', '.join(short)}"]
    hashes = {key: _hash(task) for key, task in loaded["tasks"].items()}
    return Loaded(name, loaded, counts, sha256_json(hashes), notes)


def _set_shots(task: Any, shots: int | None, usual: int) -> int:
    """Sets the number of examples, which is returned: what was asked for, or else the task's own
    number, or else the usual one, as far as there are so many. A task that says 0 has its examples
    in its question, and keeps 0, as lm-eval has it."""
    default = task.get_config("num_fewshot")
    count = default if default == 0 or (shots is None and default) else shots
    if count is None:
        count = min(usual, _pool(task)) if usual else 0
    elif count and count > (pool := _pool(task)):
        raise ConfigError(
            f"'{task.config.task}' is to have {count} examples in front, and {pool} are there; "
            "lower --shots."
        )
    task.set_config(key="num_fewshot", value=count)
    return int(count)


def _pool(task: Any) -> int:
    """How many examples there are for a question."""
    config = task.config
    asked = config.test_split if task.has_test_docs() else config.validation_split
    return len(list(task.fewshot_docs())) - (config.fewshot_split == asked)


def _is_short(task: Any, wanted: int) -> bool:
    """Whether a task has all examples that there are, and not as many as are usual."""
    count = task.get_config("num_fewshot")
    return 0 < count < wanted and count == _pool(task)


def _hash(task: Any) -> str:
    return sha256_json([str(list(task.eval_docs)), str(list(task.fewshot_docs()))])


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Lets names of data files be those of the folder's, where the folder has them."""
    names: set[str] = set()
    for path in folder.rglob("*.y*ml"):
        names |= set(re.findall(r"[\w./-]+\.(?:jsonl?|csv|parquet)(?:\.gz)?", path.read_text()))
    if any((folder / name).is_file() for name in names if not Path(name).is_absolute()):
        with contextlib.chdir(folder):
            yield
    else:
        yield


@contextlib.contextmanager
def _cache_of_datasets(folder: Path) -> Iterator[None]:
    """Keeps the tables that datasets makes of local files out of the home folder."""
    before, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, folder
    try:
        yield
    finally:
        datasets.config.HF_DATASETS_CACHE = before
