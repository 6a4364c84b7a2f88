"""The parts of a recipe that belong to the build: its sources, its split, bins, and repository.

Steps and `render` define the parts that are theirs: `Threads`, `Redact`, `Mix`, `Render`.
"""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from chatdata.core import template_variables
from chatdata.core.config import Strict, Word
from chatdata.core.constants import MOST_TOKENS
from chatdata.sources.fields import Fields

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of a recipe, and of a source


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
    name: str | None = Field(default=None, pattern=NAME)  # in the `source` column and in ids
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
