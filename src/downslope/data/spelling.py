"""Columns of text that were meant as numbers or dates: what to tell the user about them.

A column is never made of numbers by leaving cells out, so one "twelve" makes a text of it. Nor is a
spelling guessed at that could mean two things: 1/2/2015 where nothing shows which is the day, €2,350 where
nothing shows what the comma is, or $ beside €. The user can mend either, once told.
"""

# pyright: reportAttributeAccessIssue=false
# Arrow makes its compute functions while it is imported, where pyright does not see them.

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from downslope.data.cells import short
from downslope.data.signs import strip_sign
from downslope.data.typed import TEXT, beside_numbers, settle
from downslope.data.written_dates import written_dates

_NEARLY_ALL = 0.95  # of the cells that are there
_TRIED_FIRST = 1000  # cells

_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
_DIGITS = r"(\d{1,3}([,.']\d{3})+|\d+)?([.,]\d+|\d)"
_SPELT_NUMBER = rf"^[-+]?(\p{{Sc}} ?)?[-+]?{_DIGITS}( ?[\p{{Sc}}%])?$"

_YEAR, _DAY = r"\d{4}", r"(0?[1-9]|[12]\d|3[01])"
_MONTH = r"(0?[1-9]|1[0-2])"
_MONTH_NAME = r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_TIME = r"([ T]\d.*)?$"
_DATE = rf"^{_YEAR}-\d\d-\d\d{_TIME}"
_SPELT_DATES = (
    rf"^{_DAY}[./-]{_MONTH}[./-]{_YEAR}{_TIME}",
    rf"^{_MONTH}[/-]{_DAY}[/-]{_YEAR}{_TIME}",
    rf"^{_YEAR}[./]{_MONTH}[./]{_DAY}{_TIME}",
    rf"^{_MONTH_NAME} {_DAY},? {_YEAR}{_TIME}",
    rf"^{_DAY}[ -]{_MONTH_NAME}[ -]{_YEAR}{_TIME}",
)

# What the cells are, how they look, and how to write them instead; "" where they are read as they are.
_LOOKS = (
    ("numbers", _NUMBER, ""),
    ("dates", _DATE, ""),
    ("numbers", _SPELT_NUMBER, "plainly (1234.5)"),
    *(("dates", pattern, "as ISO dates (2015-03-01)") for pattern in _SPELT_DATES),
)


def misread(places: np.ndarray, distinct: list[str]) -> str:
    """Return why a column is text although nearly all of its cells are numbers or dates, and what to do.

    Arguments:
        places: of each cell among the distinct texts, (n,), −1 where missing.
        distinct: the texts.

    Returns:
        The words, "" where the cells are texts.
    """
    beginning = [distinct[place] for place in np.unique(places[places >= 0][:_TRIED_FIRST])]
    for kind, pattern, instead in _LOOKS:
        if not _matches(beginning, pattern)[0].any():  # most columns show here that they are texts
            continue
        right, wrong = _matches(distinct, pattern)
        stray = _stray(places, distinct, right, wrong, kind)
        if stray is None:
            continue
        those = pa.chunked_array([pa.array(distinct, TEXT).filter(pa.array(right))])
        if not instead or (stray and _is_read(those, kind)):
            return stray and f"{stray}: correct or empty those cells to have it read as {kind}"
        if kind == "numbers":
            right &= ~_matches(distinct, _NUMBER)[0]
        example = _first(places, distinct, right)[1]
        if stray:
            return (
                f"{stray}: correct or empty those cells, and write those like '{example}' {instead}, "
                f"to have it read as {kind}"
            )
        if kind == "dates" and len(written_dates(those)) == 2:
            return f"cells like '{example}' could have the day or the month first: write them {instead}"
        return f"cells like '{example}' look like {kind}: write them {instead} to have them read"
    return ""


def nearly_numbers(places: np.ndarray, distinct: list[str]) -> str:
    """Return that nearly all cells are numbers, and the first that is not; "" where it is otherwise."""
    return _stray(places, distinct, *_matches(distinct, _NUMBER), "numbers") or ""


def _is_read(those: pa.ChunkedArray, kind: str) -> bool:
    """Return whether such cells alone would be read from a file."""
    if kind == "dates":
        return len(written_dates(those)) == 1
    signed = strip_sign(those)
    return signed is not None and settle(signed.plain, parse=True).type != TEXT


def _matches(distinct: list[str], pattern: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which texts match, and which do not; neither, if they are missing beside numbers."""
    texts = beside_numbers(pa.chunked_array([pa.array(distinct, TEXT)]))
    matched = pc.match_substring_regex(texts, pattern)
    return pc.fill_null(matched, False).to_numpy(), pc.fill_null(pc.invert(matched), False).to_numpy()


def _stray(
    places: np.ndarray, distinct: list[str], right: np.ndarray, wrong: np.ndarray, kind: str
) -> str | None:
    """Return how many cells are right and the first that is wrong; "" if none is, None if many are."""
    counts = np.bincount(places[places >= 0], minlength=len(distinct))
    n_right, n_wrong = int(counts[right].sum()), int(counts[wrong].sum())
    n = n_right + n_wrong
    if n_right == 0 or n_right < _NEARLY_ALL * n:
        return None
    if n_wrong == 0:
        return ""
    row, text = _first(places, distinct, wrong)
    return f"{n_right:,} of {n:,} cells are {kind}; row {row + 1} holds '{text}'"


def _first(places: np.ndarray, distinct: list[str], those: np.ndarray) -> tuple[int, str]:
    """Return the row of the first cell that is one of those texts, counted from 0, and the text."""
    row = int(np.flatnonzero(np.append(those, False)[places])[0])  # the last is found by −1: missing
    return row, short(distinct[places[row]])
