"""Reduce on plateau: lower the learning rate when the validation loss stops falling.

A state machine for the host, fed once per evaluation, outside the compiled steps; its multiplier reaches
them as any other step size does. The same decisions as torch.optim.lr_scheduler.ReduceLROnPlateau, but for
losses below 0, where a relative threshold of the latter asks for less than no progress.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from downslope.rules.ranges import FRACTION, NOT_NEGATIVE, checked, counts


class PlateauState(NamedTuple):
    """What is carried from one evaluation to the next; plain numbers, so that JSON can hold it."""

    multiplier: float  # of the learning rate, in [smallest, 1]
    best: float  # lowest value so far
    waited: int  # evaluations since it was reached
    resting: int  # evaluations left before waiting counts again


@dataclass(frozen=True)
class Plateau:
    """The (init, update) pair: ``init() -> state``; ``update(state, value) -> state``."""

    init: Callable[[], PlateauState]
    update: Callable[[PlateauState, float], PlateauState]


def reduce_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    *,
    threshold: float = 1e-4,
    cooldown: int = 0,
    smallest: float = 0.0,
) -> Plateau:
    """Return a plateau detector for a value that should fall.

    Args:
        factor: in (0, 1), multiplies the learning rate at each reduction.
        patience: evaluations without improvement that are let pass, ≥ 0.
        threshold: in [0, 1), the share of the best value by which a new one must lie below it to count.
        cooldown: evaluations after a reduction during which waiting does not count, ≥ 0.
        smallest: in [0, 1), the multiplier never falls below it.

    A value that is not a number counts as no improvement.

    >>> plateau = reduce_on_plateau(factor=0.5, patience=1)
    >>> state = plateau.init()
    >>> for loss in [1.0, 0.9, 0.9, 0.9, 0.9]:
    ...     state = plateau.update(state, loss)
    >>> state.multiplier
    0.5
    """
    name = "reduce-on-plateau"
    checked(name, factor=(factor, "(0, 1)"), threshold=(threshold, FRACTION), smallest=(smallest, FRACTION))
    counts(name, patience=(patience, NOT_NEGATIVE), cooldown=(cooldown, NOT_NEGATIVE))

    def init():
        return PlateauState(1.0, math.inf, 0, 0)

    def update(state, value):
        multiplier, best, waited, resting = state
        improved = value < (best - threshold * abs(best) if math.isfinite(best) else best)
        best, waited = (float(value), 0) if improved else (best, waited + 1)
        if resting > 0:
            resting, waited = resting - 1, 0
        if waited > patience:
            multiplier, waited, resting = max(multiplier * factor, smallest), 0, cooldown
        return PlateauState(multiplier, best, waited, resting)

    return Plateau(init, update)
