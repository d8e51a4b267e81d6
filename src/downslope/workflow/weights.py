"""How much each row counts: sample weights, and class weights that make rare classes heard."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from downslope.data.table import Table
from downslope.errors import DataError, OptionError, did_you_mean


def sample_weights(weights: Any, table: Any) -> tuple[np.ndarray, Any]:
    """Return the weight of each row, float64 (rows,), and the table without the column that held them.

    Args:
        weights: None for 1 each, the name of a column, or an array (rows,).
        table: the rows.

    Raises:
        DataError: no such column, or a weight that is missing, negative or not finite, or none above 0.
    """
    if weights is None:
        return np.ones(table.n_rows), table
    where = f"'{weights}'" if isinstance(weights, str) else "sample_weight"
    if isinstance(weights, str):
        if not isinstance(table, Table):
            raise OptionError("sample_weight must be an array where the data is an array")
        column = table.column(weights)
        try:
            values = np.asarray(column.to_pylist(), np.float64)
        except (TypeError, ValueError):
            raise DataError(f"{table.name}: sample weight {where} must hold numbers, ≥ 0") from None
        table = replace(table, columns=table.columns.drop_columns([weights]))
    else:
        try:
            values = np.asarray(weights, np.float64)
        except (TypeError, ValueError):
            raise DataError(f"{where}: must hold numbers, ≥ 0") from None
        if values.shape != (table.n_rows,):
            raise DataError(f"{where}: has shape {values.shape}, but there are {table.n_rows} rows")
    wrong = np.flatnonzero(~(values >= 0) | np.isinf(values))
    if wrong.size:
        first = f"first: {values[wrong[0]]:g} in row {wrong[0] + 1}"
        raise DataError(
            f"{table.name}: weight {where} is missing, negative or infinite in {wrong.size} rows ({first})"
        )
    if not values.any():
        raise DataError(f"{table.name}: weight {where} is 0 in every row; at least one must count")
    return values, table


def scaled(weights: np.ndarray) -> np.ndarray:
    """Return weights as they are trained with: float32, of mean 1; 1 each where all of them are 0.

    Only their proportions count in a weighted mean, but not all sizes fit into float32.

    >>> scaled(np.array([1e300, 3e300])), scaled(np.zeros(2))
    (array([0.5, 1.5], dtype=float32), array([1., 1.], dtype=float32))
    """
    if not weights.any():
        return np.ones(len(weights), np.float32)
    below_1 = weights / weights.max()  # the sum of huge ones would be infinite
    return (below_1 / below_1.mean()).astype(np.float32)


def weights_fingerprint(weights: Any) -> str | None:
    """Return what changes when an array of weights does; None for a column, which is part of the data."""
    if isinstance(weights, str | None):
        return None
    return hashlib.sha256(np.asarray(weights, np.float64).tobytes()).hexdigest()


def class_weights(weights: Any, classes: list[Any], codes: np.ndarray) -> np.ndarray:
    """Return the weight of each class, float64 (classes,).

    Args:
        weights: None for 1 each; ``"balanced"`` for rows ∕ (classes · rows of the class); or {label: weight}
            with 1 for labels that are not named.
        classes: the labels, by code.
        codes: the class of each training row.

    Raises:
        OptionError: a label that is not a class, or a weight that is negative or not finite.
    """
    if weights is None:
        return np.ones(len(classes))
    if not classes:
        raise OptionError("--class-weight is for classification, but this is regression; leave it out")
    if isinstance(weights, str):
        if weights != "balanced":
            raise OptionError(f"--class-weight must be 'balanced' or label=weight,…, got '{weights}'")
        counts = np.bincount(codes, minlength=len(classes))
        return len(codes) / (len(classes) * np.maximum(counts, 1))
    if not isinstance(weights, Mapping):
        raise OptionError(f"class_weight must be 'balanced' or {{label: weight}}, got {weights!r}")
    by_name = {str(label): code for code, label in enumerate(classes)}
    result = np.ones(len(classes))
    for label, weight in weights.items():
        if str(label) not in by_name:
            known = ", ".join(f"'{name}'" for name in by_name)
            near = did_you_mean(str(label), by_name)
            raise OptionError(f"--class-weight: '{label}' is not a class.{near} The classes are {known}")
        if not (isinstance(weight, int | float | np.number) and 0 <= weight < float("inf")):
            raise OptionError(f"--class-weight {label}={weight}: must be a number of at least 0")
        result[by_name[str(label)]] = float(weight)
    if not result.any():
        raise OptionError("--class-weight is 0 for every class; at least one must count")
    return result
