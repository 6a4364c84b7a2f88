"""Frozen models of the parts of a JSON document: typed where they are read, the same JSON again
where they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_serializer,
    model_validator,
)

Number = Annotated[int, Field(ge=0, strict=True)]
Real = Annotated[float, Field(strict=True)]  # JSON writes some real numbers as whole ones
Flag = Annotated[bool, Field(strict=True)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Part(BaseModel):
    """A part of a document: its fields, in the order of the keys in the file.

    A key that was not given is not written, even where the field has a default. Keys without a
    field, which a later version may have written, are kept.
    """

    # Built when a model is first used, as most are not in a command.
    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    def as_json(self) -> dict[str, Any]:
        """The part as plain values, as they stand in the file."""
        return self.model_dump(mode="json", exclude_unset=True)


class Verbatim(Part):
    """A part with fields for some of its keys, written with exactly the keys and the order that
    were given."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    _values: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_values(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        part = handler(values)
        if isinstance(values, Mapping):
            part._values = dict(values)
        return part

    @model_serializer
    def _given(self) -> dict[str, Any]:
        return self._values
