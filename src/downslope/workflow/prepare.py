"""From whatever the user calls data to arrays that a network can be trained on.

DATA → table of typed columns → train / validation / test rows → encoding, fitted on train → arrays
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from downslope.data.bundled import BUNDLED
from downslope.data.encoding import Encoding
from downslope.data.memory import ARRAYS_NAME, is_frame
from downslope.data.source import fingerprint, read
from downslope.data.split import split
from downslope.data.table import Table, drop_columns, drop_empty_rows, resolve_target
from downslope.data.target import class_codes
from downslope.errors import DataError, OptionError
from downslope.gradient.backprop import Batch
from downslope.losses import DEFAULT_LOSS, Loss, from_function, loss_by_name
from downslope.workflow.arrays import AnyEncoding, ArrayEncoding, ArrayTable, read_arrays
from downslope.workflow.options import TrainOptions
from downslope.workflow.weights import class_weights, sample_weights, scaled, weights_fingerprint

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Prepared:
    """Arrays, and how they came about.

    Attributes:
        name: what messages call the data.
        fingerprint: changes when the data does.
        test_fingerprint: the same of what is tested on; None where that is held out from the data.
        sample_weight_fingerprint: the same of an array of weights; None where there is none.
        n_columns: input columns of the table, before encoding.
        array_columns: columns of data that is an array, before any is left out; None for data with names.
        encoding: how columns became arrays, fitted on the training rows.
        loss: the cost function that suits the target.
        rows: for each split that has any rows, its arrays in memory.
    """

    name: str
    fingerprint: str
    test_fingerprint: str | None
    sample_weight_fingerprint: str | None
    n_columns: int
    array_columns: int | None
    encoding: AnyEncoding
    loss: Loss
    rows: dict[str, Batch]


def prepare(data: Any, y: Any, options: TrainOptions) -> Prepared:
    """Read, split and encode.

    Raises:
        DataError, OptionError: whatever is wrong with the data or does not fit it.
    """
    table = read_rows(data, y, options)
    array_columns = None
    if isinstance(table, ArrayTable):
        if table.labels is None:
            raise DataError("the arrays: need y, what is to be predicted for each row")
        target, labels = table.labels.column_names[0], table.labels
        weights, used = sample_weights(options.sample_weight, table)
        n_columns = int(np.prod(table.inputs.shape[1:]))
    else:
        target = resolve_target(table, options.target)
        if target in (
            *options.drop,
            options.sample_weight if isinstance(options.sample_weight, str) else None,
        ):
            raise OptionError(f"'{target}' is the column to predict; it cannot be dropped or be the weight")
        weights, used = sample_weights(options.sample_weight, drop_columns(table, options.drop))
        labels, n_columns = used, len(used.column_names) - 1
        if table.name == ARRAYS_NAME:
            array_columns = len(table.column_names) - (y is not None)
    parts = split(
        used.n_rows,
        test_fraction=0.0 if options.test is not None else options.test_fraction,
        validation_fraction=options.validation_fraction,
        seed=options.seed,
        classes=class_codes(labels, target, options.task),
        name=used.name,
    )
    if isinstance(used, ArrayTable):
        encoding = ArrayEncoding.fit(used, options.task, parts.train)
    else:
        encoding = Encoding.fit(used, target=target, task=options.task, rows=parts.train)
    loss = _loss(options, encoding)
    if not loss.standardise:
        scale = encoding.labels.mean if encoding.labels.mean > 0 else 1.0
        encoding = replace(encoding, labels=replace(encoding.labels, mean=0.0, std=scale))
    whole = encode(encoding, used)
    _check_counts(loss, encoding, used.name, whole.targets)
    train_codes = np.asarray(whole.targets)[parts.train] if encoding.classes else np.zeros(0, int)
    by_class = class_weights(options.class_weight, encoding.classes, train_codes)
    rows = {name: take(whole, getattr(parts, name)) for name in SPLITS}
    if encoding.classes:
        with np.errstate(over="ignore"):
            weights = weights * by_class[whole.targets]
    if not np.isfinite(weights).all():
        raise DataError(f"{used.name}: sample weight times class weight is infinite; give smaller weights")
    if not weights[parts.train].any():
        raise DataError(f"{used.name}: every training row has weight 0; at least one must count")
    # The validation rows count as those of the training do, or they would steer towards another cost. Test
    # rows count alike.
    for name in ("train", "validation"):
        rows[name] = rows[name]._replace(weights=scaled(weights[getattr(parts, name)]))
    test_fingerprint = None
    if options.test is not None:
        test, test_y = options.test if isinstance(options.test, tuple) else (options.test, None)
        test_table = read_rows(test, test_y, options, encoding)
        rows["test"] = encode(encoding, test_table)
        _check_counts(loss, encoding, test_table.name, rows["test"].targets)
        test_fingerprint = _fingerprint(test, test_table)
    return Prepared(
        used.name,
        _fingerprint(data, table),
        test_fingerprint,
        weights_fingerprint(options.sample_weight),
        n_columns,
        array_columns,
        encoding,
        loss,
        {name: batch for name, batch in rows.items() if len(batch.weights)},
    )


def read_rows(data: Any, y: Any, options: Any, encoding: AnyEncoding | None = None) -> Table | ArrayTable:
    """Read data to train or to test on: arrays for a user's own network as they are, all else as a table.

    Empty rows of a file are left out, as there is nothing to learn from them.

    `options` holds ``target``, ``header``, ``delimiter``, and as ``model`` the network. With the `encoding`
    of other rows, what was text there is text here, and numbers are written as they were there.
    """
    if goes_in_as_it_is(data, options):
        return read_arrays(data, y, options.target)
    as_there = encoding.as_read if isinstance(encoding, Encoding) else {}
    how = {"target": options.target, "header": options.header, "delimiter": options.delimiter}
    table = read(data, y, **how, **as_there)
    return drop_empty_rows(table) if isinstance(data, str | Path) else table


def goes_in_as_it_is(data: Any, options: Any) -> bool:
    """Return whether data is an array for a network of the user's own, with no columns to speak of."""
    return not (isinstance(options.model, str) or isinstance(data, str | Path | Table) or is_frame(data))


def encode(encoding: Any, table: Any) -> Batch:
    """Return all rows of a table as arrays, each of weight 1."""
    inputs, targets = encoding.encode_inputs(table), encoding.encode_target(table)
    return Batch(inputs, targets, np.ones(table.n_rows, np.float32))


def take(rows: Batch, places: np.ndarray) -> Batch:
    """Return some of the rows."""
    return jax.tree.map(lambda array: array[places], rows)


def _loss(options: TrainOptions, encoding: AnyEncoding) -> Loss:
    if callable(options.loss):
        return from_function(options.loss, encoding.task)
    return loss_by_name(options.loss or DEFAULT_LOSS[encoding.task], encoding.task, len(encoding.classes))


def _check_counts(loss: Loss, encoding: AnyEncoding, name: str, targets: np.ndarray) -> None:
    below = np.flatnonzero(np.asarray(targets) < 0) if loss.name == "poisson" else np.zeros(0)
    if below.size:
        raise DataError(
            f"{name}: --loss poisson is for counts, but target '{encoding.target}' is below 0 in "
            f"{below.size} rows (first: row {below[0] + 1}); use squared-error"
        )


def _fingerprint(data: Any, table: Table | ArrayTable) -> str:
    """Return what changes when the data does."""
    if isinstance(table, ArrayTable):
        assert table.labels is not None
        of_inputs = hashlib.sha256(table.inputs.tobytes()).hexdigest()
        return of_inputs + fingerprint(table.labels)
    of_file = isinstance(data, str | Path) and data not in BUNDLED
    return fingerprint(data if of_file else table)
