"""A named set of typed columns: what every kind of data becomes before it is encoded.

A column holds one of

    int64, float64      numbers
    bool                truth values
    string              text
    date32, timestamp   calendar dates; timestamps in microseconds, UTC, without a zone
    null                nothing at all: every cell is missing

and a missing cell is a null in all of them, never a NaN and never a text such as "NA". Columns of other
types (lists, structs, bytes) are held too, but can only be dropped.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from downslope.errors import DataError, OptionError, did_you_mean

DEFAULT_TARGET = "target"
USABLE = (pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.date32(), pa.timestamp("us"), pa.null())
_LISTED = 12  # column names in a message, so that it stays one readable line


@dataclass(frozen=True)
class Table:
    """Typed columns and the name that messages call them by.

    Arguments:
        name: the path as it was given, the name of a bundled set, or "the data frame".
        columns: the columns, of the types listed at the top of this module.
        default_target: the column to predict where the user names none; None for files.
        commas: what those in the numbers of a text file were taken for, see `read_csv`; None: there are none.
        points: what those in the numbers of a column were taken for, by its name, where commas are decimal.
        signs: the currency sign, or "%", that the numbers of a column carried in a text file, by its name.
        orders: what stood first in the dates of a column, "day first" or "month first", by its name.
        notes: what the user is told about how it was read.
    """

    name: str
    columns: pa.Table
    default_target: str | None = None
    commas: str | None = None
    points: Mapping[str, str] = field(default_factory=dict)
    signs: Mapping[str, str] = field(default_factory=dict)
    orders: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.columns.num_rows

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self.columns.column_names)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one column.

        Raises:
            DataError: there is no such column; the nearest names are suggested. Or its type has no meaning
                as one input.
        """
        column = self.columns.column(self.place(name))
        if column.type not in USABLE:
            raise DataError(
                f"{self.name}: column '{name}' has the type {column.type}, which cannot be an input; turn it "
                f"into numbers, text, truth values or dates, or pass --drop '{name}'"
            )
        return column

    def place(self, name: str) -> int:
        """Return where a column stands, counted from 0.

        Raises:
            DataError: there is no such column; the nearest names are suggested.
        """
        place = self.columns.schema.get_field_index(name)  # not by the list of names: there may be thousands
        if place < 0:
            raise DataError(f"{self.name}: no column '{name}'.{suggest_columns(name, self.column_names)}")
        return place


def resolve_target(table: Table, target: str | None) -> str:
    """Return the name of the column to predict, checked against the table.

    Arguments:
        table: what it is to be a column of.
        target: what the user asked for; None takes the default of a bundled set or of arrays.

    Raises:
        DataError: no such column, or none was named for a table without a default.
    """
    if target is None and table.default_target is None:
        raise DataError(
            f"{table.name}: which column is to be predicted? Pass --target with one of "
            f"{list_names(table.column_names)}"
        )
    name = target if target is not None else table.default_target
    assert name is not None
    if name not in table.column_names:
        hint = ""
        if all(_is_number(column) for column in table.column_names):
            hint = " The first line looks like data: pass --no-header if the file has no header"
        raise DataError(
            f"{table.name}: no column '{name}'.{hint or suggest_columns(name, table.column_names)}"
        )
    return name


def drop_columns(table: Table, names: Iterable[str]) -> Table:
    """Return the table without the named columns.

    Raises:
        DataError: a name is not a column; the nearest names are suggested.
        OptionError: no column would be left.
    """
    names = set(names)
    for name in sorted(names):
        table.place(name)
    kept = [name for name in table.column_names if name not in names]
    if not kept:
        raise OptionError(f"--drop leaves no column of {table.name}; drop fewer")
    return replace(table, columns=table.columns.select(kept))


def drop_empty_rows(table: Table) -> Table:
    """Return the table without the rows in which every cell is missing, and with a note that says so.

    Spreadsheets write such rows below their data. Where there are no others, the table stays as it is.
    """
    columns = table.columns.columns
    if any(column.null_count == 0 for column in columns):
        return table
    empty = np.logical_and.reduce([column.is_null().to_numpy() for column in columns])
    count = int(empty.sum())
    if count in (0, table.n_rows):
        return table
    rows = "1 empty row" if count == 1 else f"{count:,} empty rows"
    note = f"{rows} left out (first: row {int(empty.argmax()) + 1})"
    return replace(table, columns=table.columns.filter(pa.array(~empty)), notes=(*table.notes, note))


def suggest_columns(name: str, known: list[str]) -> str:
    """Return the nearest column names as a sentence, or all of them where none is near."""
    return did_you_mean(name, known) or f" The columns are {list_names(known)}"


def list_names(names: list[str]) -> str:
    """Return ``"'a', 'b', 'c'"``, cut after the first twelve."""
    shown = ", ".join(f"'{name}'" for name in names[:_LISTED])
    rest = len(names) - _LISTED
    return f"{shown} and {rest} more" if rest > 0 else shown


def check_unique(names: list[str], source: str, hint: str = "") -> None:
    """Raise `DataError` if two columns have the same name."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        places = [str(i + 1) for i, name in enumerate(names) if name == repeated[0]]
        others = f", and {len(repeated) - 1} more names repeat" if len(repeated) > 1 else ""
        raise DataError(
            f"{source}: duplicate column name '{repeated[0]}' (columns {', '.join(places)}{others}); "
            f"give every column its own name{hint}"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
