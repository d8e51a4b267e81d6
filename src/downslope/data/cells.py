"""The cells of one column as NumPy arrays, whatever type the column arrived in.

New data need not have the types of the training data: a column of numbers may arrive as text
because one cell is bad, a category such as "3" as a number. What means the same is read the same;
what does not is refused with the first row that shows it, counted from 1 without the header.
"""

import bisect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from downslope.data.typed import beside_numbers, settle
from downslope.data.written_dates import written_dates
from downslope.errors import DataError

_TRUTHS = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "y", "t"), True),
    **dict.fromkeys(("false", "0", "0.0", "no", "n", "f"), False),
}


def numbers(column: pa.ChunkedArray, name: str, source: str) -> np.ndarray:
    """Return the cells as float64 (n,), NaN where missing.

    Raises:
        DataError: a cell is not a number, or is infinite.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_string(kind):
        column = settle(beside_numbers(column), parse=True)
        if pa.types.is_string(column.type):
            raise _wrong(column, name, source, "numbers", _is_finite_number)
        return numbers(column, name, source)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        raise _wrong(column, name, source, "numbers", lambda _: False)
    values = column.cast(pa.float64(), safe=False).to_numpy()
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        raise DataError(
            f"{source}: column '{name}' has {_cells(infinite.size, 'infinite')} "
            f"(first: row {infinite[0] + 1}); correct or remove {'it' if infinite.size == 1 else 'them'}, "
            f"or train without the column: --drop '{name}'"
        )
    return values


def truths(column: pa.ChunkedArray, name: str, source: str) -> np.ndarray:
    """Return the cells as float64 (n,): 1 for true, 0 for false, NaN where missing.

    Raises:
        DataError: a cell is neither true nor false, 1 nor 0.
    """
    if pa.types.is_boolean(column.type) or pa.types.is_null(column.type):
        return numbers(column, name, source)
    if pa.types.is_string(column.type):
        column = beside_numbers(column)
    places, distinct = codes_of(column)
    meant = [_TRUTHS.get(str(value).lower()) for value in distinct]
    if None in meant:
        raise _wrong(column, name, source, "true or false", lambda value: str(value).lower() in _TRUTHS)
    lookup = np.array([*(float(bool(value)) for value in meant), np.nan])  # the last is found by −1: missing
    return lookup[places]


def moments(column: pa.ChunkedArray, name: str, source: str, order: str = "") -> np.ndarray:
    """Return the cells as datetime64[us] (n,), NaT where missing.

    Arguments:
        column: the cells.
        name: what messages call the column.
        source: what messages call the data.
        order: "day first" or "month first" where text was so in training.

    Raises:
        DataError: a cell is not a date, or could be two.
    """
    if pa.types.is_string(column.type):
        text = column
        column = settle(beside_numbers(text), parse=True)
        if pa.types.is_string(column.type):
            meanings = written_dates(text, order)
            if len(meanings) != 1:
                raise _not_dates(text, name, source, order)
            column = meanings.popitem()[1]
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.datetime64("NaT", "us"))
    if not _are_dates(kind):
        raise _wrong(column, name, source, "dates", lambda _: False)
    return column.to_numpy().astype("datetime64[us]")


def codes_of(column: pa.ChunkedArray) -> tuple[np.ndarray, list[Any]]:
    """Return each cell's place among the distinct values, int64 (n,), −1 where missing; and the values."""
    if pa.types.is_null(column.type):
        return np.full(len(column), -1, np.int64), []
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # more text than one array can hold, or no chunk at all
        encoded = encoded.unify_dictionaries().combine_chunks()
    return encoded.indices.fill_null(-1).to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def find(column: pa.ChunkedArray, known: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Find each cell among known values.

    Texts are compared with texts exactly. Otherwise by meaning: 3, 3.0 and "3" are one value, and
    so are True and "true".

    Returns:
        ``(places, missing)``: int64 (n,), −1 where unknown or missing; bool (n,).
    """
    cells, distinct = codes_of(column)
    exact = {value: place for place, value in reversed(list(enumerate(known))) if isinstance(value, str)}
    by_meaning = {_meaning(value): place for place, value in reversed(list(enumerate(known)))}
    all_text = len(exact) == len(known)

    def place_of(value: Any) -> int:
        if isinstance(value, str) and (value in exact or all_text):
            return exact.get(value, -1)
        return by_meaning.get(_meaning(value), -1)

    places = np.array([*(place_of(value) for value in distinct), -1], np.int64)
    return places[cells], cells == -1


def _meaning(value: Any) -> Any:
    """Return what a value means, whatever its type: a number, or a text in lower case if a truth value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value  # equal to, and hashed as, the float of the same value
    text = str(value)
    try:
        number = float(text)
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text
    return number if math.isfinite(number) else text


def short(value: Any) -> str:
    """Return a cell as one line of at most 40 characters, for a message."""
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:39] + "…"


def _wrong(column: pa.ChunkedArray, name: str, source: str, expected: str, is_right: Any) -> DataError:
    places, distinct = codes_of(column)
    wrong = np.array([*(not is_right(value) for value in distinct), False])
    rows = np.flatnonzero(wrong[places])
    row = int(rows[0]) if rows.size else 0
    others = "1 other row" if rows.size == 2 else f"{rows.size - 1} other rows"
    more = f" (and {others} the like)" if rows.size > 1 else ""
    return DataError(
        f"{source}: column '{name}' should hold {expected}, but row {row + 1} holds "
        f"'{short(column[row].as_py())}'{more}; leave a cell empty where the value is unknown"
    )


def _is_finite_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _not_dates(text: pa.ChunkedArray, name: str, source: str, order: str) -> DataError:
    """Return the error for the first cell with which a column of text is no longer one of dates."""

    def fits(n: int) -> bool:
        return _may_be_dates(text.slice(0, n), order)

    kind = f"dates with the {order}" if order else "dates"
    # The first rows that do not fit: found by halves, as one parse of many cells is as quick as one of a few.
    row = bisect.bisect_left(range(1, len(text) + 1), True, key=lambda n: not fits(n))
    why = ""
    if row == len(text):  # all fit, twice
        row = int(np.flatnonzero(beside_numbers(text).is_valid().to_numpy())[0])
        why = ", which could have the day or the month first"
    return DataError(
        f"{source}: column '{name}' should hold {kind}, but row {row + 1} holds '{short(text[row].as_py())}'"
        f"{why}; write all alike, such as 2015-03-01, and leave a cell empty where the date is unknown"
    )


def _may_be_dates(text: pa.ChunkedArray, order: str) -> bool:
    kind = settle(beside_numbers(text), parse=True).type
    return pa.types.is_null(kind) or _are_dates(kind) or len(written_dates(text, order)) > 0


def _are_dates(kind: pa.DataType) -> bool:
    return pa.types.is_date(kind) or pa.types.is_timestamp(kind)


def _cells(n: int, what: str) -> str:
    return f"{n} {what} cell" if n == 1 else f"{n} {what} cells"
