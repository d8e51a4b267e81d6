"""A rule in a JAX loop of your own: ten lines, no training loop of ours.

python examples/plain_loop.py
"""

import jax
import jax.numpy as jnp

from downslope.rules import adam

x = jax.random.normal(jax.random.key(0), (200, 3))
y = x @ jnp.array([1.0, -2.0, 0.5]) + 0.3
rule, step_size = adam(), 0.05
params = {"weights": jnp.zeros(3), "bias": jnp.zeros(())}
state = rule.init(params)


def loss(params):
    return jnp.mean((x @ params["weights"] + params["bias"] - y) ** 2)


@jax.jit
def step(params, state):
    direction, state = rule.direction(jax.grad(loss)(params), state, params)
    return jax.tree.map(lambda x, d: x - step_size * d, params, direction), state


for _ in range(500):
    params, state = step(params, state)
print(f"loss {loss(params):.1e}, weights {params['weights'].round(3)}, bias {params['bias']:.3f}")
