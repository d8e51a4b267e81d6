"""From what a network predicts to the numbers that people read, in the units of their own target."""

from typing import Any

import numpy as np

from downslope import metrics
from downslope.training.evaluate import Evaluated
from downslope.workflow.arrays import AnyEncoding

POINTS_DRAWN = 2_000  # of predicted against actual, or of a curve: more would hide each other
MOST_CLASSES = 500  # of a confusion matrix, whose cells are their square


def score(encoding: AnyEncoding, predictions: np.ndarray, targets: np.ndarray) -> float:
    """Return accuracy or R², the one number of the progress display."""
    by_task = _metrics(encoding, predictions, targets)
    return by_task["accuracy" if encoding.task == "classification" else "r2"]


def metrics_of(encoding: AnyEncoding, measured: Evaluated, targets: np.ndarray) -> dict[str, float]:
    """Return ``loss`` and, by task, ``accuracy`` and ``log_loss``, or ``rmse``, ``mae`` and ``r2``."""
    return {"loss": measured.loss, **_metrics(encoding, measured.predictions, targets)}


def guessing(encoding: AnyEncoding, train_targets: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return the metrics of an answer that looks at no column: the class shares, or the mean, of training."""
    if encoding.task == "classification":
        answer = np.bincount(train_targets, minlength=len(encoding.classes)) / len(train_targets)
    else:
        answer = np.mean(train_targets, keepdims=True)[0]
    return _metrics(encoding, np.broadcast_to(answer, (len(targets), *np.shape(answer))), targets)


def drawn(split: str, encoding: AnyEncoding, predictions: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """Return the content of evaluation.json: what the report draws of one split."""
    if encoding.task == "regression":
        predicted, actual = encoding.decode_target(predictions), encoding.decode_target(targets)
        chosen = np.linspace(0, len(actual) - 1, min(len(actual), POINTS_DRAWN)).astype(int)
        return {
            "split": split,
            "actual": actual[chosen].tolist(),
            "predicted": predicted[chosen].tolist(),
            "unit": encoding.target,
        }
    n_classes = len(encoding.classes)
    content: dict[str, Any] = {
        "split": split,
        "classes": [str(label) for label in encoding.classes],
        "reliability": metrics.reliability(predictions, targets),
    }
    if n_classes <= MOST_CLASSES:
        guessed = np.argmax(predictions, axis=1)
        content["confusion"] = metrics.confusion(guessed, targets, n_classes).tolist()
    if n_classes == 2:
        content["roc"] = _thinned(metrics.roc(predictions[:, 1], targets == 1))
    return content


def _metrics(encoding: AnyEncoding, predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    if encoding.task == "classification":
        return metrics.classification(predictions, targets)
    return metrics.regression(encoding.decode_target(predictions), encoding.decode_target(targets))


def _thinned(roc: dict[str, Any]) -> dict[str, Any]:
    """Return a curve of at most `POINTS_DRAWN` points, as far apart along it; the area is that of all."""
    along = np.add(roc["fpr"], roc["tpr"])  # rises from 0 to 2
    if len(along) <= POINTS_DRAWN:
        return roc
    kept = np.unique(np.searchsorted(along, np.linspace(along[0], along[-1], POINTS_DRAWN)))
    return {**roc, "fpr": np.take(roc["fpr"], kept).tolist(), "tpr": np.take(roc["tpr"], kept).tolist()}
