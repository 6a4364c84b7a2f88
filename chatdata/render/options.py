"""The `render` of a recipe: tokenizer, template, what is trained, and how long a row may be."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from chatdata.core import yaml_values
from chatdata.core.config import Strict, Word, nearest
from chatdata.render.parts import TrainParts
from chatdata.render.segments.unencoded import TrainOn
from chatdata.render.templates import TEMPLATES
from chatdata.render.windows import Budget

_TRAIN_ON_NAMES: tuple[str, ...] = get_args(get_args(TrainOn)[0])


class Render(Strict):
    """The `render` of a recipe.

    `template` is a name of `templates.TEMPLATES`. The chat template that a tokenizer carries is
    given `variables` and, for a clock, `date`; with `add_end` it is made to end the last answer as
    it ends earlier ones. `carry_tokens` is how much of a row that is split off may be context: a
    quarter of `max_tokens` unless it is set.
    """

    tokenizer: Word
    template: str = "starchat"
    train_on: TrainOn = "assistant"
    max_tokens: int | None = Field(default=None, ge=1)
    overflow: Literal["drop", "cut", "split"] = "drop"
    carry_tokens: int | None = Field(default=None, ge=0)
    system: str | None = None
    variables: dict[str, Any] = Field(default={})
    date: datetime.date | None = None
    add_end: bool = False

    @field_validator("template")
    @classmethod
    def _template_is_listed(cls, value: str) -> str:
        if value not in TEMPLATES:
            raise ValueError(f"unknown template '{value}'; {nearest(value, TEMPLATES.known())}")
        return value

    @field_validator("variables")
    @classmethod
    def _variables_are_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        if (number := yaml_values.not_finite(value)) is not None:
            raise ValueError(f"{number} is no number that a template can be given; leave it out")
        return value

    @field_validator("train_on", mode="before")
    @classmethod
    def _parts_say_what_is_wrong(cls, value: Any) -> Any:
        """Takes a mapping for parts and all else for a name, so that an error is of that kind."""
        if not isinstance(value, Mapping | TrainParts) and value not in _TRAIN_ON_NAMES:
            raise ValueError(f"unknown '{value}'; {nearest(str(value), _TRAIN_ON_NAMES)}")
        if not isinstance(value, Mapping):
            return value
        try:
            return TrainParts.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            part = ".".join(map(str, first["loc"]))
            words = first["msg"].removeprefix("Value error, ")
            raise ValueError(f"{part}: {words}" if part else words) from None

    @field_validator("date", mode="before")
    @classmethod
    def _date_may_be_quoted(cls, value: Any) -> Any:
        """Takes '2026-01-31' for a date, as a resolved recipe has it."""
        if not isinstance(value, str):
            return value
        try:
            return datetime.date.fromisoformat(value)
        except ValueError:
            raise ValueError(
                f"'{value}' is not a date; write year, month and day, for example 2026-01-31"
            ) from None

    @model_validator(mode="after")
    def _no_option_is_unused(self) -> Render:
        if unused := TEMPLATES[self.template].unused(self):
            raise ValueError(unused)
        if self.carry_tokens is not None and self.overflow != "split":
            raise ValueError(f"carry_tokens needs overflow: split, and overflow is {self.overflow}")
        return self

    @model_validator(mode="after")
    def _lengths_fit_together(self) -> Render:
        if self.max_tokens is None and self.overflow != "drop":
            raise ValueError(
                f"overflow is {self.overflow}, and max_tokens is not set, so nothing is too long; "
                "set max_tokens, or leave overflow out"
            )
        if self.max_tokens and self.carry_tokens and self.carry_tokens > self.max_tokens:
            raise ValueError(
                f"carry_tokens is {self.carry_tokens}, and a row has at most max_tokens "
                f"{self.max_tokens}; write fewer, or leave carry_tokens out for a quarter"
            )
        return self

    def budget(self) -> Budget:
        """What a row may hold where conversations are split."""
        limit = self.max_tokens or 0
        carried = limit // 4 if self.carry_tokens is None else self.carry_tokens
        return Budget(limit, carried)
