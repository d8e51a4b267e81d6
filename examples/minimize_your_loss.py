"""Your own loss, in batches: where does a cloud of points have its centres?

`downslope.minimize` descends any function that JAX can differentiate; here, the log-likelihood of a
mixture of three Gaussians, which no network is part of.

python examples/minimize_your_loss.py
"""

import jax
import jax.numpy as jnp

import downslope as ds

truth = jnp.array([[-4.0, 0.0], [0.0, 3.0], [4.0, 0.0]])
which = jax.random.randint(jax.random.key(0), (3_000,), 0, 3)
points = truth[which] + 0.7 * jax.random.normal(jax.random.key(1), (3_000, 2))  # (points, 2)


def loss(params, points):
    """−log Σₖ ⅓ N(x; centreₖ, σ²), one number per point."""
    distance = jnp.sum((points[:, None, :] - params["centres"]) ** 2, axis=-1)  # (points, centres)
    variance = jnp.exp(2 * params["log_sigma"])
    log_density = -distance / (2 * variance) - jnp.log(2 * jnp.pi * variance)
    return -jax.nn.logsumexp(log_density, axis=-1) + jnp.log(3)


start = {"centres": jnp.array([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), "log_sigma": jnp.array(1.0)}
result = ds.minimize(
    loss, start, data=(points,), rule=ds.adam(), step_size=0.05, batch_size=100, epochs=20, schedule="cosine"
)

print(f"loss {result.losses[0]:.3f} -> {result.loss:.3f} in {result.steps} steps")
print(f"centres {(result.params['centres'].round(1) + 0.0).tolist()}")  # + 0.0: no minus zeros
print(f"sigma {jnp.exp(result.params['log_sigma']):.2f}, made with 0.70")
