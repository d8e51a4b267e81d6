"""Reading saved JSON that may be damaged or hostile: every field is checked before it is used."""

import dataclasses
import math
import typing
from typing import Any

from downslope.errors import DataError


def parse_fields(kind: type, content: Any, what: str) -> dict[str, Any]:
    """Return the fields of a dataclass, read from a JSON object and checked against its annotations.

    Understood are str, bool, int, float (finite) and tuples of one of them. Nothing in the content
    names code, and nothing of it is run. A field with a default may be missing: older runs
    were saved without it.

    Arguments:
        kind: the dataclass.
        content: what `json.load` returned.
        what: what messages call the object, such as ``column 3``.

    Raises:
        DataError: a field is missing, unknown or of the wrong type.
    """
    if not isinstance(content, dict):
        raise damaged(what, "is not an object")
    expected = {name: hint for name, hint in typing.get_type_hints(kind).items() if not _is_class_var(hint)}
    unknown = sorted(str(name) for name in content if name not in expected)
    if unknown:
        raise damaged(what, f"has an unknown field '{unknown[0]}'")
    fields = {}
    optional = {field.name for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING}
    for name, hint in expected.items():
        if name not in content and name in optional:
            continue
        if name not in content:
            raise damaged(what, f"lacks the field '{name}'")
        fields[name] = _checked(content[name], hint, f"{what}, field '{name}',")
    return fields


def damaged(what: str, why: str) -> DataError:
    """Return the error for saved content that cannot be what Downslope wrote."""
    return DataError(f"the saved encoding is damaged: {what} {why}; train again to write a new one")


def check(condition: bool, what: str, why: str) -> None:
    """Raise the error for damaged content unless the condition holds."""
    if not condition:
        raise damaged(what, why)


def _is_class_var(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.ClassVar


def _checked(value: Any, hint: Any, what: str) -> Any:
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise damaged(what, "is not a list")
        return tuple(_checked(item, typing.get_args(hint)[0], what) for item in value)
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise damaged(what, "is not a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        check(math.isfinite(number), what, "is not finite")
        return number
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise damaged(what, f"is not of type {hint.__name__}")
    return value
