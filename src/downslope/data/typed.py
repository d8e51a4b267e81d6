"""One column of any Arrow type → one of the few types that a `Table` holds.

Where a column was read from text (a CSV file), its type is decided here by looking at every cell:
whole numbers, else numbers, else truth values, else dates, else times of day, else text. A column
that mixes numbers with words stays text; nothing is ever dropped to make a type fit.
"""

# pyright: reportAttributeAccessIssue=false
# Arrow makes its compute functions while it is imported, where pyright does not see them.

import pyarrow as pa
import pyarrow.compute as pc

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "?")
# Python prints a missing value as "None" and people write "-", but both may be categories too. These
# count as missing only where all other cells of the column are numbers, truth values or dates.
_MISSING_UNLESS_TEXT = ("None", "none", "n.a.", "N.A.", "-", "--")

TEXT = pa.string()
TIMESTAMP = pa.timestamp("us")
_MICROSECONDS = 1e6
_TRIED_FIRST = 1000  # cells


def settle(column: pa.ChunkedArray, *, parse: bool = False) -> pa.ChunkedArray:
    """Return the column as one of the types of a `Table`, with every missing cell null.

    A type that has no meaning as one input (a list, a struct, bytes, …) stays: its column may be dropped.

    Arguments:
        column: a column of any Arrow type.
        parse: whether text may turn out to be numbers, truth values or dates.
    """
    column = _settled(column, parse=parse)
    if len(column) and column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column))])
    return column


def _settled(column: pa.ChunkedArray, *, parse: bool) -> pa.ChunkedArray:
    kind = column.type
    types = pa.types
    if types.is_dictionary(kind):
        try:
            return _settled(column.cast(kind.value_type), parse=parse)
        except pa.ArrowNotImplementedError:  # categories that are intervals, say
            return column
    if types.is_null(kind) or types.is_boolean(kind):
        return column
    if types.is_integer(kind):
        return _whole_numbers(column)
    if types.is_floating(kind) or types.is_decimal(kind):
        return _nan_to_null(column.cast(pa.float64()))
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        text = _clean(column.cast(TEXT))
        return _parse(text) if parse else text
    if types.is_date(kind):
        return column.cast(pa.date32())
    if types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", kind.tz), safe=False).cast(TIMESTAMP)
    if types.is_time(kind):
        return _seconds(column.cast(pa.time64("us"), safe=False))
    if types.is_duration(kind):
        return _seconds(column.cast(pa.duration("us"), safe=False))
    return column


def _whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:  # above 2⁶³: only unsigned columns reach this
        return column.cast(pa.float64(), safe=False)


def _seconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times of day and durations are numbers: seconds."""
    return pc.divide(column.cast(pa.int64()).cast(pa.float64(), safe=False), _MICROSECONDS)


def _nan_to_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_nan = pc.is_nan(column)
    if not pc.any(is_nan).as_py():
        return column
    return pc.if_else(is_nan, pa.scalar(None, pa.float64()), column)


def _null_where_in(column: pa.ChunkedArray, markers: tuple[str, ...]) -> pa.ChunkedArray:
    found = pc.is_in(column, value_set=pa.array(markers, TEXT))
    if not pc.any(found).as_py():
        return column
    return pc.if_else(found, pa.scalar(None, TEXT), column)


def beside_numbers(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of text with those cells null that, beside numbers, truths or dates, are missing."""
    return _null_where_in(text, _MISSING_UNLESS_TEXT)


def first_cells(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the first cells of a column of text that are there, even beside numbers: at most 1000.

    Most columns of text show here, at no cost, that they hold no numbers and no dates.
    """
    beginning = beside_numbers(text.slice(0, _TRIED_FIRST)).drop_null()
    return beginning if len(beginning) else beside_numbers(text).drop_null().slice(0, _TRIED_FIRST)


def _clean(text: pa.ChunkedArray) -> pa.ChunkedArray:
    return _null_where_in(pc.utf8_trim_whitespace(text), MISSING)


def _parse(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column in the first type that fits every cell; text fits always."""
    candidate = beside_numbers(text)
    beginning = candidate.slice(0, _TRIED_FIRST)
    for convert in (_to_int, _to_float, _to_bool, _to_date, _to_timestamp, _to_utc, _to_seconds):
        try:
            convert(beginning)  # most columns of text show here, at no cost, that they are not numbers
            return convert(candidate)
        except pa.ArrowInvalid:
            continue
    return text


def _to_int(text: pa.ChunkedArray) -> pa.ChunkedArray:
    return text.cast(pa.int64())


def _to_float(text: pa.ChunkedArray) -> pa.ChunkedArray:
    return _nan_to_null(text.cast(pa.float64()))


def _to_bool(text: pa.ChunkedArray) -> pa.ChunkedArray:
    return text.cast(pa.bool_())


def _to_date(text: pa.ChunkedArray) -> pa.ChunkedArray:
    return text.cast(pa.date32())


def _to_timestamp(text: pa.ChunkedArray) -> pa.ChunkedArray:
    return text.cast(pa.timestamp("ns")).cast(TIMESTAMP, safe=False)


def _to_utc(text: pa.ChunkedArray) -> pa.ChunkedArray:
    return text.cast(pa.timestamp("ns", "UTC")).cast(pa.timestamp("us", "UTC"), safe=False).cast(TIMESTAMP)


def _to_seconds(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Parse ``12:30`` and ``12:30:15.5`` as seconds since midnight, as the CSV reader does."""
    if not pc.all(pc.match_substring_regex(text, r"^\d\d:\d\d(:\d\d(\.\d+)?)?$")).as_py():
        raise pa.ArrowInvalid("not a time of day")
    moments = pc.binary_join_element_wise("1970-01-01", text, " ").cast(TIMESTAMP)
    return _seconds(moments)
