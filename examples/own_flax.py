"""Your own network, written in Flax NNX, with batch normalisation and dropout.

python examples/own_flax.py
"""

import numpy as np
from flax import nnx
from sklearn.datasets import load_digits

import downslope as ds


class Network(nnx.Module):
    """64 → 64 → 10, with random streams of its own."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(64, 64, rngs=rngs)
        self.norm = nnx.BatchNorm(64, momentum=0.9, rngs=rngs)
        self.drop = nnx.Dropout(0.2, rngs=rngs)
        self.output = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x, mask=None):  # leave `mask` out where there is no batch normalisation
        real = None if mask is None else mask[:, None] > 0  # (batch, 1): not the padding of a last batch
        x = nnx.relu(self.norm(self.hidden(x), mask=real))
        return self.output(self.drop(x))


pixels, digits = load_digits(return_X_y=True)
X, y = (pixels / 16).astype(np.float32), digits

run = ds.train(Network(rngs=nnx.Rngs(0)), X, y, epochs=30, learning_rate=0.01, out=False, quiet=True)
print(f"test accuracy {run.summary['metrics']['test']['accuracy']:.3f}")
