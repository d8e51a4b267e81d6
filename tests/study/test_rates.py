"""The choice of a rate, on losses that are functions of the rate."""

import dataclasses
import math

import pytest

from downslope.study import rates
from downslope.study.compare import ArmRun


def trainer(loss, tried=None):
    """A `try_rate` whose runs end at ``loss(rate)``; None means that they diverge."""

    def try_rate(rate):
        if tried is not None:
            tried.append(rate)
        end = loss(rate)
        losses = [1.0, math.nan if end is None else end]
        return ArmRun(0, rate, [0, 1], [0.0, 1.0], [0.0, 0.1], losses, end is None)

    return try_rate


def valley(best):
    return lambda rate: 0.1 + (math.log10(rate) - math.log10(best)) ** 2 / 100


@pytest.mark.parametrize("best", [0.1, 0.0316, 3.16, 10.0, 0.001])
def test_the_lowest_loss_wins_also_beyond_the_first_rates(best):
    choice = rates.choose_rate(trainer(valley(best)), 0.1)
    assert choice is not None
    assert choice.rate == pytest.approx(best, rel=0.01)
    assert [run.learning_rate for run in choice.runs] == [choice.rate]
    tried = [trial["learning_rate"] for trial in choice.trials]
    assert tried == sorted(tried)
    assert tried[0] < choice.rate < tried[-1]  # neither is the outermost


def test_no_rate_is_tried_twice_and_there_is_an_end():
    tried = []
    choice = rates.choose_rate(trainer(lambda rate: 1 / rate, tried), 0.1)
    assert choice is not None
    assert len(tried) == len(set(tried)) == 2 * rates.SIDE + 1 + rates.MOST_MORE
    assert choice.rate == max(tried)


def test_rates_that_diverge_are_not_chosen():
    choice = rates.choose_rate(trainer(lambda rate: None if rate > 0.05 else 0.5 - rate), 0.1)
    assert choice is not None
    assert choice.rate == pytest.approx(0.0316)
    assert [t["validation_loss"] is None for t in choice.trials] == [False] * 3 + [True] * 4


def test_where_all_diverge_the_smallest_is_named():
    choice = rates.choose_rate(trainer(lambda rate: None), 0.1)
    assert choice is not None
    assert choice.runs[0].diverged
    assert choice.rate == min(t["learning_rate"] or 0 for t in choice.trials)


def test_the_best_three_are_confirmed_from_the_second_seed():
    again = []
    second = trainer(valley(0.01), again)
    choice = rates.choose_rate(trainer(valley(0.1)), 0.1, second)
    assert choice is not None
    assert sorted(again) == pytest.approx([0.0316, 0.1, 0.316])
    assert choice.rate == pytest.approx(0.0316)  # the lowest mean: it lies between the two valleys
    assert [run.losses[-1] for run in choice.runs] == [valley(0.1)(0.0316), valley(0.01)(0.0316)]
    assert [t["confirmed"] for t in choice.trials] == [False, False, True, True, True, False, False]


def test_a_rate_at_the_edge_of_a_cliff_is_not_chosen():
    """It is the best from the first seed, and diverges from the second; then one more is asked."""
    falling = lambda rate: None if rate > 0.5 else 0.5 - rate  # noqa: E731
    again = []
    nearer = trainer(lambda rate: None if rate > 0.2 else 0.5 - rate, again)
    choice = rates.choose_rate(trainer(falling), 0.1, nearer)
    assert choice is not None
    assert choice.rate == 0.1
    assert again == pytest.approx([0.316, 0.1, 0.0316, 0.01])
    (cliff,) = [t for t in choice.trials if t["learning_rate"] == 0.316]
    assert (cliff["confirmed"], cliff["second_loss"]) == (True, None)


def test_an_interrupted_confirmation_is_none():
    assert rates.choose_rate(trainer(valley(0.1)), 0.1, lambda rate: None) is None


def test_an_interrupted_choice_is_none():
    answers = iter([trainer(valley(0.1))(0.1)] * 3 + [None])
    assert rates.choose_rate(lambda rate: next(answers), 0.1) is None


def test_too_large_is_the_smallest_rate_that_diverges():
    loss = lambda rate: None if rate > 5 else valley(0.1)(rate)  # noqa: E731
    choice = rates.choose_rate(trainer(loss), 0.1)
    assert choice is not None
    beyond = []
    assert rates.too_large(trainer(loss, beyond), choice.trials, choice.rate) == 9.99
    assert beyond == [9.99]  # 3.16 was tried before
    near = lambda rate: None if rate > 0.5 else valley(0.1)(rate)  # noqa: E731
    choice = rates.choose_rate(trainer(near), 0.1)
    assert choice is not None
    assert rates.too_large(trainer(near, beyond), choice.trials, choice.rate) == 1.0
    assert beyond == [9.99]


def test_where_nothing_diverges_too_large_still_ends():
    choice = rates.choose_rate(trainer(valley(0.1)), 0.1)
    assert choice is not None
    found = rates.too_large(trainer(valley(0.1)), choice.trials, choice.rate)
    assert found == pytest.approx(3.16 * rates.STEP**rates.MOST_MORE, rel=0.02)


def test_few_rows_that_are_all_easy_do_not_decide():
    """The larger the rate the lower the loss of the few rows, and the worse where it is wrong."""

    def tried(rate):
        run = ArmRun(0, rate, [0, 1], [0.0, 1.0], [0.0, 0.1], [1.0, 0.1 / rate], cautious=0.1 / rate + rate)
        assert run.judged > run.lowest
        return run

    assert rates.choose_rate(tried, 0.3).rate == 0.3
    assert rates.choose_rate(lambda rate: dataclasses.replace(tried(rate), cautious=None), 0.3).rate > 3
