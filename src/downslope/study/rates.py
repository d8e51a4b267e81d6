"""A learning rate for each arm, all chosen by the same means: each rate trains for the whole budget.

Seven rates, half a power of ten apart, around the rule's own default; and more on the side where the best
of them is the outermost, until it is not. The lowest validation loss wins. A trial is a whole run from
the first seed, not a shortened one: short trials prefer rates that are too small in the long run
(Wu et al. 2018, "Understanding Short-Horizon Bias in Stochastic Meta-Optimization",
https://arxiv.org/abs/1803.02021).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from downslope.study.compare import ArmRun

SIDE = 3  # rates to each side of the default
MOST_MORE = 6  # rates beyond those, on either side
STEP = math.sqrt(10.0)

Try = Callable[[float], ArmRun | None]  # None: interrupted


class Choice(NamedTuple):
    """A chosen rate.

    Attributes:
        rate: of the run with the lowest validation loss; the smallest tried where all diverged.
        run: that run.
        trials: what was tried, ascending, as `study.compare.Arm.trials`.
    """

    rate: float
    run: ArmRun
    trials: list[dict[str, float | None]]


def ladder(default: float) -> list[float]:
    """Return the rates to begin with, ascending.

    >>> ladder(0.1)[0], ladder(0.1)[3], ladder(0.1)[-1]
    (0.00316, 0.1, 3.16)
    """
    return [_rung(default, power) for power in range(-SIDE, SIDE + 1)]


def choose_rate(try_rate: Try, default: float) -> Choice | None:
    """Return the best of the rates around `default`; None where it was interrupted.

    Args:
        try_rate: trains with one rate, for the whole budget, from the first seed.
        default: the rule's own rate, > 0.
    """
    runs: dict[int, ArmRun] = {}

    def try_power(power: int) -> bool:
        run = try_rate(_rung(default, power))
        if run is not None:
            runs[power] = run
        return run is not None

    if not all(try_power(power) for power in range(-SIDE, SIDE + 1)):
        return None
    for _ in range(MOST_MORE):
        best = _best(runs)
        if best not in (min(runs), max(runs)):
            break
        if not try_power(best - 1 if best == min(runs) else best + 1):
            return None
    best = _best(runs)
    return Choice(_rung(default, best), runs[best], trials(list(runs.values())))


def too_large(try_rate: Try, tried: list[dict[str, float | None]], good: float) -> float | None:
    """Return the smallest rate above `good` at which the descent diverges; None where interrupted.

    Looks among the `tried` first, then beyond them; where nothing makes it diverge, the last one tried.
    """
    failed = [trial for trial in tried if trial["validation_loss"] is None]
    above = [rate for trial in failed if (rate := trial["learning_rate"]) is not None and rate > good]
    if above:
        return min(above)
    rate = max(trial["learning_rate"] or 0.0 for trial in tried)
    for _ in range(MOST_MORE):
        rate = _rounded(rate * STEP)
        run = try_rate(rate)
        if run is None:
            return None
        if run.diverged:
            break
    return rate


def trials(runs: list[ArmRun]) -> list[dict[str, float | None]]:
    """Return runs as the trials of an arm, ascending by rate."""

    def trial(run: ArmRun) -> dict[str, float | None]:
        lowest = run.lowest
        return {"learning_rate": run.learning_rate, "validation_loss": None if run.diverged else lowest}

    return [trial(run) for run in sorted(runs, key=lambda run: run.learning_rate)]


def _best(runs: dict[int, ArmRun]) -> int:
    """Return the power with the lowest loss; of equals, and where all diverged, the smallest."""

    def key(power: int) -> Any:
        return runs[power].lowest, power

    return min(runs, key=key)


def _rung(default: float, power: int) -> float:
    return _rounded(default * STEP**power)


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")
