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
from chatdata.core.config import Strict, Word, nearest
from chatdata.core.hashing import sha256_json
from chatdata.pipeline import entries, python_code, recipe_rules
from chatdata.pipeline.entries import PYTHON, Known
from chatdata.pipeline.python_code import Code
from chatdata.pipeline.recipe_parts import NAME, Pack, Publish, SourceOptions, Split
from chatdata.render.options import Render
from chatdata.steps import cleaning, phones
from chatdata.steps.cleaning import CLEANERS, Step
from chatdata.steps.filtering import Drop
from chatdata.steps.filters import FILTERS
from chatdata.steps.mixing import Mix
from chatdata.steps.redact import Redact
from chatdata.steps.threads import Threads

_ORDER = ("message", "conversation", "corpus")
_SEMVER = r"^\d+\.\d+\.\d+$"


class Recipe(Strict):
    """A recipe, its names and options checked, every default written out."""

    name: str = Field(pattern=NAME)
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
        recipe_rules.check_weights(self.source)
        recipe_rules.check_mix(self.mix, self.source, self.render)
        recipe_rules.check_variables(self.source)
        recipe_rules.check_filters(_drops(self.drop, self._code), self.source)
        recipe_rules.check_pack(self.pack, self.render)
        recipe_rules.check_threads(self.threads, self.source)
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
