"""Downslope, through the door that its users take: `downslope.train`.

A table goes in as it is. Images get a network of the user's own, in Flax NNX. So does a text, as a pair of
functions, whose output is the loss of each piece already: there is a target after every character, and
`train` knows one per row.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.workloads import Workload


def run(workload: Workload, threads: int, *, listener: Callable[[Any], None] | None = None) -> dict[str, Any]:
    x, y = workload.arrays()
    began = time.perf_counter()
    import downslope as ds

    # The first use of a name is what loads it. By default Downslope decays matrices only; here all decay.
    train, rule = ds.train, ds.adam() if workload.rule == "adam" else ds.adamw(decay_mask=None)
    imported = time.perf_counter()

    ready = []

    def note(event: Any) -> None:
        if event.kind == "compiled":
            ready.append(time.perf_counter())

    data, own = _given(workload, x, y)
    result = train(
        *data,
        **own,
        test_fraction=0.0,
        validation_fraction=0.0,
        optimizer=rule,
        learning_rate=workload.learning_rate,
        schedule="constant",
        precision=workload.precision,
        batch_size=workload.batch_size,
        epochs=workload.epochs,
        early_stopping=False,
        seed=workload.seed,
        out=False,
        quiet=True,
        listeners=[note] if listener is None else [note, listener],
    )
    ends = [0.0, *result.history["seconds"].to_pylist()]  # since the first step, compiling excluded
    compile_seconds = result.summary["seconds"]["compile"]
    return {
        "import_seconds": imported - began,
        "setup_seconds": ready[0] - imported - compile_seconds,
        "compile_seconds": compile_seconds,
        "epoch_seconds": [end - start for start, end in pairwise(ends)],
        "final_loss": result.summary["metrics"]["train"]["loss"],
        "threads": threads,
    }


def _given(workload: Workload, x: np.ndarray, y: np.ndarray) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the data, with a network where `train` has none of its own, and the options that go with it."""
    task = "regression" if workload.is_regression else "classification"
    if workload.kind == "conv":
        return (_convolutional(workload), x, y), {"task": task}
    if workload.kind == "attention":
        rows = np.concatenate([x, y[:, -1:]], axis=1)  # (rows, tokens + 1)
        places = np.arange(len(rows), dtype=np.float32)  # `train` wants a target; this one is not looked at
        return (_transformer(workload), rows, places), {"task": "regression", "loss": loss_of_piece}
    return (x, y), {
        "task": task,
        "hidden": workload.hidden,
        "activation": "relu",
        "batch_norm": workload.batch_norm,
        "dropout": workload.dropout,
        "ramps": 0,
    }


def loss_of_piece(outputs: Any, targets: Any) -> Any:
    """Return what the transformer has computed already, (batch,)."""
    return outputs[:, 0]


def _convolutional(workload: Workload) -> Any:
    from flax import nnx

    class Network(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.conv0 = nnx.Conv(1, 32, (3, 3), rngs=rngs)
            self.conv1 = nnx.Conv(32, 64, (3, 3), rngs=rngs)
            self.hidden = nnx.Linear(7 * 7 * 64, 128, rngs=rngs)
            self.output = nnx.Linear(128, workload.classes, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            for conv in (self.conv0, self.conv1):
                x = nnx.max_pool(nnx.relu(conv(x)), (2, 2), strides=(2, 2))
            x = nnx.relu(self.hidden(x.reshape(len(x), -1)))
            return self.output(x)

    network = Network(nnx.Rngs(workload.seed))
    for name, array in workload.weights().items():
        layer, _, kind = name.partition("/")
        getattr(getattr(network, layer), kind)[...] = array
    return network


def _transformer(workload: Workload) -> Any:
    import jax
    import jax.numpy as jnp
    import optax

    from benchmarks.peers.jax_network import transformer

    def init(key: Any, example: Any) -> Any:
        return jax.tree.map(jnp.asarray, workload.weights())

    def apply(params: Any, pieces: Any) -> Any:
        logits = transformer(workload, params, pieces[:, :-1]).astype(jnp.float32)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, pieces[:, 1:])  # (batch, tokens)
        return losses.mean(axis=1, keepdims=True)

    return init, apply
