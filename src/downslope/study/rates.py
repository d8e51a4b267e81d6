"""A learning rate for each arm, all chosen by the same means: each rate trains for the whole budget.

Seven rates, half a power of ten apart, around the rule's own default; and more on the side where the best
of them is the outermost, until it is not: all from the first seed. The best three of them run from the
second seed too, and the lowest mean validation loss wins, for the best rate of one seed may stand at the
edge of a cliff. Few validation rows can all be easy, so one more is counted, on which the weights are
wrong. A trial is a whole run, not a shortened one: short trials prefer rates that are too small in the
long run (Wu et al. 2018, "Understanding Short-Horizon Bias in Stochastic Meta-Optimization",
https://arxiv.org/abs/1803.02021).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from downslope.study.compare import ArmRun

SIDE = 3  # rates to each side of the default
MOST_MORE = 6  # rates beyond those, on either side
CONFIRMED = 3  # rates that run from the second seed too
MOST_ASKED = 6  # until so many of them did not diverge there
STEP = math.sqrt(10.0)

Try = Callable[[float], ArmRun | None]  # None: interrupted


class Choice(NamedTuple):
    """A chosen rate.

    Attributes:
        rate: the chosen one; the smallest tried where all diverged.
        runs: its runs, from the first seed, and from the second where that was asked.
        trials: what was tried, ascending, as `study.compare.Arm.trials`.
    """

    rate: float
    runs: list[ArmRun]
    trials: list[dict[str, Any]]


def choose_rate(try_rate: Try, default: float, confirm: Try | None = None) -> Choice | None:
    """Return the best of the rates around `default`; None where it was interrupted.

    Args:
        try_rate: trains with one rate, for the whole budget, from the first seed.
        default: the rule's own rate, > 0.
        confirm: the same from the second seed; None: the first decides alone.
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
    again: dict[int, ArmRun] = {}
    for power in sorted(runs, key=lambda power: (runs[power].judged, power))[:MOST_ASKED]:
        if confirm is None or sum(not run.diverged for run in again.values()) == CONFIRMED:
            break
        run = confirm(_rung(default, power))
        if run is None:
            return None
        again[power] = run
    both = {power: [runs[power], run] for power, run in again.items()} or {p: [r] for p, r in runs.items()}
    best = min(both, key=lambda power: (sum(run.judged for run in both[power]), runs[power].judged, power))
    return Choice(_rung(default, best), both[best], trials(list(runs.values()), list(again.values())))


def too_large(try_rate: Try, tried: list[dict[str, Any]], good: float) -> float | None:
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


def trials(runs: list[ArmRun], again: list[ArmRun]) -> list[dict[str, Any]]:
    """Return the runs from the first seed, and some of them from the second, as the trials of an arm."""
    seconds = {run.learning_rate: run for run in again}

    def loss(run: ArmRun | None) -> float | None:
        return None if run is None or run.diverged else run.judged

    def trial(run: ArmRun) -> dict[str, Any]:
        second = seconds.get(run.learning_rate)
        return {
            "learning_rate": run.learning_rate,
            "validation_loss": loss(run),
            "confirmed": second is not None,
            "second_loss": loss(second),
        }

    return [trial(run) for run in sorted(runs, key=lambda run: run.learning_rate)]


def _best(runs: dict[int, ArmRun]) -> int:
    """Return the power with the lowest loss; of equals, and where all diverged, the smallest."""

    def key(power: int) -> Any:
        return runs[power].judged, power

    return min(runs, key=key)


def _rung(default: float, power: int) -> float:
    return _rounded(default * STEP**power)


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")
