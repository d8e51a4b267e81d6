"""Which inputs matter: how much worse the predictions become when one column is shuffled.

The column's values are dealt out anew among the rows, so they keep their distribution but say nothing of
the row any more; what the loss rises by is what the network owes to the column. Breiman 2001, "Random
Forests", Machine Learning 45, section 10; Fisher, Rudin and Dominici 2019, https://arxiv.org/abs/1801.01489.
Two columns that say the same share their importance, for each can stand in for the other.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from downslope.data.columns import Embedded, Ignored
from downslope.data.encoding import Encoding, Inputs
from downslope.gradient.backprop import Batch
from downslope.training.evaluate import Evaluation, cut, even_part, losses_of

ROWS = 2_048  # shuffled, at most: more would not change the order of the columns
REPEATS = 3
SECONDS = 3.0  # columns that are not measured by then are left out, and it is said so


def permutation_importance(
    evaluation: Evaluation, params: Any, model_state: Any, encoding: Any, rows: Batch, size: int, seed: int
) -> dict[str, Any] | None:
    """Return ``columns``, ``rise`` of the loss (mean), ``spread`` (deviation), ``loss`` and ``left_out``.

    Args:
        evaluation: the compiled evaluation.
        params: the weights.
        model_state: what the network carries besides.
        encoding: of the table; None is returned for arrays, which have no columns.
        rows: that the network did not learn from.
        size: rows evaluated at once, for which `evaluation` is compiled already.
        seed: of the shuffling.
    """
    if not isinstance(encoding, Encoding):
        return None
    inputs, targets, weights = even_part(rows, ROWS)
    n_rows = len(weights)
    if n_rows < 2:
        return None

    def losses(copies: Inputs) -> np.ndarray:
        """Return the mean loss of each copy of all rows, one below the other."""
        n_copies = len(copies.dense) // n_rows
        rows = Batch(copies, np.concatenate([targets] * n_copies), np.concatenate([weights] * n_copies))
        by_row = losses_of(evaluation, params, model_state, cut(rows, size))[: len(rows.weights)]
        return np.average(by_row.reshape(n_copies, n_rows), axis=1, weights=weights)

    began, generator, whole = time.monotonic(), np.random.default_rng(seed), float(losses(inputs)[0])
    found: dict[str, tuple[float, float]] = {}
    columns = list(_columns(encoding))
    for name, dense, code in columns:
        if time.monotonic() - began > SECONDS:
            break
        orders = np.concatenate([generator.permutation(n_rows) for _ in range(REPEATS)])
        shuffled = Inputs(*(np.concatenate([array] * REPEATS) for array in inputs))
        if code is None:
            shuffled.dense[:, dense] = inputs.dense[orders, dense]
        else:
            shuffled.categories[:, code] = inputs.categories[orders, code]
        rises = losses(shuffled) - whole
        found[name] = float(np.mean(rises)), float(np.std(rises))
    found = {name: pair for name, pair in found.items() if np.isfinite(pair).all()}
    if not found or not np.isfinite(whole):
        return None
    names = sorted(found, key=lambda name: -found[name][0])
    return {
        "columns": names,
        "rise": [found[name][0] for name in names],
        "spread": [found[name][1] for name in names],
        "loss": whole,
        "left_out": len(columns) - len(found),
    }


def _columns(encoding: Encoding) -> Iterator[tuple[str, slice, int | None]]:
    """Yield (name, places among the dense inputs, place among the codes or None) of every input column."""
    start = codes = 0
    for column in encoding.columns:
        if isinstance(column, Embedded):
            yield column.name, slice(0, 0), codes
            codes += 1
        elif not isinstance(column, Ignored):
            stop = start + len(column.feature_names)
            yield column.name, slice(start, stop), None
            start = stop
