"""An order of the examples, cut into batches of one fixed shape."""

import numpy as np
from jaxtyping import Int


def padded_order(
    rows: Int[np.ndarray, " rows"], batch_size: int, lanes: int | None = None
) -> Int[np.ndarray, "steps lanes"]:
    """Cut an epoch's order into batches, padded to one shape with rows from the beginning.

    Padding has no weight; but a batch normalisation that does not look at weights sees it, and different
    rows tell it more than one row many times.

    Args:
        rows: which row comes when, (rows,), at least one.
        batch_size: rows of each batch but the last, which may have fewer.
        lanes: width of a batch with its padding, ≥ batch_size; batch_size if None.

    >>> padded_order(np.array([4, 3, 2, 1, 0]), 2, lanes=3).tolist()
    [[4, 3, 4], [2, 1, 4], [0, 4, 3]]
    """
    lanes = batch_size if lanes is None else lanes
    steps = -(-len(rows) // batch_size)
    order = np.empty((steps, lanes), np.int32)
    whole = len(rows) // batch_size
    order[:whole, :batch_size] = rows[: whole * batch_size].reshape(whole, batch_size)
    order[:whole, batch_size:] = np.resize(rows, lanes - batch_size)
    if whole < steps:
        rest = rows[whole * batch_size :]
        order[whole, : len(rest)] = rest
        order[whole, len(rest) :] = np.resize(rows, lanes - len(rest))
    return order
