"""LARS and LAMB: the step of each layer in proportion to the norm of its weights.

Large batches ask for large learning rates, at which the layer with the smallest ‖x‖/‖g‖ diverges first.
Both rules divide every layer's direction by its own norm and multiply by ‖x‖, so that one learning rate
is a relative change that suits all layers. A "layer" of the papers is one leaf of the tree here.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from downslope.rules.adam import adamw, check_moments
from downslope.rules.decay import DecayMask, add_decay, check_mask
from downslope.rules.leafwise import each_leaf, zeros
from downslope.rules.ranges import FRACTION, NOT_NEGATIVE, POSITIVE, checked
from downslope.rules.rule import Rule

PyTree = Any


class LarsState(NamedTuple):
    """State of `lars`: one number per parameter."""

    velocity: PyTree  # shaped like params


def lars(
    momentum: float = 0.9,
    trust_coefficient: float = 0.001,
    *,
    weight_decay: float = 0.0,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """LARS: momentum on gradients rescaled, layer by layer, to the norm of the weights.

        r = η·‖x‖ / ‖g + λ·x‖             (η where either norm is 0)
        u ← μ·u + r·(g + λ·x)
        d = u

    Args:
        momentum: μ in [0, 1).
        trust_coefficient: η > 0, the relative change of a layer in one step at learning rate 1.
        weight_decay: λ ≥ 0, coupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 2.0. Memory: 1 number per parameter.

    Paper: You, Gitman & Ginsburg 2017, "Large Batch Training of Convolutional Networks",
    https://arxiv.org/abs/1708.03888, Algorithm 1 and equation 6.
    Departures: the step size multiplies the whole velocity, not what is added to it (Optax does as the
    paper): they differ only where it changes from step to step. The paper divides by ‖g‖ + λ‖x‖, an upper
    bound of our ‖g + λ·x‖, which is the direction actually taken (as in Optax). Where the weights are all 0
    the ratio is η, so that zero-initialised biases can start; Optax takes 1 there, a step 1/η times larger
    than that of any other layer.
    """
    hyper: dict[str, Any] = checked(
        "lars",
        momentum=(momentum, FRACTION),
        trust_coefficient=(trust_coefficient, POSITIVE),
        weight_decay=(weight_decay, NOT_NEGATIVE),
    )
    hyper |= {"decay_mask": check_mask("lars", decay_mask)}

    def init(params):
        return LarsState(zeros(params))

    def direction(grads, state, params, **context):
        grads = add_decay(grads, params, weight_decay, decay_mask)

        def update(g, x, u):
            u = momentum * u + trust_coefficient * _trust_ratio(x, g) * g
            return u, u

        d, velocity = each_leaf(update, params, grads, params, state.velocity)
        return d, LarsState(velocity)

    return Rule("lars", init, direction, 2.0, hyper)


def lamb(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    *,
    weight_decay: float = 0.01,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """LAMB: AdamW's direction rescaled, layer by layer, to the norm of the weights.

        r = m̂ / (√v̂ + ε) + λ·x           m̂, v̂ as in Adam
        d = (‖x‖ / ‖r‖)·r                  (r where either norm is 0)

    Args:
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: ε > 0.
        weight_decay: λ ≥ 0, inside the rescaled direction.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.01: each layer changes by 1 % of its norm per step. Memory: 2 numbers per
    parameter.

    Paper: You et al. 2020, "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
    https://arxiv.org/abs/1904.00962, Algorithm 2, with φ the identity.
    """
    hyper = check_moments("lamb", b1, b2, eps, weight_decay, decay_mask)
    adam_part = adamw(b1, b2, eps, weight_decay=weight_decay, decay_mask=decay_mask)

    def direction(grads, state, params, **context):
        r, state = adam_part.direction(grads, state, params)
        (d,) = each_leaf(lambda r, x: (_trust_ratio(x, r) * r,), params, r, params)
        return d, state

    return Rule("lamb", adam_part.init, direction, 0.01, hyper)


def _trust_ratio(x: Float[Array, "..."], r: Float[Array, "..."]) -> Float[Array, ""]:
    """Return ‖x‖/‖r‖, and 1 where either norm is 0 (new biases; no gradient)."""
    x_norm = jnp.sqrt(jnp.sum(x * x))
    r_norm = jnp.sqrt(jnp.sum(r * r))
    usable = (x_norm > 0) & (r_norm > 0)
    return jnp.where(usable, x_norm / jnp.where(usable, r_norm, 1.0), 1.0)
