"""The Python files that a recipe names: which of them may be run, and their functions.

A recipe that a user names by its path may name files beside itself. A recipe that came with a
dataset states the SHA-256 of its files, and a file of it runs only where the user names the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chatdata.core import python_files
from chatdata.core.errors import ConfigError, ExtensionError
from chatdata.dataset import manifest
from chatdata.pipeline.entries import PYTHON
from chatdata.steps import functions
from chatdata.steps.clean import Cleaner
from chatdata.steps.filtering import Filter

Code = Mapping[str, str]  # the texts of files by their names, without folders

_LISTS = ("clean", "drop")
_NO_OPTIONS = ("function", "sha256", "on_removed")


def read(values: Mapping[str, Any], recipe: Path, given: Sequence[str] = ()) -> Code:
    """The texts of the Python files that the recipe `recipe`, given as plain values, may run.

    `given` are the files that the user names. Raises ConfigError for a file that the user has to
    name, and for two files of a name; ExtensionError for a file that cannot be read.
    """
    named = {Path(path).name: Path(path) for path in given}
    is_of_dataset = (recipe.parent / manifest.FILE).exists()
    found_at: dict[str, Path] = {}
    for options in _listed(values):
        file, name = Path(_file(options)), Path(_file(options)).name
        if name not in named and (is_of_dataset or "sha256" in options):
            raise ConfigError(_not_run(name))
        path = named.get(name) or recipe.parent / file
        if found_at.setdefault(name, path) != path:
            raise ConfigError(
                f"two Python files have the name '{name}', '{found_at[name]}' and '{path}'; rename "
                "one of them."
            )
    if unused := named.keys() - found_at.keys():
        raise ConfigError(f"--python {named[min(unused)]}: the recipe names no file of this name.")
    return {name: python_files.read(path) for name, path in found_at.items()}


def _not_run(name: str) -> str:
    return (
        f"the recipe came with a dataset and names the Python file '{name}', which is not run "
        f"unless you name it; read the file, then add --python PATH/{name}."
    )


def _listed(values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields the options of each entry that names a function."""
    lists = (values.get(key) for key in _LISTS)
    items = [item for items in lists if isinstance(items, list) for item in items]
    sources = values.get("source")
    for item in [*items, *(sources.values() if isinstance(sources, Mapping) else ())]:
        options = item.get(PYTHON) if isinstance(item, Mapping) else None
        options = {"function": options} if isinstance(options, str) else options
        if isinstance(options, Mapping) and _file(options):
            yield options


def _file(options: Mapping[str, Any]) -> str:
    """The file of a function; nothing where its name is none, which the recipe refuses."""
    try:
        return python_files.parse(options.get("function")).file
    except ValueError:
        return ""


def changed(values: Mapping[str, Any], code: Code) -> Iterator[tuple[str, str, str]]:
    """Yields the name of each file that is not the one a recipe states, with both SHA-256."""
    for name, text in code.items():
        stated = {o.get("sha256") for o in _listed(values) if Path(_file(o)).name == name}
        for digest in sorted(filter(None, stated)):
            if digest != python_files.sha256(text):
                yield name, digest, python_files.sha256(text)


def without_hashes(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a recipe that state no SHA-256 of Python files."""
    lists = {key: [_without(item) for item in values[key]] for key in _LISTS if values.get(key)}
    sources = {name: _without(options) for name, options in values["source"].items()}
    return {**values, **lists, "source": sources}


def _without(item: Any) -> Any:
    if not isinstance(item, Mapping) or not isinstance(item.get(PYTHON), Mapping):
        return item
    return {**item, PYTHON: {k: v for k, v in item[PYTHON].items() if k != "sha256"}}


# ------------------------------------------------------------------------------ their functions


def entry(options: Mapping[str, Any], code: Code, kind: str) -> dict[str, Any]:
    """The options of an entry with every default and the SHA-256 of its file; as they are where the
    text of the file is not known."""
    reference = python_files.parse(options["function"])
    name = Path(reference.file).name
    if name not in code:
        return dict(options)
    digest = python_files.sha256(code[name])
    if options.get("sha256", digest) != digest:
        raise ValueError(
            f"the Python file '{name}' has changed: the recipe states the SHA-256 "
            f"{options['sha256'][:12]}…, and the file has {digest[:12]}…; take "
            "`sha256` out to run it"
        )
    about = {"function": f"{name}:{reference.function}"}
    if kind == "source":
        records_of(about, code)
        return {**about, "sha256": digest}
    thing = filter_of(about, code) if kind == "filter" else cleaner_of(about, code)
    model = thing.recipe_model() if isinstance(thing, Filter) else thing.options
    hidden = _NO_OPTIONS[:2]
    given = {key: value for key, value in options.items() if key not in hidden}
    checked = model.model_validate(given).model_dump(mode="json")
    return {**about, "sha256": digest, **checked}


def source_entry(options: Any, code: Code) -> dict[str, Any]:
    """What `python` of a source says, with the SHA-256 of its file. Raises ValueError for what is
    no function."""
    given = {"function": options} if isinstance(options, str) else options
    if not isinstance(given, Mapping) or not given.keys() <= {"function", "sha256"}:
        raise ValueError(
            f"python is {options!r}; write FILE.py:FUNCTION, such as reader.py:records"
        )
    try:
        return entry({"function": None, **given}, code, "source")
    except ExtensionError as error:
        raise ValueError(str(error).removesuffix(".")) from None


def records_of(options: Mapping[str, Any], code: Code) -> Callable[[Path], Iterable[Any]]:
    """The function of a source: a file to records. Raises ConfigError as `filter_of` does."""
    reference, text = _text(options, code)
    return python_files.function(reference.file, reference.function, text)


def filter_of(options: Mapping[str, Any], code: Code) -> Filter:
    """The filter of a function. Raises ConfigError where its file may not be run."""
    reference, text = _text(options, code)
    function = python_files.function(reference.file, reference.function, text)
    return functions.as_filter(reference.function, function, str(reference), "python")


def cleaner_of(options: Mapping[str, Any], code: Code) -> Cleaner:
    """The cleaner of a function. Raises ConfigError where its file may not be run."""
    reference, text = _text(options, code)
    function = python_files.function(reference.file, reference.function, text)
    return functions.as_cleaner(reference.function, function, str(reference), "python")


def _text(options: Mapping[str, Any], code: Code) -> tuple[python_files.Reference, str]:
    reference = python_files.parse(options["function"])
    if reference.file not in code:
        raise ConfigError(_not_run(reference.file))
    return reference, code[reference.file]


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an entry that its function takes."""
    return {key: value for key, value in options.items() if key not in _NO_OPTIONS}
