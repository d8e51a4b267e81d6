"""A batch in several parts is the batch: the same loss, the same gradient, the same training."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import downslope as ds
from downslope import pytrees
from downslope.gradient.backprop import Batch, loss_and_gradient, training_objective
from downslope.losses import LOSSES
from downslope.models.architecture import Architecture
from downslope.models.functional import from_functions
from downslope.models.layers import Columns
from downslope.training.plan import Plan

INPUTS, CLASSES, ROWS = 5, 3, 24
# Compiles several times faster and runs slower: for arithmetic that runs only once.
jit = partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
)
KEY = jax.random.key(7)


def network(**options):
    """A float64 network and its start; call it within `jax.enable_x64`."""
    columns = Columns(INPUTS, (4,), ((-1.0, 0.0, 1.0), (), (), (), ()))
    model = Architecture("mlp", columns, CLASSES, (7, 6), **options).build()
    params, state = pytrees.cast(model.init(jax.random.key(3), None), np.float64)
    return training_objective(model, LOSSES["softmax-cross-entropy"]()), params, state


def examples(weights, seed=0):
    generator = np.random.default_rng(seed)
    rows = len(weights)
    dense, codes = generator.normal(0, 1, (rows, INPUTS)), generator.integers(0, 4, (rows, 1))
    labels = generator.integers(0, CLASSES, rows)
    return Batch((dense, codes.astype(np.int32)), labels.astype(np.int32), np.asarray(weights, np.float64))


UNEVEN = np.random.default_rng(4).uniform(0, 2, ROWS)
WEIGHTS = {
    "even": np.ones(ROWS),
    "uneven": UNEVEN,
    "a million to one": 10.0 ** np.random.default_rng(5).uniform(-6, 0, ROWS),
    "padded": np.where(np.arange(ROWS) < 17, UNEVEN, 0),
    "fewer rows than parts": np.where(np.arange(ROWS) < 2, UNEVEN, 0),
    "one row": np.eye(ROWS)[5],
}


def assert_same(found, expected, rtol=1e-12):
    """Agreement of loss and gradient, to `rtol` of the largest number of each array."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.max(np.abs(b)))


@pytest.fixture(scope="module")
def whole_and_parts():
    """Both functions, compiled once for every count."""
    with jax.enable_x64(True):
        objective, params, state = network(layer_norm=True)
        functions = {
            count: jit(partial(loss_and_gradient(objective, count), params, state, key=KEY))
            for count in (1, 3, 4)
        }
        yield lambda count, batch: functions[count](batch)[:2]


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_parts_are_the_whole_in_float64(whole_and_parts, weights, count):
    with jax.enable_x64(True):
        batch = examples(WEIGHTS[weights])
        whole, parts = whole_and_parts(1, batch), whole_and_parts(count, batch)
        assert whole[0] > 0
        assert_same(parts, whole)


def test_parts_of_nothing_are_nothing(whole_and_parts):
    with jax.enable_x64(True):
        for count in (1, 4):
            loss, gradient = whole_and_parts(count, examples(np.zeros(ROWS)))
            assert loss == 0
            assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    weights=st.lists(st.floats(0, 10, allow_subnormal=False), min_size=ROWS, max_size=ROWS),
    seed=st.integers(0, 99),
)
def test_any_weights(whole_and_parts, weights, seed):
    with jax.enable_x64(True):
        batch = examples(weights, seed)
        assert_same(whole_and_parts(3, batch), whole_and_parts(1, batch), rtol=1e-11)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data(), n_rows=st.integers(1, ROWS), seed=st.integers(0, 99))
def test_weights_are_repetitions_for_any_number_of_rows(whole_and_parts, data, n_rows, seed):
    """`n_rows` rows with whole weights, and the same rows so many times each, both padded to one shape."""
    times = data.draw(
        st.lists(st.integers(0, 3), min_size=n_rows, max_size=n_rows).filter(lambda t: 0 < sum(t) <= ROWS)
    )
    with jax.enable_x64(True):
        batch = examples(np.r_[times, np.zeros(ROWS - n_rows)], seed)
        rows = np.resize(np.repeat(np.arange(n_rows), times), ROWS)
        repeated = jax.tree.map(lambda array: array[rows], batch)
        repeated = repeated._replace(weights=(np.arange(ROWS) < sum(times)).astype(np.float64))
        assert_same(whole_and_parts(1, repeated), whole_and_parts(1, batch), rtol=1e-11)
        assert_same(whole_and_parts(4, repeated), whole_and_parts(1, batch), rtol=1e-11)


@pytest.mark.slow
def test_dropout_is_drawn_for_each_part_and_averages_to_the_mean_of_their_gradients():
    """With dropout a part is normalised and silenced by itself; the weighted mean over parts is exact."""
    with jax.enable_x64(True):
        objective, params, state = network(dropout=0.4)
        batch, count = examples(WEIGHTS["padded"]), 4
        loss, gradient, _ = jit(loss_and_gradient(objective, count))(params, state, batch, KEY)
        alone = jit(loss_and_gradient(objective))
        total, expected_loss, expected = np.sum(batch.weights), 0.0, pytrees.zeros_like(params)
        for part in range(count):
            own = jax.tree.map(lambda array, part=part: array[part::count], batch)
            key = jax.random.fold_in(KEY, part)
            own_loss, own_gradient, _ = alone(params, state, own, key)
            share = np.sum(own.weights) / total
            expected_loss += share * own_loss
            expected = jax.tree.map(lambda a, b, share=share: a + share * b, expected, own_gradient)
        assert_same((loss, gradient), (jnp.asarray(expected_loss), expected))
        whole, _, _ = alone(params, state, batch, KEY)
        assert abs(whole - loss) > 1e-3  # the masks are others than those of the whole


def test_every_part_has_its_share_of_an_uneven_batch():
    """Rows are dealt out one by one, so that the padding at the end falls on all parts alike."""
    seen = []
    model = from_functions(
        lambda key, example: {"w": jnp.ones(())}, lambda params, inputs: params["w"] * inputs[:, None]
    )
    inner = training_objective(model, LOSSES["squared-error"]())

    def objective(params, state, batch, key):
        jax.debug.callback(lambda rows, weights: seen.append((rows, weights)), batch.inputs, batch.weights)
        return inner(params, state, batch, key)

    rows = np.arange(12, dtype=np.float32)
    batch = Batch(rows, rows, (rows < 9).astype(np.float32))
    jax.block_until_ready(loss_and_gradient(objective, 4)({"w": jnp.ones(())}, (), batch, KEY))
    jax.effects_barrier()
    real = {tuple(rows[weights > 0].tolist()) for rows, weights in seen}
    assert real == {(0.0, 4.0, 8.0), (1.0, 5.0), (2.0, 6.0), (3.0, 7.0)}


def test_a_part_of_padding_alone_leaves_the_running_averages_alone():
    with jax.enable_x64(True):
        objective, params, state = network(batch_norm=True)
        batch = examples(np.where(np.arange(ROWS) < 2, 1.0, 0.0))
        _, gradient, after = jit(loss_and_gradient(objective, 4))(params, state, batch, KEY)
        step = jit(loss_and_gradient(objective))
        expected = state
        for part in range(2):  # rows 0 and 1 are the only ones of the first two parts
            own = jax.tree.map(lambda array, part=part: array[part::4], batch)
            expected = step(params, expected, own, KEY)[2]
        assert_same(after, expected)
        assert pytrees.all_finite(gradient)


@pytest.mark.slow
def test_the_whole_training_is_the_same():
    """Float32, uneven last batch, no dropout and no batch norm: only the order of the sums differs."""
    ends = []
    for accumulate in (1, 4):
        run = ds.train(
            "wine",
            hidden=(8,),
            dropout=0.0,
            accumulate=accumulate,
            batch_size=36,
            epochs=6,
            out=False,
            quiet=True,
        )
        ends.append(
            (run.params, run.history["train_loss"].to_numpy(), run.summary["metrics"]["test"]["loss"])
        )
    (params, history, loss), (parts_params, parts_history, parts_loss) = ends
    np.testing.assert_allclose(parts_history, history, rtol=2e-6)
    assert history[-1] < 0.9 * history[0]
    assert parts_loss == pytest.approx(loss, rel=2e-5)
    for a, b in zip(jax.tree.leaves(parts_params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * np.max(np.abs(b)) + 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [9, 40])
def test_batch_norm_stays_finite_with_an_uneven_last_batch(batch_size):
    """124 rows: the last batch of 9 has 7 rows for 4 parts, the last of 40 has 4."""
    run = ds.train(
        "wine",
        hidden=(8,),
        batch_norm=True,
        accumulate=4,
        batch_size=batch_size,
        epochs=5,
        optimizer="sgd",
        learning_rate=0.05,
        out=False,
        quiet=True,
    )
    assert np.isfinite(run.history["train_loss"].to_numpy()).all()
    assert pytrees.all_finite((run.params, run._trained.model_state))
    assert run.summary["metrics"]["test"]["loss"] < np.log(3)


@pytest.mark.parametrize(("batch_size", "parts", "lanes"), [(32, 1, 32), (32, 4, 32), (30, 4, 32), (3, 4, 4)])
def test_a_batch_is_padded_to_equal_parts(batch_size, parts, lanes):
    assert (
        Plan(epochs=1, batch_size=batch_size, learning_rate=0.1, seed=0, micro_batches=parts).lanes == lanes
    )


LAYERS = {
    "linear": {},
    "batch norm": {"batch_norm": True},
    "layer norm": {"layer_norm": True},
    "group norm": {"group_norm": 2},
    "dropout": {"dropout": 0.3},
    "relu": {"activation": "relu"},
}


@pytest.fixture(scope="module")
def slopes():
    """Loss and gradient with respect to weights and dense inputs, compiled once for each kind of layer."""
    made = {}

    def make(name):
        if name not in made:
            columns = Columns(INPUTS, (4,), ((-1.0, 0.0, 1.0), (), (-0.3, 0.4), (), ()))
            options = {"activation": "softplus", **LAYERS[name]}
            model = Architecture("mlp", columns, CLASSES, (6,), **options).build()
            params, state = pytrees.cast(model.init(jax.random.key(3), None), np.float64)
            inner = training_objective(model, LOSSES["softmax-cross-entropy"]())

            def loss(at, batch, key):
                inputs = (at["inputs"], batch.inputs[1])
                return inner(at["params"], state, batch._replace(inputs=inputs), key)[0]

            made[name] = params, jit(loss), jit(jax.grad(loss))
        return made[name]

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), n_real=st.integers(2, ROWS))
def test_every_layer_against_central_differences(slopes, name, seed, n_real):
    """Each array by itself: kernels, biases, scales, embeddings, and the inputs, through the ramps."""
    small = 1e-6
    generator = np.random.default_rng(seed)
    with jax.enable_x64(True):
        params, loss, gradient_of = slopes(name)
        weights = np.where(np.arange(ROWS) < n_real, generator.uniform(0.1, 2, ROWS), 0)
        batch, key = examples(weights, seed), jax.random.key(seed)
        moved = jax.tree.map(lambda leaf: leaf + 0.3 * generator.normal(0, 1, leaf.shape), params)
        at = {"params": moved, "inputs": batch.inputs[0]}
        gradient = gradient_of(at, batch, key)
        leaves, structure = jax.tree.flatten(at)
        for place, (path, own) in enumerate(zip(pytrees.paths(at), jax.tree.leaves(gradient), strict=True)):
            direction = generator.normal(0, 1, own.shape)

            def value(distance, place=place, direction=direction):
                there = [leaf + distance * direction if i == place else leaf for i, leaf in enumerate(leaves)]
                return float(loss(jax.tree.unflatten(structure, there), batch, key))

            numeric = (value(small) - value(-small)) / (2 * small)
            assert float(jnp.vdot(own, direction)) == pytest.approx(numeric, rel=1e-5, abs=2e-8), path
        assert np.any(gradient["inputs"])
        assert not np.any(gradient["inputs"][n_real:])  # padding has no slope
