"""From losses and times to ratios, regrets and scores: pure functions of what was stored.

    target       the median, over the oracle's fresh seeds, of the test loss of the weights it kept
    reached      the first time a run's test loss is ≤ 1.01 · target; ∞ where it never is
    ratio r      median over seeds of that time ∕ the same of the oracle
    regret       median over seeds of the test loss of the weights kept ∕ the oracle's of that seed − 1
    score        mean over workloads of max(0, (4 − r)/3): 1 as fast as the oracle, 0 at four times its time

Half of the oracle's own seeds end above their median, so 1 % is allowed, and the oracle is measured by the
same rule. A seed decides the initial weights, the validation rows and the order, for everyone alike: where
it matters more than who runs, a ratio of the same seeds says more than a ratio of medians. So the regret is
taken seed by seed, and beside the ratio stands that of the `paired` targets, each seed's own.

The score is the area under the performance profile up to r = 4: Dolan & Moré 2002,
https://arxiv.org/abs/cs/0102001; Dahl et al. 2023, https://arxiv.org/abs/2306.07179, section 4.4.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

ALLOWED = 1.01  # times the target
SLOWEST = 4.0  # times the oracle, that still counts

Run = dict[str, Any]  # an `observed.Observed`, as JSON knows it


def target_of(oracle: Sequence[Run]) -> float:
    """Return the loss to be reached."""
    return statistics.median(run["losses"][-1] for run in oracle)


def to_target(runs: Sequence[Run], target: float, what: str) -> float:
    """Return the median over the runs of the ``"seconds"`` or ``"steps"`` to the target; ∞: not reached."""
    return statistics.median_low([_first(run, target, what) for run in runs])


def _first(run: Run, target: float, what: str) -> float:
    for loss, at in zip(run["losses"], run[what], strict=True):
        if loss <= ALLOWED * target:
            return float(at)
    return math.inf


def ratio(runs: Sequence[Run], oracle: Sequence[Run], what: str) -> float:
    """Return the time of some runs to the target, in units of the oracle's; ∞: not reached."""
    target = target_of(oracle)
    return to_target(runs, target, what) / to_target(oracle, target, what)


def paired_ratio(runs: Sequence[Run], oracle: Sequence[Run], what: str) -> float:
    """Return the median over seeds of the time to what the oracle reached with that seed, in its units."""
    return statistics.median_low(
        [
            _first(run, own["losses"][-1], what) / _first(own, own["losses"][-1], what)
            for run, own in _pairs(runs, oracle)
        ]
    )


def regret(runs: Sequence[Run], oracle: Sequence[Run]) -> float:
    """Return the median over seeds of the share by which the weights kept are above the oracle's."""
    return statistics.median(run["losses"][-1] / own["losses"][-1] for run, own in _pairs(runs, oracle)) - 1


def _pairs(runs: Sequence[Run], oracle: Sequence[Run]) -> list[tuple[Run, Run]]:
    by_seed = {run["seed"]: run for run in oracle}
    return [(run, by_seed[run["seed"]]) for run in runs]


def score(ratios: Iterable[float]) -> float:
    """Return the area under the performance profile.

    >>> score([1.0, 2.5, 4.0, float("inf")])
    0.375
    """
    return statistics.mean(min(1.0, max(0.0, (SLOWEST - r) / (SLOWEST - 1))) for r in ratios)


def geometric_mean(ratios: Iterable[float]) -> float:
    """Return the geometric mean of those that are finite; NaN where none is."""
    finite = [r for r in ratios if math.isfinite(r)]
    return statistics.geometric_mean(finite) if finite else math.nan


def best_setting(sweep: dict[str, list[list[Any]]]) -> tuple[str, float, str, float]:
    """Return (rule, learning rate, schedule, loss) of the lowest median over the sweep's seeds.

    `sweep` holds, by rule, lines [learning rate, schedule, losses of the seeds].
    """
    medians = [
        (statistics.median(losses), rule, rate, schedule)
        for rule, lines in sweep.items()
        for rate, schedule, losses in lines
    ]
    loss, rule, rate, schedule = min(medians)
    return rule, rate, schedule, loss


def shares(record: dict[str, Any], learning_rate: float) -> tuple[float, float]:
    """Return what the rule and the rate cost, as the sweep has it.

    The first: AdamW's best setting against the best of all rules. The second: AdamW at `learning_rate`, with
    its best schedule, against AdamW's best; between two rates of the sweep the logarithm of the loss is
    taken to be a straight line over that of the rate. Both as a share.
    """
    best = best_setting(record["sweep"])[-1]
    lines = record["sweep"]["adamw"]
    rates = sorted({rate for rate, *_ in lines})
    losses = [best_setting({"adamw": [line for line in lines if line[0] == rate]})[-1] for rate in rates]
    finite = [min(loss, 1e9) for loss in losses]
    at_rate = np.exp(np.interp(math.log(learning_rate), np.log(rates), np.log(finite)))
    return min(losses) / best - 1, float(at_rate) / min(losses) - 1
