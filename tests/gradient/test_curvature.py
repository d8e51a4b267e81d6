"""Products with the Hessian, and the ends of its spectrum, against the whole matrix where it is small."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from downslope.data.encoding import Inputs
from downslope.gradient import curvature
from downslope.gradient.backprop import Batch, evaluation_objective
from downslope.gradient.curvature import (
    extreme_eigenvalues,
    hessian_product,
    hessian_vector_product,
    loss_and_gradient_over,
    stacked,
)
from downslope.losses import LOSSES
from downslope.models.architecture import Architecture
from downslope.models.layers import Columns
from downslope.training.evaluate import cut

DTYPES = ["float32", "float64"]


def times(vector, matrix):
    return matrix @ vector


def matrix_of(kind, n, seed):
    generator = np.random.default_rng(seed)
    square = generator.normal(size=(n, n))
    if kind == "indefinite":
        return (square + square.T) / 2
    turned, _ = np.linalg.qr(square)
    bulk = generator.normal(0, 1e-3, n)  # like a network's: nearly all of it at zero, a few far out
    bulk[: min(n, 3)] = [40.0, -0.4, 7.0][: min(n, 3)]
    return (turned * bulk) @ turned.T


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["indefinite", "network-like"])
@pytest.mark.parametrize("n", [1, 2, 7, 60, 250])
def test_both_ends_of_random_matrices(dtype, kind, n):
    with jax.enable_x64(dtype == "float64"):
        matrix = jnp.asarray(matrix_of(kind, n, seed=n), dtype)
        true = np.linalg.eigvalsh(np.asarray(matrix, np.float64))
        found = extreme_eigenvalues(times, n, matrix, dtype=matrix.dtype)
    assert found.converged
    assert found.smallest == pytest.approx(true[0], rel=1e-3)
    assert found.largest == pytest.approx(true[-1], rel=1e-3)
    rounding = 1e-5 * abs(true).max()
    assert abs(found.smallest - true[0]) <= found.residuals[0] + rounding
    assert abs(found.largest - true[-1]) <= found.residuals[1] + rounding


def test_few_remembered_vectors_are_enough(monkeypatch):
    """Restarts: 250 unknowns, 12 vectors; the ends of a matrix with no gaps to speak of."""
    monkeypatch.setattr(curvature, "MOST_VECTORS", 12)
    matrix = matrix_of("indefinite", 250, seed=3)
    true = np.linalg.eigvalsh(matrix)
    found = extreme_eigenvalues(times, 250, jnp.asarray(matrix, jnp.float32))
    assert found.converged
    assert found.products > 24
    np.testing.assert_allclose([found.smallest, found.largest], true[[0, -1]], rtol=1e-3)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(curvature, "MOST_BYTES", 4 * 250 * 20)
    shapes = []

    def watched(basis, *rest, expand=curvature._expand):
        shapes.append(rest[0].shape)
        return expand(basis, *rest)

    monkeypatch.setattr(curvature, "_expand", watched)
    extreme_eigenvalues(times, 250, jnp.asarray(matrix_of("indefinite", 250, seed=3), jnp.float32))
    assert set(shapes) == {(21, 250)}


def test_the_largest_alone_is_cheaper():
    matrix = jnp.asarray(matrix_of("network-like", 250, seed=1), jnp.float32)
    both, largest = (extreme_eigenvalues(times, 250, matrix, ends=ends) for ends in ("both", "largest"))
    assert largest.products < both.products
    assert largest.largest == pytest.approx(both.largest, rel=1e-3)


def test_giving_up_is_said():
    matrix = jnp.asarray(matrix_of("indefinite", 250, seed=2), jnp.float32)
    found = extreme_eigenvalues(times, 250, matrix, most_products=6)
    assert (found.products, found.converged) == (6, False)
    assert max(found.residuals) > 0.1


def test_flat_and_broken_ground():
    flat = extreme_eigenvalues(times, 5, jnp.zeros((5, 5)))
    assert (flat.smallest, flat.largest, flat.converged) == (0.0, 0.0, True)
    broken = extreme_eigenvalues(times, 5, jnp.full((5, 5), jnp.nan))
    assert np.isnan(broken.largest)
    assert not broken.converged


def test_products_are_told():
    told = []
    found = extreme_eigenvalues(
        times, 60, jnp.asarray(matrix_of("indefinite", 60, 0), jnp.float32), listen=told.append
    )
    assert told == list(range(1, found.products + 1))


# ---- of losses


def test_products_equal_the_whole_hessian():
    def loss(params):
        return jnp.sum(jnp.sin(params["a"]) * params["b"] ** 2) + jnp.prod(params["a"])

    with jax.enable_x64(True):
        generator = np.random.default_rng(0)
        params, vector = ({name: jnp.asarray(generator.normal(size=4)) for name in "ab"} for _ in range(2))
        flat, unravel = ravel_pytree(params)
        whole = jax.jit(jax.hessian(lambda at: loss(unravel(at))))(flat)
        product = hessian_vector_product(loss, params, vector)
        np.testing.assert_allclose(ravel_pytree(product)[0], whole @ ravel_pytree(vector)[0], rtol=1e-12)


def network(dtype, seed=0):
    """A small network with its weights, and 37 weighted rows."""
    generator = np.random.default_rng(seed)
    architecture = Architecture("mlp", Columns(5), 3, (6, 4), "tanh", dropout=0.3)
    model = architecture.build()
    rows = Batch(
        Inputs(generator.normal(size=(37, 5)).astype(dtype), np.zeros((37, 0), np.int32)),
        generator.integers(0, 3, 37),
        generator.uniform(0, 2, 37).astype(dtype) * (generator.random(37) < 0.8),
    )
    example = jax.tree.map(lambda array: array[:1], rows.inputs)
    params, state = jax.jit(model.init)(jax.random.key(seed), example)
    params = jax.tree.map(lambda leaf: (leaf + 0.1).astype(dtype), params)
    return evaluation_objective(model, LOSSES["softmax-cross-entropy"]()), params, state, rows


def in_batches(rows, size):
    """Batches of one size, the last filled up with rows of weight 0."""
    return stacked(cut(rows, size))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "size"), [("float32", 8), ("float64", 37)])
def test_small_networks_against_their_whole_spectrum(dtype, size):
    with jax.enable_x64(dtype == "float64"):
        loss, params, state, rows = network(dtype)
        flat, unravel = ravel_pytree(params)
        assert flat.dtype == dtype
        whole = jax.jit(jax.hessian(lambda at: loss(unravel(at), state, rows)))(flat)
        true = np.linalg.eigvalsh(np.asarray(whole, np.float64))
        found = extreme_eigenvalues(
            hessian_product(loss, params), flat.size, params, state, in_batches(rows, size), dtype=flat.dtype
        )
    assert true[0] < -0.01 < 0.1 < true[-1]
    assert found.converged
    np.testing.assert_allclose([found.smallest, found.largest], true[[0, -1]], rtol=1e-3)


def test_batches_together_are_the_whole():
    with jax.enable_x64(True):
        loss, params, state, rows = network("float64")
        value, gradient = jax.jit(jax.value_and_grad(loss))(params, state, rows)
        over = jax.jit(partial(loss_and_gradient_over, loss))
        found = over(params, state, in_batches(rows, 8))
        np.testing.assert_allclose(found[0], value, rtol=1e-12)
        np.testing.assert_allclose(
            ravel_pytree(found[1])[0], ravel_pytree(gradient)[0], rtol=1e-10, atol=1e-14
        )


def test_other_weights_are_no_new_program():
    traces = []

    def loss(params, state, batch):
        traces.append(1)
        return jnp.sum(batch.weights) * jnp.sum(params**4)

    rows = Batch((), (), jnp.ones((1, 4)))
    product = hessian_product(loss, jnp.ones(5))
    first = extreme_eigenvalues(product, 5, jnp.arange(1.0, 6.0), (), rows)
    after_one = len(traces)
    second = extreme_eigenvalues(product, 5, 2 * jnp.arange(1.0, 6.0), (), rows)
    assert len(traces) == after_one
    assert first.largest == pytest.approx(4 * 12 * 25, rel=1e-3)
    assert second.largest == pytest.approx(4 * first.largest, rel=1e-3)
