"""A table of a TOML file that somebody wrote: what every one of them refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationInfo, field_validator


def _types_in(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and the types of which it is made up."""
    yield annotation
    for part in get_args(annotation):
        yield from _types_in(part)


def _may_be_true(kind: Any) -> bool:
    """Whether true may be in a value of this type: a table has checks of its own."""
    return isinstance(kind, type) and issubclass(kind, bool | BaseModel)


class TomlTable(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A table of a file that somebody wrote: known keys, finite numbers, no true for a number."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is meant: pydantic takes them for 1 and 0."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        if any(map(_may_be_true, _types_in(annotation))):
            return value
        within: Mapping[str, Any] = value if isinstance(value, Mapping) else {"": value}
        for key, given in within.items():
            values = given if isinstance(given, list) else [given]
            if any(isinstance(v, bool) for v in values):
                where = f"{key}: " if key else ""
                raise ValueError(f"{where}true and false are no values of this key")
        return value
