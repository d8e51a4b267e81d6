"""Dates that people write otherwise than ISO: 13/02/2015, 13.2.2015 15:45, Mar 1, 2015, 1-Mar-2015.

A column is read only where all of its cells are written in one form and are days of the calendar. Whether
the day or the month stands first shows where a number above 12 does; with points it is the day.
"""

# pyright: reportAttributeAccessIssue=false
# Arrow makes its compute functions while it is imported, where pyright does not see them.

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from downslope.data.typed import beside_numbers, first_cells

DAY_FIRST, MONTH_FIRST = "day first", "month first"
ORDERS = (DAY_FIRST, MONTH_FIRST)

_MONTHS = pa.array(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
_NAME = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY, _MONTH, _YEAR = r"(?P<day>\d\d?)", r"(?P<month>\d\d?)", r"(?P<year>[12]\d{3})"
_TIME = (
    r"(?:(?:[ T]|, ?)(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?P<fraction>\.\d+)?)?"
    r"(?: ?(?P<half>[ap])m)?)?"
)
_POINTS = rf"(?i)^{_DAY}\.{_MONTH}\.{_YEAR}{_TIME}$"
_EITHER_FIRST = [rf"(?i)^{_DAY}{sign}{_MONTH}{sign}{_YEAR}{_TIME}$" for sign in "/-"]
_FORMS = (
    _POINTS,
    *_EITHER_FIRST,
    *(rf"(?i)^{_YEAR}{sign}{_MONTH}{sign}{_DAY}{_TIME}$" for sign in (r"\.", "/", "-")),
    rf"(?i)^{_NAME} {_DAY},? {_YEAR}{_TIME}$",
    rf"(?i)^{_DAY}[ -]{_NAME}[ -]{_YEAR}{_TIME}$",
)
_A_YEAR = r"\b[12]\d{3}(\D|$)"
_MICROSECONDS_PER_MINUTE = 60_000_000


def written_dates(column: pa.ChunkedArray, order: str = "") -> dict[str, pa.ChunkedArray]:
    """Return each meaning that a column of text has as dates, by what stands first in it.

    Arguments:
        column: the cells.
        order: what stands first, "day first" or "month first", where that is known.

    Returns:
        Dates, or moments if there are times: none where any cell is none; one under "" where the form
        leaves nothing open (the year first, or the month by name) and under the order otherwise; two where
        both orders fit.
    """
    form = _form(column)
    if form is None:
        return {}
    column = beside_numbers(column)
    distinct = column.drop_null().unique()
    parts = pc.extract_regex(distinct, form)
    if parts.null_count:
        return {}
    day, month = _number(parts, "day"), _month(parts)
    ordered = form == _POINTS or form in _EITHER_FIRST
    either = {DAY_FIRST: (day, month), MONTH_FIRST: (month, day)} if ordered else {"": (day, month)}
    if order in either:
        either = {order: either[order]}
    places = pc.index_in(column, value_set=distinct)
    found = {}
    for first, (days, months) in either.items():
        moments = _moments(parts, days, months)
        if moments is not None:
            found[first] = pa.chunked_array([moments]).take(places)
    if form == _POINTS and len(found) > 1:
        del found[MONTH_FIRST]
    return found


def _form(column: pa.ChunkedArray) -> str | None:
    """Return the form that the first cells are written in, if they are all."""
    beginning = first_cells(column)

    def fits(pattern: str) -> bool:
        return bool(pc.all(pc.match_substring_regex(beginning, pattern)).as_py())

    if not fits(_A_YEAR):  # nearly all texts, without a look at each form
        return None
    return next(filter(fits, _FORMS), None)


def _part(parts: pa.Array, name: str) -> pa.Array:
    return pc.struct_field(parts, name)


def _number(parts: pa.Array, name: str) -> np.ndarray:
    """Return the numbers of a part of each cell, int64 (n,), 0 where it is left out."""
    texts = _part(parts, name)
    return pc.if_else(pc.equal(texts, ""), "0", texts).cast(pa.int64()).to_numpy()


def _month(parts: pa.Array) -> np.ndarray:
    texts = _part(parts, "month")
    named = pc.index_in(pc.utf8_lower(pc.utf8_slice_codeunits(texts, 0, 3)), value_set=_MONTHS)
    return _number(parts, "month") if named.null_count else named.to_numpy().astype(np.int64) + 1


def _moments(parts: pa.Array, day: np.ndarray, month: np.ndarray) -> pa.Array | None:
    """Return the dates, or moments, of the distinct cells; None where one of them is none."""
    in_year = (month >= 1) & (month <= 12)
    months = (_number(parts, "year") - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    dates = months.astype("datetime64[D]") + (day - 1)
    in_month = (day >= 1) & (dates.astype("datetime64[M]") == months)  # the 31st of June is in July
    if not (in_year & in_month).all():
        return None
    times = pc.not_equal(_part(parts, "hour"), "").to_numpy(zero_copy_only=False)
    if not times.any():
        return pa.array(dates)
    since_midnight = _since_midnight(parts, times)
    return None if since_midnight is None else pa.array(dates.astype("datetime64[us]") + since_midnight)


def _since_midnight(parts: pa.Array, times: np.ndarray) -> np.ndarray | None:
    """Return the microseconds since midnight; None where one is no time, or alone has no AM or PM."""
    hour, minute, second = (_number(parts, name) for name in ("hour", "minute", "second"))
    half = _part(parts, "half")
    halves = pc.not_equal(half, "").to_numpy(zero_copy_only=False)
    if halves.any():
        if (halves != times).any() or ((hour < 1) | (hour > 12))[times].any():
            return None
        afternoon = pc.equal(pc.utf8_lower(half), "p").to_numpy(zero_copy_only=False)
        hour = hour % 12 + 12 * afternoon
    if (hour > 23).any() or (minute > 59).any() or (second > 59).any():
        return None
    fraction = _part(parts, "fraction")
    fraction = pc.if_else(pc.equal(fraction, ""), "0", fraction).cast(pa.float64()).to_numpy()
    minutes = (60 * hour + minute) * _MICROSECONDS_PER_MINUTE
    return minutes + 1_000_000 * second + np.floor(1_000_000 * fraction + 1e-3).astype(np.int64)
