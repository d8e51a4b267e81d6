"""Few arrays alive at once: the step of many parameter arrays needs room for one of them, not for all."""

import jax
import jax.numpy as jnp

from downslope.rules import lamb
from downslope.training.compiling import jit_steps

ARRAYS, WIDTH = 12, 256


def test_intermediate_arrays_do_not_pile_up():
    rule = lamb()
    params = [jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32)] * ARRAYS

    def step(params, state, grads):
        direction, state = rule.direction(grads, state, params)
        return jax.tree.map(lambda p, d: p - d, params, direction), state

    state = jax.eval_shape(rule.init, params)
    compiled = jit_steps(step, donate_argnums=(0, 1)).lower(params, state, params).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 3 * 4 * WIDTH**2
