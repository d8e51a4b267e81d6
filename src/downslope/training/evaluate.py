"""How good are these weights on rows that were not trained on?"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from downslope.gradient.backprop import Batch
from downslope.losses import Loss
from downslope.models.functional import Model

EVALUATION_ROWS = 2048  # rows evaluated at once, at most; a CPU's caches hold what they become
STAND_FOR_ALL = 8192  # rows, where a number need not be exact

# evaluation(params, model_state, batch) -> (predictions, loss per example)
Evaluation = Callable[[Any, Any, Batch], tuple[Any, Any]]


class Evaluated(NamedTuple):
    """What a network said about some rows.

    Attributes:
        predictions: probabilities (rows, classes), or standardised numbers (rows,).
        loss: mean loss, weighted, in the units that training minimises.
    """

    predictions: np.ndarray
    loss: float


def make_evaluation(model: Model, loss: Loss) -> Evaluation:
    """Return ``evaluation(params, model_state, batch) -> (predictions, losses)``, without dropout."""

    def evaluation(params: Any, model_state: Any, batch: Batch) -> tuple[Any, Any]:
        outputs, _ = model.apply(params, model_state, batch.inputs, key=None, train=False)
        return loss.predict(outputs).astype(jnp.float32), loss.per_example(outputs, batch.targets)

    return evaluation


def all_alike(predictions: np.ndarray) -> bool:
    """Return whether all of several rows get the same answer, to a thousandth of the largest number in it.

    >>> all_alike(np.array([[0.3, 0.7], [0.3, 0.7]])), all_alike(np.array([0.1, 0.2]))
    (True, False)
    """
    spread = np.ptp(predictions, axis=0).max()
    return len(predictions) > 1 and bool(spread <= 1e-3 * np.abs(predictions).max())


def evaluation_size(rows: Batch) -> int:
    """Return how many rows to evaluate at once: a power of two that holds them all, up to a limit."""
    return min(EVALUATION_ROWS, 1 << max(5, (len(rows.weights) - 1).bit_length()))


def cut(rows: Batch, size: int) -> list[Batch]:
    """Cut rows into batches of one fixed `size` on the device, so that any number of rows is one program.

    The last is filled up with copies of its first row, of weight 0.
    """
    n_rows = len(rows.weights)

    def batch_from(start: int) -> Batch:
        batch = jax.tree.map(lambda array: array[start : start + size], rows)
        lacking = start + size - n_rows
        if lacking > 0:
            first = np.zeros(lacking, int)
            batch = jax.tree.map(lambda array: np.concatenate([array, array[first]]), batch)
            batch.weights[-lacking:] = 0.0
        return jax.device_put(batch)

    return [batch_from(start) for start in range(0, n_rows, size)]


def even_part(rows: Batch, most: int = STAND_FOR_ALL) -> Batch:
    """Return at most so many rows that have any weight, spread evenly over all: many a file is sorted."""
    weighty = np.flatnonzero(np.asarray(rows.weights))
    chosen = weighty[np.linspace(0, len(weighty) - 1, min(len(weighty), most)).astype(int)]
    return jax.tree.map(lambda array: np.asarray(array)[chosen], rows)


def evaluate(
    evaluation: Evaluation, params: Any, model_state: Any, batches: list[Batch], n_rows: int
) -> Evaluated:
    """Run `evaluation` over batches made by `cut`."""
    answers = [evaluation(params, model_state, batch) for batch in batches]  # all queued before any is read
    predictions = np.concatenate([np.asarray(predicted) for predicted, _ in answers])[:n_rows]
    losses = np.concatenate([np.asarray(losses, np.float64) for _, losses in answers])[:n_rows]
    weights = np.concatenate([np.asarray(batch.weights, np.float64) for batch in batches])[:n_rows]
    return Evaluated(predictions, float(np.average(losses, weights=weights)))


def losses_of(evaluation: Evaluation, params: Any, model_state: Any, batches: list[Batch]) -> np.ndarray:
    """Return the loss of each row of batches made by `cut`, with their padding, in float64."""
    answers = [evaluation(params, model_state, batch)[1] for batch in batches]  # queued first
    return np.concatenate([np.asarray(losses, np.float64) for losses in answers])
