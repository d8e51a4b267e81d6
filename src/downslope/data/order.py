"""(seed, epoch) → the order of the examples; order → batches of one fixed shape."""

import numpy as np

from downslope.data.seeds import generator
from downslope.errors import OptionError


def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """Return the order in which one epoch visits the examples: a pure function of its arguments.

    Arguments:
        seed: the user's seed, ≥ 0.
        epoch: counted from 0.
        n: number of examples.

    Returns:
        A permutation of 0 … n−1, int32, (n,); int64 where n ≥ 2³¹.

    Raises:
        OptionError: the seed is negative.

    >>> epoch_order(0, 3, 5).tolist() == epoch_order(0, 3, 5).tolist()
    True
    """
    order = np.arange(n, dtype=np.int32 if n < 2**31 else np.int64)
    generator(seed, "order of the examples", epoch).shuffle(order)
    return order


def padded_batches(order: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut an order into batches of one size; the last is padded, never dropped.

    Arguments:
        order: indices of examples, (n,), n ≥ 1.
        batch_size: examples per batch, ≥ 1; may exceed n.

    Returns:
        ``(indices, weights)``: int32 and float32, both (steps, batch_size). The padding repeats
        the beginning of the order, as often as it takes, with weight 0; all else has weight 1.

    Raises:
        OptionError: the batch size is below 1.

    >>> indices, weights = padded_batches(np.array([2, 0, 1]), 2)
    >>> indices.tolist(), weights.tolist()
    ([[2, 0], [1, 2]], [[1.0, 1.0], [1.0, 0.0]])
    """
    if batch_size < 1:
        raise OptionError(f"--batch-size {batch_size} is below 1; pass a whole number ≥ 1 or 'full'")
    n = len(order)
    assert n > 0, "an order of no examples"
    steps = -(-n // batch_size)
    indices = np.resize(order, steps * batch_size).astype(np.int32, copy=False)
    weights = np.zeros(steps * batch_size, np.float32)
    weights[:n] = 1
    return indices.reshape(steps, batch_size), weights.reshape(steps, batch_size)
