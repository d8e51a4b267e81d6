"""Which arm came lowest, and which came down fastest: what is said of runs that differ in one thing only.

An arm is one way to train: a rule, a batch size or a learning rate. Each is run from several seeds, and
what is said of it is the median over them with the lowest and the highest beside it. A run that
diverged counts as worse than any number, so it pulls the median instead of dropping out of it.

target: f_T = f_L + τ (f₀ − f_L),  τ = 0.05

f₀ is the loss before the first step and f_L the lowest that any arm reached, both medians over the
seeds: an arm has arrived when it has come 95 % of the way down. This is the convergence test of
Moré & Wild 2009, "Benchmarking Derivative-Free Optimization Algorithms", SIAM J. Optim. 20(1), section
2. Unlike "5 % above the best" it means the same for a loss near zero.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

TAU = 0.05
PROFILE_TAUS = (0.5, 0.25, 0.1, 0.05, 0.02)  # every seed with every one of these is a race of the profile
FACTORS = tuple(round(2 ** (power / 4), 4) for power in range(25))  # 1 … 64 times the fastest


@dataclass(frozen=True)
class ArmRun:
    """One run of one arm, measured on the validation rows at even distances, the start included.

    Attributes:
        seed: what initial weights, order of the rows and dropout are functions of.
        learning_rate: > 0; of a search, the radius of its box.
        steps: (points,), updates done; of a search, a third of its loss evaluations.
        passes: (points,), gradients per training row so far; three losses cost what one gradient does.
        seconds: (points,), time spent stepping; compiling and measuring are not in it.
        losses: (points,), validation loss.
        diverged: see `has_diverged`. A search keeps the best it has seen, so it cannot diverge.
        metrics: of the kept weights, the best on the validation rows, on held-out rows; None: diverged.
        cautious: the loss of the kept weights if there were one validation row more, on which they are wrong
            (see `tuning.race`): few rows can all be easy. None: as the lowest.
    """

    seed: int
    learning_rate: float
    steps: list[int]
    passes: list[float]
    seconds: list[float]
    losses: list[float]
    diverged: bool = False
    metrics: dict[str, float] | None = None
    cautious: float | None = None

    @property
    def judged(self) -> float:
        """What its rate is chosen by: the cautious loss, or the lowest; infinite where the run diverged."""
        return self.lowest if self.diverged or self.cautious is None else self.cautious

    @property
    def lowest(self) -> float:
        """The lowest validation loss; infinite where the run diverged."""
        return math.inf if self.diverged else min(self.losses)


@dataclass
class Arm:
    """One way to train, and its runs.

    Attributes:
        name: what tables call it.
        rule: name of the update rule, ``"random-search"`` or ``"grid-search"``.
        batch_size: rows per gradient, or per loss of a search.
        learning_rate: chosen or given; of a search, the radius of its box.
        trials: the rates that were tried, ascending, each with its ``learning_rate``, its
            ``validation_loss`` from the first seed (as `ArmRun.judged`), whether it was ``confirmed`` by a
            run from the second, and that one's ``second_loss``; None in place of a loss: diverged. Empty
            where the rate was given.
        note: what else there is to say about it.
        runs: one for each seed.
    """

    name: str
    rule: str
    batch_size: int
    learning_rate: float
    trials: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    runs: list[ArmRun] = field(default_factory=list)


def has_diverged(losses: Sequence[float], *, train_rose: bool) -> bool:
    """Return whether a descent went wrong: no number, training loss up, or ten times the start on the way.

    The last is for runs that blew up and came back by luck: weights of 10³⁰ may well suit a few rows.
    A validation loss that ends above its start is over-fitting where the training loss fell.

    Args:
        losses: the validation loss at the start and so on.
        train_rose: whether the training loss ended above its start.

    >>> [has_diverged(losses, train_rose=False) for losses in ([2.0, 1.0, 2.1], [2.0, 50.0, 1.0])]
    [False, True]
    """
    start = losses[0]
    return not math.isfinite(sum(losses)) or train_rose or max(losses) > start + 9 * abs(start)


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Return median, lowest and highest; None for what is not finite.

    >>> spread([3.0, math.inf, 1.0])
    {'median': 3.0, 'low': 1.0, 'high': None}
    """
    numbers = sorted(values)
    middle = (numbers[(len(numbers) - 1) // 2] + numbers[len(numbers) // 2]) / 2
    found = {"median": middle, "low": numbers[0], "high": numbers[-1]}
    return {name: float(value) if math.isfinite(value) else None for name, value in found.items()}


def lowest_median(arm: Arm) -> float:
    """Return the median over the seeds of an arm's lowest validation loss; infinite where most diverged."""
    return _or(spread([run.lowest for run in arm.runs])["median"], math.inf)


def start_loss(arms: Sequence[Arm]) -> float:
    """Return f₀, the median validation loss before the first step."""
    return float(np.median([run.losses[0] for arm in arms for run in arm.runs]))


def target_loss(arms: Sequence[Arm], tau: float = TAU) -> float | None:
    """Return the validation loss that counts as arrived; None where no arm came down at all."""
    lowest, start = min(map(lowest_median, arms)), start_loss(arms)
    return lowest + tau * (start - lowest) if lowest < start else None


def arrival(run: ArmRun, target: float | None) -> int | None:
    """Return the first measurement at or below the target; None where there is none, or it diverged."""
    if target is None or run.diverged:
        return None
    return next((point for point, loss in enumerate(run.losses) if loss <= target), None)


def cost_of_arrival(run: ArmRun, target: float | None, unit: str) -> float:
    """Return the ``"steps"``, ``"passes"`` or ``"seconds"`` to the target; infinite where not reached."""
    point = arrival(run, target)
    return math.inf if point is None else float(getattr(run, unit)[point])


def summary(arm: Arm, target: float | None, metric: str | None = None) -> dict[str, Any]:
    """Return what is said of an arm: each number as median, low and high over its runs.

    Args:
        arm: with at least one run.
        target: see `target_loss`.
        metric: name of the metric that people read, where higher is better; None: only the loss.
    """
    measured = [run.metrics or {} for run in arm.runs]
    said: dict[str, Any] = {
        "runs": len(arm.runs),
        "diverged": sum(run.diverged for run in arm.runs),
        "reached": sum(arrival(run, target) is not None for run in arm.runs),
        "validation_loss": spread([run.lowest for run in arm.runs]),
        "held_out_loss": spread([_or(values.get("loss"), math.inf) for values in measured]),
        "seconds_per_step": spread([run.seconds[-1] / max(run.steps[-1], 1) for run in arm.runs]),
        "steps": int(max(run.steps[-1] for run in arm.runs)),
    }
    if metric is not None:
        said["metric"] = spread([_or(values.get(metric), -math.inf) for values in measured])
    for unit in ("steps", "passes", "seconds"):
        said[f"{unit}_to_target"] = spread([cost_of_arrival(run, target, unit) for run in arm.runs])
    return said


def way_down(arm: Arm, arms: Sequence[Arm]) -> float:
    """Return the share of the way from the start to the lowest loss that an arm came; 0 if it diverged."""
    start, lowest, own = start_loss(arms), min(map(lowest_median, arms)), lowest_median(arm)
    return max(0.0, (start - own) / (start - lowest)) if own < start and lowest < start else 0.0


def ranking(arms: Sequence[Arm]) -> list[int]:
    """Return the places of the arms, best first: by median held-out loss, then by validation loss."""

    def key(place: int) -> tuple[float, float]:
        losses = [math.inf if run.metrics is None else run.metrics["loss"] for run in arms[place].runs]
        return _or(spread(losses)["median"], math.inf), lowest_median(arms[place])

    return sorted(range(len(arms)), key=key)


def profile(arms: Sequence[Arm], taus: Sequence[float] = PROFILE_TAUS) -> dict[str, Any]:
    """Return the performance profile: how often each arm was within a factor of the fastest.

    ρ_s(α) = |{p : t_{p,s} ≤ α · min_s t_{p,s}}| / |P|

    A race p is one seed that all arms ran, with one target between the start and the lowest loss of that
    seed; t is passes over the rows until the target. Races that nobody finished are left out. ρ_s(1) is
    how often the arm was the fastest, ρ_s at the right end how often it arrived at all. Dolan & Moré
    2002, "Benchmarking optimization software with performance profiles", equation 2.1.

    Returns:
        ``{"factors": […], "races": n, "shares": {name: [one share per factor]}}``.
    """
    seeds = sorted(set.intersection(*({run.seed for run in arm.runs} for arm in arms)))
    ratios: list[list[float]] = []  # (races, arms)
    for seed in seeds:
        runs = [next(run for run in arm.runs if run.seed == seed) for arm in arms]
        lowest, start = min(run.lowest for run in runs), float(np.median([run.losses[0] for run in runs]))
        for tau in taus if lowest < start else ():
            costs = [cost_of_arrival(run, lowest + tau * (start - lowest), "passes") for run in runs]
            fastest = max(min(costs), 1e-12)
            ratios.append([cost / fastest for cost in costs])
    shares = {
        arm.name: [
            float(np.mean([race[place] <= factor * (1 + 1e-9) for race in ratios])) if ratios else 0.0
            for factor in FACTORS
        ]
        for place, arm in enumerate(arms)
    }
    return {"factors": list(FACTORS), "races": len(ratios), "shares": shares}


def arm_json(arm: Arm, arms: Sequence[Arm], metric: str | None) -> dict[str, Any]:
    """Return one of the arms with its summary as plain JSON: numbers that are not finite become None."""
    said = summary(arm, target_loss(arms), metric) | {"way_down": way_down(arm, arms)}
    content: dict[str, Any] = asdict(arm) | {"summary": said}
    for run in content["runs"]:
        run["losses"] = [loss if math.isfinite(loss) else None for loss in run["losses"]]
    return content


def verdict(arms: Sequence[Arm]) -> str:
    """Return in one sentence which arm came lowest on held-out rows, and whether that is clear.

    It is called clear only where the worst seed of the best arm beats the best seed of all others; those
    of which most runs diverged do not count.
    """
    order = ranking(arms)
    best = arms[order[0]]
    if all(run.diverged for run in best.runs):
        return "Every run diverged."
    if len(arms) == 1:
        return f"{best.name} is the only arm that was run."
    losses = [[_or((run.metrics or {}).get("loss"), math.inf) for run in arm.runs] for arm in arms]
    came_down = [place for place in order[1:] if lowest_median(arms[place]) < math.inf]
    rivals = [arms[place].name for place in came_down if min(losses[place]) <= max(losses[order[0]])]
    if len(best.runs) == 1:
        return f"{best.name} came lowest, from the one seed that was run."
    if not rivals:
        return f"{best.name} came lowest, from every seed."
    return f"{best.name} has the lowest median loss, but its runs overlap with those of {_and(rivals)}."


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None or not math.isfinite(value) else value
