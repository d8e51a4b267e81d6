"""(seed, epoch) → the order of the examples; nothing to save, nothing to restore."""

import numpy as np

from downslope.data.seeds import generator


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
