"""What an epoch leaves in the history: a row of it, and a row of each layer."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from downslope.training.progress import finite_or_none
from downslope.training.stretch import Trace


def epoch_row(
    trace: Trace,
    *,
    epoch: int,
    step: int,
    batch_weights: Float[np.ndarray, " steps"],
    n_rows: int,
    learning_rate: float,
    weight_decay: float | None,
    seconds: float,
    began: float,
) -> dict[str, Any]:
    """Return the history's row of an epoch; its measurements on validation rows are still None.

    Args:
        trace: what its steps saw.
        epoch: its number, from 1.
        step: steps done so far, over all epochs.
        batch_weights: what the rows of each batch of this epoch weigh together; one for each step done, ≥ 1.
        n_rows: how many rows these steps saw.
        learning_rate: of the last step.
        weight_decay: of all its steps; None: the rule's own.
        seconds: training time so far.
        began: training time when the epoch began.
    """
    losses = np.asarray(trace.losses, np.float64)[: len(batch_weights)]
    seen = np.isfinite(losses) & (batch_weights > 0)  # float16 skips a step that overflows
    return {
        "epoch": epoch,
        "step": step,
        "train_loss": float(np.average(losses[seen], weights=batch_weights[seen])) if seen.any() else None,
        "validation_loss": None,
        "validation_metric": None,
        "sharpness": None,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "gradient_norm": finite_or_none(_mean(trace.gradient_norms)),
        "seconds": seconds,
        "examples_per_second": n_rows / max(seconds - began, 1e-9),
    }


def layer_rows(trace: Trace, layers: Sequence[str], *, epoch: int, step: int) -> list[dict[str, Any]]:
    """Return what an epoch saw of each layer: means, None where nothing was seen."""
    seen = zip(_means(trace.layer_gradients), _means(trace.layer_ratios), strict=True)
    return [
        {
            "epoch": epoch,
            "step": step,
            "layer": name,
            "gradient_norm": finite_or_none(gradient),
            "update_ratio": finite_or_none(ratio),
        }
        for name, (gradient, ratio) in zip(layers, seen, strict=True)
    ]


def _mean(values: Any) -> float:
    """Return the mean of the numbers that are finite; NaN where none is."""
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan


def _means(table: Any) -> list[float]:
    """Return the mean of each column; see `_mean`."""
    return [_mean(column) for column in np.asarray(table, np.float64).T]
