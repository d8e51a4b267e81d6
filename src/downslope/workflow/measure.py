"""From a network's raw outputs to the numbers that people read, in the units of their own target."""

from typing import Any

import numpy as np

from downslope import metrics
from downslope.losses import Loss
from downslope.training.evaluate import Evaluated
from downslope.workflow.arrays import AnyEncoding

POINTS_DRAWN = 2_000  # of predicted against actual: more would hide each other


def probabilities(loss: Loss, outputs: np.ndarray) -> np.ndarray:
    """Return (rows, classes), each row summing to 1."""
    return np.asarray(loss.predict(outputs), np.float64)


def numbers(loss: Loss, encoding: AnyEncoding, outputs: np.ndarray) -> np.ndarray:
    """Return predictions (rows,) in the target's own units."""
    return encoding.decode_target(np.asarray(loss.predict(outputs)))


def score(loss: Loss, encoding: AnyEncoding, outputs: np.ndarray, targets: np.ndarray) -> float:
    """Return accuracy or R², the one number of the progress display."""
    if encoding.task == "classification":
        return metrics.classification(probabilities(loss, outputs), targets)["accuracy"]
    return metrics.regression(numbers(loss, encoding, outputs), encoding.decode_target(targets))["r2"]


def metrics_of(
    loss: Loss, encoding: AnyEncoding, measured: Evaluated, targets: np.ndarray
) -> dict[str, float]:
    """Return ``loss`` and, by task, ``accuracy`` and ``log_loss``, or ``rmse``, ``mae`` and ``r2``."""
    if encoding.task == "classification":
        by_task = metrics.classification(probabilities(loss, measured.outputs), targets)
    else:
        predicted = numbers(loss, encoding, measured.outputs)
        by_task = metrics.regression(predicted, encoding.decode_target(targets))
    return {"loss": measured.loss, **by_task}


def drawn(
    split: str, loss: Loss, encoding: AnyEncoding, outputs: np.ndarray, targets: np.ndarray
) -> dict[str, Any]:
    """Return the content of evaluation.json: what the report draws of one split."""
    if encoding.task == "regression":
        predicted, actual = numbers(loss, encoding, outputs), encoding.decode_target(targets)
        chosen = np.linspace(0, len(actual) - 1, min(len(actual), POINTS_DRAWN)).astype(int)
        return {
            "split": split,
            "actual": actual[chosen].tolist(),
            "predicted": predicted[chosen].tolist(),
            "unit": encoding.target,
        }
    share = probabilities(loss, outputs)
    n_classes = len(encoding.classes)
    content: dict[str, Any] = {
        "split": split,
        "classes": [str(label) for label in encoding.classes],
        "confusion": metrics.confusion(np.argmax(share, axis=1), targets, n_classes).tolist(),
        "reliability": metrics.reliability(share, targets),
    }
    if n_classes == 2:
        content["roc"] = metrics.roc(share[:, 1], targets == 1)
    return content
