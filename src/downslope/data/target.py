"""The column to predict: which task it sets, and its labels or numbers ↔ what a network works with."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from downslope.data import cells
from downslope.data.fields import check, damaged
from downslope.data.spelling import nearly_numbers
from downslope.data.table import Table, list_names
from downslope.errors import DataError, OptionError

Task = Literal["classification", "regression"]
TASKS = ("classification", "regression")
_MAX_WHOLE_NUMBER_CLASSES = 20
_LISTED = 6  # distinct values that the reason for a task names
LARGEST = 1e150  # of a target's numbers: squares of larger ones are not finite


@dataclass(frozen=True)
class Target:
    """How the target becomes what a network is trained on.

    Arguments:
        classes: the labels, in ascending order, as they stand in the data; () for regression.
        mean, std: of the training rows, in the user's units; 0 and 1 for classification.
    """

    name: str
    task: Task
    classes: tuple[Any, ...]
    mean: float
    std: float

    def encode(self, table: Table) -> np.ndarray:
        """Return class codes, int32 (n,), or standardised numbers, float32 (n,).

        Raises:
            DataError: no such column; a missing or infinite cell; a class that training did not have.
        """
        column = table.column(self.name)
        _check_present(column, self.name, table.name)
        if self.task == "regression":
            values = _finite(column, self.name, table.name)
            return ((values - self.mean) / self.std).astype(np.float32)
        places, _ = cells.find(column, self.classes)
        unknown = np.flatnonzero(places < 0)
        if unknown.size:
            row = int(unknown[0])
            known = list_names([str(label) for label in self.classes])
            raise DataError(
                f"{table.name}: target '{self.name}' is '{column[row].as_py()}' in row {row + 1}, "
                f"which is none of the classes in training: {known}"
            )
        return places.astype(np.int32)

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Return labels for class codes (n,), or float64 in the user's units for standardised numbers."""
        if self.task == "regression":
            return np.asarray(array, np.float64) * self.std + self.mean
        kinds = {type(label) for label in self.classes}
        labels = np.array(self.classes, dtype=None if kinds <= {int, float} or kinds == {bool} else object)
        return labels[np.asarray(array)]


def infer_task(column: pa.ChunkedArray) -> tuple[Task, str]:
    """Return the task that a target sets, and the reason in words.

    Text and truth values are classes. So are whole numbers of at most 20 distinct values that
    repeat (5 rows each on average, unless there are only two). All else is a number to regress on;
    of decimal numbers only 0.0 and 1.0 are taken for classes.
    """
    kind = column.type
    n_rows = len(column) - column.null_count
    distinct = column.drop_null().unique()
    n_distinct = len(distinct)
    if pa.types.is_string(kind):
        return "classification", f"{n_distinct} distinct text values{_listed(distinct)}"
    if pa.types.is_boolean(kind):
        return "classification", "true or false"
    if pa.types.is_integer(kind):
        if _are_few(n_distinct, n_rows):
            return "classification", f"{n_distinct} distinct whole numbers{_listed(distinct)}"
        return "regression", f"{n_distinct} distinct whole numbers{_listed(distinct)}"
    if n_distinct == 2 and set(distinct.to_pylist()) == {0.0, 1.0}:
        return "classification", "only 0 and 1"
    return "regression", f"{n_distinct} distinct numbers{_listed(distinct)}"


def _are_few(n_distinct: int, n_rows: int) -> bool:
    return n_distinct <= 2 or (n_distinct <= _MAX_WHOLE_NUMBER_CLASSES and n_distinct * 5 <= n_rows)


def _may_be_labels(column: pa.ChunkedArray) -> bool:
    """Return whether numbers to regress on may be labels: whole ones, or decimals such as 1.0 and 2.0."""
    if pa.types.is_integer(column.type):
        return True
    distinct = column.unique().to_numpy()
    return _are_few(len(distinct), len(column)) and bool((distinct == np.floor(distinct)).all())


def _listed(distinct: pa.Array) -> str:
    if len(distinct) > _LISTED:
        return ""
    values = sorted(distinct.to_pylist())
    return ": " + ", ".join(f"'{cells.short(one)}'" if isinstance(one, str) else str(one) for one in values)


def fit_target(table: Table, name: str, task: Task | None, rows: np.ndarray) -> tuple[Target, str]:
    """Fit to the target; return it with what to tell the user.

    Arguments:
        table: all rows.
        name: the column.
        task: None to infer it.
        rows: the training rows, (n,); mean and std are theirs. Classes are those of all rows.

    Raises:
        DataError: a missing or infinite cell, one class only, nearly as many classes as rows, a
            constant, or text where the task is regression.
        OptionError: the task is neither "classification" nor "regression".
    """
    if task is not None and task not in TASKS:
        raise OptionError(f"--task {task} is unknown; pass classification or regression")
    column = table.column(name)
    _check_present(column, name, table.name)
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        raise DataError(
            f"{table.name}: target '{name}' holds dates; turn it into a number, such as days, first"
        )
    inferred, reason = infer_task(column)
    note = f"{task or inferred}: '{name}' has {reason}"
    if task is not None and task != inferred:
        note += f" ({inferred} if --task were left out)"
    elif task is None and inferred == "classification" and pa.types.is_integer(column.type):
        note += " (--task regression if they are amounts)"
    elif task is None and inferred == "regression" and _may_be_labels(column):
        note += " (--task classification if they are labels)"
    if (task or inferred) == "classification":
        stray = nearly_numbers(*cells.codes_of(column)) if pa.types.is_string(column.type) else ""
        note += f"; {stray}: correct those cells to have it read as numbers" if stray else ""
        classes = _classes(table, column, name, stray)
        return Target(name, "classification", classes, 0.0, 1.0), note + _same_but_for_case(classes)
    values = _finite(column, name, table.name)
    largest = float(np.abs(values).max())
    if largest > LARGEST:
        raise DataError(
            f"{table.name}: target '{name}' holds numbers as large as {largest:.3g}, whose squares are "
            "infinite; give it in larger units, or its logarithm"
        )
    if values.min() == values.max():
        raise DataError(
            f"{table.name}: target '{name}' is {values[0]:g} in every row, so there is nothing to predict; "
            "choose another --target"
        )
    training = values[rows]
    std = float(training.std())
    return Target(name, "regression", (), float(training.mean()), std if std > 0 else 1.0), note


def _same_but_for_case(classes: tuple[Any, ...]) -> str:
    """Return a warning of the first two classes that may be one, spelt in two ways; "" if there are none."""
    seen: dict[str, str] = {}
    for label in classes:
        if isinstance(label, str) and seen.setdefault(label.lower(), label) != label:
            return (
                f"; '{cells.short(seen[label.lower()])}' and '{cells.short(label)}' differ only in case: "
                f"{len(classes)} classes; unify them if they are the same"
            )
    return ""


def class_codes(table: Table, name: str, task: Task | None = None) -> np.ndarray | None:
    """Return the class of each row, int32 (n,), to stratify a split by; None for regression.

    Raises:
        DataError: as `fit_target`.
    """
    target, _ = fit_target(table, name, task, np.arange(table.n_rows))
    return target.encode(table) if target.task == "classification" else None


def target_to_json(target: Target) -> dict[str, Any]:
    """Return the target as a JSON object."""
    return {
        "name": target.name,
        "task": target.task,
        "classes": list(target.classes),
        "mean": target.mean,
        "std": target.std,
    }


def target_from_json(content: Any) -> Target:
    """Return the target of a JSON object.

    Raises:
        DataError: the object is not what `target_to_json` returns.
    """
    what = "the target"
    check(isinstance(content, dict), what, "is not an object")
    check(set(content) == {"name", "task", "classes", "mean", "std"}, what, "has other fields than expected")
    name, task, classes = content["name"], content["task"], content["classes"]
    check(isinstance(name, str), what, "has no name")
    usable = isinstance(classes, list) and all(_is_label(label) for label in classes)
    check(usable, what, "has unusable classes")
    for number in (content["mean"], content["std"]):
        is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
        check(is_number and math.isfinite(number), what, "has a scale that is not a finite number")
    check(content["std"] > 0, what, "has a scale that is not positive")
    if task == "classification":
        check(len(set(classes)) == len(classes) >= 2, what, "needs two or more different classes")
    elif task == "regression":
        check(not classes, what, "has classes although the task is regression")
    else:
        raise damaged(what, f"has the unknown task {task!r}")
    return Target(name, task, tuple(classes), float(content["mean"]), float(content["std"]))


def _is_label(label: Any) -> bool:
    return isinstance(label, (str, bool, int)) or (isinstance(label, float) and math.isfinite(label))


def _check_present(column: pa.ChunkedArray, name: str, source: str) -> None:
    if column.null_count:
        first = int(np.flatnonzero(column.is_null().to_numpy())[0]) + 1
        rows = "1 row" if column.null_count == 1 else f"{column.null_count} rows"
        raise DataError(
            f"{source}: target '{name}' is missing in {rows} (first: row {first}); "
            "fill in or remove them, or choose another --target"
        )


def _finite(column: pa.ChunkedArray, name: str, source: str) -> np.ndarray:
    if pa.types.is_string(column.type) and column.null_count < len(column):
        n_distinct = len(column.unique())
        try:
            return cells.numbers(column, name, source)
        except DataError:
            raise DataError(
                f"{source}: target '{name}' holds text ({n_distinct} distinct values, such as "
                f"'{_first_text(column)}'), not numbers; pass --task classification, or correct it"
            ) from None
    values = column.cast(pa.float64(), safe=False).to_numpy()
    infinite = np.flatnonzero(~np.isfinite(values))
    if infinite.size:
        rows = "1 row" if infinite.size == 1 else f"{infinite.size} rows"
        raise DataError(
            f"{source}: target '{name}' is not finite in {rows} (first: row {infinite[0] + 1}); "
            "correct or remove them"
        )
    return values


def _first_text(column: pa.ChunkedArray) -> str:
    def is_text(value: str) -> bool:
        try:
            float(value)
        except ValueError:
            return True
        return False

    return next((value for value in column.unique().to_pylist() if is_text(value)), "")[:40]


def _classes(table: Table, column: pa.ChunkedArray, name: str, stray: str) -> tuple[Any, ...]:
    if pa.types.is_floating(column.type):
        _finite(column, name, table.name)
    labels = sorted(column.unique().to_pylist())
    n, n_rows = len(labels), len(column)
    if n == 1:
        raise DataError(
            f"{table.name}: target '{name}' has one class only, '{labels[0]}'; "
            "classification needs at least two"
        )
    if n == n_rows or (n > _MAX_WHOLE_NUMBER_CLASSES and 2 * n > n_rows):
        instead = "pass --task regression"
        if pa.types.is_string(column.type):
            text = _first_text(column)
            instead = "choose another --target"
            if stray:
                instead = f"{stray}: correct those cells to have it read as numbers"
            elif any(sign.isdigit() for sign in text):
                instead = f"if '{text}' is meant as a number, write it plainly (1234.5); else {instead}"
        raise DataError(
            f"{table.name}: target '{name}' has {n} distinct values in {n_rows} rows, "
            f"too many to be classes; {instead}"
        )
    return tuple(labels)
