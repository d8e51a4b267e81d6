"""What people read: accuracy, R², and what the report draws from the same predictions.

Plain NumPy in float64 on predictions that have left the device, because a metric is read once per
epoch and must not lose digits over a million rows. (scikit-learn has these too; importing it takes
longer than many trainings. The tests compare every number with scikit-learn's.)
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Probabilities = Float[np.ndarray, "rows classes"]
Codes = Int[np.ndarray, " rows"]
Values = Float[np.ndarray, " rows"]


def classification(probabilities: Probabilities, labels: Codes) -> dict[str, float]:
    """Return ``accuracy`` (share of rows, 0 to 1) and ``log_loss`` (mean −log p of the true class, nats)."""
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return {
        "accuracy": float(np.mean(np.argmax(probabilities, axis=1) == labels)),
        "log_loss": float(np.mean(-np.log(np.maximum(of_truth, np.finfo(np.float64).tiny)))),
    }


def regression(predicted: Values, actual: Values) -> dict[str, float]:
    """Return ``rmse`` and ``mae`` in the target's units, and ``r2``.

    R² = 1 − Σ(y − ŷ)² ∕ Σ(y − ȳ)²: 1 is perfect, 0 is as good as always saying the mean, and below 0
    is worse than that. Where all targets are equal it is undefined, and NaN is returned.
    """
    error = np.asarray(predicted, np.float64) - np.asarray(actual, np.float64)
    squared = np.mean(error**2)
    variance = np.var(np.asarray(actual, np.float64))
    with np.errstate(over="ignore"):  # targets that hardly differ: −∞ is the answer then
        r2 = 1.0 - squared / variance if variance > 0 else math.nan
    return {"rmse": float(np.sqrt(squared)), "mae": float(np.mean(np.abs(error))), "r2": float(r2)}


def confusion(predicted: Codes, actual: Codes, n_classes: int) -> Int[np.ndarray, "actual predicted"]:
    """Return counts: row = actual class, column = predicted class."""
    return np.bincount(actual * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


def reliability(probabilities: Probabilities, labels: Codes, bins: int = 10) -> dict[str, list[float]]:
    """Return, for equal-width bins of confidence, how often a prediction that sure was right.

    A calibrated model lies on the diagonal: of predictions made with 80 % confidence, 80 % are right.
    Empty bins are left out.
    """
    confidence = probabilities.max(axis=1)
    right = np.argmax(probabilities, axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    filled = counts > 0
    return {
        "confidence": (np.bincount(which, confidence, bins)[filled] / counts[filled]).tolist(),
        "accuracy": (np.bincount(which, right, bins)[filled] / counts[filled]).tolist(),
        "count": counts[filled].tolist(),
    }


def roc(scores: Values, positive: Any) -> dict[str, Any]:
    """Return the ROC curve of a two-class model: ``fpr``, ``tpr`` (0 to 1) and the area under it, ``auc``.

    Args:
        scores: probability of the positive class, shape (rows,).
        positive: boolean, shape (rows,): is the row of the positive class?
    """
    order = np.argsort(-scores, kind="stable")
    true_positives = np.cumsum(positive[order])
    false_positives = np.cumsum(~positive[order])
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    tpr = np.append(0.0, true_positives[last_of_tie] / max(true_positives[-1], 1))
    fpr = np.append(0.0, false_positives[last_of_tie] / max(false_positives[-1], 1))
    return {"fpr": fpr.tolist(), "tpr": tpr.tolist(), "auc": float(np.trapezoid(tpr, fpr))}


def paired_gap(losses: np.ndarray, of_best: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return by how much losses are above those of the best, and the standard error of that.

    Paired, row by row: what makes a row hard is hard for both, and cancels. The error is infinite where
    there are fewer than two rows.

    Args:
        losses: of each row, (rows,).
        of_best: the same rows' with other weights, (rows,).
        weights: of the rows, ≥ 0; 0 leaves a row out.

    >>> gap, error = paired_gap(np.array([2.0, 4.0]), np.array([1.0, 1.0]), np.ones(2))
    >>> gap, round(error, 6)
    (2.0, 1.0)
    """
    differences = losses - of_best
    total = weights.sum()
    gap = float((weights * differences).sum() / total)
    count = np.count_nonzero(weights)
    if count < 2:
        return gap, float("inf")
    squares = (weights * (differences - gap)) ** 2
    return gap, float(np.sqrt(squares.sum() * count / (count - 1)) / total)
