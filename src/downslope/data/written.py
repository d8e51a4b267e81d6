"""Columns of text in a file → the numbers and dates that they write in another usual spelling.

What one column leaves open, another of the same file may show: what commas are, or whether the day stands
before the month. What stays open stays text: nothing that could mean two things is guessed at.
"""

# pyright: reportAttributeAccessIssue=false
# Arrow makes its compute functions while it is imported, where pyright does not see them.

from collections.abc import Callable, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from downslope.data.separators import (
    find_commas,
    first_pointed,
    may_be_numbers,
    parse_numbers,
    points_are_open,
    shows_decimals,
)
from downslope.data.signs import strip_sign
from downslope.data.table import Table, list_names
from downslope.data.typed import TEXT, beside_numbers, first_cells, settle
from downslope.data.written_dates import ORDERS, written_dates

Columns = dict[str, pa.ChunkedArray]
POINTS_ARE_DECIMAL = "$£¥₹₩"  # where these are paid with, amounts are written 1,234.50


def with_dates(table: Table, free: set[str]) -> Table:
    """Return the table in which columns of dates that are not ISO are dates, and what stands first in them.

    Arguments:
        table: as it was read.
        free: the columns that may be other than text.
    """
    texts = {name: column for name, column in _columns(table, free).items() if column.type == TEXT}
    meanings = {name: written_dates(column) for name, column in texts.items()}
    shown = {name: next(iter(found)) for name, found in meanings.items() if len(found) == 1}
    signs = {name: _sign(texts[name]) for name, found in meanings.items() if found}
    decided = {(signs[name], order): name for name, order in shown.items() if order}
    guided, guides = {}, {}
    for name, found in meanings.items():
        ways = [order for order in found if (signs[name], order) in decided]
        if len(found) == 2 and len(ways) == 1:
            guided[name], guides[name] = ways[0], decided[signs[name], ways[0]]
    dates = {name: meanings[name][order] for name, order in (shown | guided).items()}
    notes = []
    for order in ORDERS:
        for guide in (None, *dict.fromkeys(guides.values())):
            those = [one for one in dates if (shown | guided)[one] == order and guides.get(one) == guide]
            if those:
                example = _example(texts[those[0]], dates[those[0]])
                hint = f", as in '{guide}'" if guide else ""
                notes.append(f"{list_names(those)}: dates with the {order}{hint} ({example})")
    orders = {name: order for name, order in (shown | guided).items() if order}
    return replace(_replaced(table, dates), orders=orders, notes=(*table.notes, *notes))


def _sign(texts: pa.ChunkedArray) -> str:
    """Return what separates the numbers of dates; with another sign they may have another order."""
    return first_cells(texts)[0].as_py().lstrip("0123456789")[:1]


def _example(texts: pa.ChunkedArray, dates: pa.ChunkedArray) -> str:
    """Return how a cell is read that shows which number is the day, or the first where none does."""
    showing = pc.index(pc.greater(pc.day(dates), 12), True).as_py()
    place = showing if showing >= 0 else pc.index(pc.is_valid(dates), True).as_py()
    return f"{texts[place]} is {dates[place]}"


def with_numbers(
    table: Table,
    free: set[str],
    delimiter: str,
    as_text: Callable[[set[str]], Columns],
    *,
    commas: str | None,
    points: Mapping[str, str],
    signs: Mapping[str, str] | None,
) -> Table:
    """Return the table in which columns with commas, currency signs or per cent are numbers.

    Arguments:
        table: as it was read.
        free: the columns that may be other than text.
        delimiter: what separates the columns.
        as_text: returns columns that were read as numbers the way they stand in the file.
        commas: see `read_csv`.
        points: see `read_csv`.
        signs: see `read_csv`.
    """
    texts = {name: column for name, column in _columns(table, free).items() if column.type == TEXT}
    words = {name for name, column in texts.items() if not may_be_numbers(column)}
    free, texts = free - words, {name: column for name, column in texts.items() if name not in words}
    signed = {name: found for name, column in texts.items() if (found := strip_sign(column)) is not None}
    if signs is not None:
        signed = {name: found for name, found in signed.items() if signs.get(name) == found.sign}
    plain = {name: found.plain for name, found in signed.items()}

    def without_signs(names: set[str]) -> Columns:
        return as_text(names - set(plain)) | {name: plain[name] for name in names & set(plain)}

    # €1.234 may be 1234 or a price with three decimals, unless training has shown what points are.
    # Another file may leave out the signs: what its commas are stays the same.
    known = {name: found.sign for name, found in signed.items()} if signs is None else signs
    money = {name: sign for name, sign in known.items() if name in texts and sign != "%"}
    unclear = {name for name in (set(money) & set(plain)) - set(points) if points_are_open(plain[name])}
    settled = {name: one if name in unclear else settle(one, parse=True) for name, one in plain.items()}
    table = _with_separators(_replaced(table, settled), free, delimiter, without_signs, commas, points, money)
    unread = {name: texts[name] for name in signed if table.columns[name].type == TEXT}
    found = {name: one.sign for name, one in signed.items() if name not in unread}
    notes = _sign_notes(found, texts, _columns(table, set(found)))
    points = {name: means for name, means in table.points.items() if name not in unread}
    return replace(_replaced(table, unread), signs=found, points=points, notes=(*table.notes, *notes))


def _sign_notes(signs: dict[str, str], texts: Columns, numbers: Columns) -> list[str]:
    notes = []
    for sign in dict.fromkeys(signs.values()):
        names = [name for name in signs if signs[name] == sign]
        place = pc.index(pc.match_substring(texts[names[0]], sign), True).as_py()
        cell = texts[names[0]][place].as_py()
        example = f", {cell} is {numbers[names[0]][place]}" if sign == "%" or "," in cell else ""
        notes.append(f"{list_names(names)}: numbers in {sign}{example}")
    return notes


def _with_separators(
    table: Table,
    free: set[str],
    delimiter: str,
    as_text: Callable[[set[str]], Columns],
    commas: str | None,
    points: Mapping[str, str],
    money: Mapping[str, str],
) -> Table:
    """Return the table in which columns of text with commas, and points beside them, are numbers.

    Where nothing shows what commas are, they are decimal signs unless they delimit. In `money`, whose values
    are currency signs, they separate thousands where people write so, and stay unclear elsewhere.
    """
    told = points if commas else {}  # of a file without commas in its numbers, points tell nothing here
    columns = _columns(table, free)
    texts = {name: beside_numbers(column) for name, column in columns.items() if column.type == TEXT}
    floats = [name for name, column in columns.items() if column.type == pa.float64()]
    shown = commas or find_commas(texts.values(), delimiter)
    commas = shown or (None if delimiter == "," else "decimal")
    separating = set()  # columns whose points, if there are any that fit, separate thousands
    if commas == "decimal":
        shows = delimiter != "," and any(map(shows_decimals, texts.values()))
        usual = "thousands" if shows else "decimal"
        separating = {name for name in free if told.get(name, usual) == "thousands"}
        # These were taken for decimal points, and what was 5.100 is 5.1 by now.
        texts |= as_text({name for name in floats if name in separating})
    meant = dict.fromkeys(money, shown)
    if delimiter != ";":  # where that delimits, commas are decimal signs
        meant |= {name: shown or "thousands" for name, sign in money.items() if sign in POINTS_ARE_DECIMAL}
    meant |= {name: "thousands" for name in money if told.get(name) == "decimal"}
    parsed = {
        name: parse_numbers(column, meant.get(name, commas), points=name in separating)
        for name, column in texts.items()
    }
    numbers = {name: column for name, column in parsed.items() if column.type != TEXT}
    pointed = {name: first_pointed(texts[name]) for name in numbers if name in separating}
    pointed = {name: cell for name, cell in pointed.items() if cell is not None}
    # Beside commas that separate thousands, the points of money are decimal ones, whatever those of others.
    found = {name: "decimal" for name in money if name in floats or meant[name] == "thousands"}
    if numbers and commas == "decimal":
        found |= dict.fromkeys(floats, "decimal") | dict.fromkeys(pointed, "thousands")
    notes = _points_note(numbers, pointed)
    return replace(
        _replaced(table, numbers),
        commas=commas if numbers else None,
        points=found,
        notes=(*table.notes, *notes),
    )


def _points_note(numbers: Columns, pointed: dict[str, str]) -> tuple[str, ...]:
    """Return what is to be said of points that could have been decimal signs, given a cell of each column."""
    whole = [name for name in pointed if numbers[name].type == pa.int64()]
    if not whole:
        return ()
    cell = pointed[whole[0]]
    return (
        f"{list_names(whole)}: points separate thousands, because commas are decimal signs in this file "
        f"({cell} is {cell.replace('.', '')})",
    )


def _columns(table: Table, names: set[str]) -> Columns:
    return {name: table.columns.column(name) for name in table.column_names if name in names}


def _replaced(table: Table, columns: Columns) -> Table:
    """Return the table with other cells in some of its columns."""
    if not columns:
        return table
    cells = [columns.get(name, column) for name, column in _columns(table, set(table.column_names)).items()]
    return replace(table, columns=pa.table(cells, names=table.column_names))
