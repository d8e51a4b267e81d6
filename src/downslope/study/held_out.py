"""What the held-out rows say of a descent that may be healthy: a record in, a finding out, or None.

All of it is measured as a share of the way from guessing, which looks at no column, to a perfect answer:
R² for numbers; for classes 1 − log loss ∕ log loss of the class shares.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from downslope.study.finding import Finding, Record, number_of

ENOUGH_ROWS = 50  # with fewer held-out rows a share or a gap is chance
LITTLE, LITTLE_LOG_LOSS = 0.2, 0.1  # shares of the way; log losses are the harder to bring down
LOST = 0.5  # of the way that the training rows went, which the held-out rows did not
R2_GAP, ACCURACY_GAP = 0.2, 0.1  # and so much at least, which a few unlucky rows do not make


def no_better_than_guessing(record: Record) -> Finding | None:
    """Look for held-out rows on which an answer that looks at no column would be as good."""
    found = _measured(record)
    if found is None:
        return None
    kinds = (
        ("log_loss", "log loss", "the class shares", "; rare classes need many"),
        ("rmse", "RMSE", "the mean", ""),
    )
    for metric, name, answer, more in kinds:
        reached, guessed = number_of(found.held_out.get(metric)), number_of(found.guessing.get(metric))
        if reached >= guessed:
            return Finding(
                "no better than guessing",
                f"no better than guessing: the {name} of the {found.split} rows is {reached:.3g}, and "
                f"{guessed:.3g} where the answer is always {answer} of the training rows",
                {"reached": reached, "guessing": guessed},
                f"look for columns that tell more, or more rows{more}",
            )
    return None


def explains_little(record: Record) -> Finding | None:
    """Look for held-out rows that are predicted hardly better than by guessing."""
    found = _measured(record)
    if found is None or not found.rows >= ENOUGH_ROWS:
        return None
    r2 = number_of(found.held_out.get("r2"))
    right, commonest = (number_of(of.get("accuracy")) for of in (found.held_out, found.guessing))
    # The accuracy alone says little of rare classes: there the commonest is nearly always right.
    few_right = right - commonest < LITTLE * (1 - commonest)
    if r2 < LITTLE:
        share = "nothing" if r2 < 0.005 else f"only {100 * r2:.0f} %"
        words = f"the network explains {share} of the variance of the {found.split} rows"
        numbers = [("r2", r2)]
    elif few_right and found.way(found.held_out) < LITTLE_LOG_LOSS:
        words = (
            f"the network is right for {100 * right:.3g} % of the {found.split} rows; always guessing the "
            f"commonest class would be for {100 * commonest:.3g} %"
        )
        numbers = [("accuracy", right), ("guessing", commonest)]
    else:
        return None
    next_step = "look for columns that tell more, or more rows"
    return Finding("explains little", words, dict(numbers), next_step, alarm=False)


def falls_behind(record: Record) -> Finding | None:
    """Look for held-out rows that are predicted far worse than the rows that were learned from."""
    found = _measured(record)
    if found is None or not found.rows >= ENOUGH_ROWS:
        return None
    if not found.way(found.held_out) < (1 - LOST) * found.way(found.train):
        return None
    for metric, least in (("r2", R2_GAP), ("accuracy", ACCURACY_GAP)):
        learned, reached = number_of(found.train.get(metric)), number_of(found.held_out.get(metric))
        if learned - reached >= least:
            numbers = f"R² is {learned:.2g} there, and {reached:.2g} on the {found.split} rows"
            if metric == "accuracy":
                right = f"{100 * reached:.3g} % of the {found.split} rows"
                numbers = f"{100 * learned:.3g} % are right there, and {right}"
            pull = "" if "linear" in str(record.summary.get("model")) else "--dropout or "
            return Finding(
                "falls behind",
                "rows that the network has not seen are predicted far worse than those that it learned from: "
                + numbers,
                {f"train_{metric}": learned, metric: reached},
                f"get more rows, or use more {pull}--weight-decay",
                alarm=False,
            )
    return None


@dataclass(frozen=True)
class _Measured:
    """The metrics of the training rows, of the most honest split, and of guessing on it."""

    split: str
    rows: float
    train: Mapping[str, Any]
    held_out: Mapping[str, Any]
    guessing: Mapping[str, Any]

    def way(self, metrics: Mapping[str, Any]) -> float:
        """Return the share of the way from guessing to perfect; NaN where it is not known."""
        if "r2" in metrics:
            return number_of(metrics["r2"])
        guessed = number_of(self.guessing.get("log_loss"))
        return 1 - number_of(metrics.get("log_loss")) / guessed if guessed > 0 else math.nan


def _measured(record: Record) -> _Measured | None:
    guessing = record.summary.get("guessing") or {}
    if not guessing or record.summary.get("steps") == 0:  # nothing was learned yet
        return None
    split, metrics = str(guessing.get("split")), record.summary.get("metrics") or {}
    rows = number_of((record.summary.get("rows") or {}).get(split))
    return _Measured(split, rows, metrics.get("train") or {}, metrics.get(split) or {}, guessing)
