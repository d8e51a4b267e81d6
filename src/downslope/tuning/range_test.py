"""The range test: one descent whose learning rate grows by the same factor at every step.

    η_k = η_0 · (η_K / η_0)^(k/K)

The loss first stands still (steps too small to matter), then falls, then rises (steps that overshoot).
From one curve, minutes before any race, one sees where a learning rate can lie. It is an estimate of one
descent over one order of the batches: spikes and seeds move it, which is why several readings are given,
with a word on how far they agree, and why training does not rely on it but on a race.

A batch is easy or hard whatever the rate, and with small batches that hides the curve. So a second descent
takes the same batches at rate 0 and says what each would have cost at the start; the difference is what the
steps have done, and is added to the mean.

Smith 2017, "Cyclical Learning Rates", https://arxiv.org/abs/1506.01186, section 3.3. The readings are those
in common use: a tenth of the rate at the lowest loss; where the loss falls most steeply; two thirds into
the longest stretch of falling ("valley").
"""

import math
from dataclasses import dataclass

import numpy as np

from downslope.stepsize.phases import Phases
from downslope.training.trials import Trials

SPAN = 3e3  # the largest rate over the rule's own; the smallest lies as far below
SMOOTHING = 0.9  # of the exponential average over steps
DIVERGED = 4.0  # times the lowest smoothed loss
AGREEMENT = 4.0  # the largest reading over the smallest, up to which they are said to agree
DISAGREEMENT = 30.0  # and from which on they say nothing
READINGS = {
    "valley": "two thirds into the longest stretch in which the loss falls",
    "steepest": "where the loss falls most steeply",
    "minimum/10": "a tenth of the rate at the lowest loss",
}


@dataclass(frozen=True)
class RangeTest:
    """What a range test saw.

    Attributes:
        learning_rates: (steps,), ascending.
        losses: (steps,), of each step's batch before that step, less what makes the batch easy or hard.
        smoothed: (steps,), their average over the last steps.
        suggestions: a learning rate by the name of the reading (`READINGS`).
        confidence: ``"good"``, ``"fair"`` or ``"poor"``.
        note: why, in words.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestions: dict[str, float]
    confidence: str
    note: str


def range_test(
    trials: Trials,
    centre: float,
    *,
    steps: int = 200,
    smallest: float | None = None,
    largest: float | None = None,
) -> RangeTest | None:
    """Return what a descent at growing learning rates saw; None where the user interrupted.

    Args:
        trials: where it runs.
        centre: the rule's own learning rate: it is suggested where the curve shows nothing.
        steps: updates at most, ≥ 10; it ends earlier where the loss diverges.
        smallest: rate of the first step; by default `centre` / 3,000.
        largest: rate of the last step; by default 3,000 · `centre`.
    """
    smallest, largest = smallest or centre / SPAN, largest or centre * SPAN
    rates = np.geomspace(smallest, largest, steps)
    still = np.asarray(trials.advance(trials.begin(), steps, 0.0, Phases(0)).losses)
    trial, smoothed, lowest = trials.begin(), [], math.inf
    if len(still) < steps or not np.isfinite(still).all():
        still = np.zeros(steps)  # no loss at the very start: nothing to compare with
    for number, rate in enumerate(rates, start=1):
        if trials.interrupted():
            return None
        trial = trials.advance(trial, number, float(rate), Phases(0))
        if trial.failed or not math.isfinite(trial.losses[-1]):
            break
        answer = trial.losses[-1] - still[number - 1] + still.mean()
        smoothed.append(_next_average(smoothed, answer))
        lowest = min(lowest, smoothed[-1])
        if number > 10 and smoothed[-1] > DIVERGED * abs(lowest) and smoothed[-1] > smoothed[0]:
            break
        trials.say(f"learning rate {rate:.2g}: step {number} of at most {steps}")
    seen = len(smoothed)
    return read_curve(rates[:seen], np.asarray(trial.losses[:seen]) - still[:seen] + still.mean(), centre)


def _next_average(smoothed: list[float], loss: float) -> float:
    """Return the next smoothed loss: an average that counts the first losses as much as they deserve."""
    weight = max(1 - SMOOTHING, 1 / (len(smoothed) + 1))
    return loss if not smoothed else (1 - weight) * smoothed[-1] + weight * loss


def smooth(losses: np.ndarray) -> np.ndarray:
    """Return the running average of the losses.

    >>> smooth(np.array([4.0, 2.0, 3.0])).tolist()
    [4.0, 3.0, 3.0]
    """
    smoothed: list[float] = []
    for loss in losses:
        smoothed.append(_next_average(smoothed, float(loss)))
    return np.asarray(smoothed)


def read_curve(rates: np.ndarray, losses: np.ndarray, centre: float) -> RangeTest:
    """Return the readings of a curve; there is always at least one."""
    smoothed = smooth(losses)
    if len(rates) < 3:
        note = f"the loss was not a number after {len(rates)} steps: nothing can be read off"
        return RangeTest(rates, losses, smoothed, {"the rule's own": centre}, "poor", note)
    lowest = int(np.argmin(smoothed))
    fall = smoothed[0] - smoothed[lowest]
    noise = float(np.std(np.diff(losses[: lowest + 1]))) / math.sqrt(2) if lowest > 1 else 0.0
    if fall <= max(1e-12, 0.5 * noise) or lowest == 0:
        note = "the loss never fell clearly below its start: the rule's own learning rate stands in"
        return RangeTest(rates, losses, smoothed, {"the rule's own": centre}, "poor", note)
    down, over = _longest_fall(smoothed[: lowest + 1])
    slopes = np.gradient(smoothed[: lowest + 1], np.log(rates[: lowest + 1]))
    found = {
        "valley": rates[down + 2 * (over - down) // 3],
        "steepest": rates[int(np.argmin(slopes))],
        "minimum/10": rates[lowest] / 10,
    }
    suggestions = {name: float(f"{rate:.2g}") for name, rate in found.items()}
    spread = max(suggestions.values()) / min(suggestions.values())
    went_up = smoothed[-1] > smoothed[lowest] + 0.5 * fall
    if not went_up:
        note = "the loss never rose again: a larger range would show where it does"
        confidence = "fair"
    elif spread <= AGREEMENT:
        confidence, note = "good", f"the readings lie within a factor of {spread:.2g}"
    else:
        confidence = "fair" if spread < DISAGREEMENT else "poor"
        note = f"the readings lie a factor of {spread:.2g} apart"
    if fall < 2 * noise:
        confidence, note = "poor", note + "; the batches are so noisy that the curve hardly stands out"
    return RangeTest(rates, losses, smoothed, suggestions, confidence, note)


def _longest_fall(smoothed: np.ndarray) -> tuple[int, int]:
    """Return the first and the last place of the longest falling subsequence.

    >>> _longest_fall(np.array([3.0, 4.0, 2.0, 5.0, 1.0]))
    (0, 4)
    """
    lengths, starts = np.ones(len(smoothed), int), np.arange(len(smoothed))
    for place in range(1, len(smoothed)):
        above = np.flatnonzero(smoothed[:place] > smoothed[place])
        if above.size:
            longest = above[np.argmax(lengths[above])]
            lengths[place], starts[place] = lengths[longest] + 1, starts[longest]
    end = int(np.argmax(lengths))
    return int(starts[end]), end
