"""Lion: the sign of a momentum, found by program search."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from downslope.rules.decay import DecayMask, add_decay, check_mask
from downslope.rules.leafwise import each_leaf, zeros
from downslope.rules.ranges import FRACTION, NOT_NEGATIVE, checked
from downslope.rules.rule import Rule

PyTree = Any


class LionState(NamedTuple):
    """State of `lion`: one number per parameter."""

    m: PyTree  # average of g, shaped like params


def lion(
    b1: float = 0.9, b2: float = 0.99, *, weight_decay: float = 0.1, decay_mask: DecayMask = "matrices"
) -> Rule:
    """Lion: every coordinate moves by the same amount, in the direction of a short-sighted average.

        d = sign(β₁·m + (1 − β₁)·g) + λ·x
        m ← β₂·m + (1 − β₂)·g

    Args:
        b1: β₁ in [0, 1), the share of the past in the direction.
        b2: β₂ in [0, 1), how long the average remembers; longer than the direction does.
        weight_decay: λ ≥ 0, decoupled. As the learning rate is 3 to 10 times smaller than AdamW's, λ is 3
            to 10 times larger for the same shrinkage.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.0004. Memory: 1 number per parameter.

    Paper: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms",
    https://arxiv.org/abs/2302.06675, Program 1 and Algorithm 2.
    """
    hyper: dict[str, Any] = checked(
        "lion", b1=(b1, FRACTION), b2=(b2, FRACTION), weight_decay=(weight_decay, NOT_NEGATIVE)
    )
    hyper |= {"decay_mask": check_mask("lion", decay_mask)}

    def init(params):
        return LionState(zeros(params))

    def direction(grads, state, params, *, weight_decay=weight_decay, **context):
        def update(g, m):
            return jnp.sign(b1 * m + (1 - b1) * g), b2 * m + (1 - b2) * g

        d, m = each_leaf(update, params, grads, state.m)
        return add_decay(d, params, weight_decay, decay_mask), LionState(m)

    return Rule("lion", init, direction, 0.0004, hyper)
