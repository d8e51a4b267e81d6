"""Numbers with a currency sign or in per cent: $5, -5 €, 12.5%."""

# pyright: reportAttributeAccessIssue=false
# Arrow makes its compute functions while it is imported, where pyright does not see them.

import re
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from downslope.data.typed import beside_numbers, first_cells

_SIGN = r"(?P<sign>[\p{Sc}%])"
_SPACE = r"[ \x{A0}\x{202F}]?"  # also the ones that do not break a line, which spreadsheets write
_NUMBER = r"(?:\d[\d.,]*|[.,]\d+)"
_LOOKS_SIGNED = rf"^[-+]?(?:\p{{Sc}}{_SPACE})?[-+]?{_NUMBER}(?:{_SPACE}[\p{{Sc}}%])?$"


class Signed(NamedTuple):
    """The sign that the numbers of a column carry, and the column without it, which is text still."""

    sign: str
    plain: pa.ChunkedArray


def strip_sign(column: pa.ChunkedArray) -> Signed | None:
    """Return the numbers of a column of text without the sign that they carry; None if they do not.

    All carry the same; only a currency sign may be left out.
    """
    if not pc.all(pc.match_substring_regex(first_cells(column), _LOOKS_SIGNED)).as_py():
        return None
    column = beside_numbers(column)
    signed = column.filter(pc.match_substring_regex(column, _SIGN))
    if not len(signed):
        return None
    sign = pc.extract_regex(signed[0], _SIGN)["sign"].as_py()
    one = re.escape(sign)
    pattern = rf"^[-+]?{_NUMBER}{_SPACE}{one}$"
    if sign != "%":
        pattern += rf"|^(?:[-+]?{one}{_SPACE}|{one}{_SPACE}[-+])?{_NUMBER}$|^[-+]{_NUMBER}$"
    if not pc.all(pc.match_substring_regex(column, pattern)).as_py():
        return None
    return Signed(sign, pc.replace_substring_regex(column, f"{_SPACE}{one}{_SPACE}", ""))
