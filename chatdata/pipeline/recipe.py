"""Recipes: what a dataset is made from and how, as one strict YAML file.

name: oasst1-en
version: 1.0.0
source: {oasst: {repo: OpenAssistant/oasst1, revision: <commit>, files: [data/*.parquet]}}
clean: [invisible, white_space: {max_blank_lines: 2}]
redact: {kinds: [key, private_key, password, email, phone, card]}
threads: {policy: all_leaves, end: assistant}
drop:
  - deleted
  - wrong_language: {allow: [en], decide: declared, on_removed: cut}
split: {test_percent: 10}
render: {template: starchat, tokenizer: bytes, max_tokens: 2048}
pack: {max_tokens: 2048}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from chatdata import sources
from chatdata.core import config
from chatdata.core.config import Strict, nearest
from chatdata.core.constants import MOST_TOKENS
from chatdata.core.errors import ConfigError
from chatdata.core.hashing import sha256_json
from chatdata.render.options import Render
from chatdata.sources import EMBEDDED
from chatdata.steps.clean import CLEANERS, Cleaner, Step
from chatdata.steps.filtering import Drop, Filter, OnRemoved
from chatdata.steps.filters import FILTERS
from chatdata.steps.redact import Redact
from chatdata.steps.threads import Threads

_ORDER = ("message", "conversation", "corpus")
_SEMVER = r"^\d+\.\d+\.\d+$"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class SourceOptions(Strict):
    """Where a source's files are: in a Hub repository at a revision, or local.

    `format` is what reads them: the source's own name where it is one of `sources.names()`.
    Conversations of several sources are mixed by `weight`, a share relative to those of the
    others, and limited to `cap` of them; a source with a cap of 0 is left out of the recipe.
    """

    format: str
    repo: str | None = None
    revision: str | None = None
    files: list[str] = Field(default=[])
    name: str | None = Field(default=None, pattern=_NAME)  # in the `source` column and in ids
    weight: float | None = Field(default=None, gt=0)
    cap: int | None = Field(default=None, ge=0)
    license: str | None = None  # under which its makers give it

    @model_validator(mode="after")
    def _is_pinned(self) -> SourceOptions:
        if self.repo and not self.revision:
            raise ValueError(
                f"repo '{self.repo}' needs a `revision`, the commit to read; a branch moves"
            )
        return self


class Split(Strict):
    """How many percent of the groups are kept for testing."""

    test_percent: float = Field(ge=0, le=100)


class Pack(Strict):
    """How many tokens a bin of packed rows holds."""

    max_tokens: int = Field(ge=1, le=MOST_TOKENS)


class Publish(Strict):
    """Where the dataset goes, and under which licence."""

    repo: str | None = None
    license: str | None = None


class Recipe(Strict):
    """A recipe, checked."""

    name: str = Field(pattern=_NAME)
    version: str = Field(pattern=_SEMVER)
    about: str = ""
    source: dict[str, SourceOptions]
    clean: list[dict[str, dict[str, Any]]] = Field(default=[])
    redact: Redact | None = None
    threads: Threads = Threads()
    drop: list[dict[str, dict[str, Any]]] = Field(default=[])
    split: Split | None = None
    render: Render | None = None
    pack: Pack | None = None
    publish: Publish | None = None
    max_dropped: float = Field(default=0.5, ge=0, le=1)

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_text(cls, value: Any) -> Any:
        if isinstance(value, float | int):
            raise ValueError(f"{value} is a number; write three parts, for example 1.0.0")
        return value

    @field_validator("threads", mode="before")
    @classmethod
    def _threads_in_short(cls, value: Any) -> Any:
        """Takes `all_leaves`, `{top_k: 2}` and `{policy: {top_k: 2}}` for what they mean."""
        if isinstance(value, str):
            return {"policy": value}
        if isinstance(value, Mapping) and isinstance(value.get("policy"), Mapping):
            value = {**value, **value["policy"], "policy": "top_k"}
        if isinstance(value, Mapping) and "top_k" in value:
            return {"policy": "top_k", **value}
        return {} if value is None else value

    @field_validator("source", mode="before")
    @classmethod
    def _source_is_known(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or not value:
            raise ValueError("name at least one source, for example `source: {oasst: {...}}`")
        return {
            name: _with_format(str(name), options or {})
            for name, options in value.items()
            if not (isinstance(options, Mapping) and options.get("cap") == 0)
        }

    @field_validator("clean", mode="before")
    @classmethod
    def _clean_is_known(cls, value: Any) -> Any:
        return _entries(value, CLEANERS, "cleaner")

    @field_validator("drop", mode="before")
    @classmethod
    def _drop_is_known(cls, value: Any) -> Any:
        entries = _entries(value, FILTERS, "filter")
        names = [name for entry in entries for name in entry]
        units = [FILTERS[name].unit for name in names]
        for first, second, later in zip(names, names[1:], units[1:], strict=False):
            if _ORDER.index(FILTERS[first].unit) > _ORDER.index(later):
                raise ValueError(
                    f"'{second}' looks at a {later} and '{first}' at a {FILTERS[first].unit}; "
                    f"list '{second}' first, since it runs first"
                )
        return entries

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        columns = set().union(*(sources.get(own.format).SCHEMA for own in self.source.values()))
        self._weighs_all_or_none()
        for drop in self.drops():
            if missing := drop.filter.needs - columns:
                raise ValueError(
                    f"filter '{drop.filter.name}' needs '{min(missing)}', which source "
                    f"'{', '.join(self.source)}' does not have; leave it out"
                )
        self._packs_what_fits()
        policy, top_k = self.threads.policy, self.threads.top_k
        if policy == "top_k" and (top_k is None or top_k < 1):
            raise ValueError("threads: policy top_k needs a number, for example {top_k: 2}")
        if policy != "top_k" and top_k is not None:
            raise ValueError(f"threads: top_k {top_k} has no meaning with policy {policy}")
        return self

    def _weighs_all_or_none(self) -> None:
        names = [own.name or key for key, own in self.source.items()]
        if len(set(names)) < len(names):
            raise ValueError("two sources have one `name`; give each its own")
        without = [name for name, own in self.source.items() if own.weight is None]
        if without and len(without) < len(self.source):
            raise ValueError(
                f"source '{without[0]}' has no weight and others have; give all a weight, or use "
                "`cap`, which limits one alone"
            )

    def _packs_what_fits(self) -> None:
        """Raises ValueError where a row may be longer than a bin: rows are never cut for it."""
        if self.pack is None:
            return
        if self.render is None:
            raise ValueError("pack needs rows of tokens; add `render`, or leave `pack` out")
        longest = self.render.max_tokens
        if longest is None or longest > self.pack.max_tokens:
            raise ValueError(
                f"pack.max_tokens is {self.pack.max_tokens} and render.max_tokens "
                f"{'is not set' if longest is None else longest}; rows must fit into a bin"
            )

    def steps(self) -> list[Step]:
        """The cleaners in the order in which they run."""
        pairs = [pair for entry in self.clean for pair in entry.items()]
        return [Step(CLEANERS[name], options) for name, options in pairs]

    def drops(self) -> list[Drop]:
        """The filters in the order in which they run."""
        return [_drop(name, options) for entry in self.drop for name, options in entry.items()]

    def resolved(self) -> dict[str, Any]:
        """The recipe as plain values, every default written out."""
        return self.model_dump(mode="json")

    def drop_with_files(
        self, rename: Callable[[str, Sequence[str]], list[str]]
    ) -> list[dict[str, dict[str, Any]]]:
        """The recipe's `drop` with the files in its options renamed.

        `rename` takes a filter's name and the names in one option, and returns the new names.
        """
        return [
            {
                name: {
                    **options,
                    **{key: rename(name, options[key]) for key in FILTERS[name].files},
                }
                for name, options in entry.items()
            }
            for entry in self.drop
        ]

    def hash(self) -> str:
        """A hash of everything the recipe says."""
        return sha256_json(self.resolved())


def _with_format(name: str, options: Any) -> Any:
    """The options of a source, with what reads its files."""
    if not isinstance(options, Mapping):
        return options
    format = options.get("format", name)
    if format not in sources.names():
        means = "" if "format" in options else " A source of another name says its `format`."
        raise ValueError(
            f"unknown source '{format}'; {nearest(str(format), sources.names())}{means}"
        )
    return {**options, "format": format}


def _entries(
    value: Any, table: Mapping[str, Filter] | Mapping[str, Cleaner], kind: str
) -> list[dict[str, dict[str, Any]]]:
    """A list of filters or cleaners, each with all its options written out."""
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list of {kind}s; write [] for none")
    entries = [_entry(item, table, kind) for item in value]
    names = [name for entry in entries for name in entry]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{kind} '{name}' is listed twice")
    return entries


def _entry(
    item: Any, table: Mapping[str, Filter] | Mapping[str, Cleaner], kind: str
) -> dict[str, dict[str, Any]]:
    """One item of a list, a name or a name with options, with all options written out."""
    entry = {item: {}} if isinstance(item, str) else item
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ValueError(f"{item!r} is not a {kind}; write its name, or name: {{option: value}}")
    name, given = next(iter(entry.items()))
    if name not in table:
        raise ValueError(f"unknown {kind} '{name}'; {nearest(str(name), table)}")
    if not isinstance(given or {}, Mapping):
        raise ValueError(f"{name}: {given!r} is not options; write {name}: {{option: value}}")
    own, options = table[name], dict(given or {})
    policy = own.on_removed if isinstance(own, Filter) and own.unit == "message" else None
    known = [*own.options.model_fields, *(["on_removed"] if policy else [])]
    for key in options:
        if key not in known:
            raise ValueError(f"{name}: unknown key '{key}'; {nearest(str(key), known)}")
    if policy is None:
        return {name: _options(own, options)}
    on_removed = _on_removed(name, options.pop("on_removed", policy))
    return {name: {**_options(own, options), "on_removed": on_removed}}


def _on_removed(name: str, value: Any) -> Any:
    if value not in get_args(OnRemoved):
        choices = nearest(str(value), get_args(OnRemoved))
        raise ValueError(f"{name}: on_removed is {value!r}; {choices}")
    return value


def _options(own: Filter | Cleaner, options: dict[str, Any]) -> dict[str, Any]:
    try:
        return own.options.model_validate(options).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            words = f"{own.name} needs `{key}`; write {own.name}: {{{key}: ...}}"
            raise ValueError(words) from None
        problem = f"{own.name}: '{key}' is {first['input']!r}: {first['msg']}"
        raise ValueError(problem) from None


def _drop(name: str, options: dict[str, Any]) -> Drop:
    own = {key: value for key, value in options.items() if key != "on_removed"}
    return Drop(FILTERS[name], own, options.get("on_removed", "drop"))


# ------------------------------------------------------------------------------------ finding


def load(name: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe of this name or path, with `a.b=VALUE` settings applied.

    Raises ConfigError where there is none, or where it says something that is not understood.
    """
    path = find(name)
    values = config.override(config.load_yaml(path), settings)
    recipe = config.parse(Recipe, values, f"recipe '{path.stem}'")
    source = {name: _beside(path, options) for name, options in recipe.source.items()}
    drop = recipe.drop_with_files(lambda _, names: [_nearby(path, name) for name in names])
    return recipe.model_copy(update={"source": source, "drop": drop})


def _nearby(path: Path, name: str) -> str:
    """A file that is named in a recipe: beside it, or else as seen from where one is."""
    beside = path.parent / name
    elsewhere = name.startswith(EMBEDDED) or (Path(name).exists() and not beside.exists())
    return name if elsewhere else str(beside)


def _beside(path: Path, options: SourceOptions) -> SourceOptions:
    """The options of a source, its local files looked for beside the recipe."""
    if options.repo is not None:
        return options
    files = [
        name if name.startswith(EMBEDDED) else str(path.parent / name) for name in options.files
    ]
    return options.model_copy(update={"files": files})


def as_recipe(recipe: Recipe | str | Path) -> Recipe:
    """The recipe itself, or the recipe of this name or path. Raises ConfigError as `load` does."""
    return recipe if isinstance(recipe, Recipe) else load(recipe)


def find(name: str | Path) -> Path:
    """The file of a recipe. Raises ConfigError naming the nearest recipe where there is none."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1 or path.is_dir():
        return path
    known = {file.stem: file for file in shipped()}
    if str(name) not in known:
        raise ConfigError(
            f"there is no recipe '{name}'; {nearest(str(name), known)} "
            "A recipe of your own is named by its path (.yaml)."
        )
    return known[str(name)]


def shipped() -> list[Path]:
    """The recipes that come with chatdata, from the wheel or from a checkout."""
    package = Path(__file__).parent.parent
    folders = [package / "_recipes", package.parent / "recipes" / "data"]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    return sorted(folder.glob("*.yaml"))
