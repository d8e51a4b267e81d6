"""CSV and TSV files → `Table`.

Arrow's reader does the parsing, in parallel, and refuses ragged rows. Read as a whole table (its
streaming reader differs), each column gets a type that fits all of its cells: where a block late in
the file disagrees with the guess from the first, Arrow converts the earlier ones again.
"""

# pyright: reportAttributeAccessIssue=false
# Arrow makes its compute functions while it is imported, where pyright does not see them.

import csv
import itertools
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from downslope.data.dialect import Dialect, not_utf8, open_text, read_dialect
from downslope.data.table import Table
from downslope.data.typed import MISSING, TEXT, beside_numbers, settle
from downslope.data.written import with_dates, with_numbers
from downslope.errors import DataError

_BLOCK_BYTES = 4 << 20  # no row may be longer; larger blocks were no faster


def read_csv(
    path: str | Path,
    *,
    header: bool = True,
    delimiter: str | None = None,
    text: Collection[str] = (),
    commas: str | None = None,
    points: Mapping[str, str] | None = None,
    signs: Mapping[str, str] | None = None,
) -> Table:
    """Read a delimited text file, plain or gzipped.

    Arguments:
        path: the file. UTF-8, with or without a byte-order mark; quoted cells may hold newlines.
        header: whether the first line names the columns; without it they are column_1, column_2, …
        delimiter: one character; by default comma (tab for .tsv), or whichever of comma,
            semicolon, tab and bar splits the first rows evenly.
        text: columns that are text, whatever their cells look like.
        commas: in numbers, ``"decimal"`` signs or ``"thousands"`` separators; None: found out.
        points: beside decimal commas, what they are in the numbers of a column, by its name; in others
            they separate ``"thousands"`` wherever these fit and the file itself shows decimal commas.
        signs: the currency signs, or "%", that the numbers of columns may carry; None: found out.

    Returns:
        The table, with missing cells (empty, NA, NaN, null, ?, …) null.

    Raises:
        DataError: no text, no rows, duplicate column names, ragged rows (with the line number).
        OptionError: the delimiter is not one character.
    """
    path = Path(path)
    dialect = read_dialect(path, header=header, delimiter=delimiter)
    try:
        columns = _parse(path, dialect, text)
    except pa.ArrowInvalid as error:
        raise _malformed(path, dialect, error) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if columns.num_rows == 0:
        raise DataError(f"{path}: the file has a header but no rows")
    _check_quotes(path, dialect, columns)
    settled = {}
    for name, column in zip(dialect.names, columns.columns, strict=True):
        if pa.types.is_binary(column.type):
            raise not_utf8(path, f"column '{name}'")
        settled[name] = settle(column, parse=name not in text)
    free = set(dialect.names) - set(text)
    return with_numbers(
        with_dates(Table(str(path), pa.table(settled)), free),
        free,
        dialect.delimiter,
        lambda names: _as_text(path, dialect, names),
        commas=commas,
        points=points or {},
        signs=signs,
    )


def _as_text(path: Path, dialect: Dialect, names: set[str]) -> dict[str, pa.ChunkedArray]:
    """Return columns that were read as numbers the way they stand in the file."""
    if not names:
        return {}
    columns = _parse(path, dialect, names, only=names).columns
    in_order = [name for name in dialect.names if name in names]
    return {name: beside_numbers(settle(column)) for name, column in zip(in_order, columns, strict=True)}


def _parse(
    path: Path, dialect: Dialect, text: Collection[str], only: Collection[str] | None = None
) -> pa.Table:
    # The columns go by number while Arrow reads, because it treats two of one name as one.
    numbered = [str(i) for i in range(len(dialect.names))]
    as_text = {str(i): TEXT for i, name in enumerate(dialect.names) if name in text}
    included = None if only is None else [str(i) for i, name in enumerate(dialect.names) if name in only]
    with pa.input_stream(str(path), compression="gzip" if path.suffix.lower() == ".gz" else None) as stream:
        return arrow_csv.read_csv(
            stream,
            read_options=arrow_csv.ReadOptions(
                column_names=numbered,
                skip_rows_after_names=dialect.records_before_data,
                block_size=_BLOCK_BYTES,
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                null_values=list(MISSING),
                column_types=as_text,
                include_columns=included,
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                true_values=["true", "True", "TRUE"],  # not "1": a column of 0 and 1 is whole numbers
                false_values=["false", "False", "FALSE"],
            ),
        )


class _Record(NamedTuple):
    first_line: int
    last_line: int
    n_cells: int
    ended: bool  # False: its quotes do not match


def _records(path: Path, delimiter: str) -> Iterator[_Record]:
    """Yield every record with its lines: slow, so only for files that are, or may be, malformed."""
    number = 0
    with open_text(path) as lines:
        for line in lines:
            first = number = number + 1
            if '"' not in line:  # nearly every line of most files, and 10 times faster to count
                if not line.isspace():
                    yield _Record(first, first, line.count(delimiter) + 1, ended=True)
                continue
            reader = csv.reader(itertools.chain([line], lines), delimiter=delimiter, strict=True)
            try:
                row = next(reader)
            except csv.Error:
                yield _Record(first, first + reader.line_num - 1, 0, ended=False)
                return
            number += reader.line_num - 1
            yield _Record(first, number, len(row), ended=True)


def _malformed(path: Path, dialect: Dialect, error: Exception) -> DataError:
    expected = len(dialect.names)
    for record in _records(path, dialect.delimiter):
        if not record.ended:
            return _bad_quote(path, record)
        if record.n_cells != expected:
            as_in = f"in the header (line {dialect.header_line})" if dialect.header_line else "in line 1"
            spread = f" (it runs to line {record.last_line}: is a quote missing?)"
            return DataError(
                f"{path}: line {record.first_line} has {_count(record.n_cells)}, "
                f"expected {expected} as {as_in}" + (spread if record.last_line > record.first_line else "")
            )
    return DataError(f"{path}: not a CSV file ({' '.join(str(error).split())})")


def _check_quotes(path: Path, dialect: Dialect, columns: pa.Table) -> None:
    """Refuse a file where a stray quote has made several rows into one cell, which Arrow lets pass.

    Only cells with a newline can hide such rows, so only files with such cells pay for the slow reader.
    """
    texts = (column for column in columns.columns if column.type == TEXT)
    if any(pc.any(pc.match_substring(column, "\n")).as_py() for column in texts):
        for record in _records(path, dialect.delimiter):
            if not record.ended:
                raise _bad_quote(path, record)


def _bad_quote(path: Path, record: _Record) -> DataError:
    return DataError(f"{path}: the quotes in the row that starts on line {record.first_line} do not match")


def _count(n: int) -> str:
    return f"{n} column" if n == 1 else f"{n} columns"
