"""What `minimize` refuses, and what it takes in many forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import downslope as ds
from downslope.errors import OptionError


def mean_square(at, *rows):
    return sum((at - row.astype(jnp.float32)) ** 2 for row in rows)


@pytest.mark.parametrize("wide", [np.full(4, 3 * 10**10), [3 * 10**10] * 4, np.full(4, 2**63, np.uint64)])
def test_whole_numbers_that_the_device_would_wrap(wide):
    with pytest.raises(OptionError, match="^data: whole numbers must lie within .* smaller"):
        ds.minimize(mean_square, jnp.float32(0), data=(wide,), steps=1)


def test_wide_whole_numbers_that_fit():
    rows = (np.full(4, 3, np.int64), np.full(4, 3, np.uint32), [3] * 4, jnp.full(4, 3))
    result = ds.minimize(mean_square, jnp.float32(0), data=rows, rule=ds.sgd(), step_size=0.05, steps=100)
    assert float(result.params) == pytest.approx(3, abs=1e-4)


X = np.arange(6, dtype=np.float32).reshape(6, 1)
Y = 2 * X[:, 0]


def test_trees_of_arrays():
    def loss(at, rows, pair):
        return (rows["x"][:, 0] * at - pair[0]) ** 2 + 0 * pair[1]["z"]

    found = ds.minimize(
        loss, jnp.float32(0), data=({"x": X}, (Y, {"z": [0.0] * 6})), batch_size=4, epochs=3, step_size=0.1
    )
    expected = ds.minimize(
        lambda at, x, y: (x[:, 0] * at - y) ** 2,
        jnp.float32(0),
        data=[X, Y],
        batch_size=4,
        epochs=3,
        step_size=0.1,
    )
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-6)
    with pytest.raises(OptionError, match=r"equally many rows; got \[3, 6\]"):
        ds.minimize(loss, jnp.float32(0), data=({"x": X}, (Y[:3], {"z": Y})))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"x": X, "y": Y}, "needs a tuple of what the loss takes .* got dict"),
        (((X, Y) for _ in range(3)), "needs a tuple of what the loss takes .* got generator"),
        (([[1.0, 2.0], [3.0]],), "data: needs arrays of numbers; .* inhomogeneous"),
        ((X, None), "data: needs arrays of numbers"),
        ((X, {"a": ["b"] * 6}), "data: needs arrays of numbers"),
    ],
)
def test_data_that_is_none(wrong, said):
    with pytest.raises(OptionError, match=said):
        ds.minimize(mean_square, jnp.float32(0), data=wrong)


def descent(at):
    return ds.minimize(lambda x: (x - at) ** 2, jnp.float32(0), steps=2).params


@pytest.mark.parametrize(
    "call",
    [
        lambda: jax.jit(descent)(1.0),
        lambda: jax.jit(lambda: descent(1.0))(),
        lambda: jax.vmap(descent)(jnp.ones(2)),
        lambda: jax.grad(descent)(1.0),
        lambda: jax.grad(lambda at: ds.minimize(lambda x: x**2, at, steps=2).loss)(1.0),
        lambda: jax.vmap(lambda size: ds.minimize(lambda x: x**2, 0.0, step_size=size).loss)(jnp.ones(2)),
        lambda: jax.vmap(lambda row: ds.minimize(mean_square, 0.0, data=(row,)).loss)(jnp.ones((2, 3))),
    ],
)
def test_inside_of_a_transformation(call):
    with pytest.raises(OptionError, match=r"inside of jax.jit, .* examples/plain_loop.py"):
        call()


class Network(nnx.Module):
    """One layer, and what `part` makes."""

    def __init__(self, part=None):
        self.layer = nnx.Linear(1, 1, rngs=nnx.Rngs(0))
        self.part = part() if part else lambda x: x

    def __call__(self, x):
        return self.part(self.layer(x))[:, 0]


PARTS = {
    "BatchStat": lambda: nnx.BatchNorm(1, rngs=nnx.Rngs(0)),
    "Rng": lambda: nnx.Dropout(0.5, rngs=nnx.Rngs(0)),
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_module_that_holds_more_than_what_is_learned(kind):
    model = Network(PARTS[kind])
    for params in (model, nnx.state(model), {"a": [model]}):
        with pytest.raises(
            OptionError, match=rf"holds {kind}.* downslope.train\(model, …\), or .* nnx.split"
        ):
            ds.minimize(lambda model: jnp.mean(model(X) ** 2), params)


def test_modules_of_params_alone_and_the_remedy():
    found = ds.minimize(lambda model: jnp.mean((model(X) - Y) ** 2), Network(), step_size=0.1, steps=200)
    assert isinstance(found.params, Network)
    assert found.loss < 0.1 * found.losses[0]
    graph, params, rest = nnx.split(Network(PARTS["BatchStat"]), nnx.Param, ...)

    def loss(params, x, y):
        return jnp.mean((nnx.merge(graph, params, rest, copy=True)(x) - y) ** 2)

    found = ds.minimize(loss, params, data=(X, Y), step_size=0.1, steps=200)
    assert found.loss < 0.1 * found.losses[0]


def noisy(at, key):
    return (at - jax.random.normal(key)) ** 2


def test_a_key_that_is_bound_already():
    key = jax.random.key(7)
    for loss in (
        functools.partial(noisy, key=key),
        jax.jit(functools.partial(noisy, key=key)),
        functools.partial(functools.partial(noisy, key=key)),
        lambda at: noisy(at, key),
    ):
        losses = ds.minimize(loss, jnp.float32(0), steps=3, step_size=1e-6).losses
        np.testing.assert_allclose(losses, float(jax.random.normal(key)) ** 2, rtol=1e-4)


def test_a_key_that_is_data():
    def attention(at, query, key):
        return (at * query * key).sum(-1)

    with_names = ds.minimize(attention, jnp.float32(0), data=(X, X), steps=3)
    expected = ds.minimize(lambda at, a, b: attention(at, a, b), jnp.float32(0), data=(X, X), steps=3)
    np.testing.assert_array_equal(with_names.losses, expected.losses)


def test_a_key_with_a_default_is_still_random():
    losses = ds.minimize(lambda at, *, key=None: noisy(at, key), jnp.float32(0), steps=9).losses
    assert len(np.unique(losses)) == 9


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda at, x, y: at, "here 2 in all; missing a required argument: 'y'"),
        (lambda at: at, "here 2 in all; too many positional arguments"),
    ],
)
def test_a_loss_of_other_arguments(loss, said):
    with pytest.raises(OptionError, match=said):
        ds.minimize(loss, jnp.float32(0), data=(X,))


@pytest.mark.parametrize(
    "loss",
    [
        lambda at: jnp.sum(jnp.ones(3)),
        lambda at: jnp.float32(3),
        lambda at: jnp.sum(jax.lax.stop_gradient(at) ** 2),
        lambda at: (jnp.sum(at), jnp.sum(jnp.zeros(2)))[1],
    ],
)
def test_a_loss_that_does_not_depend_on_the_params(loss):
    with pytest.raises(OptionError, match="does not depend on the params"):
        ds.minimize(loss, jnp.ones(2), steps=3)


def test_a_loss_of_some_of_the_params():
    found = ds.minimize(jax.jit(lambda at: at["a"] ** 2), {"a": 1.0, "b": 2.0}, steps=3)
    assert found.loss < 1
    assert float(found.params["b"]) == 2
    assert ds.minimize(lambda at: at, jnp.float32(1), steps=3).loss < 1


@pytest.mark.parametrize("whole", [np.int64, np.uint8, np.array, jnp.int32])
def test_numbers_of_numpy_and_jax(whole):
    def descent(of, step_size):
        return ds.minimize(
            mean_square, 0.0, data=(Y,), batch_size=of(2), epochs=of(3), seed=of(5), step_size=step_size
        )

    found, expected = descent(whole, jnp.float32(0.1)), descent(int, 0.1)
    np.testing.assert_array_equal(found.losses, expected.losses)
    assert type(found.steps) is int
    assert ds.minimize(lambda at: at**2, 0.0, steps=whole(4), step_size=np.float64(0.1)).steps == 4


@pytest.mark.parametrize("wrong", [np.int64(0), np.float64(1), np.bool_(True), np.arange(1, 3), "1"])
def test_numbers_that_are_not_whole(wrong):
    with pytest.raises(OptionError, match="steps must be a whole number of at least 1, got"):
        ds.minimize(lambda at: at**2, 0.0, steps=wrong)


def test_an_optax_transformation_has_its_own_learning_rate():
    with pytest.raises(
        OptionError, match="step_size: an Optax transformation has a learning rate of its own"
    ):
        ds.minimize(lambda at: at**2, 1.0, rule=optax.sgd(0.1), step_size=0.1)
    for options in ({}, {"step_size": 1.0}):
        found = ds.minimize(lambda at: at**2, 1.0, rule=optax.sgd(0.1), steps=1, **options)
        assert float(found.params) == pytest.approx(0.8)
    half = ds.minimize(lambda at: at**2, 1.0, rule=ds.from_optax(optax.sgd(0.1)), step_size=0.5, steps=1)
    assert float(half.params) == pytest.approx(0.9)
