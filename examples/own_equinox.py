"""Your own network, written in Equinox, with batch normalisation and dropout.

An Equinox module is called with one example; `downslope` maps it over the batch, on an axis named "batch".

python examples/own_equinox.py
"""

import equinox as eqx
import jax
import numpy as np
from sklearn.datasets import load_digits

import downslope as ds


class Network(eqx.Module):
    """64 → 64 → 10; what batch normalisation remembers goes in and comes out as `state`."""

    hidden: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    drop: eqx.nn.Dropout
    output: eqx.nn.Linear

    def __init__(self, key):
        first, last = jax.random.split(key)
        self.hidden = eqx.nn.Linear(64, 64, key=first)
        self.norm = eqx.nn.BatchNorm(64, axis_name="batch", momentum=0.9, mode="batch")
        self.drop = eqx.nn.Dropout(0.2)
        self.output = eqx.nn.Linear(64, 10, key=last)

    def __call__(self, x, state, *, key):
        x, state = self.norm(self.hidden(x), state)
        return self.output(self.drop(jax.nn.relu(x), key=key)), state


pixels, digits = load_digits(return_X_y=True)
X, y = (pixels / 16).astype(np.float32), digits

network = eqx.nn.make_with_state(Network)(jax.random.key(0))  # the pair (module, state)
run = ds.train(network, X, y, epochs=30, learning_rate=0.01, out=False, quiet=True)
print(f"test accuracy {run.summary['metrics']['test']['accuracy']:.3f}")
