"""Adam, AdamW and AMSGrad: each coordinate's mean gradient over its root mean square.

Bias corrections are two scalars per step, multiplied in, so that each element costs one square root and
one division; written as in the paper, m̂/(√v̂ + ε) with m̂ and v̂ divided out first, the compiled step
divides three times per element.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int

from downslope.rules.decay import DecayMask, add_decay, check_mask
from downslope.rules.leafwise import each_leaf, one_minus_power, zero_steps, zeros
from downslope.rules.ranges import FRACTION, NOT_NEGATIVE, POSITIVE, checked
from downslope.rules.rule import Rule

PyTree = Any


class AdamState(NamedTuple):
    """State of `adam` and `adamw`: two numbers per parameter."""

    steps: Int[Array, ""]
    m: PyTree  # average of g, shaped like params
    v: PyTree  # average of g², shaped like params


class AmsgradState(NamedTuple):
    """State of `amsgrad`: three numbers per parameter."""

    steps: Int[Array, ""]
    m: PyTree  # average of g, shaped like params
    v: PyTree  # average of g², shaped like params
    v_max: PyTree  # the largest v so far, shaped like params


def adam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """Adam: adaptive moments.

        m ← β₁·m + (1 − β₁)·g            m̂ = m / (1 − β₁ᵗ)
        v ← β₂·v + (1 − β₂)·g²           v̂ = v / (1 − β₂ᵗ)
        d = m̂ / (√v̂ + ε)

    Args:
        b1: β₁ in [0, 1), how long the mean gradient remembers: about 1/(1 − β₁) steps.
        b2: β₂ in [0, 1), how long the mean square remembers.
        eps: ε > 0, keeps the quotient finite where gradients vanish.
        weight_decay: λ ≥ 0, coupled (added to the gradient); `adamw` decouples it.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.002. Memory: 2 numbers per parameter.

    Paper: Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", https://arxiv.org/abs/1412.6980,
    Algorithm 1.
    """
    hyper = check_moments("adam", b1, b2, eps, weight_decay, decay_mask)
    init, moments_ratio = _adam(b1, b2, eps)

    def direction(grads, state, params, **context):
        return moments_ratio(add_decay(grads, params, weight_decay, decay_mask), state, params)

    return Rule("adam", init, direction, 0.002, hyper)


def adamw(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    *,
    weight_decay: float = 0.01,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """AdamW: Adam whose weight decay bypasses the moments.

        d = m̂ / (√v̂ + ε) + λ·x          m̂, v̂ as in Adam

    Args:
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: ε > 0.
        weight_decay: λ ≥ 0, decoupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.002. Memory: 2 numbers per parameter.

    Paper: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization",
    https://arxiv.org/abs/1711.05101, Algorithm 2.
    Departures: the decay is multiplied by the learning rate, not by the schedule alone (as in
    torch.optim.AdamW and Optax); biases and norm scales do not decay unless ``decay_mask=None``.
    """
    hyper = check_moments("adamw", b1, b2, eps, weight_decay, decay_mask)
    init, moments_ratio = _adam(b1, b2, eps)

    def direction(grads, state, params, *, weight_decay=weight_decay, **context):
        d, state = moments_ratio(grads, state, params)
        return add_decay(d, params, weight_decay, decay_mask), state

    return Rule("adamw", init, direction, 0.002, hyper)


def amsgrad(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """AMSGrad: Adam whose mean square never forgets its largest value, so steps never grow back.

        v_max ← max(v_max, v)             m, v, m̂ as in Adam
        d = m̂ / (√(v_max / (1 − β₂ᵗ)) + ε)

    Args:
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: ε > 0.
        weight_decay: λ ≥ 0, coupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.002. Memory: 3 numbers per parameter.

    Paper: Reddi, Kale & Kumar 2018, "On the Convergence of Adam and Beyond",
    https://arxiv.org/abs/1904.09237, Algorithm 2.
    Departures: Adam's bias corrections, which the paper leaves out, applied after the maximum as in
    torch.optim.Adam(amsgrad=True). Optax applies them before it.
    """
    hyper = check_moments("amsgrad", b1, b2, eps, weight_decay, decay_mask)

    def init(params):
        return AmsgradState(zero_steps(), zeros(params), zeros(params), zeros(params))

    def direction(grads, state, params, **context):
        grads = add_decay(grads, params, weight_decay, decay_mask)
        steps = state.steps + 1
        corrections = 1 / one_minus_power(b1, steps), 1 / one_minus_power(b2, steps)

        def update(g, m, v, v_max, c1, c2):
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            v_max = jnp.maximum(v_max, v)
            return c1 * m / (jnp.sqrt(c2 * v_max) + eps), m, v, v_max

        d, m, v, v_max = each_leaf(update, params, grads, state.m, state.v, state.v_max, numbers=corrections)
        return d, AmsgradState(steps, m, v, v_max)

    return Rule("amsgrad", init, direction, 0.002, hyper)


def _adam(b1: float, b2: float, eps: float):
    """Return Adam's init, and its direction before any weight decay."""

    def init(params):
        return AdamState(zero_steps(), zeros(params), zeros(params))

    def moments_ratio(grads, state, params):
        steps = state.steps + 1
        corrections = 1 / one_minus_power(b1, steps), 1 / one_minus_power(b2, steps)

        def update(g, m, v, c1, c2):
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            return c1 * m / (jnp.sqrt(c2 * v) + eps), m, v

        d, m, v = each_leaf(update, params, grads, state.m, state.v, numbers=corrections)
        return d, AdamState(steps, m, v)

    return init, moments_ratio


def check_moments(
    name: str, b1: float, b2: float, eps: float, weight_decay: float, decay_mask: DecayMask
) -> dict[str, Any]:
    """Return the hyperparameters of Adam and its kin, or raise `OptionError` for one out of range."""
    hyper: dict[str, Any] = checked(
        name,
        b1=(b1, FRACTION),
        b2=(b2, FRACTION),
        eps=(eps, POSITIVE),
        weight_decay=(weight_decay, NOT_NEGATIVE),
    )
    return hyper | {"decay_mask": check_mask(name, decay_mask)}
