"""Clipping: gradients bounded before the rule sees them.

Each is a rule like any other, namely gradient descent on the bounded gradient, and is meant to stand
before another: ``chain(clip_by_global_norm(1.0), adam())``.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from downslope.pytrees import norm
from downslope.rules.leafwise import each_leaf
from downslope.rules.ranges import POSITIVE, checked
from downslope.rules.rule import Rule

PyTree = Any


def clip_by_global_norm(max_norm: float = 1.0) -> Rule:
    """Shorten the whole gradient, all leaves by one factor, so that its direction stays.

        d = g · min(1, c / ‖g‖)

    Args:
        max_norm: c > 0, the largest norm over all leaves together.

    Paper: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks",
    https://arxiv.org/abs/1211.5063, Algorithm 1.
    """
    hyper = checked("clip-by-global-norm", max_norm=(max_norm, POSITIVE))

    def direction(grads, state, params, **context):
        factor = max_norm / jnp.maximum(norm(grads), max_norm)
        (d,) = each_leaf(lambda g, factor: (g * factor,), params, grads, numbers=(factor,))
        return d, state

    return Rule("clip-by-global-norm", _no_state, direction, 0.1, dict(hyper))


def clip_by_value(limit: float) -> Rule:
    """Bound every coordinate of the gradient on its own; the direction may turn.

        d = min(max(g, −c), c)

    Args:
        limit: c > 0.

    Paper: Graves 2013, "Generating Sequences With Recurrent Neural Networks",
    https://arxiv.org/abs/1308.0850, section 2.1.
    """
    hyper = checked("clip-by-value", limit=(limit, POSITIVE))

    def direction(grads, state, params, **context):
        (d,) = each_leaf(lambda g: (jnp.clip(g, -limit, limit),), params, grads)
        return d, state

    return Rule("clip-by-value", _no_state, direction, 0.1, dict(hyper))


def clip_adaptive(clipping: float = 0.01, eps: float = 1e-3) -> Rule:
    """Bound the gradient of each unit in proportion to the norm of the unit's weights (AGC).

        d = g · min(1, c · max(‖x‖, ε) / ‖g‖)          for each unit

    A unit is one entry of the last axis: its weights are all that lead into it (kernels are
    ``(…, inputs, outputs)``). A vector or a scalar is one unit.

    Args:
        clipping: c > 0.
        eps: ε > 0, so that weights that are 0 can start.

    Paper: Brock et al. 2021, "High-Performance Large-Scale Image Recognition Without Normalization",
    https://arxiv.org/abs/2102.06171, equation 3. The paper leaves the last layer unclipped; for that give
    it a group of its own (`downslope.rules.groups`).
    """
    hyper = checked("clip-adaptive", clipping=(clipping, POSITIVE), eps=(eps, POSITIVE))

    def direction(grads, state, params, **context):
        def update(g, x):
            largest = clipping * jnp.maximum(_unit_norm(x), eps)
            return (g * (largest / jnp.maximum(_unit_norm(g), largest)),)

        (d,) = each_leaf(update, params, grads, params)
        return d, state

    return Rule("clip-adaptive", _no_state, direction, 0.1, dict(hyper))


def _unit_norm(x: Float[Array, "..."]) -> Float[Array, "..."]:
    axes = tuple(range(x.ndim - 1)) if x.ndim > 1 else None
    return jnp.sqrt(jnp.sum(x * x, axes, keepdims=True))


def _no_state(params: PyTree) -> tuple[()]:
    return ()
