"""Arrays for a user's own network: they go in as they are, whatever their shape; only labels are encoded."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from downslope import pytrees
from downslope.data.encoding import Encoding
from downslope.data.memory import from_arrays
from downslope.data.table import DEFAULT_TARGET, Table
from downslope.data.target import Target, Task, fit_target, target_from_json, target_to_json
from downslope.errors import DataError


@dataclass(frozen=True)
class ArrayTable:
    """Rows of an array, with their labels where they are known.

    Attributes:
        inputs: (rows, …), float32 or int32.
        labels: a table of one column; None where there are only inputs.
    """

    inputs: np.ndarray
    labels: Table | None
    name: str = "the arrays"

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.inputs)


def read_arrays(inputs: Any, y: Any, target: str | None) -> ArrayTable:
    """Return arrays as rows, after checking that they can be trained on.

    Raises:
        DataError: the shapes do not fit, there are no rows, or a number is not finite.
    """
    try:
        array = np.asarray(inputs)
    except ValueError as error:  # rows of different lengths
        raise DataError(f"the arrays: inputs must be one array; {error}") from None
    if array.ndim == 0 and array.dtype.kind == "O":
        raise DataError(
            f"the arrays: inputs must be one array, got {type(inputs).__name__}; for several of them use "
            "downslope.minimize with data=(…)"
        )
    if array.ndim == 0 or len(array) == 0:
        raise DataError(f"the arrays: need at least one row, got shape {array.shape}")
    if array.dtype.kind not in "fiub":
        raise DataError(f"the arrays: inputs must be numbers, got {array.dtype}")
    if array.dtype.kind in "iu" and not pytrees.fits(array, np.int32):
        raise DataError(
            f"the arrays: whole numbers must lie within ±2³¹, got {array.min()} to {array.max()}; "
            "give them as floating-point numbers, or as codes that are smaller"
        )
    array = array.astype(np.float32 if array.dtype.kind == "f" else np.int32, copy=False)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        rows = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        raise DataError(
            f"the arrays: inputs are not finite in {len(rows)} rows (first: row {rows[0] + 1}); "
            "an own network gets its arrays as they are: fill them in first"
        )
    if y is None:
        return ArrayTable(array, None)
    labels = from_arrays(np.zeros((len(array), 1)), y, target=target or DEFAULT_TARGET)
    return ArrayTable(array, Table("the arrays", labels.columns.select([target or DEFAULT_TARGET])))


@dataclass(frozen=True)
class ArrayEncoding:
    """What an `Encoding` is for a table: inputs pass through, labels become codes or standardised numbers.

    Attributes:
        labels: the target's transform.
        shape: of one row of the inputs.
        notes: what the user is told.
        dtype: of the inputs: ``"float32"`` or ``"int32"``.
    """

    labels: Target
    shape: tuple[int, ...]
    notes: list[str]
    dtype: str = "float32"

    @classmethod
    def fit(cls, table: ArrayTable, task: Task | None, rows: np.ndarray) -> "ArrayEncoding":
        """Fit to the training rows; `DataError` as `data.target.fit_target`."""
        assert table.labels is not None
        labels, note = fit_target(table.labels, table.labels.column_names[0], task, rows)
        return cls(labels, table.inputs.shape[1:], [note], str(table.inputs.dtype))

    @property
    def task(self) -> Task:
        """``"classification"`` or ``"regression"``."""
        return self.labels.task

    @property
    def target(self) -> str:
        """Name of what is predicted."""
        return self.labels.name

    @property
    def classes(self) -> list[Any]:
        """The labels by class code; empty for regression."""
        return list(self.labels.classes)

    def encode_inputs(self, table: ArrayTable) -> np.ndarray:
        """Return the inputs as they are; DataError where a row has another shape or kind than in training."""
        if table.inputs.shape[1:] != self.shape:
            raise DataError(
                f"{table.name}: a row has shape {table.inputs.shape[1:]}, but training rows had {self.shape}"
            )
        if self.dtype == "int32" and table.inputs.dtype != np.int32:
            raise DataError(f"{table.name}: must hold whole numbers, as the training rows did")
        return table.inputs.astype(self.dtype, copy=False)

    def encode_target(self, table: ArrayTable) -> np.ndarray:
        """Return class codes or standardised numbers (rows,)."""
        if table.labels is None:
            raise DataError(f"{table.name}: needs y to be measured against")
        return self.labels.encode(table.labels)

    def decode_target(self, array: np.ndarray) -> np.ndarray:
        """Return labels, or numbers in the user's units."""
        return self.labels.decode(array)

    def describe(self) -> list[dict[str, Any]]:
        """Return one row that says that nothing was changed."""
        width = int(np.prod(self.shape))
        return [{"column": "inputs", "became": f"array {self.shape}, as it is", "width": width, "note": ""}]

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object."""
        return {
            "target": target_to_json(self.labels),
            "shape": list(self.shape),
            "notes": self.notes,
            "dtype": self.dtype,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "ArrayEncoding":
        """Read what `to_json` wrote; DataError where it is damaged."""
        try:
            shape, notes = tuple(map(int, content["shape"])), list(map(str, content["notes"]))
            dtype = {"float32": "float32", "int32": "int32"}[content["dtype"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the encoding is damaged ({error})") from None
        return cls(target_from_json(content["target"]), shape, notes, dtype)


AnyEncoding = Encoding | ArrayEncoding
