"""Numbers with commas in them, and what points mean beside those.

"2,35" shows that commas are decimal signs, "1,002,350" and "1,234.50" that they separate thousands. In a
file whose commas are decimal signs, points separate thousands wherever a whole column fits: "304.175"
beside "683" is 304175, though each of them alone could be read as a number with a decimal point.
"""

# pyright: reportAttributeAccessIssue=false
# Arrow makes its compute functions while it is imported, where pyright does not see them.

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from downslope.data.typed import first_cells, settle

_DECIMAL_COMMA = r"^[-+]?\d*,?\d+([eE][-+]?\d+)?$"
_THOUSANDS = r"^[-+]?[1-9]\d{0,2}(,\d{3}){1,5}$"
_MILLIONS = r"^[-+]?\d{1,3}(,\d{3}){2,5}$"
_BELOW_A_THOUSAND = r"^[-+]?\d{1,3}$"
_PLAIN = r"^[-+]?(\d+\.?\d*|\.\d+)$"
_WITH_DECIMALS = r"^[-+]?[1-9]\d{0,2}(,\d{3}){1,5}\.\d+$"
_DECIMALS = r"^[-+]?\d{1,3}\.(\d{1,2}|\d{4,})$"  # not three, which could be thousands themselves
_NOT_THOUSANDS = r"^[-+]?0*,|,(\d{1,2}|\d{4,})([eE]|$)|\.\d{3},"
_POINTED = r"^[-+]?[1-9]\d{0,2}(\.\d{3}){1,5}(,\d+)?$"
_POINTED_WHOLE = r"^[-+]?(\d{1,18}|[1-9]\d{0,2}(\.\d{3}){1,5})$"


def may_be_numbers(column: pa.ChunkedArray) -> bool:
    """Return whether the first cells of a column of text let it be one of numbers, with a sign perhaps."""
    return bool(pc.all(pc.match_substring_regex(first_cells(column), r"^[^A-Za-z]*\d")).as_py())


def find_commas(columns: Collection[pa.ChunkedArray], delimiter: str) -> str | None:
    """Return what a file shows its commas to be: ``"decimal"``, ``"thousands"``, None where nothing shows.

    "2,35" shows decimal signs wherever commas are no delimiters; "1,002,350" and "1,234.50" show thousands
    separators, and so does "2,350" beside "323" or "99.50".
    """
    thousands = False
    for column in columns:
        if delimiter != "," and shows_decimals(column):
            return "decimal"
        thousands = thousands or _shows_thousands(column)
    return "thousands" if thousands else None


def shows_decimals(column: pa.ChunkedArray) -> bool:
    """Return whether a column of text holds numbers whose commas can only be decimal signs."""
    return _all(column, f"{_DECIMAL_COMMA}|{_POINTED}") and _any(column, _NOT_THOUSANDS)


def _shows_thousands(column: pa.ChunkedArray) -> bool:
    """Return whether a column of text holds numbers whose commas can only separate thousands."""
    if _all(column, f"{_THOUSANDS}|{_BELOW_A_THOUSAND}"):
        return (_any(column, _THOUSANDS) and _any(column, _BELOW_A_THOUSAND)) or _any(column, _MILLIONS)
    if not _all(column, f"{_THOUSANDS}|{_PLAIN}|{_WITH_DECIMALS}"):
        return False
    return _any(column, _WITH_DECIMALS) or (_any(column, _THOUSANDS) and _any(column, _DECIMALS))


def parse_numbers(column: pa.ChunkedArray, commas: str | None, *, points: bool = False) -> pa.ChunkedArray:
    """Return the numbers of a column of text whose commas mean that, if it is one.

    Arguments:
        column: the cells.
        commas: what they are, ``"decimal"`` or ``"thousands"``; None where that is unclear.
        points: whether points beside decimal commas separate thousands.
    """
    if commas == "thousands" and _all(column, f"{_THOUSANDS}|{_PLAIN}|{_WITH_DECIMALS}"):
        return settle(pc.replace_substring(column, ",", ""), parse=True)
    if commas != "decimal":
        return column
    if points and first_pointed(column) is not None and _all(column, f"{_DECIMAL_COMMA}|{_POINTED}"):
        kind = pa.int64() if _all(column, _POINTED_WHOLE) else pa.float64()
        plain = pc.replace_substring_regex(column, r"^\+|\.", "")  # Arrow reads no whole number with a plus
        return pc.replace_substring(plain, ",", ".").cast(kind)
    if _all(column, _DECIMAL_COMMA):
        return pc.replace_substring(column, ",", ".").cast(pa.float64())
    return column


def first_pointed(column: pa.ChunkedArray) -> str | None:
    """Return the first cell of a column of text in which points could separate thousands."""
    found = column.filter(pc.match_substring_regex(column, _POINTED))
    return found[0].as_py() if len(found) else None


def points_are_open(column: pa.ChunkedArray) -> bool:
    """Return whether the points of an amount of money could separate thousands: "1.234", beside "7"."""
    return _all(column, _POINTED_WHOLE) and first_pointed(column) is not None


def _all(column: pa.ChunkedArray, pattern: str) -> bool:
    """Return whether all cells of a column of text match, missing ones aside."""
    parts = (first_cells(column), column)
    return all(pc.all(pc.match_substring_regex(part, pattern)).as_py() for part in parts)


def _any(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, pattern)).as_py())
