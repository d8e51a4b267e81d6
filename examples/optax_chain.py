"""A rule inside optax.chain: every rule converts with `as_optax(learning_rate)`.

python examples/optax_chain.py
"""

import jax
import jax.numpy as jnp
import optax

from downslope.rules import lamb

x = jax.random.normal(jax.random.key(0), (200, 3))
y = jnp.tanh(x @ jnp.array([1.0, -2.0, 0.5]))
params = {"hidden": jax.random.normal(jax.random.key(1), (3, 16)), "out": jnp.ones(16) / 16}

schedule = optax.cosine_decay_schedule(0.05, decay_steps=500)
optimizer = optax.chain(optax.clip_by_global_norm(1.0), lamb(weight_decay=0.0).as_optax(schedule))


def loss(params):
    return jnp.mean((jnp.tanh(x @ params["hidden"]) @ params["out"] - y) ** 2)


@jax.jit
def step(params, state):
    updates, state = optimizer.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state


first, state = loss(params), optimizer.init(params)
for _ in range(500):
    params, state = step(params, state)
print(f"loss {first:.3f} -> {loss(params):.5f}")
