"""Trials run in the descent's own program, over its own batches, and leave it where it was."""

import dataclasses

import numpy as np
import pytest

from downslope import rules
from downslope.stepsize.phases import Phases, phased
from downslope.training.loop import descend, laboratory
from downslope.training.pacing import Pacing
from downslope.training.plan import Plan
from downslope.training.step import make_step
from downslope.training.trials import Chosen

PACING = Pacing(warmup=2, epochs=3)
PLAN = Plan(epochs=3, batch_size=8, learning_rate=0.05, seed=3, pacing=PACING)


@pytest.fixture
def made(setting):
    made = setting(50, rule=rules.adam())
    step = make_step(made.problem.objective, made.problem.rule, phased())
    traces = []

    def counted(*arguments):
        traces.append(1)
        return step(*arguments)

    problem = dataclasses.replace(made.problem, step=counted, schedule=phased())
    return made._replace(problem=problem, traces=traces)


def test_a_trial_is_the_beginning_of_the_descent(made):
    """Seven steps make an epoch; the trial passes from one epoch into the next."""
    trials = laboratory(made.problem, PLAN, made.start())
    in_one_go = trials.advance(trials.begin(), 13, 0.05, Phases(2))
    in_parts = trials.begin()
    for until in (3, 7, 8, 13):
        in_parts = trials.advance(in_parts, until, 0.05, Phases(2))
    assert in_one_go.step == in_parts.step == len(in_one_go.losses) == 13
    assert in_one_go.losses == in_parts.losses
    end = descend(made.problem, PLAN, made.start())
    first = np.average(in_one_go.losses[:7], weights=[8] * 6 + [2])
    assert first == end.progress.history[0]["train_loss"]


def test_trials_do_not_touch_each_other(made, identical):
    trials = laboratory(made.problem, PLAN, made.start())
    one = trials.advance(trials.begin(), 5, 0.05, Phases(2))
    before = trials.measure(one)
    other = trials.advance(trials.copy(one), 9, 0.5, Phases(2, 5, 9))
    assert (trials.measure(one) == before).all()
    assert not (trials.measure(other) == before).all()
    again = trials.advance(trials.begin(), 5, 0.05, Phases(2))
    assert identical(again.state, one.state)


def test_a_silent_network_says_0_of_every_row(made):
    trials = laboratory(made.problem, PLAN, made.start())
    before = trials.measure(trials.begin())
    np.testing.assert_allclose(trials.silent(), np.square(made.problem.validation.targets), rtol=1e-6)
    assert (trials.measure(trials.begin()) == before).all()


def test_a_trial_may_fail(made):
    trials = laboratory(made.problem, PLAN, made.start())
    trial = trials.advance(trials.begin(), 13, 1e30, Phases(0))
    assert trial.failed
    assert trial.step < 13
    assert trials.advance(trial, 20, 0.1, Phases(0)) is trial


def test_the_chosen_trial_is_gone_on_with(made, identical):
    """Continued or begun afresh, the path is the same; and nothing is compiled for the trials."""

    def choose(continued):
        def chooser(trials):
            trial = trials.advance(trials.begin(), 5, 0.1, Phases(2))
            trials.advance(trials.begin(), 5, 0.3, Phases(2))
            return Chosen(0.1, 10, trial if continued else None, "so", {"arms": []})

        return chooser

    plan = dataclasses.replace(PLAN, learning_rate=0.1)
    plain = descend(made.problem, plan, made.start())
    count = len(made.traces)
    for continued in (True, False):
        end = descend(made.problem, PLAN, made.start(), chooser=choose(continued))
        assert end.learning_rate == 0.1
        assert identical(end.params, plain.params)
        assert [row["train_loss"] for row in end.progress.history] == [
            row["train_loss"] for row in plain.progress.history
        ]
        assert (end.progress.tuned["steps"], end.progress.tuned["continued_steps"]) == (10, 5 * continued)
    assert len(made.traces) == 3 * count  # one per descent
