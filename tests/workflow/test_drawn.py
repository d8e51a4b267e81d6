"""What the report draws of an evaluation stays small, however many rows were evaluated."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from downslope import metrics
from downslope.workflow import measure

TWO_CLASSES: Any = SimpleNamespace(task="classification", classes=["no", "yes"])


def drawn_and_whole(rows: int) -> tuple[dict[str, Any], dict[str, Any]]:
    random = np.random.default_rng(0)
    targets = random.integers(2, size=rows)
    scores = 1 / (1 + np.exp(-random.normal(2.0 * targets, 1.0)))
    predictions = np.stack([1 - scores, scores], axis=1)
    drawn = measure.drawn("test", TWO_CLASSES, predictions, targets)
    return drawn["roc"], metrics.roc(scores, targets == 1)


def test_a_curve_of_many_rows_is_thinned_and_stays_the_same_curve():
    drawn, whole = drawn_and_whole(50_000)
    assert len(drawn["fpr"]) == len(drawn["tpr"]) <= measure.POINTS_DRAWN
    assert (drawn["fpr"][0], drawn["tpr"][0], drawn["fpr"][-1], drawn["tpr"][-1]) == (0, 0, 1, 1)
    assert drawn["auc"] == whole["auc"]
    along, along_whole = (
        np.add(roc["fpr"], roc["tpr"]) for roc in (drawn, whole)
    )  # no step is upright in it
    between = np.interp(along_whole, along, drawn["tpr"])
    assert np.abs(between - whole["tpr"]).max() < 3 / measure.POINTS_DRAWN


def test_a_curve_of_few_rows_is_drawn_whole():
    drawn, whole = drawn_and_whole(500)
    assert drawn == whole


def test_a_confusion_matrix_that_nobody_could_read_is_left_out():
    for n_classes, is_kept in ((measure.MOST_CLASSES, True), (measure.MOST_CLASSES + 1, False)):
        encoding: Any = SimpleNamespace(task="classification", classes=list(range(n_classes)))
        predictions = np.full((20, n_classes), 1 / n_classes, np.float32)
        drawn = measure.drawn("test", encoding, predictions, np.arange(20))
        assert ("confusion" in drawn) == is_kept
