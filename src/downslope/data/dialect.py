"""How a delimited text file is written: its delimiter, its header, and whether it is text at all.

Only the first megabyte is read here. What is wrong with a whole file (a PDF, a workbook, an empty
file, two columns of one name) is found before the file is parsed.
"""

import codecs
import csv
import gzip
import io
import itertools
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from downslope.data.table import check_unique
from downslope.errors import DataError, OptionError

_HEAD_BYTES = 1 << 20
_SNIFFED_ROWS = 20
_DELIMITERS = (",", ";", "\t", "|")
_DELIMITER_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_OTHER_FORMATS = {
    b"PAR1": "it is a Parquet file: name it .parquet",
    b"PK\x03\x04": "it looks like a spreadsheet or a zip archive: export it as CSV",
    b"%PDF": "it is a PDF",
    b"\x1f\x8b": "it is compressed: name it .csv.gz",
    codecs.BOM_UTF16_LE: "it is UTF-16 text: save it as UTF-8",
    codecs.BOM_UTF16_BE: "it is UTF-16 text: save it as UTF-8",
}


@dataclass(frozen=True)
class Dialect:
    """How one file is written.

    Arguments:
        delimiter: one character.
        names: the names of the columns.
        records_before_data: records (blank ones included) to skip before the first row.
        header_line: the line that the header is on, counted from 1; None without a header.
    """

    delimiter: str
    names: list[str]
    records_before_data: int
    header_line: int | None


def open_text(path: Path) -> TextIO:
    """Open a file as text, through gzip where its name ends in .gz; bytes that are no text become �."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def read_dialect(path: Path, *, header: bool, delimiter: str | None) -> Dialect:
    """Look at the first megabyte of a file and return how it is written.

    Raises:
        DataError: the file is empty, is not UTF-8 text, or has two columns of one name.
        OptionError: the delimiter is not one character.
    """
    text = _head(path)
    delimiter = parse_delimiter(delimiter) if delimiter is not None else _sniff(text, path)
    blank, line, first = 0, 1, []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for first in reader:
            if first:
                break
            blank, line = blank + 1, reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file (line {line}: {error})") from None
    numbered = [f"column_{i}" for i in range(1, len(first) + 1)]
    if not header:
        return Dialect(delimiter, numbered, blank, None)
    names = [cell.strip() or number for cell, number in zip(first, numbered, strict=True)]
    hint = ", or pass --no-header if the first line is data" if any(c.isdigit() for c in names[0]) else ""
    check_unique(names, str(path), hint)
    return Dialect(delimiter, names, blank + 1, line)


def parse_delimiter(delimiter: str) -> str:
    """Return the character that a ``--delimiter`` stands for; the words tab, comma, … are understood.

    Raises:
        OptionError: it is not one character, or one that cannot separate columns.
    """
    character = _DELIMITER_WORDS.get(delimiter.lower(), delimiter)
    if len(character) != 1 or not character.isascii() or character.isalnum() or character in '"\r\n':
        raise OptionError(
            f"--delimiter {delimiter!r} is not one punctuation character; pass ',', ';', '|' or tab"
        )
    return character


def _head(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"{path}: cannot be decompressed ({error}); it is not gzip, or is cut short"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    for magic, what in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise DataError(f"{path}: not a CSV file; {what}")
    if b"\0" in head:
        raise DataError(f"{path}: not a CSV file: it holds binary data, not text")
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, final=len(head) < _HEAD_BYTES)
    except UnicodeDecodeError as error:
        line = head.count(b"\n", 0, error.start) + 1
        raise not_utf8(path, f"line {line}") from None
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return text


def not_utf8(path: Path, where: str) -> DataError:
    """Return the error for a file in another encoding than UTF-8."""
    return DataError(f"{path}: not a CSV file in UTF-8 ({where} holds other bytes); save it as UTF-8 text")


def _sniff(text: str, path: Path) -> str:
    """Return the delimiter that splits the first rows into equally many columns.

    The one that the file's name promises wins wherever it works, but for commas beside semicolons: these
    are decimal signs. Where none works it is returned too, so that the ragged row is reported as what the
    user expects the file to be.
    """
    promised = "\t" if ".tsv" in path.suffixes[-2:] else ","
    works = [one for one in (promised, *_DELIMITERS) if _splits_evenly(text, one)]
    if works[:1] == [","] and ";" in works:
        return ";"
    return works[0] if works else promised


def _splits_evenly(text: str, delimiter: str) -> bool:
    widths = _widths(text, delimiter)
    return len(widths) == 1 and widths.pop() > 1


def _widths(text: str, delimiter: str) -> set[int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = list(itertools.islice((row for row in reader if row), _SNIFFED_ROWS + 1))
    except csv.Error:
        return set()
    if len(text) >= _HEAD_BYTES // 4 or len(rows) > _SNIFFED_ROWS:
        rows = rows[:-1] or rows  # the last one may be cut short
    return {len(row) for row in rows}
