"""RMSprop: the gradient over its recent root mean square."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from downslope.rules.decay import DecayMask, add_decay, check_mask
from downslope.rules.leafwise import each_leaf, zeros
from downslope.rules.ranges import FRACTION, NOT_NEGATIVE, POSITIVE, checked
from downslope.rules.rule import Rule

PyTree = Any


class RmspropState(NamedTuple):
    """State of `rmsprop`: one number per parameter, one more when centred, one more with momentum."""

    v: PyTree  # average of g², shaped like params
    mean: PyTree | None  # average of g, shaped like params, when centred
    velocity: PyTree | None  # shaped like params, with momentum


def rmsprop(
    alpha: float = 0.99,
    eps: float = 1e-8,
    *,
    centered: bool = False,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """RMSprop: every coordinate in units of its own typical gradient.

        v ← α·v + (1 − α)·g²
        n = g / (√v + ε)                   centred: n = g / (√(v − ḡ²) + ε),  ḡ ← α·ḡ + (1 − α)·g
        d = n                              with momentum: u ← μ·u + n,  d = u

    Args:
        alpha: α in [0, 1), how long the averages remember.
        eps: ε > 0.
        centered: divide by the standard deviation of the gradient instead of its root mean square.
        momentum: μ in [0, 1).
        weight_decay: λ ≥ 0, coupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.001. Memory: 1 to 3 numbers per parameter.

    Paper: Tieleman & Hinton 2012, Coursera "Neural Networks for Machine Learning", lecture 6.5, slide 29;
    centred: Graves 2013, https://arxiv.org/abs/1308.0850, equations 38 to 41.
    Departures: ε outside the root as in torch.optim.RMSprop (Graves has it inside). v starts at 0 and is
    not corrected for it, so the first steps are up to 1/√(1 − α) times larger.
    """
    hyper: dict[str, Any] = checked(
        "rmsprop",
        alpha=(alpha, FRACTION),
        eps=(eps, POSITIVE),
        momentum=(momentum, FRACTION),
        weight_decay=(weight_decay, NOT_NEGATIVE),
    )
    hyper |= {"centered": centered, "decay_mask": check_mask("rmsprop", decay_mask)}

    def init(params):
        mean = zeros(params) if centered else None
        return RmspropState(zeros(params), mean, zeros(params) if momentum else None)

    def direction(grads, state, params, **context):
        grads = add_decay(grads, params, weight_decay, decay_mask)

        def square(g, v):
            v = alpha * v + (1 - alpha) * g * g
            return g / (jnp.sqrt(v) + eps), v

        def square_centered(g, v, mean):
            v = alpha * v + (1 - alpha) * g * g
            mean = alpha * mean + (1 - alpha) * g
            variance = jnp.maximum(v - mean * mean, 0.0)  # rounding may take it below 0
            return g / (jnp.sqrt(variance) + eps), v, mean

        def accelerate(n, u):
            u = momentum * u + n
            return u, u

        mean, velocity = state.mean, state.velocity
        if centered:
            d, v, mean = each_leaf(square_centered, params, grads, state.v, mean)
        else:
            d, v = each_leaf(square, params, grads, state.v)
        if momentum:
            d, velocity = each_leaf(accelerate, params, d, velocity)
        return d, RmspropState(v, mean, velocity)

    return Rule("rmsprop", init, direction, 0.001, hyper)
