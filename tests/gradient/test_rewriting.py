"""Operations replaced in whole programs: through loops, branches, checkpoints and batching."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from downslope.gradient.rewriting import rewritten

W = jnp.asarray(np.random.default_rng(0).standard_normal((3, 3)), jnp.float32)
X = jnp.asarray(np.random.default_rng(1).standard_normal((5, 3)), jnp.float32)


def with_product(function, product):
    return rewritten(function, {"dot_general": product})


def scanned(x):
    return lax.scan(lambda x, w: (jnp.tanh(x @ w), x.sum()), x, jnp.stack([W, W]))


def in_a_while_loop(x):
    return lax.while_loop(lambda carry: carry[0] < 2, lambda carry: (carry[0] + 1, carry[1] @ W), (0, x))


def branching(x):
    return lax.cond(x.sum() > 0, lambda x: x @ W, lambda x: (x @ W) @ W, x)


def checkpointed(x):
    return jax.grad(lambda x: jnp.sum(jax.checkpoint(lambda x: jnp.sin(x @ W))(x)))(x)


def batched(x):
    return jax.vmap(lambda row: row @ W)(x)


def jitted(x):
    return jax.jit(lambda x: {"both": (x @ W, jax.nn.relu(x) @ W)})(x)


def without_any(x):
    return {"x": x * 2, "constant": 3.0}


def gathering(x):
    return x[jnp.array([2, 0])] @ W  # an operation whose parameters are tuples with names


def differentiated(x):
    return jax.value_and_grad(lambda w: jnp.mean(jax.nn.softplus(x @ w) @ w))(W)


FUNCTIONS = (scanned, in_a_while_loop, branching, checkpointed, batched, jitted, gathering, differentiated)


@pytest.mark.parametrize("function", [*FUNCTIONS, without_any], ids=lambda f: f.__name__)
def test_the_same_product_changes_nothing_beyond_rounding(function):
    ours, theirs = with_product(function, lax.dot_general)(X), function(X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), ours, theirs)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_every_product_is_asked_for(function):
    seen = []

    def zero(lhs, rhs, **how):
        seen.append(1)
        return 0 * lax.dot_general(lhs, rhs, **how)

    zeroed = jax.jit(with_product(function, zero))(X)
    assert seen
    assert any(
        not np.array_equal(ours, theirs)
        for ours, theirs in zip(jax.tree.leaves(zeroed), jax.tree.leaves(function(X)), strict=True)
    )
    assert "dot_general" not in str(jax.make_jaxpr(with_product(function, gone))(X))


def gone(lhs, rhs, *, dimension_numbers, **how):
    """Return zeros of the product's shape and dtype."""
    product = jax.eval_shape(lambda lhs, rhs: lax.dot_general(lhs, rhs, dimension_numbers, **how), lhs, rhs)
    return jnp.zeros(product.shape, product.dtype)


def test_the_replaced_program_can_be_differentiated():
    doubled = with_product(lambda x: jnp.sum(jnp.sin(x @ W)), lambda *a, **k: 2 * lax.dot_general(*a, **k))
    ours, theirs = jax.grad(doubled)(X), jax.grad(lambda x: jnp.sum(jnp.sin(2 * (x @ W))))(X)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
