"""The third way in: any differentiable loss."""

import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import downslope as ds
from downslope.data.order import epoch_order
from downslope.errors import NonFiniteError, OptionError


def parabola(params):
    return jnp.sum(jnp.array([1.0, 10.0]) * (params["x"] - jnp.array([3.0, -1.0])) ** 2) + params["y"] ** 2


START = {"x": jnp.zeros(2), "y": jnp.float32(2.0)}


def rosenbrock(at):
    return (1 - at[0]) ** 2 + 100 * (at[1] - at[0] ** 2) ** 2


GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.normal(0, 1, (50, 3)).astype(np.float32)
TARGETS = (INPUTS @ np.array([1.0, -2.0, 0.5]) + GENERATOR.normal(0, 0.1, 50)).astype(np.float32)
BEST = np.linalg.lstsq(INPUTS, TARGETS)[0]


def scalar_loss(w, inputs, targets):
    return jnp.mean((inputs @ w - targets) ** 2)


def row_losses(w, inputs, targets):
    return (inputs @ w - targets) ** 2


def test_parabola():
    result = ds.minimize(parabola, START, rule=ds.gradient_descent(), step_size=0.04, steps=400)
    np.testing.assert_allclose(result.params["x"], [3, -1], atol=1e-4)
    np.testing.assert_allclose(result.params["y"], 0, atol=1e-4)
    assert result.loss == pytest.approx(0, abs=1e-6)
    assert result.losses.shape == (400,)
    assert result.losses[0] == pytest.approx(float(parabola(START)))
    assert result.steps == 400
    assert result.stopped_because == "all steps done"
    first = np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(jax.grad(parabola)(START))))
    assert result.gradient_norms[0] == pytest.approx(first, rel=1e-5)
    assert START["x"].tolist() == [0, 0]  # the caller's arrays stay the caller's


def test_rosenbrock():
    result = ds.minimize(rosenbrock, jnp.array([-1.2, 1.0]), step_size=0.02, steps=8000)
    np.testing.assert_allclose(result.params, [1, 1], atol=1e-2)


def test_the_default_is_adam():
    found = ds.minimize(parabola, START, steps=20)
    expected = ds.minimize(parabola, START, rule=ds.adam(), step_size=ds.adam().learning_rate, steps=20)
    np.testing.assert_array_equal(found.losses, expected.losses)
    assert ds.minimize(rosenbrock, jnp.zeros(2)).steps == 1000


def test_descent_step_by_step():
    """Plain descent on all rows, in NumPy."""
    result = ds.minimize(
        scalar_loss, jnp.zeros(3), data=(INPUTS, TARGETS), rule=ds.sgd(), step_size=0.1, steps=30
    )
    w, losses = np.zeros(3), []
    for _ in range(30):
        error = INPUTS @ w - TARGETS
        losses.append(np.mean(error**2))
        w -= 0.1 * 2 * INPUTS.T @ error / len(error)
    np.testing.assert_allclose(result.params, w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-5)
    assert result.loss == pytest.approx(np.mean((INPUTS @ w - TARGETS) ** 2), rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 10, 50, 80])
def test_a_scalar_and_a_loss_per_row_are_the_same_descent(batch_size):
    options = {
        "data": (INPUTS, TARGETS),
        "batch_size": batch_size,
        "epochs": 2,
        "step_size": 0.02,
        "rule": ds.momentum(),
    }
    scalar = ds.minimize(scalar_loss, jnp.zeros(3), **options)
    by_row = ds.minimize(row_losses, jnp.zeros(3), **options)
    assert scalar.steps == by_row.steps == 2 * -(-50 // min(batch_size, 50))
    np.testing.assert_allclose(scalar.params, by_row.params, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scalar.losses, by_row.losses, rtol=1e-3, atol=1e-5)
    assert scalar.loss == pytest.approx(by_row.loss, rel=1e-4)


@pytest.mark.parametrize("loss", [scalar_loss, row_losses])
def test_the_last_rows_of_an_epoch_are_not_dropped(loss):
    """Each batch's loss stands in `losses`; those of the rows left over are means over fewer rows."""
    result = ds.minimize(
        loss, jnp.asarray(BEST), data=(INPUTS, TARGETS), batch_size=8, epochs=1, step_size=1e-12
    )
    order = epoch_order(0, 0, 50)
    squares = (INPUTS @ BEST - TARGETS) ** 2
    expected = [np.mean(squares[order[first : first + 8]]) for first in range(0, 50, 8)]
    np.testing.assert_allclose(result.losses, expected, rtol=1e-4)


def test_steps_that_end_within_an_epoch():
    options = {"data": (INPUTS, TARGETS), "batch_size": 8, "step_size": 0.01, "rule": ds.sgd()}
    whole = ds.minimize(row_losses, jnp.zeros(3), steps=14, **options)
    part = ds.minimize(row_losses, jnp.zeros(3), steps=9, **options)
    assert part.steps == len(part.losses) == 9
    np.testing.assert_allclose(part.losses, whole.losses[:9], rtol=1e-6)


def test_mini_batches_reach_the_least_squares():
    result = ds.minimize(
        row_losses,
        jnp.zeros(3),
        data=(INPUTS, TARGETS),
        batch_size=16,
        epochs=60,
        step_size=0.05,
        schedule="cosine",
    )
    np.testing.assert_allclose(result.params, BEST, atol=5e-3)


def test_the_same_seed_gives_the_same_result(identical):
    options = {"data": (INPUTS, TARGETS), "batch_size": 16, "epochs": 2, "step_size": 0.05}
    first, again, other = (ds.minimize(row_losses, jnp.zeros(3), seed=seed, **options) for seed in (1, 1, 2))
    assert identical((first.params, first.losses), (again.params, again.losses))
    assert not identical(first.params, other.params)


def test_a_loss_that_takes_a_key_gets_a_new_one_at_every_step():
    def noisy(at, key):
        return at**2 + jax.random.normal(key)

    result = ds.minimize(noisy, jnp.float32(0.0), steps=40, step_size=1e-9)
    assert len(np.unique(result.losses)) == 40
    again = ds.minimize(noisy, jnp.float32(0.0), steps=40, step_size=1e-9)
    np.testing.assert_array_equal(result.losses, again.losses)
    other = ds.minimize(noisy, jnp.float32(0.0), steps=40, step_size=1e-9, seed=1)
    assert not np.array_equal(result.losses, other.losses)


def test_an_optax_transformation():
    result = ds.minimize(parabola, START, rule=optax.sgd(0.04), steps=50)
    expected = ds.minimize(parabola, START, rule=ds.sgd(), step_size=0.04, steps=50)
    np.testing.assert_allclose(result.losses, expected.losses, rtol=1e-5)
    faster = ds.minimize(parabola, START, rule=optax.chain(optax.clip(1.0), optax.adam(0.1)), steps=300)
    assert faster.loss < 0.1


def test_a_rule_that_averages_returns_the_average():
    rule = ds.schedule_free_sgd()
    result = ds.minimize(parabola, START, rule=rule, step_size=0.02, steps=300)
    assert result.loss == pytest.approx(float(parabola(result.params)), rel=1e-5)
    assert result.loss < 0.1


def test_a_schedule():
    result = ds.minimize(
        lambda at: at, jnp.float32(0.0), rule=ds.sgd(), step_size=1.0, steps=4, schedule="linear"
    )
    # The slope is 1, so the way is the sum of the step sizes: 1 + ¾ + ½ + ¼.
    assert float(result.params) == pytest.approx(-2.5)


def test_params_of_any_structure():
    start = [(jnp.ones(2), {"a": jnp.ones(())}), jnp.ones((2, 2))]
    result = ds.minimize(
        lambda tree: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)), start, steps=3, step_size=0.1
    )
    assert jax.tree.structure(result.params) == jax.tree.structure(start)
    numbers = ds.minimize(lambda at: (at - 2.0) ** 2, 0.5, steps=300, step_size=0.1)
    assert float(numbers.params) == pytest.approx(2, abs=1e-2)


BAD = {
    "steps and epochs": ({"steps": 1, "epochs": 1}, "steps or epochs, not both"),
    "no steps": ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
    "half a step": ({"steps": 1.5}, "steps must be a whole number"),
    "yes steps": ({"steps": True}, "steps must be a whole number"),
    "no epochs": ({"epochs": -1}, "epochs must be a whole number"),
    "no batch": ({"batch_size": 0}, "batch_size must be a whole number"),
    "no step size": ({"step_size": 0.0}, "step_size must be"),
    "step size back": ({"step_size": -0.1}, "step_size must be"),
    "step size NaN": ({"step_size": float("nan")}, "step_size must be"),
    "step size inf": ({"step_size": float("inf")}, "step_size must be"),
    "step size text": ({"step_size": "small"}, "step_size must be"),
    "rule by name": ({"rule": "adam"}, "a rule must be made by Downslope"),
    "schedule": ({"schedule": "cosin"}, "Did you mean 'cosine'"),
    "seed": ({"seed": -1}, "seed must be"),
    "large seed": ({"seed": 2**32}, "seed must be"),
    "no data": ({"data": ()}, "equally many rows"),
    "uneven data": ({"data": (INPUTS, TARGETS[:-1])}, "equally many rows"),
    "one array": ({"data": INPUTS}, "needs a tuple of what .* got one array"),
    "texts": ({"data": (np.array(["a", "b"]),)}, "needs arrays of numbers"),
    "a number as data": ({"data": (np.float32(1),)}, "equally many rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments(case):
    options, said = BAD[case]
    options = {"data": (INPUTS, TARGETS), **options}
    with pytest.raises(OptionError, match=said):
        ds.minimize(row_losses, jnp.zeros(3), **options)


def test_wrong_params_and_losses():
    with pytest.raises(OptionError, match="'a/0' is int32, not floating point"):
        ds.minimize(lambda p: 0.0, {"a": [jnp.arange(3)]})
    with pytest.raises(OptionError, match=r"returns shape \(3,\)"):
        ds.minimize(lambda p: p, jnp.zeros(3))
    for wrong, kind in (
        (lambda p: 3.0, "float"),
        (lambda p: (jnp.sum(p), 1), "tuple"),
        (lambda p: None, "NoneType"),
    ):
        with pytest.raises(
            OptionError, match=f"an array that is computed from the params; it returns {kind}"
        ):
            ds.minimize(wrong, jnp.zeros(3))
    with pytest.raises(OptionError, match="floating-point numbers, which have a slope; it returns int32"):
        ds.minimize(lambda p: jnp.sum(p).astype(int), jnp.zeros(3))
    with pytest.raises(OptionError, match=r"returns shape \(49,\)"):
        ds.minimize(lambda w, x, y: row_losses(w, x, y)[1:], jnp.zeros(3), data=(INPUTS, TARGETS))


def steep(at):
    return jnp.sum(at**4)


# What goes wrong when: in the first call, first in a later one, in a smaller last batch, at the end.
DIVERGING = {
    "in the middle": (steep, {"steps": 10, "step_size": 1e30}),
    "after the last step": (steep, {"steps": 1, "step_size": 1e30}),
    "at the start of an epoch": (
        lambda at, rows: jnp.mean((rows @ at) ** 4),
        {"data": (np.ones((4, 2), np.float32),), "batch_size": 2, "epochs": 5, "step_size": 1e4},
    ),
    "in a smaller batch": (
        lambda at, rows: jnp.mean((rows @ at) ** 4),
        {"data": (np.ones((5, 2), np.float32),), "batch_size": 2, "epochs": 5, "step_size": 1e4},
    ),
}


@pytest.mark.parametrize("case", DIVERGING)
def test_a_loss_that_is_not_finite(case):
    loss, options = DIVERGING[case]
    with pytest.raises(NonFiniteError, match=r"the loss became (inf|nan) after") as caught:
        ds.minimize(loss, jnp.ones(2), rule=ds.sgd(), **options)
    result = caught.value.result
    assert np.isfinite(result.loss)
    assert np.isfinite(result.params).all()
    assert caught.value.exit_code == 1
    assert f"Try a step_size below {options['step_size']:g}" in str(caught.value)
    steps = int(str(caught.value).split(" after ")[1].split(" steps")[0])
    assert result.steps == steps - 1
    assert len(result.losses) == result.steps
    assert len(result.path) == result.steps + 1
    assert np.isfinite(result.losses).all()
    assert np.isfinite(result.gradient_norms).all()


def test_a_slope_that_is_not_finite():
    with pytest.raises(
        NonFiniteError, match="gradient is not finite at the start, though the loss is 1. No step"
    ):
        ds.minimize(lambda at: jnp.sqrt(at[0]) + at[1] ** 2, jnp.array([0.0, 1.0]), steps=3)


def test_what_is_no_loss_no_params_no_schedule():
    for wrong, said in (
        ({"loss": 3}, "loss must be a function of the params, got int"),
        ({"params": "abc"}, "params: needs a tree of arrays"),
        ({"schedule": None}, "unknown schedule 'None'"),
        ({"epochs": 3}, r"epochs and batch_size are of rows: give data=\(…\), or steps"),
    ):
        with pytest.raises(OptionError, match=said):
            ds.minimize(**{"loss": parabola, "params": START, **wrong})


def test_a_start_without_a_loss():
    with pytest.raises(NonFiniteError, match="nan before the first step. No step size") as caught:
        ds.minimize(lambda at: jnp.log(at), jnp.float32(-1.0), steps=3)
    assert float(caught.value.result.params) == -1


def test_ctrl_c_returns_what_there_is(monkeypatch):
    from downslope.training import minimize as module

    monkeypatch.setattr(module, "LONGEST_STRETCH", 5)

    calls = []

    def listening(at):
        jax.debug.callback(lambda: calls.append(signal.raise_signal(signal.SIGINT)) if not calls else None)
        return at**2

    result = ds.minimize(listening, jnp.float32(1.0), steps=10_000, step_size=1e-3)
    assert result.stopped_because == "interrupted"
    assert 0 < result.steps < 10_000
    assert len(result.losses) == result.steps
