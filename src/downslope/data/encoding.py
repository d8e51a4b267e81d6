"""Columns ↔ arrays: everything that was fitted to the training rows, and saves itself as JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from downslope.data import cells, columns as transforms
from downslope.data.categories import Embedded, OneHot
from downslope.data.columns import Ignored, Transform, fit_column
from downslope.data.dates import Date
from downslope.data.fields import check, damaged
from downslope.data.numeric import Number
from downslope.data.table import Table, drop_columns, list_names
from downslope.data.target import Target, Task, fit_target, target_from_json, target_to_json
from downslope.errors import DataError, did_you_mean

_FORMAT = 1
_NAMED = 4  # columns that one note names
_BLOCK = 4096  # rows


class Inputs(NamedTuple):
    """What a network takes in; row i is row i of the table.

    dense: float32 (n, n_dense); categories: int32 (n, len(embedding_sizes)), codes for learned
    embeddings. Either may have no columns.
    """

    dense: np.ndarray
    categories: np.ndarray


@dataclass(frozen=True)
class Encoding:
    """The fitted transforms of one data set.

    Arguments:
        columns: one transform for each column but the target, in the table's order.
        labels: the target's own transform.
        notes: what the user is told: the task and why, how the data was read, which columns are ignored,
            what is missing.
        commas, points, signs: what those in the numbers of a text file are; see `read_csv`.
    """

    columns: tuple[Transform, ...]
    labels: Target
    notes: list[str]
    commas: str | None = None
    points: Mapping[str, str] = field(default_factory=dict)
    signs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        table: Table,
        *,
        target: str,
        task: Task | None = None,
        rows: np.ndarray,
        drop: Iterable[str] = (),
    ) -> "Encoding":
        """Fit to the training rows of a table.

        Arguments:
            table: all rows.
            target: the column to predict.
            task: None to infer it from the target.
            rows: the training rows, counted from 0, (n,).
            drop: columns to leave out.

        Raises:
            DataError: the target or an input cannot be used, or no usable input is left.
        """
        labels, task_note = fit_target(table, target, task, rows)
        drop = list(drop)
        drop_columns(table, drop)
        if target in drop:
            raise DataError(f"{table.name}: '{target}' is the target and cannot be dropped")
        names = [name for name in table.column_names if name != target]
        columns = tuple(
            Ignored(name, "ignored: dropped") if name in drop else fit_column(table, name, rows)
            for name in names
        )
        if all(isinstance(column, Ignored) for column in columns):
            reasons = "; ".join(_notes(columns)) or f"'{target}' is the only column"
            raise DataError(f"{table.name}: no column is left to predict '{target}' from ({reasons})")
        notes = [task_note, *table.notes, *_notes(columns)]
        return cls(columns, labels, notes, table.commas, table.points, table.signs)

    @property
    def task(self) -> Task:
        """``"classification"`` or ``"regression"``."""
        return self.labels.task

    @property
    def target(self) -> str:
        """Name of the column to predict."""
        return self.labels.name

    @property
    def classes(self) -> list[Any]:
        """The labels as they stand in the data, by class code; empty for regression."""
        return list(self.labels.classes)

    @property
    def input_names(self) -> list[str]:
        """Names of the columns that prediction needs."""
        return [column.name for column in self.columns if not isinstance(column, Ignored)]

    @property
    def text_columns(self) -> set[str]:
        """Names of the columns that were text: in other files they are too, even if all cells are numbers."""
        texts = {column.name for column in self.columns if isinstance(column, OneHot | Embedded)}
        return texts | {self.target} if any(isinstance(label, str) for label in self.classes) else texts

    @property
    def as_read(self) -> dict[str, Any]:
        """How other files are to be read like the one of training: arguments of `read_csv`."""
        # Dates that need the order of training are left to the column's own transform.
        ordered = {column.name for column in self.columns if isinstance(column, Date) and column.order}
        return {
            "text": self.text_columns | ordered,
            "commas": self.commas,
            "points": self.points,
            "signs": self.signs,
        }

    @property
    def feature_names(self) -> list[str]:
        """Names of the dense inputs, such as "age", "age is missing", "ocean_proximity=INLAND"."""
        dense = (column for column in self.columns if not isinstance(column, Embedded))
        return [name for column in dense for name in column.feature_names]

    @property
    def n_dense(self) -> int:
        """Number of dense inputs."""
        return len(self.feature_names)

    @property
    def embedding_sizes(self) -> list[int]:
        """Number of codes of each column that gets a learned embedding."""
        return [column.n_codes for column in self.columns if isinstance(column, Embedded)]

    @property
    def number_columns(self) -> list[int]:
        """Positions among the dense inputs of the standardised numbers."""
        names = {column.name for column in self.columns if isinstance(column, Number)}
        return [place for place, name in enumerate(self.feature_names) if name in names]

    def encode_inputs(self, table: Table) -> Inputs:
        """Return the inputs of every row, in order; other columns, the target too, are not looked at.

        Raises:
            DataError: a column is lacking, or holds what cannot be read as in training.
        """
        there, wanted = set(table.column_names), set(self.input_names)
        lacking = [name for name in self.input_names if name not in there]
        if lacking:
            others = [name for name in table.column_names if name not in wanted]
            hint = did_you_mean(lacking[0], others)
            word = "column" if len(lacking) == 1 else "columns"
            raise DataError(
                f"{table.name}: lacks the {word} {list_names(lacking)} that the model was trained on"
                + (f".{hint}" if hint else "")
            )
        dense = np.zeros((self.n_dense, table.n_rows), np.float32)  # a column at a time is written in one go
        codes = []
        start = 0
        for column in self.columns:
            if isinstance(column, Embedded):
                codes.append(column.codes(table.column(column.name)))
            elif not isinstance(column, Ignored):
                stop = start + len(column.feature_names)
                column.fill(table.column(column.name), dense[start:stop].T, table.name)
                start = stop
        categories = np.stack(codes, axis=1) if codes else np.zeros((table.n_rows, 0), np.int32)
        return Inputs(_transposed(dense), categories)

    def unfamiliar(self, table: Table) -> list[str]:
        """Return a line for each column of categories most of whose cells training never saw.

        A few unseen cells are usual; most of them are another spelling: "Y" where training had "yes".
        """
        lines = []
        for column in self.columns:
            if not isinstance(column, OneHot | Embedded):
                continue
            texts = table.column(column.name)
            places, missing = cells.find(texts, column.levels)
            unknown = np.flatnonzero((places < 0) & ~missing)
            if 2 * len(unknown) > (~missing).sum():
                row = int(unknown[0])
                lines.append(
                    f"column '{column.name}': {len(unknown):,} of {table.n_rows:,} cells were never seen in "
                    f"training (first: '{texts[row].as_py()}' in row {row + 1}; known are "
                    f"{list_names(list(column.levels))})"
                )
        return lines

    def encode_target(self, table: Table) -> np.ndarray:
        """Return class codes, int32 (n,), or standardised targets, float32 (n,).

        Raises:
            DataError: the target is lacking, missing or infinite somewhere, or of an unknown class.
        """
        return self.labels.encode(table)

    def decode_target(self, array: np.ndarray) -> np.ndarray:
        """Return labels for class codes, or numbers in the user's units, float64, for standardised ones."""
        return self.labels.decode(array)

    def describe(self) -> list[dict[str, Any]]:
        """Return a row for each input column: ``column``, ``became``, ``width``, ``note``.

        The width is the number of dense inputs, or of codes where the column is embedded.
        """
        return [
            {
                "column": column.name,
                "became": column.became,
                "width": column.n_codes if isinstance(column, Embedded) else len(column.feature_names),
                "note": column.note,
            }
            for column in self.columns
        ]

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object; `from_json` gives it back exactly."""
        return {
            "format": _FORMAT,
            "target": target_to_json(self.labels),
            "columns": [transforms.to_json(column) for column in self.columns],
            "notes": self.notes,
            "commas": self.commas,
            "points": dict(self.points),
            "signs": dict(self.signs),
        }

    @classmethod
    def from_json(cls, content: Any) -> "Encoding":
        """Return the encoding of a JSON object. Every field is checked and nothing of it is run.

        Raises:
            DataError: the object is not what `to_json` returns.
        """
        what = "the object"
        check(isinstance(content, dict), what, "is not a JSON object")
        if content.get("format") != _FORMAT:
            raise damaged(what, f"has format {content.get('format')!r}, not {_FORMAT}")
        how_read = {"commas", "points", "signs"}
        expected = {"format", "target", "columns", "notes", *how_read}
        check(set(content) | how_read == expected, what, "has other fields than expected")
        notes = content["notes"]
        check(
            isinstance(notes, list) and all(isinstance(n, str) for n in notes), "the notes", "are not texts"
        )
        commas = content.get("commas")
        check(commas in (None, "decimal", "thousands"), "commas", "is unknown")
        points = content.get("points", {})
        check(
            isinstance(points, dict) and all(means in ("decimal", "thousands") for means in points.values()),
            "points",
            "are unknown",
        )
        signs = content.get("signs", {})
        check(
            isinstance(signs, dict) and all(isinstance(sign, str) for sign in signs.values()),
            "signs",
            "are unknown",
        )
        check(isinstance(content["columns"], list), "the columns", "are not a list")
        columns = tuple(
            transforms.from_json(column, f"column {i}")
            for i, column in enumerate(content["columns"], start=1)
        )
        labels = target_from_json(content["target"])
        names = [labels.name, *(column.name for column in columns)]
        check(len(set(names)) == len(names), "the columns", "repeat a name")
        return cls(columns, labels, list(notes), commas, points, signs)


def _transposed(columns: np.ndarray) -> np.ndarray:
    """Return rows of (columns, rows), block by block: each fits into a processor's cache."""
    rows = np.empty(columns.shape[::-1], columns.dtype)
    for start in range(0, len(rows), _BLOCK):
        rows[start : start + _BLOCK] = columns[:, start : start + _BLOCK].T
    return rows


def _notes(columns: tuple[Transform, ...]) -> list[str]:
    """Return what is to be said of the columns; those with the same to be said share a line."""
    alike: dict[str, list[str]] = {}
    for column in columns:
        if column.note:
            alike.setdefault(column.note, []).append(column.name)
    notes = []
    for note, names in alike.items():
        shown = ", ".join(f"'{name}'" for name in names[:_NAMED])
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        notes.append(f"{shown}{rest} {note}" if note.startswith("ignored") else f"{shown}{rest}: {note}")
    return notes
