"""What DATA may be: a bundled name, a file, a frame, arrays, or a `Table` already read."""

# pyright: reportAttributeAccessIssue=false
# Arrow makes its compute functions while it is imported, where pyright does not see them.

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from downslope.data.bundled import BUNDLED, load
from downslope.data.delimited import read_csv
from downslope.data.memory import ARRAYS_NAME, FRAME_NAME, from_arrays, from_frame, is_frame
from downslope.data.parquet import read_parquet
from downslope.data.table import DEFAULT_TARGET, USABLE, Table
from downslope.errors import DataError, OptionError, did_you_mean

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".data")
PARQUET_SUFFIXES = (".parquet", ".pq")
_READABLE = "CSV or TSV (.csv, .tsv, .txt, .data, each also with .gz) and Parquet (.parquet, .pq)"
_CHUNK_BYTES = 1 << 20


def read(
    data: Any,
    y: Any = None,
    *,
    target: str | None = None,
    header: bool = True,
    delimiter: str | None = None,
    text: Collection[str] = (),
    commas: str | None = None,
    points: Mapping[str, str] | None = None,
    signs: Mapping[str, str] | None = None,
) -> Table:
    """Read anything that DATA may name.

    Arguments:
        data: ``"digits"`` or another bundled name; the path of a CSV, TSV or Parquet file; a
            pandas, polars or pyarrow frame; an array (n, d); or a `Table`, returned as it is.
        y: what is to be predicted, (n,), beside arrays or a frame; None where it is a column.
        target: with `y`, the name its column gets ("target"). Not checked otherwise: see
            `resolve_target`.
        header: whether the first line of a text file names the columns.
        delimiter: what separates its columns; see `read_csv`.
        text: its columns that are text; see `read_csv`.
        commas: what they are in its numbers; see `read_csv`.
        points: what they are in the numbers of its columns; see `read_csv`.
        signs: what its numbers may carry; see `read_csv`.

    Raises:
        DataError: the file is missing, is of an unknown kind, or cannot be used; the arrays do not fit.
        OptionError: `header` or `delimiter` for data that has none.
    """
    if y is not None:
        if isinstance(data, (str, Path, Table)):
            raise OptionError("y is given, but data is not an array or a frame; name its column with target=")
        from_memory = from_frame if is_frame(data) else from_arrays
        return from_memory(data, y, target=target or DEFAULT_TARGET)
    if isinstance(data, Table):
        return data
    if isinstance(data, str) and data in BUNDLED:
        return load(data)
    if isinstance(data, (str, Path)):
        how = {"text": text, "commas": commas, "points": points, "signs": signs}
        return _read_file(Path(data), str(data), header=header, delimiter=delimiter, **how)
    return from_frame(data) if is_frame(data) else from_arrays(data)


def _read_file(path: Path, given: str, *, header: bool, delimiter: str | None, **how: Any) -> Table:
    check_file(given)
    suffix = _suffix(path)
    if suffix in PARQUET_SUFFIXES:
        if delimiter is not None or not header:
            option = "--no-header" if not header else "--delimiter"
            raise OptionError(f"{option} is for text files; {given} is Parquet, which names its own columns")
        return read_parquet(path)
    if suffix in TEXT_SUFFIXES:
        return read_csv(path, header=header, delimiter=delimiter, **how)
    kind = f"files ending in '{suffix}'" if suffix else "files without an ending"
    raise DataError(f"{given}: cannot read {kind}; DATA may be {_READABLE}")


def check_file(given: str | Path) -> None:
    """Raise `DataError` unless the path is a file; suggest near names, from beside it or bundled."""
    path = Path(given)
    if path.is_dir():
        raise DataError(f"{given}: is a folder; name one file in it, {_READABLE}")
    if path.exists():
        return
    if path.suffix == "" and path.name == str(given):  # a bare word: perhaps a misspelt bundled name
        hint = did_you_mean(str(given), [*BUNDLED, *_siblings(path)])
        raise DataError(
            f"{given}: there is no such file.{hint} The bundled data sets are {', '.join(BUNDLED)}"
        )
    if not path.parent.is_dir():
        raise DataError(f"{given}: there is no such file, nor the folder {path.parent}")
    near = did_you_mean(path.name, _siblings(path))
    raise DataError(f"{given}: there is no such file{f'.{near}' if near else f' in {path.parent.resolve()}'}")


def _siblings(path: Path) -> list[str]:
    try:
        return [
            file.name for file in path.parent.iterdir() if _suffix(file) in TEXT_SUFFIXES + PARQUET_SUFFIXES
        ]
    except OSError:
        return []


def _suffix(path: Path) -> str:
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def dataset_name(data: Any) -> str:
    """Return a short name that is safe as a folder's: ``x/houses.csv.gz`` → ``houses``.

    >>> dataset_name("x/my houses.csv.gz"), dataset_name("digits")
    ('my-houses', 'digits')
    """
    if isinstance(data, Table):
        data = data.name
    if not isinstance(data, (str, Path)):
        return "frame" if is_frame(data) else "arrays"
    if data in (FRAME_NAME, ARRAYS_NAME):
        return "frame" if data == FRAME_NAME else "arrays"
    name = Path(data).name
    if _suffix(Path(name)):
        name = name[: -len(".gz")] if name.lower().endswith(".gz") else name
        name = Path(name).stem
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.") or "data"


def fingerprint(data: Any) -> str:
    """Return a SHA-256, in hexadecimal, that changes when the data does.

    Of a file it is that of its bytes; of anything else, of its columns' names, types and cells.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    if isinstance(data, Path) or (isinstance(data, str) and data not in BUNDLED):
        check_file(data)
        digest = hashlib.sha256()
        try:
            with Path(data).open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise DataError(f"{data}: cannot be read: {error.strerror or error}") from None
        return digest.hexdigest()
    table = read(data)
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns.columns, strict=True):
        digest.update(f"{name}\0{column.type}\0{len(column)}\0".encode())
        for part in _cells(column):
            digest.update(part)
    return digest.hexdigest()


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """Return buffers that depend on the cells alone, not on chunks, offsets or what lies under a null."""
    if column.type not in USABLE:
        return [repr(column.to_pylist()).encode()]
    missing = pc.is_null(column).to_numpy()
    if pa.types.is_null(column.type):
        return [missing]
    if pa.types.is_string(column.type):
        array = pa.concat_arrays(pc.fill_null(column, "").chunks or [pa.array([], pa.string())])
        return [missing, pc.binary_length(array).to_numpy(), "".join(array.to_pylist()).encode()]
    if pa.types.is_date(column.type):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    filled = pc.fill_null(column, pa.scalar(0).cast(column.type))
    return [missing, np.ascontiguousarray(filled.to_numpy())]
