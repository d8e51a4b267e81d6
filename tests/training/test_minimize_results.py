"""What `minimize` gives back: the loss of all rows, and results that can be kept."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import downslope as ds
from downslope.errors import NonFiniteError, OptionError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(50, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5])).astype(np.float32)


def row_losses(w, x, y):
    return (x @ w - y) ** 2


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 8, 10, 30, 49])
def test_the_loss_of_all_rows_takes_a_batch_at_a_time(batch_size):
    """So what fits in memory in the descent fits at its end; a loss of chunks that differ is their mean."""
    sizes = []

    def by_row(w, x, y):
        sizes.append(len(x))
        return row_losses(w, x, y)

    def median(w, x, y):
        sizes.append(len(x))
        return jnp.median(row_losses(w, x, y))

    for loss in (by_row, median):
        result = ds.minimize(loss, jnp.zeros(3), data=(X, Y), batch_size=batch_size, steps=3)
        parts = [slice(first, first + batch_size) for first in range(0, 50, batch_size)]
        values = np.asarray(row_losses(result.params, X, Y))
        one = np.mean if loss is by_row else np.median
        expected = sum(one(values[part]) * len(values[part]) for part in parts) / 50
        assert result.loss == pytest.approx(expected, rel=1e-5)
        assert float(result.loss_at(result.params)) == pytest.approx(expected, rel=1e-5)
    assert sizes.count(50) == 2  # the shapes of the loss, looked at once each; nothing is computed


def test_one_batch_is_one_call():
    calls = []

    def counted(w, x, y):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.mean(row_losses(w, x, y))

    ds.minimize(counted, jnp.zeros(3), data=(X, Y), steps=3)
    jax.effects_barrier()
    assert len(calls) == 3 + 1


def test_a_result_can_be_pickled():
    result = ds.minimize(lambda at: jnp.sum((at["a"] - 1.0) ** 2), {"a": jnp.zeros(2)}, steps=3)
    for kept in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        np.testing.assert_array_equal(kept.params["a"], result.params["a"])
        np.testing.assert_array_equal(kept.losses, result.losses)
        np.testing.assert_array_equal(kept.path["a"], result.path["a"])
        assert (kept.loss, kept.steps, kept.stopped_because) == (result.loss, 3, "all steps done")
        with pytest.raises(OptionError, match="pickled result has no loss"):
            kept.plot_path()
    assert result.loss_at is not None
    with pytest.raises(NonFiniteError) as caught:
        ds.minimize(jnp.log, jnp.float32(-1.0), steps=3)
    assert float(pickle.loads(pickle.dumps(caught.value)).result.params) == -1


@pytest.mark.parametrize(
    "schedule",
    [
        ds.schedule_by_name("linear", warmup=0.0),
        lambda step, total_steps: 1 - step / total_steps,
        optax.linear_schedule(1.0, 0.0, 4),
        lambda step: 1 - step / 4,
    ],
)
def test_schedules_of_ones_own(schedule):
    """The slope is 1, so the way is the sum of the step sizes: 1 + ¾ + ½ + ¼."""
    result = ds.minimize(
        lambda at: at, jnp.float32(0), rule=ds.sgd(), step_size=2.0, steps=4, schedule=schedule
    )
    assert float(result.params) == pytest.approx(-2 * 2.5)


def test_a_schedule_that_is_none():
    with pytest.raises(OptionError, match=r"a function of \(step\) or of \(step, total_steps\); it takes"):
        ds.minimize(lambda at: at, 0.0, schedule=lambda step, total, more: 1.0)
    with pytest.raises(OptionError, match="schedule or a line search, not both"):
        ds.minimize(lambda at: at**2, 1.0, step_size=ds.backtracking(), schedule="cosine")


@pytest.mark.slow
@pytest.mark.parametrize("data", [{}, {"data": (X, Y), "batch_size": 8}])
def test_a_callback_hears_of_the_descent_and_does_not_change_it(data, monkeypatch):
    from downslope.training import minimize as module

    def loss(w, *rows):
        return jnp.mean(row_losses(w, *(rows or (X, Y))))

    heard = []
    expected = ds.minimize(loss, jnp.zeros(3), steps=4000, **data)
    found = ds.minimize(loss, jnp.zeros(3), steps=4000, callback=lambda *seen: heard.append(seen), **data)
    np.testing.assert_array_equal(found.losses, expected.losses)
    np.testing.assert_array_equal(found.gradient_norms, expected.gradient_norms)
    assert 1 <= len(heard) <= 1 + 4 * found.seconds
    monkeypatch.setattr(module, "SECONDS_PER_CALL", 0.0)
    heard.clear()
    ds.minimize(loss, jnp.zeros(3), steps=4000, callback=lambda *seen: heard.append(seen), **data)
    assert len(heard) >= 100
    assert [float(expected.losses[step - 1]) for step, _ in heard] == [loss for _, loss in heard]
    assert heard[-1][0] == 4000
    with pytest.raises(OptionError, match="callback must be a function"):
        ds.minimize(loss, jnp.zeros(3), callback="print", **data)
