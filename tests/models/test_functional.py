"""Any Flax NNX module becomes two pure functions."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from downslope import pytrees
from downslope.models.functional import as_model, from_nnx


class Theirs(nnx.Module):
    """What a user may bring: a list of layers, dropout twice, batch normalisation, a buffer of its own."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 4, rngs=rngs)])
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.List([nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)])

    def __call__(self, inputs):
        x = inputs
        for layer, drop in zip(self.layers, self.drop, strict=True):
            x = drop(jax.nn.relu(layer(x)))
        return self.norm(x)


MODEL = from_nnx(lambda rngs: Theirs(rngs=rngs))
INPUTS = np.random.default_rng(0).normal(0, 1, (10, 3)).astype(np.float32)
PARAMS, STATE = MODEL.init(jax.random.key(0), INPUTS)


def apply(key=0, train=True, params=None, state=None):
    key = None if key is None else jax.random.key(key)
    return MODEL.apply(
        PARAMS if params is None else params, STATE if state is None else state, INPUTS, key=key, train=train
    )


def test_params_are_what_is_learned_and_state_what_is_not():
    assert {leaf.shape for leaf in jax.tree.leaves(PARAMS)} == {(3, 4), (4, 4), (4,)}
    assert set(STATE) == {"norm"}
    assert not any(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(STATE))


def test_the_module_itself_says_the_same():
    module = Theirs(rngs=nnx.Rngs(0))
    _, params, _, state = nnx.split(module, nnx.Param, nnx.RngState, ...)
    outputs, _ = apply(None, train=False, params=nnx.to_pure_dict(params), state=nnx.to_pure_dict(state))
    used = nnx.view(module, deterministic=True, use_running_average=True)
    np.testing.assert_allclose(outputs, used(INPUTS), rtol=1e-5, atol=1e-6)


def test_the_key_decides_dropout():
    first, again, other = (np.asarray(apply(key)[0]) for key in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_every_dropout_layer_draws_its_own():
    class Twice(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs):
            self.first, self.second = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, inputs):
            return self.first(inputs), self.second(inputs)

    model = from_nnx(lambda rngs: Twice(rngs=rngs))
    params, state = model.init(jax.random.key(0), INPUTS)
    first, second = model.apply(params, state, np.ones((4, 64)), key=jax.random.key(0), train=True)[0]
    assert not np.array_equal(first, second)


def test_evaluation_is_not_random_and_changes_no_state():
    first, state = apply(0, train=False)
    np.testing.assert_array_equal(first, apply(1, train=False)[0])
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(STATE), strict=True):
        np.testing.assert_array_equal(a, b)
    _, state = apply(0, train=True)
    assert any(
        not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(STATE), strict=True)
    )


def test_functions_are_pure_and_compile():
    compiled = jax.jit(MODEL.apply, static_argnames="train")
    outputs, state = compiled(PARAMS, STATE, INPUTS, key=jax.random.key(0), train=True)
    expected, expected_state = apply(0)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    assert jax.tree.structure(state) == jax.tree.structure(expected_state) == jax.tree.structure(STATE)
    gradient = jax.grad(lambda params: jnp.sum(apply(0, params=params)[0] ** 2))(PARAMS)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_init_is_a_function_of_the_key():
    again, other = (MODEL.init(jax.random.key(key), INPUTS)[0] for key in (0, 1))
    kernels = [params["layers"][0]["kernel"] for params in (PARAMS, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.allclose(kernels[0], kernels[2])


def test_a_module_that_takes_a_mask_gets_it():
    class Masked(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs):
            self.scale = nnx.Param(jnp.ones(()))

        def __call__(self, inputs, mask=None):
            return inputs * self.scale * (1 if mask is None else mask[:, None])

    model = from_nnx(lambda rngs: Masked(rngs=rngs))
    params, state = model.init(jax.random.key(0), INPUTS)
    mask = np.array([1, 0] * 5, np.float32)
    outputs, _ = model.apply(params, state, INPUTS, key=None, train=True, mask=mask)
    np.testing.assert_allclose(outputs, INPUTS * mask[:, None])


def test_an_embedding_computes_in_the_dtype_of_its_table():
    class Sequence(nnx.Module):
        def __init__(self, rngs):
            self.table = nnx.Embed(7, 4, rngs=rngs)
            self.output = nnx.Linear(4, 2, rngs=rngs)

        def __call__(self, tokens):
            return self.output(self.table(tokens))

    tokens = jnp.zeros((3, 5), jnp.int32)
    made = Sequence(nnx.Rngs(0))
    for network in (made, lambda rngs: Sequence(rngs)):
        model = as_model(network)
        params, state = model.init(jax.random.key(0), tokens)
        for dtype in (jnp.float32, jnp.bfloat16):
            cast = pytrees.cast(params, dtype)
            outputs, _ = model.apply(cast, state, tokens, key=None, train=True)
            assert outputs.dtype == dtype
    assert made.table.dtype == jnp.float32  # the user's own is not touched
