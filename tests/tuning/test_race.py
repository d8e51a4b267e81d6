"""The race, on made-up descents whose best rate is known, and its arithmetic against references."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from downslope.metrics import paired_gap
from downslope.training.trials import Trial, Trials
from downslope.tuning import race
from downslope.tuning.race import Race, grid

ROWS = 400


def made_up(
    loss_of, noise=0.3, spread=0.0, weights=None, interrupt_after=math.inf, when_wrong=lambda rate: 1.0
):
    """Trials whose held-out loss after annealing is `loss_of(rate, steps)`, and what each row adds to it.

    `noise` is what makes a row hard for all rates alike, `spread` what differs between rates.
    """
    hard = np.random.default_rng(0).normal(0, noise, ROWS)
    calls = []

    def advance(trial, until, rate, phases):
        calls.append(rate)
        value = loss_of(rate, until)
        state = None if value is None else (rate, until)
        return dataclasses.replace(trial, state=state, step=until)

    def measure(trial):
        rate, steps = trial.state
        own = np.random.default_rng(abs(hash((rate, steps))) % 2**32).normal(0, spread, ROWS)
        return np.append(loss_of(rate, steps) + hard + (own - own.mean()), when_wrong(rate))

    return Trials(
        lambda: Trial((0.0, 0), 0, None), lambda trial: trial, advance, measure,
        np.ones(ROWS + 1) if weights is None else weights, "400 rows",
        interrupted=lambda: len(calls) >= interrupt_after,
    )  # fmt: skip


def valley(best):
    """Log-parabola around the best rate, infinite a hundredfold above it."""
    return lambda rate, steps: None if rate > 100 * best else 1 + 0.1 * math.log(rate / best) ** 2


@pytest.mark.parametrize("best", grid(0.01))
def test_the_best_on_the_grid_wins(best):
    chosen = Race(made_up(valley(best)), 0.01, 2000).run()
    assert chosen.learning_rate == best
    assert f"learning rate {best:g} (chosen among " in chosen.sentence


@pytest.mark.parametrize("factor", [1 / 300, 1 / 90, 90, 300])
def test_the_grid_widens_towards_a_best_beyond_its_edge(factor):
    chosen = Race(made_up(valley(0.01 * factor)), 0.01, 2000).run()
    assert abs(math.log(chosen.learning_rate / (0.01 * factor))) < math.log(3) + 0.1
    assert len(chosen.record["arms"]) > 7


@pytest.mark.parametrize("gain", [1e-6, 1.0])
def test_it_widens_downwards_only_for_a_gain_that_is_no_luck(gain):
    chosen = Race(made_up(lambda rate, steps: 20 + gain * math.log(rate), spread=3.0), 0.01, 4000).run()
    rates = [arm["learning_rate"] for arm in chosen.record["arms"]]
    assert (min(rates) < grid(0.01)[0]) == (gain == 1.0)


def test_hard_rows_cancel_and_noise_ties():
    """A gap of 0.1 is clear beside rows that differ by 3, if they differ alike; not if each has its own."""
    clear = Race(made_up(valley(0.09), noise=3.0), 0.01, 2000).run()
    assert clear.learning_rate == 0.09
    unclear = Race(made_up(valley(0.09), noise=0.0, spread=300.0), 0.01, 2000).run()
    assert unclear.learning_rate == 0.01
    assert "tie at" in unclear.sentence
    assert "may still catch up" not in unclear.sentence


def test_arms_that_are_spared_since_they_may_catch_up_are_not_said_to_tie():
    """Today 0.03 is clearly best; the two below it stay, for the run is a hundred times as long."""
    chosen = Race(made_up(valley(0.03), spread=1.0), 0.01, 200, horizon=20_000).run()
    close = [arm for arm in chosen.record["arms"] if arm["gap"] <= 2 * arm["standard_error"]]
    spared = [arm for arm in chosen.record["arms"] if arm["fate"] in ("tied", "chosen")]
    assert len(spared) > len(close)
    assert " or may still catch up, this is " in chosen.sentence


@pytest.mark.parametrize(("prefer", "place"), [("largest", -2), ("smallest", 1), ("mean", 3), ("centre", 3)])
def test_ties(prefer, place):
    inside = grid(0.01)[1:-1]  # so that nothing at an edge asks for a wider grid
    chosen = Race(
        made_up(lambda rate, steps: 1.0 if rate in inside else 2.0), 0.01, 2000, prefer=prefer
    ).run()
    assert chosen.learning_rate == grid(0.01)[place]
    assert [arm["fate"] for arm in chosen.record["arms"]].count("tied") == 4


def test_few_rows_may_all_be_easy():
    """A gap of 0.1 that each of 400 rows shows counts for less where the better rate is surer when wrong."""
    assert Race(made_up(valley(0.09)), 0.01, 2000).run().learning_rate == 0.09
    surer = made_up(valley(0.09), when_wrong=lambda rate: 3000 * rate)
    assert Race(surer, 0.01, 2000).run().learning_rate < 0.09


@pytest.mark.parametrize(("spread", "taken"), [(0.0, 0.09), (40.0, 0.03), (400.0, 0.01)])
def test_a_gap_is_believed_as_far_as_it_was_measured(spread, taken):
    """The best of those that tie, where rows agree; the rule's own, where they say nothing; or between."""
    losses = {0.01: 2.0, 0.03: 1.4, 0.09: 1.0}
    trials = made_up(lambda rate, steps: losses.get(rate, 9.0 + rate), spread=spread)
    with_all = Race(trials, 0.01, 200)
    with_all._ties = lambda arm, best: True  # so that the choice alone is tested
    chosen = with_all.run()
    assert chosen.learning_rate == taken
    assert chosen.trial is not None


def test_where_no_trunk_goes_on_the_choice_may_lie_between_arms():
    """Two arms that nothing tells apart, the rule's own and the next: their mean, nearer to the former."""
    flat = dataclasses.replace(made_up(lambda rate, steps: 1.0 if rate in (0.01, 0.03) else 9.0), lent=10)
    chosen = Race(flat, 0.01, 2000).run()
    weights = [1.0, 1 / (1 + math.log(3) ** 2)]
    assert chosen.learning_rate == pytest.approx(
        math.exp(np.average(np.log([0.01, 0.03]), weights=weights)), rel=0.03
    )
    assert chosen.trial is None
    assert [arm["learning_rate"] for arm in chosen.record["arms"] if arm["fate"] == "chosen"] == [0.01]


@pytest.mark.parametrize("flat", [lambda rate: rate < 0.004, lambda rate: rate > 0.02])
def test_ties_above_and_below_the_rules_own(flat):
    """Among those that nothing tells apart the choice is no farther from the rule's own than their middle."""
    chosen = Race(made_up(lambda rate, steps: 1.0 if flat(rate) else 9.0), 0.01, 2000).run()
    tied = [arm["learning_rate"] for arm in chosen.record["arms"] if arm["fate"] in ("tied", "chosen")]
    assert all(flat(rate) for rate in tied)
    far, middle = (
        abs(math.log(rate / 0.01)) for rate in (chosen.learning_rate, math.sqrt(tied[0] * tied[-1]))
    )
    assert far < middle + 0.01  # rates have two digits


def test_arms_that_diverge_are_dropped_at_once():
    chosen = Race(made_up(lambda rate, steps: None if rate > 0.002 else 1 - rate), 0.01, 2000).run()
    arms = chosen.record["arms"]
    assert [arm["fate"] == "diverged" for arm in arms] == [arm["learning_rate"] > 0.002 for arm in arms]
    assert all((arm["loss"] is None) == (arm["fate"] == "diverged") for arm in arms)
    assert chosen.learning_rate == 0.0011


def test_smaller_rates_are_tried_where_all_diverge():
    assert Race(made_up(valley(1e-7)), 0.01, 2000).run().learning_rate < 1e-5
    nothing = Race(made_up(lambda rate, steps: None), 0.01, 2000).run()
    assert nothing.learning_rate == 0.01
    assert nothing.trial is None
    assert "every arm diverged" in nothing.sentence


def test_an_arm_is_judged_by_its_best_round():
    """A rate that was best early and then learned its rows by heart: the descent keeps that best too."""

    def early(rate, steps):
        if rate == 0.03:
            return 1.0 if steps < 300 else 2.0
        return 1.1 - 1e-4 * steps if rate == 0.01 else 3.0

    chosen = Race(made_up(early, spread=1.0), 0.01, 4000).run()
    ages = {arm["learning_rate"]: arm["age"] for arm in chosen.record["arms"]}
    assert ages[0.03] == ages[0.01] > 300
    losses = {arm["learning_rate"]: arm["loss"] for arm in chosen.record["arms"]}
    assert losses[0.03] == pytest.approx(1.0, abs=0.05)


def test_what_is_behind_while_young_may_catch_up():
    """Arms a little below the best get the benefit of the run that is still to come; others do not."""
    young = lambda rate, steps: 1.1 if rate in (0.0011, 0.0033, 0.01, 0.09) else 1.0 if rate == 0.03 else 2.0  # noqa: E731
    for horizon, fates in ((math.inf, "dddd"), (10**6, "d.cd")):
        chosen = Race(made_up(young, spread=0.5), 0.01, 500, horizon=horizon).run()
        found = [arm["fate"] for arm in chosen.record["arms"] if arm["loss"] < 1.5]
        assert found[-1] == "dropped"
        assert (found[2] == "chosen") == (fates[2] == "c")
        assert found[0] == "dropped"


@pytest.mark.parametrize("budget", [200, 1000, 5000])
@pytest.mark.parametrize("loss_of", [lambda rate, steps: 1.0, valley(0.01)])
def test_the_budget_is_kept(budget, loss_of):
    chosen = Race(made_up(loss_of), 0.01, budget).run()
    assert chosen.steps == sum(arm["steps"] for arm in chosen.record["arms"]) <= budget * 1.02
    assert Race(made_up(loss_of), 0.01, budget, horizon=40).run().record["arms"][3]["age"] <= 40


def test_it_can_be_interrupted_anywhere():
    for calls in range(1, 14):
        assert Race(made_up(valley(0.01 / 90), interrupt_after=calls), 0.01, 2000).run() is None


@pytest.mark.parametrize("arms", [1, 3, 6])
def test_late_it_takes_the_best_that_it_has_seen_around_the_centre(arms, monkeypatch):
    """It looks at the clock before each arm."""
    looks = iter(range(1000))
    monkeypatch.setattr(Race, "_late", lambda self: next(looks) >= arms)
    chosen = Race(made_up(valley(0.01 / 3)), 0.01, 2000).run()
    seen = [arm["learning_rate"] for arm in chosen.record["arms"]]
    nearest = sorted(grid(0.01), key=lambda rate: abs(math.log(rate / 0.01)))
    assert seen == sorted(nearest[:arms])
    assert chosen.learning_rate == (0.0033 if 0.0033 in seen else 0.01)


def test_the_first_arm_runs_however_late_it_is():
    assert Race(made_up(valley(0.01)), 0.01, 2000, deadline=-math.inf).run().learning_rate == 0.01


def test_the_paired_gap_is_that_of_a_t_test():
    random = np.random.default_rng(1)
    a, b = random.normal(1, 1, 50), random.normal(0.5, 1, 50)
    gap, error = paired_gap(a, b, np.ones(50))
    assert gap / error == pytest.approx(stats.ttest_rel(a, b).statistic)
    doubled = paired_gap(np.r_[a, 99.0], np.r_[b, 0.0], np.r_[np.full(50, 2.0), 0.0])
    assert doubled == pytest.approx((gap, error))  # the scale of the weights means nothing; 0 means absent
    assert paired_gap(a[:1], b[:1], np.ones(1))[1] == math.inf


def test_an_edge_is_a_constant_factor_away():
    rates = grid(0.002)
    assert len(rates) == race.ARMS
    assert np.allclose(np.diff(np.log(rates)), math.log(race.FACTOR), atol=0.05)
