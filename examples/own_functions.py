"""Your own network as two plain functions: one makes the weights, one uses them.

python examples/own_functions.py
"""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import downslope as ds


def init(key, example):
    """Return the initial weights; `example` is a batch of inputs, for its shape."""
    first, last = jax.random.split(key)
    return {
        "hidden": jax.random.normal(first, (example.shape[1], 64)) * jnp.sqrt(2 / example.shape[1]),
        "shift": jnp.zeros(64),
        "output": jax.random.normal(last, (64, 10)) / 8,
    }


def apply(params, inputs, *, key, train):  # leave out `key` and `train` where nothing is random
    """Return one logit per class, (batch, 10)."""
    x = jax.nn.relu(inputs @ params["hidden"] + params["shift"])
    if train:
        x = jnp.where(jax.random.bernoulli(key, 0.8, x.shape), x / 0.8, 0.0)  # dropout
    return x @ params["output"]


pixels, digits = load_digits(return_X_y=True)
X, y = (pixels / 16).astype(np.float32), digits

run = ds.train((init, apply), X, y, epochs=30, learning_rate=0.01, out=False, quiet=True)
print(f"test accuracy {run.summary['metrics']['test']['accuracy']:.3f}")
