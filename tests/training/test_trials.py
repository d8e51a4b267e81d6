"""Trials run in the descent's own program, over its own batches, and leave it where it was."""

import dataclasses

import numpy as np
import pytest

from downslope import rules
from downslope.gradient.backprop import Batch
from downslope.stepsize.phases import Phases, phased
from downslope.training import choosing
from downslope.training.choosing import exchanged, of_every_class
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


@pytest.fixture
def lends_none(monkeypatch):
    monkeypatch.setattr(choosing, "LENT", 0.0)


@pytest.mark.usefixtures("lends_none")
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


@pytest.mark.parametrize("with_validation", [True, False])
def test_of_few_rows_some_are_lent_and_none_of_these_is_learnt_from(made, with_validation):
    """Of 50 rows 20: a trial does not change with their targets, its measure does; a descent sees them."""
    problem = made.problem if with_validation else dataclasses.replace(made.problem, validation=None)
    n_validation = len(made.problem.validation.weights) if with_validation else 0
    lent, learnt = choosing.lent_rows(choosing.Session(problem, PLAN, made.start(), (), None))
    assert learnt is not None
    assert sorted([*lent, *learnt]) == list(range(50))
    assert len(lent) == 20
    targets = np.asarray(problem.train.targets).copy()
    targets[lent] += 1.0
    other = dataclasses.replace(problem, train=problem.train._replace(targets=targets))
    measured = []
    for one in (problem, other):
        trials = laboratory(one, PLAN, made.start())
        trial = trials.advance(trials.begin(), 13, 0.05, Phases(2))
        measured.append((trial.losses, trials.measure(trial)))
        assert trials.lent == 20
        assert trials.held_out.endswith(
            "20 lent by the training" if with_validation else "20 rows lent by the training"
        )
        assert len(trials.weights) == n_validation + 21
    assert measured[0][0] == measured[1][0]
    assert (measured[0][1][:n_validation] == measured[1][1][:n_validation]).all()
    assert (measured[0][1][n_validation:] != measured[1][1][n_validation:]).all()


def test_rows_without_weight_are_not_lent_and_the_others_keep_theirs(made):
    weights = np.where(np.arange(50) < 5, 7.0, 0.0).astype(np.float32)
    problem = dataclasses.replace(
        made.problem, validation=None, train=made.problem.train._replace(weights=weights)
    )
    lent, learnt = choosing.lent_rows(choosing.Session(problem, PLAN, made.start(), (), None))
    assert len(lent) == 2
    assert set(lent) < set(range(5))
    assert sorted([*lent, *learnt]) == list(range(50))
    trials = laboratory(problem, PLAN, made.start())
    assert trials.weights.tolist() == [7.0] * 3
    assert np.isfinite(trials.measure(trials.begin())).all()


def test_many_rows_lend_none(made, monkeypatch):
    monkeypatch.setattr(choosing, "HELD_OUT", len(made.problem.validation.weights))
    trials = laboratory(made.problem, PLAN, made.start())
    assert trials.lent == 0
    assert trials.held_out == f"{choosing.HELD_OUT} validation rows"


def test_the_last_row_measured_is_one_that_is_wrong(made):
    trials = laboratory(made.problem, PLAN, made.start())
    untrained = trials.measure(trials.begin())  # squared errors, hardly depending on the inputs yet
    assert untrained[-1] == pytest.approx(untrained[:-1].mean(), rel=0.5)
    trained = trials.measure(trials.advance(trials.begin(), 100, 0.05, Phases(2)))
    assert trained[-1] > 1.5 * trained[:-1].mean()


def test_exchanged_targets_count_only_where_they_are_others():
    rows = Batch(np.arange(40.0), np.arange(40) % 4 == 0, np.where(np.arange(40) < 30, 2.0, 0.0))
    wrong = exchanged(rows)
    assert (wrong.inputs == rows.inputs).all()
    assert sorted(wrong.targets) == sorted(rows.targets)
    assert (wrong.weights == np.where(wrong.targets != rows.targets, rows.weights, 0.0)).all()
    alike = rows._replace(targets=np.ones(40))
    assert (exchanged(alike).weights == rows.weights).all()


def test_a_trial_may_fail(made):
    trials = laboratory(made.problem, PLAN, made.start())
    trial = trials.advance(trials.begin(), 13, 1e30, Phases(0))
    assert trial.failed
    assert trial.step < 13
    assert trials.advance(trial, 20, 0.1, Phases(0)) is trial


@pytest.mark.parametrize("lent", [0.0, 0.4])
def test_the_chosen_trial_is_gone_on_with(made, identical, monkeypatch, lent):
    """Continued or begun afresh, the path is the same; and nothing is compiled for the trials."""

    def choose(continued):
        def chooser(trials):
            trial = trials.advance(trials.begin(), 5, 0.1, Phases(2))
            trials.advance(trials.begin(), 5, 0.3, Phases(2))
            return Chosen(0.1, 10, trial if continued else None, "so", {"arms": []})

        return chooser

    monkeypatch.setattr(choosing, "LENT", lent)
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
        gone_on = 5 if continued and not lent else 0  # a trial that did without some rows is not gone on with
        assert (end.progress.tuned["steps"], end.progress.tuned["continued_steps"]) == (10, gone_on)
    assert len(made.traces) == 3 * count  # one per descent


def test_a_rare_class_is_among_the_rows_lent():
    """Where chance leaves it out, the first rows hold it by its share; else chance is left alone."""
    random = np.random.default_rng(0)
    classes = np.zeros(40_000, np.int32)
    classes[random.choice(40_000, 60, replace=False)] = 1
    rows = np.concatenate([np.flatnonzero(classes == 0), np.flatnonzero(classes)])
    found = of_every_class(rows, 1000, classes)
    assert 1 <= classes[found[:1000]].sum() <= 2
    np.testing.assert_array_equal(np.sort(found), np.sort(rows))
    mixed = found[random.permutation(40_000)]
    assert of_every_class(mixed, 20_000, classes) is mixed
