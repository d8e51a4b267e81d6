"""What `minimize` gives back: the loss of all rows, and results that can be kept."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import downslope as ds
from downslope.errors import NonFiniteError, OptionError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(50, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5])).astype(np.float32)


def row_losses(w, x, y):
    return (x @ w - y) ** 2


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
