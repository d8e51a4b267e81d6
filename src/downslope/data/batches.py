"""An order of the examples, cut into batches of one fixed shape."""

import numpy as np
from jaxtyping import Int


def padded_order(rows: Int[np.ndarray, " rows"], batch_size: int) -> Int[np.ndarray, "steps batch"]:
    """Cut an epoch's order into batches; the last is filled up with rows from the beginning, of weight 0."""
    steps = -(-len(rows) // batch_size)
    return np.resize(rows, (steps, batch_size)).astype(np.int32)
