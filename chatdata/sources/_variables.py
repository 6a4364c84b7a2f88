"""The variables for chat templates that a record brings along.

They stand in `chat_template_kwargs`, an object or its JSON, and under keys that a recipe names.
Nulls are no values: a column of a table has them where a record has no value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from chatdata.core.errors import SourceError
from chatdata.core.template_variables import KEY, reserved
from chatdata.sources.tool_json import NOTHING, as_json, parsed
from chatdata.sources.values import Text

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Variables:
    """What reads the variables of records: `keys` names the key of a record by variable.

    `seen` are the variables of which a record had the key, or a value.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def of(self, record: Mapping[str, Any]) -> Text:
        """The variables of a record as JSON; no text where the record gives none."""
        if KEY not in record and not self.keys:
            return NOTHING
        given = parsed(record.get(KEY)) or {}
        if not isinstance(given, Mapping):
            return Text(None, f"{KEY} is no object of names and values")
        values = {name: value for name, value in given.items() if value is not None}
        self.seen.update(values)
        for name, key, value in self._named(record):
            if values.setdefault(name, value) != value:
                return Text(None, f"{KEY} and '{key}' give two values for '{name}'")
        if taken := reserved(values):
            return Text(None, f"{KEY}: '{taken}' is not for variables")
        written = as_json(values) if values else NOTHING
        return Text(None, f"{KEY}: {written.fault}") if written.fault else written

    def _named(self, record: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
        for name, key in self.keys.items():
            if key in record:
                self.seen.add(name)
            if record.get(key) is not None:
                yield name, key, record[key]

    def check_seen(self, source: str) -> None:
        """Raises SourceError where no record of a source had the key of a variable, or a value."""
        for name, key in self.keys.items():
            if name not in self.seen:
                raise SourceError(
                    f"no record of source '{source}' has '{key}', from which its `variables` take "
                    f"'{name}'; correct the key."
                )
