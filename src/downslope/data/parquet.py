"""Parquet files → `Table`."""

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from downslope.data.table import Table, check_unique
from downslope.data.typed import settle
from downslope.errors import DataError


def read_parquet(path: str | Path) -> Table:
    """Read a Parquet file.

    Raises:
        DataError: it is not a Parquet file, has no rows, or a column's type (a list, a struct,
            bytes) cannot be an input.
    """
    path = Path(path)
    try:
        # ParquetFile rather than read_table: the latter imports the data-set machinery and reads
        # `key=value` folders above the file as extra columns.
        with parquet.ParquetFile(path) as file:
            columns = file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a Parquet file ({' '.join(str(error).split())})") from None
    return table_from_arrow(columns, str(path))


def table_from_arrow(columns: pa.Table, name: str) -> Table:
    """Return an Arrow table with its columns settled into the types of a `Table`.

    Raises:
        DataError: no rows, no columns, duplicate names, or a type that cannot be an input.
    """
    names = list(columns.column_names)
    check_unique(names, name)
    if columns.num_rows == 0 or not names:
        raise DataError(f"{name}: there are no rows" if names else f"{name}: there are no columns")
    settled = [
        settle(column, column_name, name) for column_name, column in zip(names, columns.columns, strict=True)
    ]
    return Table(name, pa.table(settled, names=names))
