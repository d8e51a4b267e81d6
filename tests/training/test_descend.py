"""Epochs of compiled stretches: when they stop, what they keep, what they tell."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from downslope import rules
from downslope.data.order import epoch_order
from downslope.gradient.backprop import Batch
from downslope.models.functional import Model
from downslope.training import loop
from downslope.training.loop import descend
from downslope.training.plan import Plan

PLAN = Plan(epochs=4, batch_size=8, learning_rate=0.05, seed=3)


def with_plan(**changes):
    return dataclasses.replace(PLAN, **changes)


def counting_model(n):
    """One weight per row whose slope is −1 where the row is in the batch: descent counts visits."""

    def init(key, example):
        return {"visits": jnp.zeros(n)}, {}

    def apply(params, state, inputs, *, key, train, mask=None):
        return -params["visits"][inputs][:, None], state

    return Model(init, apply)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 10])
def test_every_row_is_seen_once_per_epoch(setting, batch_size):
    n, epochs = 10, 3
    rows = Batch(np.arange(n, dtype=np.int32), np.full(n, -1e6, np.float32), np.ones(n, np.float32))
    # |prediction + 10⁶| has slope 1 in the prediction, which is −visits: each adds 1 ∕ rows of its batch.
    made = setting(
        train=rows,
        validation=None,
        rule=rules.sgd(),
        schedule="constant",
        model=counting_model(n),
        loss="absolute-error",
    )
    plan = Plan(epochs=epochs, batch_size=batch_size, learning_rate=1.0, seed=0)
    visits = np.asarray(descend(made.problem, plan, made.start()).params["visits"])
    expected = np.zeros(n)
    for epoch in range(epochs):
        order = epoch_order(0, epoch, n)
        for first in range(0, n, batch_size):
            batch = order[first : first + batch_size]
            expected[batch] += 1 / len(batch)
    np.testing.assert_allclose(visits, expected, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 8, 50])
def test_an_obvious_loop_does_the_same(setting, batch_size):
    """Momentum on a straight line, every formula written out in NumPy."""
    epochs, rate, mu = 3, 0.02, 0.9
    made = setting(50, rule=rules.momentum(mu), noise=0.0, schedule="linear", validation=None)
    plan = with_plan(batch_size=batch_size, epochs=epochs, learning_rate=rate)
    found = descend(made.problem, plan, made.start())
    start = made.start().params
    w, b = np.asarray(start["w"], np.float64)[:, 0], float(start["b"][0])
    velocity_w, velocity_b = np.zeros(3), 0.0
    inputs, targets = (np.asarray(part, np.float64) for part in made.problem.train[:2])
    steps_per_epoch = -(-50 // batch_size)
    step, epoch_losses = 0, []
    for epoch in range(epochs):
        order, losses, sizes = epoch_order(plan.seed, epoch, 50), [], []
        for first in range(0, 50, batch_size):
            rows = order[first : first + batch_size]
            error = inputs[rows] @ w + b - targets[rows]
            losses.append(np.mean(error**2))
            sizes.append(len(rows))
            velocity_w = mu * velocity_w + 2 * inputs[rows].T @ error / len(rows)
            velocity_b = mu * velocity_b + 2 * np.mean(error)
            step_size = rate * (1 - step / (epochs * steps_per_epoch))
            w, b = w - step_size * velocity_w, b - step_size * velocity_b
            step += 1
        epoch_losses.append(np.average(losses, weights=sizes))
    np.testing.assert_allclose(found.params["w"][:, 0], w, atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(found.params["b"][0], b, atol=1e-6, rtol=1e-6)
    history = found.progress.history
    np.testing.assert_allclose([row["train_loss"] for row in history], epoch_losses, rtol=1e-5)
    assert [row["step"] for row in history] == [steps_per_epoch * (1 + e) for e in range(epochs)]
    last = rate * (1 - (step - 1) / (epochs * steps_per_epoch))
    assert history[-1]["learning_rate"] == pytest.approx(last, rel=1e-5)


def test_rows_of_the_history(setting):
    made = setting()
    row = descend(made.problem, with_plan(epochs=1), made.start()).progress.history[0]
    assert row["epoch"] == 1
    assert row.pop("sharpness") is None  # only where it is watched
    assert row.pop("weight_decay") is None  # only where it is steered
    assert all(np.isfinite(value) for value in row.values())
    assert row["gradient_norm"] > 0
    assert row["examples_per_second"] > 0


def test_the_step_is_traced_once(setting, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_PER_STRETCH", 1e-9)  # a stretch of every step
    made = setting()
    descend(made.problem, with_plan(epochs=5), made.start())
    assert len(made.traces) == 1


def test_how_it_is_cut_does_not_matter(setting, monkeypatch, identical, without_seconds):
    ends = []
    for seconds in (1e-9, 1e-4, 1e9):
        monkeypatch.setattr(loop, "SECONDS_PER_STRETCH", seconds)
        made = setting()
        ends.append(descend(made.problem, PLAN, made.start()))
    for end in ends[1:]:
        assert identical(end.params, ends[0].params)
        assert identical(end.model_state, ends[0].model_state)
        assert without_seconds(end.progress.history) == without_seconds(ends[0].progress.history)


def test_the_seed_decides(setting, identical):
    made = setting()
    first, again = (descend(made.problem, PLAN, made.start()).params for _ in range(2))
    other = descend(made.problem, with_plan(seed=4), made.start()).params
    assert identical(first, again)
    assert not identical(first, other)


def test_the_start_stays_the_callers(setting):
    made = setting()
    problem, state = made.problem, made.start()
    rows = jax.tree.map(np.copy, problem.train)
    descend(problem, with_plan(epochs=1), state)
    for a, b in zip(rows, problem.train, strict=True):
        np.testing.assert_array_equal(a, b)


def worsening(setting, **options):
    """Validation rows whose best weights lie near the start, so that training soon moves past them."""
    made = setting(noise=0.0, schedule="constant", **options)
    start = made.start().params
    rows = made.problem.train
    targets = np.asarray(rows.inputs @ np.asarray(start["w"]))[:, 0] + 0.15 * np.asarray(rows.targets)
    validation = Batch(rows.inputs, targets.astype(np.float32), rows.weights)
    return made._replace(problem=dataclasses.replace(made.problem, validation=validation))


def test_early_stopping_keeps_the_best_weights(setting, identical):
    made = worsening(setting)
    told = []
    plan = with_plan(epochs=60, learning_rate=0.02, patience=5)
    end = descend(made.problem, plan, made.start(), listeners=[told.append])
    progress = end.progress
    losses = [row["validation_loss"] for row in progress.history]
    assert progress.best_epoch == 1 + int(np.argmin(losses))
    assert progress.best_loss == min(losses)
    assert 1 < progress.best_epoch < 50
    assert progress.epoch == progress.best_epoch + 5 == len(progress.history)
    assert "no better validation loss in 5 epochs" in progress.stopped_because
    assert [event.kind for event in told].count("early-stop") == 1
    shorter = descend(made.problem, dataclasses.replace(plan, epochs=progress.best_epoch), made.start())
    assert identical(end.params, shorter.params)


def test_without_patience_it_goes_on_but_keeps_the_best(setting, identical):
    made = worsening(setting)
    plan = with_plan(epochs=30, learning_rate=0.02, patience=None)
    end = descend(made.problem, plan, made.start())
    assert end.progress.epoch == 30
    assert end.progress.best_epoch < 30
    shorter = dataclasses.replace(plan, epochs=end.progress.best_epoch)
    assert identical(end.params, descend(made.problem, shorter, made.start()).params)


def test_without_validation_the_last_weights_are_kept(setting, identical):
    made = setting(validation=None)
    # Patience has nothing to wait for here.
    end = descend(made.problem, with_plan(epochs=6, patience=1), made.start())
    assert end.progress.epoch == end.progress.best_epoch == 6
    assert end.progress.history[-1]["validation_loss"] is None


def test_the_time_limit(setting, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_PER_STRETCH", 1e-9)
    made = setting()
    told = []
    end = descend(
        made.problem, with_plan(epochs=10**6, max_seconds=0.2), made.start(), listeners=[told.append]
    )
    assert end.progress.stopped_because == "time limit of 0.2 s"
    assert not end.progress.failed
    assert 0.2 <= end.progress.seconds < 5
    assert [event.kind for event in told][-2:] == ["time-limit", "finished"]
    # What was begun of the last epoch was measured too.
    assert end.progress.history[-1]["step"] > 7 * (len(end.progress.history) - 1)


def test_a_time_limit_within_the_first_epoch_measures_what_there_is(setting, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_PER_STRETCH", 1e-9)
    made = setting(100)
    end = descend(made.problem, with_plan(max_seconds=1e-9), made.start())
    (row,) = end.progress.history
    assert 1 <= row["step"] < 13
    assert row["validation_loss"] is not None
    assert end.progress.best_epoch == 1


def diverging(setting, **options):
    return setting(rule=rules.sgd(), schedule="constant", **options)


@pytest.mark.parametrize("validation", [16, None])
def test_a_loss_that_is_not_finite(setting, identical, validation):
    made = diverging(setting, validation=validation)
    told = []
    end = descend(made.problem, with_plan(learning_rate=1e30), made.start(), listeners=[told.append])
    progress = end.progress
    assert progress.failed
    assert "step 2 (epoch 1)" in progress.stopped_because
    assert "Try a learning rate of " in progress.stopped_because
    assert progress.best_epoch == 0
    assert identical(end.params, made.start().params)
    assert "non-finite" in [event.kind for event in told]
    assert told[-1].kind == "finished"


@pytest.mark.parametrize("validation", [16, None])
def test_a_slow_divergence_keeps_finite_weights(setting, validation):
    """Every epoch is a batch, so that what ends an epoch is what goes wrong in the next."""
    made = diverging(setting, validation=validation)
    plan = with_plan(batch_size=50, epochs=100, learning_rate=50.0)
    end = descend(made.problem, plan, made.start())
    assert end.progress.failed
    assert 1 <= end.progress.epoch < 100
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((end.params, end.model_state)))
    if validation is None:
        assert end.progress.best_epoch == end.progress.epoch


def test_weights_that_are_not_finite_after_the_last_step_are_not_kept(setting):
    # The gradient is nearly 2·targets, so that one step of 10³⁸ leaves the numbers that float32 has.
    far = Batch(np.ones((4, 3), np.float32), np.full(4, 1e9, np.float32), np.ones(4, np.float32))
    made = diverging(setting, train=far, validation=None)
    end = descend(made.problem, with_plan(epochs=1, batch_size=4, learning_rate=9e37), made.start())
    assert end.progress.failed
    assert "a weight became nan at step 1" in end.progress.stopped_because
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(end.params))


def test_a_validation_loss_that_is_not_finite_stops_the_run(setting, identical):
    made = diverging(setting)
    plan = with_plan(epochs=3, batch_size=50, learning_rate=1e25)  # the squares overflow, the weights do not
    end = descend(made.problem, plan, made.start())
    assert end.progress.failed
    assert end.progress.stopped_because.startswith("the validation loss became inf at step 1 (epoch 1)")
    assert identical(end.params, made.start().params)


def test_events_come_in_order(setting, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_PER_STRETCH", 1e-9)
    made = setting(100)
    told = []
    descend(made.problem, with_plan(epochs=2), made.start(), listeners=[told.append])
    kinds = [event.kind for event in told]
    second = kinds.index("epoch") + 1
    assert kinds[0] == "compiled"
    assert set(kinds[1 : second - 1]) == {"progress"}
    assert kinds[second:] == ["progress"] * 12 + ["epoch", "finished"]
    assert [event.step for event in told if event.kind == "epoch"] == [13, 26]
    seconds = [event.seconds for event in told]
    assert seconds == sorted(seconds)
    assert told[-1].message == "all epochs done"
