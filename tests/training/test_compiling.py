"""How the loop is compiled: few arrays alive at once, weights written over without a copy."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from downslope.rules import lamb
from downslope.training.compiling import after_all, jit_steps

ARRAYS, WIDTH = 12, 256
LARGE_WIDTH = 512


def test_intermediate_arrays_do_not_pile_up():
    rule = lamb()
    params = [jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32)] * ARRAYS

    def step(params, state, grads):
        direction, state = rule.direction(grads, state, params)
        return jax.tree.map(lambda p, d: p - d, params, direction), state

    state = jax.eval_shape(rule.init, params)
    compiled = jit_steps(step, donate_argnums=(0, 1)).lower(params, state, params).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 3 * 4 * WIDTH**2


def copies_of_weights(waits):
    """Return how many copies of a layer a loop of steps makes, in each step."""
    layers = [jax.ShapeDtypeStruct((LARGE_WIDTH, LARGE_WIDTH), jnp.float32)] * 4
    rows = jax.ShapeDtypeStruct((8, LARGE_WIDTH), jnp.float32)

    def loss(params, x):
        for kernel in params:
            x = jnp.tanh(x @ kernel)
        return jnp.mean(x**2)

    def step(index, params, x):
        gradient = jax.grad(loss)(params, x)
        step_size = 0.1 / (1.0 + index)
        if waits:
            step_size = after_all(step_size, gradient)
        return jax.tree.map(lambda p, g: p - step_size * g, params, gradient)

    def steps(params, x):
        return jax.lax.fori_loop(0, 5, lambda index, params: step(index, params, x), params)

    program = jit_steps(steps, donate_argnums=0).lower(layers, rows).compile().as_text()
    return len(re.findall(rf"f32\[{LARGE_WIDTH},{LARGE_WIDTH}\]\S* copy\(", program))


def test_new_weights_are_written_over_the_old_ones():
    assert copies_of_weights(waits=True) == 0
    assert copies_of_weights(waits=False) > 0  # else there would be nothing to wait for


def test_waiting_changes_no_number():
    arrays = {"a": jnp.full((512, 512), np.inf), "b": jnp.asarray(-3.0), "none": jnp.zeros((0, 2))}
    assert float(jax.jit(after_all)(jnp.float32(0.25), arrays)) == 0.25
