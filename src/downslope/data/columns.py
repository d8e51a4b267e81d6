"""Which transform a column gets, and the two that need no values: `Presence` and `Ignored`."""

import dataclasses
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from downslope.data import cells
from downslope.data.categories import ONE_HOT_LIMIT, Embedded, OneHot, fit_category
from downslope.data.dates import Date, fit_date
from downslope.data.fields import damaged, parse_fields
from downslope.data.numeric import Number, Truth, fit_number, fit_truth
from downslope.data.spelling import misread
from downslope.data.table import Table

_MIN_ROW_NUMBERS = 10  # fewer consecutive numbers may well be chance


@dataclass(frozen=True)
class Presence:
    """One 0/1 input: whether the cell is missing. All that can be learned from some columns."""

    kind: ClassVar[str] = "presence"
    name: str
    note: str

    became: ClassVar[str] = "is it missing?"

    @property
    def feature_names(self) -> list[str]:
        """Names of the dense inputs."""
        return [f"{self.name} is missing"]

    def fill(self, column: pa.ChunkedArray, out: np.ndarray, source: str) -> None:
        """Write the input, (n, 1), into `out`."""
        out[:, 0] = column.is_null().to_numpy()


@dataclass(frozen=True)
class Ignored:
    """A column that is no input; prediction data may lack it."""

    kind: ClassVar[str] = "ignored"
    name: str
    note: str

    became: ClassVar[str] = "ignored"
    feature_names: ClassVar[list[str]] = []


Transform = Number | Truth | OneHot | Embedded | Date | Presence | Ignored
_KINDS: dict[str, type] = {
    kind.kind: kind for kind in (Number, Truth, OneHot, Embedded, Date, Presence, Ignored)
}


def fit_column(table: Table, name: str, rows: np.ndarray) -> Transform:
    """Choose and fit the transform of one input column.

    Arguments:
        table: all rows.
        name: the column.
        rows: the training rows, (n,); nothing else is fitted to.

    Raises:
        DataError: the column holds an infinite number.
    """
    column = table.column(name)
    kind = column.type
    if pa.types.is_null(kind):
        return Ignored(name, "ignored: every cell is missing")
    if pa.types.is_string(kind):
        return _fit_text(name, column, rows)
    if pa.types.is_boolean(kind):
        values = cells.truths(column, name, table.name)[rows]
        return fit_truth(name, values) or _constant(name, np.isnan(values))
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        moments = cells.moments(column, name, table.name)[rows]
        return fit_date(name, moments, table.orders.get(name, "")) or _constant(name, np.isnat(moments))
    values = cells.numbers(column, name, table.name)
    if pa.types.is_integer(kind) and _is_row_number(values):
        return Ignored(name, "ignored: it numbers the rows")
    return fit_number(name, values[rows]) or _constant(name, np.isnan(values[rows]))


def _fit_text(name: str, column: pa.ChunkedArray, rows: np.ndarray) -> Transform:
    places, distinct = cells.codes_of(column)
    reason = misread(places, distinct)
    places = places[rows]
    missing = places < 0
    n_present = int((~missing).sum())
    n_distinct = len(np.unique(places[~missing]))
    if n_distinct > ONE_HOT_LIMIT and 2 * n_distinct > n_present:
        looks = f"{n_distinct} distinct texts in {n_present} rows look like an identifier or free text"
        if missing.any():
            return Presence(name, f"only whether it is missing is used: {reason or looks}")
        return Ignored(name, f"ignored: {reason or looks}")
    if n_distinct == n_present > 1 and not missing.any():
        return Ignored(name, f"ignored: {reason or 'a different text in every training row'}")
    category = fit_category(name, places, distinct)
    if category is None:
        return _constant(name, missing)
    return replace(category, note="; ".join(filter(None, (reason, category.note))))


def _constant(name: str, missing: np.ndarray) -> Presence | Ignored:
    if missing.all():
        return Ignored(name, "ignored: missing in every training row")
    if missing.any():
        return Presence(name, "only whether it is missing is used: all other training rows are alike")
    return Ignored(name, "ignored: the same value in every training row")


def _is_row_number(values: np.ndarray) -> bool:
    """Whether the column counts the rows from 0 or 1, in any order.

    Not from elsewhere: the years 1990 … 2020 are consecutive too, and mean something.
    """
    n = len(values)
    if n < _MIN_ROW_NUMBERS or values.min() not in (0, 1) or values.max() - values.min() != n - 1:
        return False
    return len(np.unique(values)) == n


def to_json(transform: Transform) -> dict[str, Any]:
    """Return a transform as a JSON object; floats survive exactly."""
    content = {"kind": transform.kind, **dataclasses.asdict(transform)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in content.items()}


def from_json(content: Any, what: str) -> Transform:
    """Return the transform of a JSON object.

    Raises:
        DataError: the object is not what `to_json` returns.
    """
    if not isinstance(content, dict):
        raise damaged(what, "is not an object")
    fields = dict(content)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise damaged(what, f"has the unknown kind {kind!r}")
    return _KINDS[kind](**parse_fields(_KINDS[kind], fields, what))
