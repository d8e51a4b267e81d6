"""From whatever the user calls data to arrays that a network can be trained on.

DATA → table of typed columns → train / validation / test rows → encoding, fitted on train → arrays
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from downslope.data.bundled import BUNDLED
from downslope.data.encoding import Encoding
from downslope.data.source import fingerprint, read
from downslope.data.split import split
from downslope.data.table import Table, drop_columns, resolve_target
from downslope.data.target import class_codes
from downslope.errors import OptionError
from downslope.gradient.backprop import Batch
from downslope.losses import DEFAULT_LOSS, Loss, loss_by_name
from downslope.workflow.options import TrainOptions

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Prepared:
    """Arrays, and how they came about.

    Attributes:
        name: what messages call the data.
        fingerprint: changes when the data does.
        n_columns: input columns of the table, before encoding.
        encoding: how columns became arrays, fitted on the training rows.
        loss: the cost function that suits the target.
        rows: for each split that has any rows, its arrays in memory.
    """

    name: str
    fingerprint: str
    n_columns: int
    encoding: Encoding
    loss: Loss
    rows: dict[str, Batch]


def prepare(data: Any, y: Any, options: TrainOptions) -> Prepared:
    """Read, split and encode.

    Raises:
        DataError, OptionError: whatever is wrong with the data or does not fit it.
    """
    table = read(data, y, target=options.target, header=options.header, delimiter=options.delimiter)
    target = resolve_target(table, options.target)
    if target in options.drop:
        raise OptionError(
            f"--drop {target}: this is the column to predict; drop others, or choose another --target"
        )
    used = drop_columns(table, options.drop)
    test_table = None if options.test is None else _read_test(options, target)
    parts = split(
        used.n_rows,
        test_fraction=0.0 if test_table is not None else options.test_fraction,
        validation_fraction=options.validation_fraction,
        seed=options.seed,
        classes=class_codes(used, target, options.task),
        name=used.name,
    )
    encoding = Encoding.fit(used, target=target, task=options.task, rows=parts.train)
    loss = loss_by_name(options.loss or DEFAULT_LOSS[encoding.task], encoding.task, len(encoding.classes))
    whole = encode(encoding, used)
    rows = {name: take(whole, getattr(parts, name)) for name in SPLITS}
    if test_table is not None:
        rows["test"] = encode(encoding, test_table)
    of_file = isinstance(data, str | Path) and data not in BUNDLED
    return Prepared(
        used.name,
        fingerprint(data if of_file else table),
        len(used.column_names) - 1,
        encoding,
        loss,
        {name: batch for name, batch in rows.items() if len(batch.weights)},
    )


def encode(encoding: Encoding, table: Table) -> Batch:
    """Return all rows of a table as arrays, each of weight 1."""
    inputs, targets = encoding.encode_inputs(table), encoding.encode_target(table)
    return Batch(inputs, targets, np.ones(table.n_rows, np.float32))


def take(rows: Batch, places: np.ndarray) -> Batch:
    """Return some of the rows."""
    return jax.tree.map(lambda array: array[places], rows)


def _read_test(options: TrainOptions, target: str) -> Table:
    test, y = options.test if isinstance(options.test, tuple) else (options.test, None)
    return read(test, y, target=target, header=options.header, delimiter=options.delimiter)
