"""How long to descend at full rate, and when to anneal: decided on the way, epoch by epoch.

A loss that no longer falls at a constant rate has usually not reached the floor of the valley: it bounces
from wall to wall, and falls again as soon as the steps get smaller. So the end of the progress at the full
rate is not the end of the descent, but the moment to let the rate fall to 0.

How long to wait before the progress counts as over depends on the danger of waiting, which is that rows are
learned by heart: where the validation loss is not above the training loss there is none of it yet.

The decay begins where the validation loss was lowest, and takes as long as it took to get there. But where
that loss has not risen since and only bounces, the lowest was luck: then the decay begins where we are.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from downslope.stepsize.phases import Phases

PATIENCE = 0.25  # share of the epochs that are waited for an improvement
LONGER = 2  # times the fewest epochs, where nothing is learned by heart
FEWEST_TO_TELL = 4  # epochs, of which a trend can be told


@dataclass(frozen=True)
class Pacing:
    """When the decay begins, and how long it is.

    Attributes:
        warmup: steps of the rise.
        epochs: epochs at most, the decay included; exactly so many where `waits` is None.
        decay: share of the whole that is decay, in (0, 1).
        waits: share of the epochs at the full rate, the latest, in which the validation loss must have
            improved for the descent to go on; None: its length is fixed.
        fewest: epochs that are always waited for an improvement, ≥ 1; `LONGER` times as many while the
            network does not overfit.
        improvement: by which share the validation loss must have fallen to count.
        named: follow the named schedule instead, over all epochs.
    """

    warmup: int
    epochs: int
    decay: float = 0.5
    waits: float | None = None
    fewest: int = 5
    improvement: float = 0.01
    named: bool = False

    def begin(self, steps_per_epoch: int) -> Phases:
        """Return the phases as they are known before the first step."""
        steps = self.epochs * steps_per_epoch
        if self.named:
            return Phases(self.warmup, total_steps=float(steps))
        return Phases(self.warmup, float(math.floor((1 - self.decay) * steps)), float(steps))

    def decay_after(self, epochs: int, steps_per_epoch: int) -> int:
        """Return the steps of the decay of a descent that was at its best after so many epochs."""
        return math.ceil(max(epochs, self.fewest) * self.decay / (1 - self.decay)) * steps_per_epoch

    def stands_still(
        self, validation: Sequence[float | None], training: Sequence[float | None], n_validation: int
    ) -> bool:
        """Return whether the validation loss has stopped falling at the full rate.

        Args:
            validation: losses, one per epoch; None where one is not finite.
            training: those of the same epochs, likewise.
            n_validation: rows behind each validation loss, ≥ 1.
        """
        if self.waits is None or self.named:
            return False
        share = math.ceil(self.waits * len(validation))
        waited = max(self.fewest, share)
        if not may_overfit(validation[-waited:], training[-waited:], n_validation):
            waited = max(LONGER * self.fewest, share)
        before, latest = validation[:-waited], validation[-waited:]
        if not before:
            return False
        best = [min(map(_or_infinite, part)) for part in (before, latest)]
        return not best[1] < best[0] - self.improvement * abs(best[0])

    def must_anneal(self, seconds: float, limit: float) -> bool:
        """Return whether a descent with a time limit must begin its decay now, to end in time."""
        return not self.named and seconds >= (1 - self.decay) * limit


def may_overfit(
    validation: Sequence[float | None], training: Sequence[float | None], n_validation: int
) -> bool:
    """Return whether the network may be learning rows by heart; arguments as in `Pacing.stands_still`.

    It surely is not while the rows that it does not learn from have the lower loss, by two standard errors.
    The losses of single rows spread about as widely as their mean, so one such error is 1/√n of it.

    >>> [may_overfit([0.5, 0.4], [0.6, 0.6], n_validation=rows) for rows in (100, 16)]
    [False, True]
    """
    unseen, seen = (statistics.median(map(_or_infinite, losses)) for losses in (validation, training))
    return seen == math.inf or unseen >= seen - 2 / math.sqrt(n_validation) * abs(seen)


def only_bounces(losses: Sequence[float | None]) -> bool:
    """Return whether losses, one per epoch, go up and down without a rise that is more than chance.

    That is the slope of the straight line through them, where it is above two of its standard errors. Of too
    few epochs it cannot be told, and the answer is no.

    >>> only_bounces([0.51, 0.48, 0.5, 0.49, 0.51]), only_bounces([0.48, 0.49, 0.5, 0.52, 0.53])
    (True, False)
    """
    if len(losses) < FEWEST_TO_TELL or None in losses:
        return False
    values = np.asarray(losses, np.float64)
    epochs = np.arange(len(values)) - (len(values) - 1) / 2
    spread = epochs @ epochs
    slope = epochs @ values / spread
    left_over = values - values.mean() - slope * epochs
    error = math.sqrt(left_over @ left_over / (len(values) - 2) / spread)
    return bool(slope <= 2 * error)


def _or_infinite(loss: float | None) -> float:
    return math.inf if loss is None else loss
