"""The networks and their loss in plain JAX, for every file here that is written in it."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.workloads import Workload

MOMENTUM = 0.9  # of the running averages of batch normalisation
ROWS_AT_ONCE = 1024  # when the loss is measured


def running_averages(workload: Workload) -> dict[str, jax.Array]:
    """Return what batch normalisation remembers, before it has seen anything; {} where there is none."""
    made = {}
    for layer, width in enumerate(workload.hidden if workload.batch_norm else ()):
        made[f"{layer}/mean"], made[f"{layer}/variance"] = jnp.zeros(width), jnp.ones(width)
    return made


def rule(workload: Workload) -> optax.GradientTransformation:
    """Return Adam or AdamW."""
    if workload.rule == "adamw":
        return optax.adamw(workload.learning_rate, weight_decay=0.01)
    return optax.adam(workload.learning_rate)


def loss_of(workload: Workload, weights: Any, averages: Any, x: Any, y: Any, key: Any) -> tuple[Any, Any]:
    """Return the mean loss of a batch and the new running averages; without a key as in evaluation."""
    if workload.precision == "bfloat16":
        weights, x = jax.tree.map(_low, (weights, x))
    outputs, averages = apply(workload, weights, averages, x, key)
    outputs = outputs.astype(jnp.float32)
    if workload.is_regression:
        return jnp.mean(jnp.square(outputs[:, 0] - y)), averages
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean(), averages


def apply(workload: Workload, weights: Any, averages: Any, x: Any, key: Any = None) -> tuple[Any, Any]:
    """Return a network's outputs and the new running averages."""
    if workload.kind == "conv":
        return convolutional(weights, x), averages
    if workload.kind == "attention":
        return transformer(workload, weights, x), averages
    return _perceptron(workload, weights, averages, x, key)


def training_loss(workload: Workload, weights: Any, averages: Any, x: Any, y: Any) -> float:
    """Return the mean loss over all rows."""

    @jax.jit
    def measured(x: Any, y: Any) -> Any:
        return loss_of(workload, weights, averages, x, y, None)[0]

    starts = range(0, len(x), ROWS_AT_ONCE)
    parts = [(x[start : start + ROWS_AT_ONCE], y[start : start + ROWS_AT_ONCE]) for start in starts]
    return sum(float(measured(*part)) * len(part[0]) for part in parts) / len(x)


def _perceptron(workload: Workload, weights: Any, averages: Any, x: Any, key: Any) -> tuple[Any, Any]:
    averages = dict(averages)
    for layer, _ in enumerate(workload.hidden):
        x = dense(weights, f"{layer}/linear", x)
        if workload.batch_norm:
            mean, variance = averages[f"{layer}/mean"], averages[f"{layer}/variance"]
            if key is not None:
                mean, variance = jnp.mean(x, axis=0), jnp.var(x, axis=0)
                averages[f"{layer}/mean"] = _moved(averages[f"{layer}/mean"], mean)
                averages[f"{layer}/variance"] = _moved(averages[f"{layer}/variance"], variance)
            scale = weights[f"{layer}/norm/scale"] * jax.lax.rsqrt(variance + 1e-5)
            x = (x - mean) * scale + weights[f"{layer}/norm/bias"]
        x = jax.nn.relu(x)
        if workload.dropout and key is not None:
            kept = jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - workload.dropout, x.shape)
            x = jnp.where(kept, x / (1 - workload.dropout), 0.0)
    return dense(weights, "output", x), averages


def convolutional(weights: Any, x: Any) -> Any:
    """Return the logits of images (batch, 28, 28, 1)."""
    for name in ("conv0", "conv1"):
        layout = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(
            x, weights[f"{name}/kernel"], (1, 1), "SAME", dimension_numbers=layout
        )
        x = jax.nn.relu(x + weights[f"{name}/bias"])
        batch, height, width, channels = x.shape
        # A maximum over two axes: its gradient is quicker than that of `reduce_window`, which scatters.
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
    x = jax.nn.relu(dense(weights, "hidden", x.reshape(len(x), -1)))
    return dense(weights, "output", x)


def transformer(workload: Workload, weights: Any, codes: Any) -> Any:
    """Return the logits after each of the characters (batch, tokens)."""
    x = weights["characters/kernel"][codes] + weights["places/kernel"]  # (batch, tokens, width)
    batch, tokens, width = x.shape
    for layer in range(workload.layers):
        parts = dense(weights, f"{layer}/queries_keys_values", norm(weights, f"{layer}/norm0", x))
        parts = parts.reshape(batch, tokens, 3, workload.heads, width // workload.heads)
        queries, keys, values = (parts[:, :, part] for part in range(3))
        seen = jax.nn.dot_product_attention(queries, keys, values, is_causal=True)
        x = x + dense(weights, f"{layer}/together", seen.reshape(batch, tokens, width))
        inner = jax.nn.gelu(dense(weights, f"{layer}/up", norm(weights, f"{layer}/norm1", x)))
        x = x + dense(weights, f"{layer}/down", inner)
    return dense(weights, "output", norm(weights, "norm", x))


def dense(weights: Any, name: str, x: Any) -> Any:
    """Return x · kernel + bias, where there is a bias."""
    return x @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0)


def norm(weights: Any, name: str, x: Any) -> Any:
    """Return x normalised over its last axis (Ba et al. 2016)."""
    wide = x.astype(jnp.float32)
    mean = jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), axis=-1, keepdims=True)
    normal = ((wide - mean) * jax.lax.rsqrt(variance + 1e-6)).astype(x.dtype)
    return normal * weights[f"{name}/scale"] + weights[f"{name}/bias"]


def _low(array: Any) -> Any:
    return array.astype(jnp.bfloat16) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _moved(average: Any, seen: Any) -> Any:
    return MOMENTUM * average + (1 - MOMENTUM) * seen.astype(average.dtype)
