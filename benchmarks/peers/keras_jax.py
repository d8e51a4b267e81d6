"""Keras 3 on JAX: `fit` on arrays, its steps compiled, several per call where that is quicker."""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.workloads import VOCABULARY, Workload

STEPS_PER_CALL = 16  # on two cores half to two thirds of the time of one at a time, for small networks
KINDS = ("kernel", "scale", "bias")
Named = Callable[[str, Any], Any]  # a name and a layer, to be remembered; returns the layer


def run(workload: Workload, threads: int) -> dict[str, Any]:
    arrays = workload.arrays()
    began = time.perf_counter()
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    imported = time.perf_counter()
    keras.utils.set_random_seed(workload.seed)
    if workload.precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    x, y = arrays
    model = _network(keras, workload)
    rules = {
        "adam": lambda: keras.optimizers.Adam(workload.learning_rate, epsilon=1e-8),
        "adamw": lambda: keras.optimizers.AdamW(workload.learning_rate, weight_decay=0.01, epsilon=1e-8),
    }
    loss = (
        keras.losses.MeanSquaredError()
        if workload.is_regression
        else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.compile(rules[workload.rule](), loss, jit_compile=True, steps_per_execution=STEPS_PER_CALL)

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.starts, self.ends = [], []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.starts.append(time.perf_counter())

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.ends.append(time.perf_counter())

    clock = Clock()
    ready = time.perf_counter()
    model.fit(
        x,
        y,
        batch_size=workload.batch_size,
        epochs=workload.epochs,
        shuffle=True,
        verbose=0,
        callbacks=[clock],
    )
    seconds = [end - start for start, end in zip(clock.starts, clock.ends, strict=True)]
    return {
        "import_seconds": imported - began,
        "setup_seconds": ready - imported,
        "compile_seconds": seconds[0] - float(np.median(seconds[1:])),  # the first epoch compiles
        "epoch_seconds": seconds,
        "final_loss": float(model.evaluate(x, y, batch_size=1024, verbose=0)),
        "threads": threads,
    }


def _network(keras: Any, workload: Workload) -> Any:
    """Return the network with the initial weights of the workload."""
    made: dict[str, Any] = {}  # layers by the names of their weights

    def named(name: str, layer: Any) -> Any:
        made[name] = layer
        return layer

    network = {"mlp": _perceptron, "conv": _convolutional, "attention": _transformer}[workload.kind]
    model = network(keras, workload, named)
    weights = workload.weights()
    for name, layer in made.items():
        first = [weights[f"{name}/{kind}"] for kind in KINDS if f"{name}/{kind}" in weights]
        layer.set_weights(first + layer.get_weights()[len(first) :])  # the rest are running averages
    return model


def _perceptron(keras: Any, workload: Workload, named: Named) -> Any:
    layers = keras.layers
    parts = [keras.Input((workload.inputs,))]
    for layer, width in enumerate(workload.hidden):
        parts.append(named(f"{layer}/linear", layers.Dense(width, use_bias=not workload.batch_norm)))
        if workload.batch_norm:
            norm = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
            parts.append(named(f"{layer}/norm", norm))
        parts.append(layers.ReLU())
        if workload.dropout:
            parts.append(layers.Dropout(workload.dropout))
    return keras.Sequential([*parts, named("output", layers.Dense(workload.classes, dtype="float32"))])


def _convolutional(keras: Any, workload: Workload, named: Named) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            named("conv0", layers.Conv2D(32, 3, padding="same", activation="relu")),
            layers.MaxPooling2D(2),
            named("conv1", layers.Conv2D(64, 3, padding="same", activation="relu")),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            named("hidden", layers.Dense(128, activation="relu")),
            named("output", layers.Dense(workload.classes, dtype="float32")),
        ]
    )


def _transformer(keras: Any, workload: Workload, named: Named) -> Any:
    layers, tokens, width, heads = keras.layers, workload.tokens, workload.width, workload.heads

    class Places(layers.Layer):
        def build(self, shape: Any) -> None:
            self.table = self.add_weight(shape=(tokens, width), name="table")

        def call(self, x: Any) -> Any:
            return x + self.table

    class Attention(layers.Layer):
        def call(self, parts: Any) -> Any:
            parts = keras.ops.reshape(parts, (-1, tokens, 3, heads, width // heads))
            queries, keys, values = (parts[:, :, part] for part in range(3))
            seen = keras.ops.dot_product_attention(queries, keys, values, is_causal=True)
            return keras.ops.reshape(seen, (-1, tokens, width))

    def dense(name: str, units: int, activation: Any = None) -> Any:
        return named(name, layers.Dense(units, activation=activation))

    def norm(name: str) -> Any:
        return named(name, layers.LayerNormalization(epsilon=1e-6))

    def gelu(x: Any) -> Any:
        return keras.activations.gelu(x, approximate=True)

    codes = keras.Input((tokens,), dtype="int32")
    x = named("characters", layers.Embedding(VOCABULARY, width))(codes)
    x = named("places", Places())(x)
    for layer in range(workload.layers):
        parts = dense(f"{layer}/queries_keys_values", 3 * width)(norm(f"{layer}/norm0")(x))
        x = x + dense(f"{layer}/together", width)(Attention()(parts))
        inner = dense(f"{layer}/up", 4 * width, gelu)(norm(f"{layer}/norm1")(x))
        x = x + dense(f"{layer}/down", width)(inner)
    return keras.Model(codes, dense("output", VOCABULARY)(norm("norm")(x)))
