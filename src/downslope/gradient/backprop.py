"""Which way is up: model + loss → the loss of a batch and its gradient.

    L(params) = Σᵢ wᵢ ℓ(apply(params, xᵢ), yᵢ) ∕ Σᵢ wᵢ

JAX's reverse-mode differentiation is the backpropagation (Rumelhart, Hinton & Williams 1986). What is
said here is the rest: the weighted mean, in float32 at least, in which padding has weight 0 and so
neither moves the loss nor the gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from downslope.losses import Loss
from downslope.models.functional import Model


class Batch(NamedTuple):
    """Examples that are averaged into one gradient.

    Attributes:
        inputs: pytree of arrays, each (batch, …).
        targets: pytree of arrays, each (batch, …).
        weights: (batch,), float32; 0 for padding.
    """

    inputs: Any
    targets: Any
    weights: Any


# objective(params, model_state, batch, key) -> (loss, model_state)
Objective = Callable[[Any, Any, Batch, Any], tuple[Float[Array, ""], Any]]


def weighted_mean(values: Float[Array, " batch"], weights: Float[Array, " batch"]) -> Float[Array, ""]:
    """Σ w·v ∕ Σ w; 0 for a batch of padding alone."""
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), jnp.finfo(weights.dtype).tiny)


def training_objective(model: Model, loss: Loss) -> Objective:
    """Return the function that training descends: the weighted mean loss of a batch, in training mode."""

    def objective(params: Any, model_state: Any, batch: Batch, key: Any) -> tuple[Float[Array, ""], Any]:
        outputs, model_state = model.apply(
            params, model_state, batch.inputs, key=key, train=True, mask=batch.weights
        )
        return weighted_mean(loss.per_example(outputs, batch.targets), batch.weights), model_state

    return objective


def loss_and_gradient(objective: Objective) -> Callable[..., tuple[Float[Array, ""], Any, Any]]:
    """Return ``f(params, model_state, batch, key) -> (loss, gradient, model_state)``."""
    differentiated = jax.value_and_grad(objective, has_aux=True)

    def value_and_gradient(params: Any, model_state: Any, batch: Batch, key: Any) -> tuple[Any, Any, Any]:
        (value, model_state), gradient = differentiated(params, model_state, batch, key)
        return value, gradient, model_state

    return value_and_gradient
