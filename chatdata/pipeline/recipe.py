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
forget: ids.txt         # files of ids of conversations that are taken out for good
mix: {by: tokens, max_epochs: 4}
keep: [oasst1/QWJhYvA]  # ids of messages and conversations that no filter drops
split: {test_percent: 10}
render: {template: starchat, tokenizer: bytes, max_tokens: 2048}
pack: {max_tokens: 2048}
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from chatdata import sources
from chatdata.core import template_variables
from chatdata.core.config import Strict, Word, nearest
from chatdata.core.constants import MOST_TOKENS
from chatdata.core.hashing import sha256_json
from chatdata.pipeline import entries, python_code
from chatdata.pipeline.entries import PYTHON, Known
from chatdata.pipeline.python_code import Code
from chatdata.render.options import Render
from chatdata.sources.fields import Fields
from chatdata.steps import cleaning, phones
from chatdata.steps.cleaning import CLEANERS, Step
from chatdata.steps.filtering import Drop
from chatdata.steps.filters import FILTERS
from chatdata.steps.mixing import Mix
from chatdata.steps.redact import Redact
from chatdata.steps.threads import Threads

_ORDER = ("message", "conversation", "corpus")
_SEMVER = r"^\d+\.\d+\.\d+$"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class PythonRecords(Strict):
    """A function that reads the files of a source, and the SHA-256 of its file."""

    function: str = Field(
        description="The file and its function that makes the records.",
        examples=["reader.py:records"],
    )
    sha256: str | None = Field(
        default=None, description="The SHA-256 of that file, which a build fills in."
    )


class SourceOptions(Strict):
    """Where a source's files are: in a Hub repository at a revision, or local.

    `format` names the source of `sources.names()` that reads the files; the key of the recipe is
    the format where the recipe names none. Conversations of several sources are mixed by `weight`,
    a share relative to the shares of the rest, and limited to `cap` of what `mix` measures; a
    source with a cap of 0 is left out of the recipe. `variables` names, by variable of a chat
    template, the key of a record from which the value for its conversation comes. `strict_keys`
    refuses files with keys that the source does not read. `fields` says where the parts of a
    conversation stand.
    """

    format: str
    repo: Word | None = None
    revision: Word | None = None
    files: list[Word] = Field(default=[])
    name: str | None = Field(default=None, pattern=_NAME)  # in the `source` column and in ids
    weight: float | None = Field(default=None, gt=0)
    cap: int | None = Field(default=None, ge=0)
    license: Word | None = None  # of the source
    variables: dict[str, Word] = Field(default={})
    strict_keys: bool = False
    fields: Fields | None = None
    python: PythonRecords | None = None  # makes the records that `format` reads

    @field_validator("variables")
    @classmethod
    def _names_are_free(cls, value: dict[str, str]) -> dict[str, str]:
        if name := template_variables.reserved(value):
            raise ValueError(f"'{name}' is not for variables; transformers gives it a meaning")
        return value

    @model_validator(mode="after")
    def _is_pinned(self) -> SourceOptions:
        if self.repo and not self.revision:
            raise ValueError(
                f"repo '{self.repo}' needs a `revision`, the commit to read; a branch moves"
            )
        if self.revision and not self.repo:
            raise ValueError(
                f"revision '{self.revision}' is of a `repo`, and none is named; name it, or leave "
                "revision out"
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

    repo: Word | None = None
    license: Word | None = None


class Recipe(Strict):
    """A recipe, its names and options checked, every default written out."""

    name: str = Field(pattern=_NAME)
    version: str = Field(pattern=_SEMVER)
    about: str = ""
    source: dict[str, SourceOptions]
    clean: list[dict[str, dict[str, Any]]] = Field(default=[])
    redact: Redact | None = None
    threads: Threads = Threads()
    drop: list[dict[str, dict[str, Any]]] = Field(default=[])
    mix: Mix | None = None
    forget: list[Word] = Field(default=[])  # files of ids that are taken out
    keep: list[Word] = Field(default=[])  # ids that no filter drops
    split: Split | None = None
    render: Render | None = None
    pack: Pack | None = None
    publish: Publish | None = None
    max_dropped: float = Field(default=0.5, ge=0, le=1)

    _code: Code = PrivateAttr(default_factory=dict)  # that the recipe may run

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_text(cls, value: Any) -> Any:
        if isinstance(value, float | int):
            raise ValueError(f"{value} is a number; write three parts, for example 1.0.0")
        return value

    @field_validator("threads", mode="before")
    @classmethod
    def _threads_in_short(cls, value: Any) -> Any:
        """Reads `all_leaves`, `{top_k: 2}` and `{policy: {top_k: 2}}` as options of `threads`."""
        if isinstance(value, str):
            return {"policy": value}
        if isinstance(value, Mapping) and isinstance(value.get("policy"), Mapping):
            value = {**value, **value["policy"], "policy": "top_k"}
        if isinstance(value, Mapping) and "top_k" in value:
            return {"policy": "top_k", **value}
        return {} if value is None else value

    @field_validator("source", mode="before")
    @classmethod
    def _source_is_known(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, Mapping) or not value:
            raise ValueError("name at least one source, for example `source: {oasst: {...}}`")
        read = {
            name: _with_function(_with_format(str(name), options or {}), _code(info))
            for name, options in value.items()
            if not (isinstance(options, Mapping) and options.get("cap") == 0)
        }
        if not read:
            raise ValueError("every source has a cap of 0, so that nothing is read; raise a cap")
        return read

    @field_validator("clean", mode="before")
    @classmethod
    def _clean_is_known(cls, value: Any, info: ValidationInfo) -> Any:
        python = functools.partial(python_code.entry, code=_code(info), kind="cleaner")
        known = Known("cleaner", CLEANERS, lambda name: CLEANERS[name].options, python)
        return entries.parse(value, known)

    @field_validator("drop", mode="before")
    @classmethod
    def _drop_is_known(cls, value: Any, info: ValidationInfo) -> Any:
        python = functools.partial(python_code.entry, code=_code(info), kind="filter")
        known = Known("filter", FILTERS, lambda name: FILTERS[name].recipe_model(), python)
        listed = entries.parse(value, known)
        drops = _drops(listed, _code(info))
        units = [(drop.filter.name, drop.filter.unit) for drop in drops]
        for (first, unit), (second, later) in itertools.pairwise(units):
            if _ORDER.index(unit) > _ORDER.index(later):
                raise ValueError(
                    f"'{second}' looks at a {later} and '{first}' at a {unit}; "
                    f"list '{second}' first, since it runs first"
                )
        return listed

    @field_validator("forget", mode="before")
    @classmethod
    def _forget_in_short(cls, value: Any) -> Any:
        """Reads the name of a single file as a list of it."""
        return [value] if isinstance(value, str) else value or []

    @field_validator("keep")
    @classmethod
    def _keep_names_once(cls, value: list[str]) -> list[str]:
        for id, number in Counter(value).items():
            if number > 1:
                raise ValueError(f"'{id}' is named {number} times; name it once")
        return value

    @model_validator(mode="after")
    def _keeps_code(self, info: ValidationInfo) -> Recipe:
        self._code = _code(info)
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        columns = {
            column
            for options in self.source.values()
            for column in sources.get(options.format).SCHEMA
        }
        self._weighs_all_or_none()
        self._mixes_what_it_has()
        self._reads_variables()
        for drop in _drops(self.drop, self._code):
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
            raise ValueError(
                f"threads: top_k {top_k} has no meaning with policy {policy}; leave it out"
            )
        self._threads_what_it_reads()
        return self

    @model_validator(mode="after")
    def _names_countries(self) -> Recipe:
        """The recipe with the countries of phone numbers filled in, by the languages it allows."""
        names = self._countries()
        options = self.redact
        if options is not None and options.countries is None:
            options = options.model_copy(update={"countries": names})
        drop = [{name: _with_countries(opts, names) for name, opts in e.items()} for e in self.drop]
        return self.model_copy(update={"redact": options, "drop": drop})

    def _countries(self) -> phones.Countries:
        drops = _drops(self.drop, self._code)
        ours = [drop for drop in drops if drop.filter.name in FILTERS]
        allowed = [drop.options["allow"] for drop in ours if "allow" in drop.options]
        return phones.countries(allowed[0]) if allowed else "all"

    def _threads_what_it_reads(self) -> None:
        """Raises ValueError for an option of `threads` that no source has a use for."""
        columns = {name for o in self.source.values() for name in sources.get(o.format).SCHEMA}
        if "parent" not in columns:
            self._refuse_set("policy", "which chooses replies of a tree", "no source has trees")
            words = "which limits the conversations of a tree"
            self._refuse_set("max_paths", words, "no source has trees")
        if "rank" not in columns and self.threads.pairs is not None:
            raise ValueError(
                f"threads.pairs is {self.threads.pairs}, which are pairs of ranked answers of "
                f"trees, and source '{', '.join(self.source)}' has no ranks; leave it out, or read "
                "files of preferences with source `auto`"
            )
        if self.threads.pairs is None:
            self._refuse_set("margin", "which is of pairs", "`threads.pairs` is not set")
        if "position" not in columns:
            lists = "the sources have trees"
            self._refuse_set("repeated_role", "which is for lists of messages", lists)
            self._refuse_set("join", "which are those of lists of messages", lists)

    def _refuse_set(self, option: str, means: str, why: str) -> None:
        """Raises ValueError where an option of `threads` is set, of which no source has a use."""
        value = getattr(self.threads, option)
        if value != getattr(Threads(), option):
            raise ValueError(f"threads.{option} is {value}, {means}, and {why}; leave it out")

    def _weighs_all_or_none(self) -> None:
        names = [options.name or key for key, options in self.source.items()]
        if len(set(names)) < len(names):
            raise ValueError("two sources have the same `name`; give each source a name")
        without = [name for name, options in self.source.items() if options.weight is None]
        if without and len(without) < len(self.source):
            raise ValueError(
                f"source '{without[0]}' has no weight, but others have; give each a weight, or "
                "use `cap`, which limits a single source"
            )

    def _mixes_what_it_has(self) -> None:
        """Raises ValueError for an option of `mix` that has no meaning in the recipe."""
        if self.mix is None:
            return
        mix, options = self.mix, list(self.source.values())
        if mix.by != "conversations" and self.render is None:
            raise ValueError(
                f"mix.by is {mix.by}, and nothing is rendered, so that no tokens can be counted; "
                "name a tokenizer, for example --set render.tokenizer=PATH (or bytes), or mix by "
                "conversations"
            )
        has_weights = any(of_source.weight is not None for of_source in options)
        if mix.temperature is not None and has_weights:
            raise ValueError(
                f"mix.temperature is {mix.temperature:g}, which makes weights of the sizes, and "
                "the sources have weights; leave either out"
            )
        if mix.max_epochs > 1 and not has_weights and mix.temperature is None:
            raise ValueError(
                f"mix.max_epochs is {mix.max_epochs:g}, and without weights or a temperature no "
                "source is taken more than once; give each source a weight, or leave it out"
            )

    def _reads_variables(self) -> None:
        for name, options in self.source.items():
            if options.fields and not sources.reads(options.format, "fields"):
                raise ValueError(
                    f"source '{name}' has fields, and '{options.format}' has a shape of its own; "
                    "read it with `format: auto`, or leave them out"
                )
            if options.variables and not sources.reads(options.format, "variables"):
                raise ValueError(
                    f"source '{name}' has variables, and records of '{options.format}' bring none "
                    "along; leave them out, or name them for all rows in render.variables"
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
                f"pack.max_tokens is {self.pack.max_tokens} and render.max_tokens is "
                f"{'not set' if longest is None else longest}; rows must fit into a bin, so set "
                f"render.max_tokens to {self.pack.max_tokens} or less"
            )

    def steps(self) -> list[Step]:
        """The cleaners in the order in which they run. Raises ConfigError as `drops` does."""
        return [
            _step(name, options, self._code)
            for entry in self.clean
            for name, options in entry.items()
        ]

    def drops(self) -> list[Drop]:
        """The filters in the order in which they run. Raises ConfigError where one of them is a
        function of a file that may not be run."""
        return [
            _drop(name, options, self._code)
            for entry in self.drop
            for name, options in entry.items()
        ]

    def code(self) -> Code:
        """The texts of the Python files that the recipe may run, by their names."""
        return self._code

    def resolved(self) -> dict[str, Any]:
        """The recipe as plain values, every default written out."""
        return self.model_dump(mode="json")

    def drop_with_files(
        self, rename: Callable[[str, Sequence[str]], list[str]]
    ) -> list[dict[str, dict[str, Any]]]:
        """The recipe's `drop` with new names for the files in its options.

        `rename` takes a filter's name and the names in an option, and returns the new names.
        """

        def renamed(name: str, options: dict[str, Any]) -> dict[str, Any]:
            if name == PYTHON:
                return options
            files = {key: rename(name, options[key]) for key in FILTERS[name].files}
            return {**options, **files}

        return [
            {name: renamed(name, options) for name, options in entry.items()} for entry in self.drop
        ]

    def hash(self) -> str:
        """A hash of all values of the recipe."""
        return sha256_json(self.resolved())


def _with_format(name: str, options: Any) -> Any:
    """The options of a source, with what reads its files."""
    if not isinstance(options, Mapping):
        return options
    format = options.get("format", "auto" if options.get(PYTHON) else name)
    if not sources.is_known(format):
        means = "" if "format" in options else " A source of another name says its `format`."
        raise ValueError(
            f"unknown source '{format}'; {nearest(str(format), sources.known())}{means}"
        )
    return {**options, "format": format}


def _with_function(options: Any, code: Code) -> Any:
    """The options of a source, with the SHA-256 of the file of its function, where it has any."""
    if not isinstance(options, Mapping) or not options.get(PYTHON):
        return options
    return {**options, PYTHON: python_code.source_entry(options[PYTHON], code)}


def _with_countries(options: dict[str, Any], names: phones.Countries) -> dict[str, Any]:
    """The options of a filter, with countries where it looks for phone numbers of none yet."""
    is_open = options.get("countries", names) is None
    return {**options, "countries": names} if is_open else options


def _code(info: ValidationInfo) -> Code:
    """The code that a recipe may run, which comes with it where a user named the recipe."""
    code: Code = (info.context or {}).get("code", {})
    return code


def _drops(listed: Sequence[Mapping[str, dict[str, Any]]], code: Code) -> list[Drop]:
    """The filters of a list, but for functions that may not be run."""
    items = [(name, options) for entry in listed for name, options in entry.items()]
    return [_drop(*item, code) for item in items if item[0] != PYTHON or code]


def _step(name: str, options: dict[str, Any], code: Code) -> Step:
    """The cleaner of an entry, with its options."""
    if name != PYTHON:
        return cleaning.step(name, options)
    cleaner = python_code.cleaner_of(options, code)
    return cleaning.step_of(cleaner, python_code.given_options(options))


def _drop(name: str, options: dict[str, Any], code: Code) -> Drop:
    """The filter of an entry, with its options and what becomes of the conversation."""
    if name == PYTHON:
        given, on_removed = python_code.given_options(options), options.get("on_removed", "drop")
        return Drop(python_code.filter_of(options, code), given, on_removed)
    given = {key: value for key, value in options.items() if key != "on_removed"}
    return Drop(FILTERS[name], given, options.get("on_removed", "drop"))
