"""The gradient of a batch: of weighted examples, in any order, with padding, against finite differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from downslope import pytrees
from downslope.gradient.backprop import Batch, loss_and_gradient, training_objective, weighted_mean
from downslope.losses import LOSSES
from downslope.models.architecture import Architecture
from downslope.models.layers import Columns

ROWS, INPUTS, CLASSES = 24, 5, 3
COLUMNS = Columns(INPUTS, (4,), ((-1.0, 0.0, 1.0), (), (), (), ()))
KEY = jax.random.key(7)
# Compiles several times faster and runs slower: for arithmetic that runs only once.
jit = partial(
    jax.jit,
    compiler_options={"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
)


def network(columns=COLUMNS, **options):
    model = Architecture("mlp", columns, CLASSES, (7, 6), **options).build()
    return model, *model.init(jax.random.key(3), None)


def examples(seed=0, rows=ROWS):
    generator = np.random.default_rng(seed)
    dense = generator.normal(0, 1, (rows, INPUTS)).astype(np.float32)
    codes = generator.integers(0, 4, (rows, 1)).astype(np.int32)
    labels = generator.integers(0, CLASSES, rows).astype(np.int32)
    return Batch((dense, codes), labels, np.ones(rows, np.float32))


def take(batch, rows):
    return jax.tree.map(lambda array: array[rows], batch)


def slope(network, batch, key=KEY, **options):
    model, params, state = network
    objective = training_objective(model, LOSSES["softmax-cross-entropy"]())
    return jit(loss_and_gradient(objective, **options))(params, state, batch, key)


def assert_close(found, expected, rtol=2e-5, atol=2e-6):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def plain():
    return network()


def test_weights_are_repetitions(plain):
    batch, times = examples(), np.random.default_rng(1).integers(0, 4, ROWS)
    weighted = slope(plain, batch._replace(weights=times.astype(np.float32)))
    repeated = slope(plain, take(batch, np.repeat(np.arange(ROWS), times)))
    assert_close(weighted, repeated)
    once = slope(plain, batch)
    assert abs(float(once[0]) - float(weighted[0])) > 1e-3  # else the weights changed nothing


def test_only_the_proportions_of_weights_count(plain):
    batch = examples()
    weights = np.random.default_rng(2).uniform(0.1, 2, ROWS).astype(np.float32)
    small, large = (slope(plain, batch._replace(weights=weights * factor)) for factor in (1e-3, 1e3))
    assert_close(small, large)


@pytest.mark.parametrize("options", [{}, {"batch_norm": True}], ids=str)
def test_the_order_of_the_rows_does_not_matter(options):
    made = network(**options)
    batch = examples()
    assert_close(slope(made, batch), slope(made, take(batch, np.random.default_rng(3).permutation(ROWS))))


@pytest.mark.parametrize("options", [{}, {"batch_norm": True}, {"layer_norm": True}], ids=str)
def test_padding_moves_neither_loss_nor_gradient(options):
    made = network(**options)
    batch, junk = examples(), examples(seed=9, rows=8)
    junk = junk._replace(inputs=(100 * junk.inputs[0], junk.inputs[1]), weights=np.zeros(8, np.float32))
    padded = jax.tree.map(lambda a, b: np.concatenate([a, b]), batch, junk)
    assert_close(slope(made, padded), slope(made, batch))


def test_a_batch_of_padding_alone_has_no_slope(plain):
    loss, gradient, _ = slope(plain, examples()._replace(weights=np.zeros(ROWS, np.float32)))
    assert loss == 0
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_the_mean_of_parts_is_the_whole(plain):
    batch = examples()
    _, gradient, _ = slope(plain, batch)
    parts = [slope(plain, take(batch, slice(start, start + 6)))[1] for start in range(0, ROWS, 6)]
    assert_close(jax.tree.map(lambda *leaves: sum(leaves) / 4, *parts), gradient)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_micro_batches_are_the_whole_batch(plain, count):
    batch = examples()._replace(weights=np.random.default_rng(4).uniform(0, 2, ROWS).astype(np.float32))
    batch = batch._replace(weights=np.where(np.arange(ROWS) < 20, batch.weights, 0))  # the last is padding
    assert_close(slope(plain, batch, micro_batches=count), slope(plain, batch))


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        ("softmax-cross-entropy", {"activation": "tanh", "batch_norm": True}),
        ("softmax-cross-entropy", {"layer_norm": True, "dropout": 0.3}),
        ("squared-error", {"activation": "softplus"}),
    ],
    ids=str,
)
def test_finite_differences_through_the_network(loss, options):
    """Central differences in float64 along random directions, through every layer."""
    small = 1e-6
    with jax.enable_x64(True):
        model, params, state = network(Columns(INPUTS, (), COLUMNS.edges), **options)
        params, state = pytrees.cast((params, state), np.float64)
        batch = pytrees.cast(examples(), np.float64)
        weights = np.random.default_rng(5).uniform(0.5, 1.5, ROWS)
        batch = batch._replace(inputs=(batch.inputs[0], np.zeros((ROWS, 0), np.int32)), weights=weights)
        if loss == "squared-error":
            batch = batch._replace(targets=batch.targets.astype(np.float64))
        objective = jax.jit(training_objective(model, LOSSES[loss]()))
        _, gradient, _ = jax.jit(loss_and_gradient(objective))(params, state, batch, KEY)

        def at(distance, direction):
            moved = jax.tree.map(lambda p, d: p + distance * d, params, direction)
            return float(objective(moved, state, batch, KEY)[0])

        for seed in range(3):
            generator = np.random.default_rng(seed)
            direction = jax.tree.map(lambda leaf, g=generator: g.normal(0, 1, leaf.shape), params)
            numeric = (at(small, direction) - at(-small, direction)) / (2 * small)
            assert float(pytrees.dot(gradient, direction)) == pytest.approx(numeric, rel=1e-6, abs=1e-8)


def test_every_weight_is_reached(plain):
    _, gradient, _ = slope(plain, examples())
    names = dict(zip(pytrees.paths(gradient), jax.tree.leaves(gradient), strict=True))
    for name, leaf in names.items():
        assert np.any(leaf), name


def test_the_key_decides_dropout():
    made = network(dropout=0.5)
    batch = examples()
    losses = [float(slope(made, batch, jax.random.key(k))[0]) for k in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_weighted_mean():
    values, weights = np.arange(6.0, dtype=np.float32), np.array([0, 1, 2, 0, 3, 0.5], np.float32)
    np.testing.assert_allclose(weighted_mean(values, weights), np.average(values, weights=weights), rtol=1e-6)
    assert weighted_mean(jnp.ones(3), jnp.zeros(3)) == 0
