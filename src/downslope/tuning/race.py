"""The race: several learning rates run on the user's own problem, and the best of them goes on.

No rule of thumb knows the right step size of a problem it has not seen, and a short trial at a constant
rate is fooled: a rate that is right for the long run still bounces from wall to wall of the valley when it
is measured, and loses to one that is far too small. So every arm of the race is asked what it would give
once annealed:

    arms      learning rates, a factor of 3 apart, around the rule's own; more where the best is at the edge
    trunk     each arm descends at a constant rate, all from one start, over the same batches
    branch    at the end of a round a copy of the trunk is annealed to 0 over a quarter of its age
    score     the branch's loss on held-out rows, or that of an earlier branch where it was lower: for the
              descent itself keeps its best weights too
    drop      arms whose loss is above the best by more than two standard errors of the paired difference,
              and would still be at the end of the run
    round     the trunks of the others grow to twice the age, as long as the budget lasts
    choice    among those that tie with the best, their mean, each counted as far as it may be the right one

The difference is paired row by row: what makes a row hard is hard for all arms, and cancels.

Arms that tie are not equals, they are only not told apart. What the held-out rows say against an arm is the
logarithm of its loss above the best's, believed as far as it was measured: a gap g with standard error s
shrinks to g / (1 + s²), which is its posterior mean where gaps are of the order of 1 (a factor e in the
loss). What is known beforehand is the rule's own rate r, which is calibrated; where calibration fails, it
fails by far, so the logarithm of the right rate is taken to be distributed about that of r as Cauchy's. Of
both together each arm's rate q gets its weight,

    w(q)  ∝  exp(−g / (1 + s²) / TOLD_APART) / (1 + ln²(q / r))

and the choice is the mean of the tied, exp Σ w ln q: what a rate costs that is not the right one rises with
the square of its distance, and the mean is where that is lowest. So rows that say little leave the choice
near the rule's own rate, and rows that say much take it wherever the loss is lowest.

A young descent favours large steps: it has a long way to go. An arm of a third of the rate is, at first, a
descent of a third of the age. Measured on tables and images, such a lead shrinks with age a between 1/√a
and 1/a, so that what is clearly worse after a hundredth of the run may be the better one at its end. So the
two arms below the best are judged by what a^(−3/4) will have left of today's gap.

Few held-out rows can all be easy, and then the most self-assured arm looks best, whose loss is the highest
where it errs. So one row more is counted, on which the arm is wrong: what n rows did not show must still
be expected once in about n (Laplace's rule of succession). Its loss is the mean over the held-out rows with
one another's targets.

Hägele et al. 2024, https://arxiv.org/abs/2405.18392 (branches); Karnin, Koren & Somekh 2013, "Almost
Optimal Exploration in Multi-Armed Bandits" (rounds); Wu et al. 2018, "Understanding Short-Horizon Bias in
Stochastic Meta-Optimization", https://arxiv.org/abs/1803.02021 (why not to trust unannealed trials).
"""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from downslope.metrics import paired_gap
from downslope.stepsize.phases import Phases
from downslope.training.trials import Chosen, Trial, Trials

ARMS = 7
FACTOR = 3.0  # between neighbours
MOST_WIDENED = 12  # arms added beyond the ends of the grid
BRANCH = 0.25  # steps of the annealing, as a share of the trunk's
ROUNDS = 2  # of all arms that the budget would do for; as arms drop out, it does for more
STANDARD_ERRORS = 2.0  # of the paired gap, beyond which an arm is dropped
CATCHING_UP = 2  # arms below the best that are judged by what will be left of the gap
FADING = 0.75  # power of the age with which the lead of the best over these shrinks
TOLD_APART = 0.08  # of the logarithm of the loss, for which an arm counts 1/e as much


@dataclass
class Arm:
    """One learning rate in the race.

    Attributes:
        learning_rate: > 0.
        trunk: its descent at a constant rate.
        losses: of the held-out rows, and of one that is wrong, at the end of its best branch so far,
            (rows + 1,); None: not finite.
        steps: done for it so far, branches included.
        age: of the trunk when it was last scored.
        gap, error: by how much it was worse than the best then, and the standard error of that.
        fate: ``"running"``, ``"dropped"``, ``"diverged"``, ``"tied"`` or ``"chosen"``.
    """

    learning_rate: float
    trunk: Trial | None
    losses: np.ndarray | None = None
    steps: int = 0
    age: int = 0
    gap: float = math.inf
    error: float = 0.0
    fate: str = "running"


@dataclass
class Race:
    """A race under way.

    Args:
        trials: where the arms run.
        centre: the learning rate in the middle of the grid.
        budget: steps that may be done in all.
        anneal: whether branches are annealed; not for rules that need no decay.
        horizon: the length of the run in steps: no arm need grow older. Infinite: gaps count as they are.
        prefer: what is taken of those that tie: ``"mean"``, ``"largest"``, ``"smallest"`` or ``"centre"``.
        deadline: moment of `time.monotonic` after which no round is begun, and the first one, which goes
            from the centre outwards, is not finished.
    """

    trials: Trials
    centre: float
    budget: int
    anneal: bool = True
    horizon: float = math.inf
    prefer: str = "mean"
    deadline: float = math.inf
    arms: list[Arm] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Done by all arms together."""
        return sum(arm.steps for arm in self.arms)

    @property
    def running(self) -> list[Arm]:
        """The arms still in the race, the smallest rate first."""
        return [arm for arm in self.arms if arm.fate == "running"]

    def run(self) -> Chosen | None:
        """Return the choice, or None where the user interrupted."""
        age = youngest_age(self.budget, self.horizon)
        self.arms = [Arm(rate, self.trials.begin()) for rate in grid(self.centre)]
        if not self._round(age):
            return None
        while not self._late() and (rate := self._beyond_the_edge()) is not None:
            self.arms.append(Arm(rate, self.trials.begin()))
            self.arms.sort(key=lambda arm: arm.learning_rate)
            if not self._round(age):
                return None
        while self._affordable(2 * age) and len(self.running) > 1 and not self._late():
            age *= 2
            if not self._round(age):
                return None
        return self._choice()

    def _round(self, age: int) -> bool:
        """Bring every running arm to an age, score it, drop the worst; False where interrupted."""
        young = [arm for arm in self.running if arm.age < age]
        young.sort(key=lambda arm: abs(math.log(arm.learning_rate / self.centre)))
        for place, arm in enumerate(young, start=1):
            if self.trials.interrupted():
                return False
            if self._late() and arm.age == 0 and place > 1:  # of unlike ages none could be compared
                break
            self.trials.say(f"choosing the rate: {arm.learning_rate:g} ({place} of {len(young)})")
            self._score(arm, age)
        self.arms = [arm for arm in self.arms if arm.age > 0]  # those that have run
        self._drop()
        return True

    def _late(self) -> bool:
        return time.monotonic() >= self.deadline

    def _score(self, arm: Arm, age: int) -> None:
        rate, warmup, advance = arm.learning_rate, warmup_of(self.budget, self.horizon), self.trials.advance
        assert arm.trunk is not None
        before = arm.trunk.step
        arm.trunk = advance(arm.trunk, age, rate, Phases(warmup))
        arm.steps += arm.trunk.step - before
        arm.age, latest = age, None
        branch = arm.trunk
        if self.anneal and not branch.failed:
            end = age + max(1, round(BRANCH * age))
            branch = advance(self.trials.copy(branch), end, rate, Phases(warmup, age, end))
            arm.steps += branch.step - age
        if not branch.failed:
            latest = self.trials.measure(branch)
        if latest is None or not np.isfinite(latest).all():
            arm.losses, arm.fate, arm.trunk = None, "diverged", None
        elif arm.losses is None or self._mean(latest) < self._mean(arm.losses):
            arm.losses = latest

    def _drop(self) -> None:
        best = self.best
        for arm in self.running:
            assert best is not None
            assert arm.losses is not None
            assert best.losses is not None
            arm.gap, arm.error = paired_gap(arm.losses, best.losses, self.trials.weights)
        for arm in self.running:
            if best is not None and not self._ties(arm, best):
                arm.fate, arm.trunk = "dropped", None

    def _ties(self, arm: Arm, best: Arm) -> bool:
        """Return whether an arm is, or at the end of the run may be, as good as the best."""
        return arm is best or self._left(arm, best) * arm.gap <= STANDARD_ERRORS * arm.error

    def _is_close(self, arm: Arm, best: Arm) -> bool:
        """Return whether an arm is not told apart from the best today."""
        return arm is best or arm.gap <= STANDARD_ERRORS * arm.error

    def _left(self, arm: Arm, best: Arm) -> float:
        """Return what share of an arm's gap will be left at the end of the run."""
        below = round(math.log(best.learning_rate / arm.learning_rate, FACTOR))
        if 1 <= below <= CATCHING_UP and math.isfinite(self.horizon):
            return min(1.0, arm.age / self.horizon) ** FADING
        return 1.0

    @property
    def best(self) -> Arm | None:
        """The running arm of the lowest loss; None where all diverged."""
        return min(self.running, key=self.loss, default=None)

    def loss(self, arm: Arm) -> float:
        """Return the mean loss of the held-out rows; infinite where it is not finite."""
        return math.inf if arm.losses is None else self._mean(arm.losses)

    def _mean(self, losses: np.ndarray) -> float:
        return float(np.average(losses, weights=self.trials.weights))

    def _beyond_the_edge(self) -> float | None:
        """Return the learning rate to add where the best arm is at an end of the grid, or all diverged.

        Below the grid only where the best is told apart from the next: steps that are too small to matter all
        tie, however few rows there are.
        """
        best, rates = self.best, [arm.learning_rate for arm in self.arms]
        added = len(self.arms) - ARMS
        if added >= MOST_WIDENED or self.steps + self.steps / len(self.arms) > self.budget:
            return None
        stride = FACTOR if added == 0 else FACTOR**2  # whoever is far away is found in long strides
        if best is None or best.learning_rate == rates[0]:
            next_one = self.arms[1]
            is_luck = best is not None and next_one.fate == "running" and self._is_close(next_one, best)
            return None if is_luck else rounded(rates[0] / stride)
        return rounded(rates[-1] * stride) if best.learning_rate == rates[-1] else None

    def _affordable(self, age: int) -> bool:
        cost = sum(age * (1 + BRANCH * self.anneal) - arm.age for arm in self.running)
        return self.steps + cost <= self.budget and age * (1 + BRANCH) <= self.horizon

    def _choice(self) -> Chosen:
        best = self.best
        if best is None:
            why = "every arm diverged, so the rule's own is taken"
            return self._chosen(self.centre, None, why)
        tied = self.running
        rate = self._preferred(tied)
        chosen = min(reversed(tied), key=lambda arm: abs(math.log(arm.learning_rate / rate)))
        trunk = None
        if not self.trials.lent:  # its trunk is the beginning of the descent
            rate, trunk = chosen.learning_rate, chosen.trunk
        for arm in tied:
            arm.fate = "tied"
        chosen.fate = "chosen"
        others = [arm for arm in self.arms if arm is not chosen and arm.losses is not None]
        second = min(others, key=lambda arm: (-arm.age, self.loss(arm)), default=None)
        if len(tied) > 1:
            rates = f"{tied[0].learning_rate:g} {'to' if len(tied) > 2 else 'and'} {tied[-1].learning_rate:g}"
            mean = "their weighted mean" if self.trials.lent else "the one nearest to their weighted mean"
            this = mean if self.prefer == "mean" else f"the {self.prefer}"
            later = "" if all(self._is_close(arm, best) for arm in tied) else " or may still catch up"
            why = f"{rates} tie at {self.loss(best):.3g}{later}, this is {this}"
        elif second is None:
            others_went = "the others diverged" if len(self.arms) > 1 else "there was time for no other"
            why = f"it reached {self.loss(chosen):.3g}, {others_went}"
        else:
            why = f"{self.loss(chosen):.3g} against {self.loss(second):.3g} of {second.learning_rate:g}"
        return self._chosen(rate, trunk, why, second)

    def _preferred(self, tied: list[Arm]) -> float:
        """Return the learning rate that is taken of those that tie."""
        rates = [arm.learning_rate for arm in tied]
        if self.prefer == "mean":
            weights = [self._weight(arm) for arm in tied]
            return rounded(math.exp(np.average(np.log(rates), weights=weights)))
        if self.prefer == "centre":
            return min(reversed(rates), key=lambda rate: abs(math.log(rate / self.centre)))
        return rates[-1] if self.prefer == "largest" else rates[0]

    def _weight(self, arm: Arm) -> float:
        """Return what a tied arm counts: as far as its rate may be the right one."""
        best = self.best
        assert best is not None
        lowest, gap = abs(self.loss(best)) or 1.0, max(arm.gap, 0.0)
        error = arm.error / (lowest + gap)  # of the logarithm
        against = self._left(arm, best) * math.log1p(gap / lowest) / (1 + error**2)
        return math.exp(-against / TOLD_APART) / (1 + math.log(arm.learning_rate / self.centre) ** 2)

    def _chosen(self, rate: float, trunk: Trial | None, why: str, second: Arm | None = None) -> Chosen:
        sentence = (
            f"learning rate {rate:g} (chosen among {len(self.arms)} by a race of {self.steps:,} steps: {why})"
        )
        record = {
            "sentence": sentence,
            "centre": self.centre,
            "held_out": self.trials.held_out,
            "annealed": self.anneal,
            "runner_up": None if second is None else second.learning_rate,
            "arms": [self._line(arm) for arm in self.arms],
        }
        return Chosen(rate, self.steps, trunk, sentence, record)

    def _line(self, arm: Arm) -> dict[str, Any]:
        """Return an arm as JSON knows it."""
        scored = arm.losses is not None
        return {
            "learning_rate": arm.learning_rate,
            "loss": self.loss(arm) if scored else None,
            "gap": arm.gap if scored else None,
            "standard_error": arm.error if scored and math.isfinite(arm.error) else None,
            "age": arm.age,
            "steps": arm.steps,
            "fate": arm.fate,
        }


def grid(centre: float) -> list[float]:
    """Return the learning rates at the start, ascending.

    >>> grid(0.002)
    [7.4e-05, 0.00022, 0.00067, 0.002, 0.006, 0.018, 0.054]
    """
    half = ARMS // 2
    return [rounded(centre * FACTOR**power) for power in range(-half, ARMS - half)]


def rounded(rate: float) -> float:
    """Return a learning rate with two digits: more would pretend to a precision that no race has."""
    return float(f"{rate:.2g}")


def youngest_age(budget: int, horizon: float = math.inf) -> int:
    """Return the age of the first round: all of it and the later, smaller rounds fit into the budget."""
    by_budget = round(budget / (ARMS * (1 + BRANCH) * ROUNDS))
    return max(2, round(min(by_budget, horizon / (1 + BRANCH) / 4)))


def warmup_of(budget: int, horizon: float = math.inf) -> int:
    """Return the steps in which the arms' rate rises: half of the first round, and of the descent's."""
    return youngest_age(budget, horizon) // 2
